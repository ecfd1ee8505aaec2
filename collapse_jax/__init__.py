"""Show, predict and prevent collapse in learned systems: populations in one compiled program, each beside its law.

>>> import collapse_jax as cj
>>> cj.finite_law(cj.UTILITIES["log"], 4).rewards.round(4).tolist()
[1.0, 0.7236, 0.2764, 0.0]

The names below are those of README's examples; everything else is reached through its submodule, which says its domain:
`cj.reward.certified_gap`, `cj.generative.count_matrix`, `cj.engine.make_mesh`, `cj.plotting.reward_curves`.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from collapse_jax import data, engine, generative, loop, metrics, nets, reward
from collapse_jax.engine import sweep
from collapse_jax.generative import (
    FAMILIES,
    FRESH,
    REAL,
    REGIMES,
    Selection,
    families,
    make_plan,
    make_recursion,
    predict_moments,
    regime,
    resample,
    selections,
    with_share,
)
from collapse_jax.loop import Mitigation, compare_mitigations
from collapse_jax.reward import (
    UTILITIES,
    choose,
    finite_law,
    limit_law,
    make_rankings,
    make_schemes,
    make_training,
    mlp,
    predict_rewards,
    summarize_rewards,
    utility,
)

if TYPE_CHECKING:
    from collapse_jax import plotting, testing

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "FRESH",
    "REAL",
    "REGIMES",
    "UTILITIES",
    "Mitigation",
    "Selection",
    "choose",
    "compare_mitigations",
    "data",
    "engine",
    "families",
    "finite_law",
    "generative",
    "limit_law",
    "loop",
    "make_plan",
    "make_rankings",
    "make_recursion",
    "make_schemes",
    "make_training",
    "metrics",
    "mlp",
    "nets",
    "plotting",
    "predict_moments",
    "predict_rewards",
    "regime",
    "resample",
    "reward",
    "selections",
    "summarize_rewards",
    "sweep",
    "testing",
    "utility",
    "with_share",
]


def __getattr__(name: str) -> ModuleType:
    # Matplotlib takes longer to import than all the rest of the library: whoever draws nothing does without. Checks are
    # for tests.
    if name in ("plotting", "testing"):
        return importlib.import_module(f"collapse_jax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "plotting", "testing"})
