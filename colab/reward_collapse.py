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
# # Reward collapse
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/collapse-jax/collapse_jax/blob/main/colab/reward_collapse.ipynb)
#
# A reward model trained on rankings ends with the *same* reward distribution for every prompt, because the ranking
# objective holds nothing about the prompt (Song, Cai, Lee, Su, [arXiv 2305.17608](https://arxiv.org/abs/2305.17608)).
# Which distribution depends on the utility alone. Here: one sweep, its law, and a utility of your own. It runs on a
# CPU, a GPU or a TPU as it stands.

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

import collapse_jax as cj
from collapse_jax import plotting

SMALL = bool(os.environ.get("COLLAPSE_SMALL"))  # a quick pass, for automatic checks of this notebook
print(f"JAX {jax.__version__} on", *jax.devices())
if jax.default_backend() == "cpu":
    print("No accelerator: this takes minutes here. In Colab choose one with Runtime > Change runtime type.")
if SMALL:
    print("The small setting: fewer generations, examples and lineages than by default, so that bands are wide.")

# %% [markdown]
# ## The law
# A utility `U(gap)` says what the objective pays for the gap between a better and a worse completion's rewards. With
# eight completions a prompt, these are the rewards that every prompt will get, best first, and a certified bound on
# what they miss of the optimum:

# %%
for name in ("linear", "log", "inverse_power", "log_sigmoid"):
    law = cj.finite_law(cj.UTILITIES[name], 8, offset=0.1)
    print(f"{name:14} {law.rewards.round(3)}   certified gap {law.gap:.0e}")

# %% [markdown]
# ## Rankings of real text
# The Python documentation that comes with every Python: some 320 prompts, each with eight completions ranked by
# length, as in the paper. A fair coin makes each prompt open-ended or closed-ended, and the prompt says which.

# %%
train, test = cj.data.ranking_sets()
print(len(train.prompts), "training prompts, for instance:\n ", train.prompts[0])
print("best completion: ", train.completions[0][0][:70], "...\nworst completion:", train.completions[0][-1][:70], "...")
rankings, held_out = (cj.make_rankings(*cj.data.featurize(part), part.types, part.type_names) for part in (train, test))

# %% [markdown]
# ## One sweep
# Utilities x seeds train in one compiled program. A scheme is a utility for all prompts, or one for each type of
# prompt: *prompt-aware* is just another row.

# %%
linear, inverse = (cj.choose(cj.UTILITIES[name], offset=0.1) for name in ("linear", "inverse_power"))
log = cj.choose(cj.UTILITIES["log"], offset=0.1)


def train_population(schemes):
    """Train every scheme with a few seeds; return what was measured and what is predicted."""
    process = cj.make_training(
        rankings, cj.mlp(), schemes, training=cj.reward.Training(steps=200 if SMALL else 1000), test=held_out
    )
    population = cj.sweep(process, {"seed": range(1 if SMALL else 4)})
    return population, cj.predict_rewards(schemes, population.sizes["item"])


population, predicted = train_population(
    cj.make_schemes({"linear": linear, "log": log, "inverse": inverse, "aware": {"open": inverse, "closed": linear}})
)

# %% [markdown]
# ## Measured beside predicted
# Blue: open-ended prompts, orange: closed-ended ones, dashed: the law. Under a fixed utility both lie on one law; only
# the prompt-aware utility tells them apart.

# %%
plotting.reward_curves(population, predicted)

# %%
metrics = cj.summarize_rewards(population, predicted).isel(step=-1).mean("seed")
metrics[["separation", "law_rmse", "accuracy"]].to_dataframe().round(3)

# %% [markdown]
# ## Your own utility
# Write it on gaps in (0, 1]. It gets its law, certificate, training and plots for free; a function that is not finite,
# increasing and differentiable is refused, with the gap where it fails.


# %%
@cj.utility(overwrite=True)  # so that this cell can run again
def saturating(gap, *, half=0.2):
    return gap / (gap + half)


limit = cj.limit_law(saturating)
print(limit)
halves = {f"half = {half}": cj.choose(saturating, half=half) for half in (0.05, 0.2, 1.0)}
schemes = cj.make_schemes(halves, rankings.type_names)
plotting.reward_curves(*train_population(schemes))

# %% [markdown]
# ## Exercise
# Which utility spreads eight rewards most evenly? Measure the distance of its law to equal spacing, then train with it.

# %%
even = jnp.linspace(0, 1, 8)
for name in ("linear", "log", "inverse_power"):
    print(name, float(cj.metrics.wasserstein(jnp.array(cj.finite_law(cj.UTILITIES[name], 8).rewards), even)))
