"""What curated_loop must show: a frozen reward model has the rewards of its law, and answers are tilted by them."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

import collapse_jax as cj
from experiments.testbeds.loop_curation import TYPES, Curation
from experiments.testbeds.loop_tokens import token_quality


def token_laws(
    schemes: cj.reward.Schemes, curation: Curation, answers: int, *, strengths: Sequence[float], generations: int
) -> xr.Dataset:
    """Return the paths of infinitely many samples: answers, equally likely at first, are tilted by their rank."""
    rewards = cj.predict_rewards(schemes, answers)["rewards"]
    quality = token_quality(2, answers)
    by_rank = xr.DataArray(
        [cj.generative.laws.ranked_quality(one, curation.noise) for one in quality], dims=("type", "item")
    )
    right = slice(0, int((quality[1] > 0.5).sum()))
    over = ("utility", "strength", "type")
    coords = {**rewards.coords, "strength": list(strengths), "generation": np.arange(generations) + 1}
    p = xr.DataArray(
        [[[_tilted(tau * r, curation, generations) for r in row] for tau in strengths] for row in rewards.to_numpy()],
        coords,
        (*over, "generation", "item"),
    )
    among = p.isel(item=right) / p.isel(item=right).sum("item")
    growth = [
        [[cj.generative.laws.curated_concentration(tau * r, curation.choose_from) for r in row] for tau in strengths]
        for row in rewards.to_numpy()
    ]
    uniform = np.full(answers, 1.0 / answers)
    best = cj.generative.laws.best_of(np.cumsum(uniform), curation.choose_from, generations - 1)
    return xr.Dataset(
        {
            "diversity_law": 1.0 - (p**2).sum("item"),
            "diversity_right_law": 1.0 - (among**2).sum("item"),
            "quality_law": (p * by_rank).sum("item"),
            "drift_law": 0.5 * abs(p - 1.0 / answers).sum("item"),
            "offered_law": (p * rewards).sum("item"),
            "growth_law": (over, growth),
            "hard_diversity_law": ("generation", 1.0 - (np.diff(best, prepend=0.0) ** 2).sum(1)),
        }
    )


def text_laws(
    schemes: cj.reward.Schemes, curation: Curation, answers: int, *, strength: float, generations: int
) -> xr.Dataset:
    """Return, by arm, the law of the rewards, and how choices move their mean if models learn all that was chosen."""
    rewards = cj.predict_rewards(schemes, answers)["rewards"]
    arms = {"control": ("aware", 0.0), **{name: (name, strength) for name in ("x", "-1/x", "aware")}}
    means = np.array(
        [
            [_tilted(tau * r, curation, generations + 1) @ r for r in rewards.sel(utility=name).to_numpy()]
            for name, tau in arms.values()
        ]
    )
    over = ("arm", "type", "generation")
    law = rewards.sel(utility=[name for name, _ in arms.values()]).rename(utility="arm").assign_coords(arm=list(arms))
    return xr.Dataset(
        {"offered_law": (over, means[:, :, :-1]), "judged_law": (over, means[:, :, 1:]), "rewards_law": law},
        {"type": list(TYPES), "generation": np.arange(generations) + 1},
    ).drop_vars("item")


def _tilted(logits: np.ndarray, curation: Curation, generations: int) -> np.ndarray:
    """Return a distribution for each generation: uniform, then of what is chosen from the one before."""

    def choose(p: np.ndarray) -> np.ndarray:
        # Sums are renormalised: a long iteration lets rounding grow.
        return cj.generative.laws.curated(p / p.sum(), logits, curation.choose_from)

    return cj.generative.laws.iterate_decoding(choose, np.full(len(logits), 1.0 / len(logits)), generations - 1)
