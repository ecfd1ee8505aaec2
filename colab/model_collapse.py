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
# # Model collapse
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/collapse-jax/collapse_jax/blob/main/colab/model_collapse.ipynb)
#
# A generator trained on what generators emit loses the tails of the truth, then the truth (Shumailov et al., Nature
# 631:755). A *regime* says which examples train each generation, and it decides what is lost: models trained on the
# last generation alone collapse, models trained on everything so far do not (Gerstgrasser et al.,
# [arXiv 2404.01413](https://arxiv.org/abs/2404.01413)).
#
# Here: Gaussians under three regimes beside their exact law, a regime and a generator of your own, and a profile of
# eight definitions of collapse. It runs on a CPU, a GPU or a TPU as it stands.

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
import os

import jax
import jax.numpy as jnp
from IPython.display import display

import collapse_jax as cj
from collapse_jax import plotting

SMALL = bool(os.environ.get("COLLAPSE_SMALL"))  # a quick pass, for automatic checks of this notebook
print(f"JAX {jax.__version__} on", *jax.devices())
if jax.default_backend() == "cpu":
    print("No accelerator: this takes minutes here. In Colab choose one with Runtime > Change runtime type.")
if SMALL:
    print("The small setting: fewer generations, examples and lineages than by default, so that bands are wide.")

# %%
# One sweep: regimes x sizes x seeds in one compiled program. Bands are two standard errors over seeds, dashes the law.
generations, seeds = (10, 20) if SMALL else (30, 200)


def compare(family, regimes, samples=(30, 100)):
    """Sweep a family of true mean 0 and variance 1 and draw its moments beside the law."""
    plan = cj.make_plan(regimes, generations, samples)
    population = cj.sweep(cj.make_recursion(family, plan), {"seed": range(seeds)})
    law = cj.predict_moments(plan, family).isel(ratio=0)
    rows = {
        "variance": plotting.Curve(population["variance"], law["variance"], support=plotting.POSITIVE),
        "squared error of the mean": plotting.Curve(
            population["mean"].isel(dim=0) ** 2, law["mean_error"], support=plotting.POSITIVE
        ),
    }
    return plotting.curves(rows, x="generation", hue="regime", column="samples")


three = [cj.REGIMES[name] for name in ("replace", "accumulate", "accumulate_subsample")]
compare(cj.families.gaussian(), three)

# %% [markdown]
# ## Your own regime
# A function says how many examples of each source train a generation. Sources are `cj.FRESH` (real examples drawn
# anew), `cj.REAL` (the fixed real set) and the generations 1, 2, …; of a source, k means its first k examples. The
# count matrix is all that the sweep and the law need. This one halves a source with every generation that passes.


# %%
@cj.regime(overwrite=True)  # so that this cell can run again
def fading(generation, source, samples, ratio):
    return samples // 2 ** (generation - 1 - source) if cj.REAL <= source < generation else 0


print(
    cj.generative.count_matrix(fading, 4, samples=100)
)  # rows: generations; columns: fresh, the real set, generations 1 to 3
compare(cj.families.gaussian(), [three[0], fading, three[1]])

# %% [markdown]
# ## Your own generator
# A `Family` is a few pure functions: parameters to start from, a fit to weighted examples, samples. The law asks only
# that the fit match the weighted mean and variance, which `matching` declares, so that it holds for these uniform
# distributions too; a family that doesn't declare it gets no law.


# %%
def fit(key, params, x, weights):
    mean = jnp.average(x, weights=weights)
    return mean, jnp.average((x - mean) ** 2, weights=weights)


uniform = cj.generative.Family(
    "uniform",
    init=lambda key, x, weights: (jnp.zeros(()), jnp.ones(())),
    fit=fit,
    sample=lambda key, params, n: params[0] + jnp.sqrt(3 * params[1]) * jax.random.uniform(key, (n,), minval=-1),
    moments=lambda params: cj.generative.Moments(params[0][None], params[1]),
    truth=(0.0, 1.0),
    matching=cj.generative.MomentMatching(),
)
compare(uniform, three)

# %% [markdown]
# ## The collapse profile
# Papers mean eight different things by collapse (Schaeffer et al., [arXiv 2503.03150](https://arxiv.org/abs/2503.03150)).
# A profile measures them against a control of the same seeds that is trained on fresh real data only. Here a
# categorical model of a Zipf vocabulary emits at temperature 1, then a little colder. `risk` is the total variation
# from the truth, `modes` the number of tokens alive, `tail` the share alive of the rarest tenth of the real mass. Two
# definitions stay unmeasured: a scaling law needs several sizes, and a token that was never real is never emitted.

# %%
family = cj.families.categorical(100, exponent=1.5)
rare = jnp.cumsum(family.truth) > 0.9


def measure(key, p):
    return {
        "risk": cj.metrics.total_variation(p, family.truth),
        "variance": cj.metrics.heterozygosity(p),
        "modes": cj.metrics.survivors(p),
        "tail": cj.metrics.group_coverage(p, family.truth, rare, threshold=0.0),
    }


regimes = [cj.REGIMES[name] for name in ("replace", "accumulate", "real_fraction_fresh")]
plan = cj.make_plan(regimes, generations, samples=300, ratios=[0.2, 1.0])
process = cj.make_recursion(family, plan, decoding=["temperature"], measure=measure)
population = cj.sweep(process, {"temperature": [1.0, 0.95], "seed": range(40)})
control = population.sel(regime="real_fraction_fresh", ratio=1.0, temperature=1.0)
for temperature in (1.0, 0.95):
    print("temperature", temperature)
    display(
        plotting.collapse_profile(
            cj.metrics.collapse_profile(population.sel(ratio=0.2, temperature=temperature), control)
        )
    )

# %% [markdown]
# ## Exercise
# How small a share of fresh real examples keeps nine tenths of a Gaussian's variance at 30 examples a generation? Ask
# the law, which needs no sweep, then test it. Does the same share do if the real examples are replayed instead?

# %%
plan = cj.make_plan(cj.REGIMES["real_fraction_fresh"], 50, samples=30, ratios=[0.0, 0.1, 0.3, 1.0])
cj.predict_moments(plan, cj.families.gaussian()).isel(generation=-1).to_dataframe().round(3)
