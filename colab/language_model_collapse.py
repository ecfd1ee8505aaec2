# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Language model collapse
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/collapse-jax/collapse_jax/blob/main/colab/language_model_collapse.ipynb)
#
# A language model learns real text and writes; the next model learns what it wrote, and so on. If each generation sees
# only what the last one wrote, the text gets worse: its variety goes, and in the end its sense (Shumailov et al.,
# Nature 631:755; Guo et al., [arXiv 2311.09807](https://arxiv.org/abs/2311.09807)). If everything stays in the pool,
# the real text too, it gets far less bad (Gerstgrasser et al., [arXiv 2404.01413](https://arxiv.org/abs/2404.01413)).
#
# Here small transformers learn the documentation of Python, and you read what they write, generation by generation. It
# runs on a CPU, a GPU or a TPU as it stands.

# %%
# Installs the library, and JAX for the accelerator of this runtime, as a newer JAX would else find only the CPU.
import os
import shutil
import subprocess
import sys

REPOSITORY = "https://github.com/collapse-jax/collapse_jax"
tpu = os.environ.keys() & {"TPU_ACCELERATOR_TYPE", "COLAB_TPU_ADDR", "COLAB_TPU_1VM"}
extra = "[tpu]" if tpu else "[cuda12]" if shutil.which("nvidia-smi") else ""
wanted = [f"collapse_jax @ git+{REPOSITORY}", f"jax{extra}"]
pip = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True)
if pip.returncode:
    raise RuntimeError(f"pip could not install {wanted}:\n{pip.stderr}")

# %%
# %matplotlib inline
import argparse
import html
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import HTML, display

import collapse_jax as cj
from collapse_jax import plotting

SMALL = bool(os.environ.get("COLLAPSE_SMALL"))  # a quick pass, for automatic checks of this notebook
print(f"JAX {jax.__version__} on", *jax.devices())
if jax.default_backend() == "cpu":
    print("No accelerator: this takes minutes here. In Colab choose one with Runtime > Change runtime type.")
if SMALL:
    print("The small setting: fewer generations, examples and lineages than by default, so that bands are wide.")
generations, samples, seeds = (3, 64, 2) if SMALL else (9, 256, 3)
pretraining, steps = (60, 20) if SMALL else (800, 40)  # optimiser steps on the real text, and of each generation
vocabulary, length, layers, width = (384, 32, 1, 48) if SMALL else (512, 64, 2, 64)
# On a GPU or TPU try layers 6, width 256, samples 2048 and length 128.

# %% [markdown]
# ## The recursion
# Text becomes rows of tokens. A first model learns the real rows; every lineage goes on from its weights, trains on the
# rows that its regime allows, and writes new ones. Recorded are `risk`, nats a token on real text that nobody trained
# on, how surprising each written row is to the first model, distinct-2 (different pairs of tokens in all pairs), and
# the first rows themselves. Regimes x seeds are one compiled program.

# %%
EDGES = jnp.linspace(0.0, 6.0, 25)


def recurse(train, test, regimes, **rules):
    """Train generations on what they write; `rules` are rules of decoding with their values."""
    tokenizer = cj.data.train_bpe(train, vocabulary)
    rows, held_out = (jnp.asarray(cj.data.pack(tokenizer, texts, length)) for texts in (train, test))

    def make_family(fitting, pretrained=None):
        architecture = cj.nets.Architecture(layers, width, heads=4)
        sizes = {"architecture": architecture, "end": tokenizer.end}
        return cj.families.language_model(tokenizer.size, length, fitting=fitting, pretrained=pretrained, **sizes)

    learner, every = make_family(cj.generative.Fitting(pretraining)), jnp.ones(len(rows))
    start = learner.init(jax.random.key(0), rows, every)
    first = jax.jit(learner.fit)(jax.random.key(1), start, rows, every)
    family = make_family(cj.generative.Fitting(steps, learning_rate=1e-3), first.weights)

    def measure(key, model):
        return {"risk": -family.tokens.log_prob(model, held_out[:256]).mean()}

    def inspect(key, written, weights):
        surprise = -family.tokens.log_prob(first, written).mean(axis=1)
        return {
            "surprise": cj.metrics.histogram(surprise, EDGES),
            "distinct_2": cj.metrics.distinct_n(written, n=2),
            "row": written[:4],
        }

    plan = cj.make_plan(regimes, generations, samples)
    process = cj.make_recursion(
        family,
        plan,
        cj.resample(rows),
        decoding=tuple(rules),
        warm_start=True,
        measure=measure,
        inspect=inspect,
        dims={"row": ("sample", "token"), "surprise": ("bin",)},
        coords={"bin": np.asarray(EDGES[1:] + EDGES[:-1]) / 2},
    )
    axes = {"seed": range(seeds), **{name: [value] for name, value in rules.items()}}
    population = cj.sweep(process, axes).squeeze(list(rules), drop=True)
    flat = population["row"].to_numpy().reshape(-1, length)
    texts = [" ¶ ".join(cj.data.unpack(tokenizer, row)) for row in flat]
    return population.assign(text=(population["row"].dims[:-1], np.reshape(texts, population["row"].shape[:-1])))


train, test = cj.data.corpus()
two = [cj.REGIMES["replace"], cj.REGIMES["accumulate"]]
population = recurse(train.texts, test.texts, two, temperature=0.8)

# %% [markdown]
# ## Read it
# Rows replaced beside rows accumulated, from the same first model, written at temperature .8; ¶ is where one document
# ends and the next begins. A small model's first text is no masterpiece: watch what becomes of it.


# %%
def side_by_side(population, real):
    """Show what was written first in each of a few generations, a column a regime, below some real text."""
    regimes = population["regime"].to_numpy()
    cells = [["real", *[" ".join(real.split())[: 4 * length]] * len(regimes)]]
    for generation in sorted({1, 3, 2 * generations // 3, generations}):
        texts = [str(population["text"].sel(regime=r, generation=generation, seed=0)[0].item()) for r in regimes]
        cells.append([str(generation), *texts])
    head = "".join(f"<th>{name}</th>" for name in ("generation", *regimes))
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
    style = "<style>.texts td, .texts th {text-align: left; vertical-align: top; max-width: 32em}</style>"
    return HTML(f"{style}<table class='texts'><tr>{head}</tr>{body}</table>")


side_by_side(population, test.texts[0])

# %% [markdown]
# ## Measure it
# Perplexity of each generation on real text, and variety of what it writes: means over seeds, bands two standard
# errors. Below, how surprising its rows are to the first model: they pile up where that model finds them easy, the more
# so if replaced. After nine generations perplexity on real text is some eight times that of the first if rows are
# replaced, a third more if they accumulate.


# %%
def draw(population):
    """Draw perplexity and variety by generation, and display the histograms of a few generations."""
    rows = {
        "perplexity, real text": plotting.Curve(np.exp(population["risk"]), None, "log"),
        "distinct-2 of what is written": plotting.Curve(population["distinct_2"], support=plotting.SHARE),
    }
    display(plotting.curves(rows, x="generation", hue="regime"))
    few = population["surprise"].sel(generation=[1, generations // 2 + 1, generations])
    label = "log-perplexity of a row, first model (nats)"
    return plotting.curves(
        {"share of rows": plotting.Curve(few, support=plotting.SHARE)},
        x="bin",
        hue="generation",
        column="regime",
        xlabel=label,
    )


draw(population)

# %% [markdown]
# ## Write your own
# Your own text: any string of some tens of thousands of characters, `Path("my.txt").read_text()` for instance; here it
# is Python source code. Your own regime: a function says how many rows of each source train a generation (`cj.REAL` is
# the fixed set of real rows). Your own way of writing: `temperature`, `top_k`, `top_p` and `repetition_penalty`.

# %%
your_text = Path(argparse.__file__).read_text()
paragraphs = your_text.split("\n\n")
held_out = paragraphs[::8]
rest = [paragraph for number, paragraph in enumerate(paragraphs) if number % 8]


@cj.regime(overwrite=True)  # so that this cell can run again
def quarter_real(generation, source, samples, ratio):
    if generation == 1:
        return samples if source == cj.REAL else 0
    return {cj.REAL: samples // 4, generation - 1: samples - samples // 4}.get(source, 0)


own = recurse(rest, held_out, [cj.REGIMES["replace"], quarter_real], top_p=0.9)
display(draw(own))
side_by_side(own, held_out[0])

# %% [markdown]
# ## Exercise
# Which rules keep the variety of the text at the level of generation 1, rows replaced: a temperature above 1, a
# repetition penalty, sampling as it is? What does that do to the perplexity on real text? Then find the smallest real
# share under which neither gets worse. (`python -m experiments.diversity` has the answer for five ways of
# writing and more measures, `experiments.recursion_lm` for real shares.)
