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
# # Mitigations of collapse
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/collapse-jax/collapse_jax/blob/main/colab/defences.ipynb)
#
# Models that train on what models wrote lose variety, and minorities first. Mitigations keep real examples, or choose
# among what is written: by an oracle, by a reward, by novelty. A mitigation is a *regime* (which examples train a
# generation) and a *selection* (which of them survive, by their values).
#
# Here: pick a mitigation and read what becomes of text with minorities, see the exact law of a minority, and write a
# selection of your own. It runs on a CPU, a GPU or a TPU as it stands.

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
import html
import os

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from IPython.display import HTML, display

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.generative import laws, selections

SMALL = bool(os.environ.get("COLLAPSE_SMALL"))  # a quick pass, for automatic checks of this notebook
print(f"JAX {jax.__version__} on", *jax.devices())
if jax.default_backend() == "cpu":
    print("No accelerator: this takes minutes here. In Colab choose one with Runtime > Change runtime type.")
if SMALL:
    print("The small setting: fewer generations, examples and lineages than by default, so that bands are wide.")
generations, samples, seeds = (3, 96, 2) if SMALL else (8, 256, 3)
pretraining, steps = (80, 20) if SMALL else (800, 40)  # optimiser steps on the real text, and of each generation
vocabulary, length, layers, width = (384, 32, 1, 48) if SMALL else (512, 64, 2, 64)

# %% [markdown]
# ## Text with minorities
# Prose of Python's manual, and two minorities: code, and the names of characters. A first model learns the real rows;
# every lineage goes on from its weights, trains on what its mitigation allows, and writes new rows. Recorded are
# `risk`, nats a token on real text that nobody trained on, the diversity of what is written (the Vendi score: so many
# rows that have nothing in common), the share of minorities among it (told by a classifier of real rows), and the first
# rows.
#
# Pick from `MITIGATIONS`; `replace` (none at all) and `control` (fresh real rows only) run beside.

# %%
picked = ["accumulate", "oracle"]

shares = {"prose": 0.8, "code": 0.15, "names": 0.05}
sources = {"prose": cj.data.python_docs(), "code": cj.data.python_code(), "names": cj.data.character_names()}
texts = {name: [one.text for one in source.passages[:300]] for name, source in sources.items()}
tokenizer = cj.data.train_bpe([text for some in texts.values() for text in some], vocabulary)
test = {name: cj.data.pack(tokenizer, some[::8], length)[:64] for name, some in texts.items()}
train = {
    name: cj.data.pack(tokenizer, [t for i, t in enumerate(some) if i % 8], length) for name, some in texts.items()
}
real = cj.data.mix_groups(train, shares, 1200)
rows, true_shares = jnp.asarray(real.examples), np.array(list(shares.values()))


def make_family(fitting, pretrained=None):
    sizes = {"architecture": cj.nets.Architecture(layers, width, heads=4), "end": tokenizer.end}
    return cj.families.language_model(tokenizer.size, length, fitting=fitting, pretrained=pretrained, **sizes)


learner, every = make_family(cj.generative.Fitting(pretraining)), jnp.ones(len(rows))
first = jax.jit(learner.fit)(jax.random.key(1), learner.init(jax.random.key(0), rows, every), rows, every)
family = make_family(cj.generative.Fitting(steps, learning_rate=1e-3), first.weights)


def embed(rows):
    return cj.metrics.hashed_ngram_embedding(rows, size=256)


classify = cj.metrics.fit_classifier(np.asarray(embed(rows)), real.groups)
held_out = jnp.concatenate([test[name][: round(64 * share)] for name, share in shares.items()])


def measure(key, model):
    return {"risk": -family.tokens.log_prob(model, held_out).mean()}


def inspect(key, written, weights):
    embedded, there = embed(written[:128]), weights[:128] > 0
    minority = classify(embedded).argmax(axis=1) > 0
    return {
        "diversity": cj.metrics.vendi_score(cj.metrics.cosine_similarities(embedded), where=there),
        "minorities": jnp.mean(minority, where=there) / true_shares[1:].sum(),
        "row": written[:4],
    }


def compare(mitigations):
    options = {"truth": cj.resample(rows), "measure": measure, "inspect": inspect, "warm_start": True}
    sizes = {"generations": generations, "samples": samples, "seeds": range(seeds)}
    return cj.compare_mitigations(family, mitigations, **sizes, **options, dims={"row": ("sample", "token")})


replayed, fresh = cj.REGIMES["real_fraction_replayed"], cj.REGIMES["real_fraction_fresh"]
MITIGATIONS = {
    "replace": cj.Mitigation(),
    "tenth replayed": cj.Mitigation(cj.with_share(replayed, 0.1, "tenth replayed")),
    "tenth fresh": cj.Mitigation(cj.with_share(fresh, 0.1, "tenth fresh")),
    "accumulate": cj.Mitigation(cj.REGIMES["accumulate"]),
    # The most usual of four, by the first model.
    "oracle": cj.Mitigation(
        curate=selections.best_of(lambda rows: family.tokens.log_prob(first, rows).mean(axis=1), 4)
    ),
    "control": cj.Mitigation(cj.with_share(fresh, 1.0, "control")),
}
found = compare({name: MITIGATIONS[name] for name in ("replace", *picked, "control")})

# %% [markdown]
# ## Read it, and measure it
# ¶ is where one document ends and the next begins. Bands are two standard errors over seeds. Which mitigation keeps the
# text real, which keeps it varied, which keeps its minorities? They need not be the same. This oracle likes what is
# most usual: in eight generations it cost two thirds of the diversity and nearly all minorities, and risk rose as well.


# %%
def side_by_side(found):
    """Show what was written first in the first and last generation, a column a mitigation."""
    names, lines = found["mitigation"].to_numpy(), []
    for generation in (1, generations):
        some = found["row"].sel(generation=generation, seed=0, sample=0)
        cells = [
            " ¶ ".join(cj.data.unpack(tokenizer, some.sel(mitigation=name).to_numpy().astype(int))) for name in names
        ]
        lines.append([str(generation), *cells])
    head = "".join(f"<th>{name}</th>" for name in ("generation", *names))
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    style = "<style>.texts td, .texts th {text-align: left; vertical-align: top; max-width: 20em}</style>"
    return HTML(f"{style}<table class='texts'><tr>{head}</tr>{body}</table>")


def draw(found):
    panels = {
        "risk on real text (nats)": plotting.Curve(found["risk"], support=plotting.POSITIVE),
        "diversity": plotting.Curve(found["diversity"], support=plotting.POSITIVE),
        "minorities / true share": plotting.Curve(found["minorities"], support=plotting.POSITIVE),
    }
    return plotting.curves(panels, x="generation", hue="mitigation")


display(side_by_side(found))
draw(found)

# %% [markdown]
# ## The exact law
# The same mitigations where the law is known to the last digit: a model that just counts examples of two kinds, one in
# ten of them a minority. Whether it is still in the model follows an exact chain for each regime; without a selection
# its expected share stays a tenth, with one that prefers the majority by a reward gap of 1 (a choice of two by Bradley
# and Terry's model) it follows a chain of its own. Dashes are the laws.

# %%
size, times, gap = 20, 12, 1.0
prefers = selections.curated(lambda kind: gap * (kind == 0), choose_from=2)
exact = cj.compare_mitigations(
    cj.families.categorical(2),
    {
        **{name: MITIGATIONS[name] for name in ("replace", "tenth fresh", "accumulate")},
        "reward": cj.Mitigation(curate=prefers),
    },
    generations=times,
    samples=size,
    seeds=range(200 if SMALL else 2000),
    truth=jnp.array([0.9, 0.1]),
    measure=lambda key, p: {"share": p[1], "alive": p[1] > 0},
)
tenth, steady = np.array([0.1]), np.full(times, 0.1)
chosen = laws.two_groups(0.1, lambda q: np.array([1 - laws.curated_pair(1 - x, gap) for x in q]), size, times)
alive = [
    laws.fresh_share_survival(tenth, 0.0, size, times).alive[:, 0],
    laws.fresh_share_survival(tenth, 0.1, size, times).alive[:, 0],
    laws.accumulate_survival(tenth, size, times).alive[:, 0],
    chosen.alive,
]
where = {"mitigation": exact["mitigation"], "generation": exact["generation"]}
panels = {
    "P(minority in the model)": plotting.Curve(
        exact["alive"].astype(float), xr.DataArray(alive, where), support=plotting.SHARE
    ),
    "share of the minority": plotting.Curve(
        exact["share"], xr.DataArray([steady] * 3 + [chosen.share], where), support=plotting.SHARE
    ),
}
plotting.curves(panels, x="generation", hue="mitigation")

# %% [markdown]
# ## Write your own
# A selection is a function that weighs candidates; `oversample` of them are written for each row that is kept. The
# first one here likes rows of many different tokens. The second has a memory: how often each token was seen so far, in
# real text and in what was kept. `start` makes the memory, `learn` updates it, and rows of rare tokens weigh more. Both
# made the text more diverse than the control's, and `rare first` favoured minorities; neither held the risk down.


# %%
def varied(key, candidates, pool, memory):
    different = jax.vmap(lambda row: (jnp.bincount(row, length=tokenizer.size) > 0).sum())(candidates.examples)
    return candidates.weights * jnp.exp(different / 2.0)


def count(candidates):
    return jnp.ones(tokenizer.size).at[candidates.examples].add(candidates.weights[:, None])


def rare_first(key, candidates, pool, seen):
    return candidates.weights * (1.0 / seen[candidates.examples]).mean(axis=1)


own = {
    "varied": cj.Selection("varied", varied, oversample=4),
    "rare first": cj.Selection(
        "rare first",
        rare_first,
        oversample=4,
        start=lambda key, real: count(real),
        learn=lambda key, candidates, pool, seen: seen + count(candidates),
    ),
}
mine = compare({name: cj.Mitigation(curate=selection) for name, selection in own.items()})
both = xr.concat([found.sel(mitigation=["replace", "control"]), mine], "mitigation", combine_attrs="drop")
display(side_by_side(mine))
draw(both)

# %% [markdown]
# ## Exercise
# Neither of them sees groups. Write a selection that keeps the minorities at their true shares: the group of each row
# is `classify(embed(candidates.examples)).argmax(axis=1)`. Does the risk on real text pay for it? Then join it to a
# tenth of real rows: `cj.Mitigation(MITIGATIONS["tenth fresh"].regime, curate=...)`. (`python -m experiments.defences`
# has more mitigations and measures on text, images and instructions, and `experiments.minorities` more of the laws.)
