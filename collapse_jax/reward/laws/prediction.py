"""What a trained population must come to: the laws of the utilities that its schemes train."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.unit_interval import require_inside
from collapse_jax.reward.laws.closed_forms import LimitLaw
from collapse_jax.reward.laws.finite_law import finite_law
from collapse_jax.reward.laws.limit_law import limit_law
from collapse_jax.reward.laws.ranking_program import require_items
from collapse_jax.reward.rankings import Pairs
from collapse_jax.reward.schemes import Schemes, schemes_text, set_parameters

Values = float | Sequence[float] | Float[np.ndarray, " value"]
"""One number, or several that are an axis of what is predicted."""

Counts = int | Sequence[int] | Int[np.ndarray, " value"]
"""One whole number, or several that are an axis of what is predicted."""


@checked
def predict_rewards(
    schemes: Schemes, n_items: Counts, *, pairs: Pairs = "all", centring: Values = 0.0, **parameters: Values
) -> xr.Dataset:
    """Return the rewards that each scheme collapses to, (utility, type, item) with the best item first.

    Laws are those of the utilities as trained, offset and extension included, at the number of items there are.
    `value` is the optimal mean over pairs; `gap` its certified bound (NaN where none holds). What a sweep varies is
    given here as there, `centring` and `parameters` by the names in `schemes.parameters`: several values are a leading
    axis, one is a coordinate. So `gamma=[0.2, 0.5]` predicts a sweep over `{"gamma": [0.2, 0.5]}`. The number of items
    `n_items` is likewise one or several: prompts with different numbers of answers have each the law of their own, as
    `n_items=np.unique(sweep["prompt_items"])` asks for. There `rewards` are NaN at items beyond the number.

    A sweep with other `pairs` than "all" has the law of the same ones, given here in the coordinate `pairs`. The
    coordinate `schemes` is text by which `summarize_rewards` and `plotting.reward_curves` tell other schemes.

    Raises ValueError for unknown parameters, and for values that `choose` or `make_schemes` refuse.
    """
    counts = [int(one) for one in np.atleast_1d(n_items)]
    _require_distinct("n_items", counts)
    for one in counts:
        require_items(one)

    def laws(schemes: Schemes, centring: float) -> xr.Dataset:
        each = [_finite_laws(schemes, one, pairs, centring) for one in counts]
        return xr.concat(each, "n_items", join="outer") if np.ndim(n_items) else each[0]

    every = over_values({**schemes.parameters, **parameters, "centring": centring}, schemes, laws)
    return every.assign_coords(schemes=schemes_text(schemes, values=False))


def _finite_laws(schemes: Schemes, n_items: int, pairs: Pairs, centring: float) -> xr.Dataset:
    shape = (len(schemes.choices), len(schemes.type_names))
    rewards, value, gap = np.empty((*shape, n_items)), np.empty(shape), np.empty(shape)
    for row, choices in enumerate(schemes.choices.values()):
        for kind, choice in enumerate(choices):
            law = finite_law(choice, n_items, pairs=pairs, centring=centring)
            rewards[row, kind], value[row, kind], gap[row, kind] = law.rewards, law.value, law.gap
    over = ("utility", "type")
    return xr.Dataset(
        {"rewards": ((*over, "item"), rewards), "value": (over, value), "gap": (over, gap)},
        {
            "utility": list(schemes.choices),
            "type": list(schemes.type_names),
            "item": np.arange(1, n_items + 1),
            "n_items": n_items,
            "pairs": pairs,
        },
    )


@checked
def limit_values(schemes: Schemes, **parameters: Values) -> xr.Dataset:
    """Return, by utility and type, the limit law's value I* and U(0), as `summarize_rewards` takes them.

    They are for a `centring` of 0 and all pairs; `parameters` are as in `predict_rewards`.
    """

    def limits(schemes: Schemes, centring: float) -> xr.Dataset:
        over = ("utility", "type")
        laws = [[limit_law(choice).value for choice in row] for row in schemes.choices.values()]
        zeros = [[choice.shape.value_at_zero for choice in row] for row in schemes.choices.values()]
        coords: dict[str, Any] = {
            "utility": list(schemes.choices),
            "type": list(schemes.type_names),
            "pairs": "all",
        }
        return xr.Dataset({"limit_value": (over, np.array(laws)), "value_at_zero": (over, np.array(zeros))}, coords)

    every = over_values({**schemes.parameters, **parameters, "centring": 0.0}, schemes, limits)
    return every.assign_coords(schemes=schemes_text(schemes, values=False))


def over_values(
    values: Mapping[str, Values], schemes: Schemes, law: Callable[[Schemes, float], xr.Dataset]
) -> xr.Dataset:
    """Return law(schemes, centring) at every combination of values, those of several along axes of their names.

    `values` are those of `schemes.parameters` and of "centring".
    """
    name = next((name for name, given in values.items() if np.ndim(given)), None)
    if name is None:
        centring = float(values["centring"])  # type: ignore[arg-type]
        own = {name: float(value) for name, value in values.items() if name != "centring"}  # type: ignore[arg-type]
        return law(set_parameters(schemes, own), centring).assign_coords(values)
    given = np.asarray(values[name])
    _require_distinct(name, given.tolist())
    return xr.concat([over_values({**values, name: float(one)}, schemes, law) for one in given], name)


def _require_distinct(name: str, given: Sequence[float]) -> None:
    if not given or len(set(given)) < len(given):
        raise ValueError(f"{name} is {given}; give at least one value, and none twice")


@checked
def wasserstein_to_limit(rewards: Float[np.ndarray, " n"], law: LimitLaw, *, points: int = 256) -> float:
    """Return the 1-Wasserstein distance between n equally weighted rewards in [0, 1] and a limit law.

    A midpoint rule with `points` levels a reward. Where the law has a density, n rewards can't come nearer than about
    1/(4n), however well they are placed: `quantile_distance` has no such floor. Raises ValueError for rewards that
    aren't in [0, 1], where the law lies.
    """
    require_inside("rewards", rewards)
    if points < 1:
        raise ValueError(f"points is {points}; it must be a whole number from 1 on")
    n = len(rewards)
    levels = (np.arange(n * points) + 0.5) / (n * points)
    return float(np.abs(np.repeat(np.sort(rewards), points) - law.quantile(levels)).mean())


@checked
def quantile_distance(rewards: Float[np.ndarray, " n"], law: LimitLaw) -> float:
    """Return the mean distance between n rewards in order and the law's quantiles at the levels (i - 1/2)/n.

    Raises ValueError for rewards that aren't in [0, 1], where the law lies.
    """
    require_inside("rewards", rewards)
    return float(np.abs(np.sort(rewards) - law.quantile((np.arange(len(rewards)) + 0.5) / len(rewards))).mean())
