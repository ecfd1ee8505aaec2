"""What a population trained on labels of pairs must come to: the law of each prompt's own labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.checks.annotations import checked
from collapse_jax.reward.laws.finite_law import finite_law
from collapse_jax.reward.laws.labelled_law import Optimum, groups_of, weighted_law
from collapse_jax.reward.laws.prediction import Values, over_values
from collapse_jax.reward.rankings import Labels, Rankings, Weights, order_wins, prompt_coords, strongest_labels
from collapse_jax.reward.schemes import Schemes, schemes_text
from collapse_jax.reward.utilities import Choice


class _Prompt(NamedTuple):
    """A prompt's type, and the weights and margins of its items."""

    kind: int
    weights: Weights
    margins: Weights


@checked
def predict_labelled(
    rankings: Rankings,
    schemes: Schemes,
    *,
    test: Rankings | None = None,
    centring: Values = 0.0,
    bounded: bool = True,
    **parameters: Values,
) -> xr.Dataset:
    """Return the rewards that each prompt's own labels lead to, (utility, prompt, item), in the order of its items.

    `value` is the optimal objective of a prompt, a mean by weight over its pairs, and `gap` its certified bound. Give
    what was trained: the rankings, `test` if there was one, and `bounded=False` for a model of raw logits; `centring`
    and `parameters` as in `predict_rewards`, one value or several. Prompts of equal labels share one law, found once.
    Rewards are NaN where there is no item. Where nothing depends on their shift, rewards are those nearest to 1/2, and
    logits have mean 0: they might as well be shifted by anything from `shift_low` to `shift_high`, both 0 elsewhere,
    all items of a `group` alike: groups, numbered from 0 in each prompt, are of items that comparisons lead between.

    Raises ValueError for types of prompts that are memberships or not those of the schemes, and as `finite_law` does,
    with the number of the prompt: for utilities that the labels have no law for, and where logits have no optimum.
    """
    parts = [rankings, *([test] if test else [])]
    for part in parts:
        if part.type_names != schemes.type_names:
            raise ValueError(f"rankings have the types {part.type_names}, the schemes are for {schemes.type_names}")
        if part.memberships is not None:
            raise ValueError("rankings have memberships, whose laws are predict_mixed's, for labels that are orders")
    labels = strongest_labels(parts)

    def laws(schemes: Schemes, centring: float) -> xr.Dataset:
        return _laws(parts, labels, schemes, centring, bounded)

    every = over_values({**schemes.parameters, **parameters, "centring": centring}, schemes, laws)
    return every.assign_coords(schemes=schemes_text(schemes, values=False))


def _laws(parts: Sequence[Rankings], labels: Labels, schemes: Schemes, centring: float, bounded: bool) -> xr.Dataset:
    prompts = [prompt for part in parts for prompt in _prompts(part)]
    known: dict[object, Optimum] = {}

    def law(number: int, choice: Choice) -> Optimum:
        """Return the law of one prompt, found unless it is known of another one."""
        weights, margins = prompts[number].weights, prompts[number].margins
        key = choice.utility.fn, tuple(choice.params.items()), weights.tobytes(), margins.tobytes()
        if key not in known:
            try:
                known[key] = _optimum(choice, prompts[number], labels, centring, bounded)
            except ValueError as error:
                raise ValueError(f"prompt {number}: {error}") from None
        return known[key]

    shape = len(schemes.choices), len(prompts)
    rewards = np.full((*shape, max(part.mask.shape[1] for part in parts)), np.nan)
    value, gap, shift = np.empty(shape), np.empty(shape), np.zeros((2, *rewards.shape))
    groups = np.full(rewards.shape[1:], -1)
    for number, prompt in enumerate(prompts):
        groups[number, : len(prompt.weights)] = groups_of(prompt.weights)
    for row, choices in enumerate(schemes.choices.values()):
        for number, prompt in enumerate(prompts):
            best, value[row, number], gap[row, number] = law(number, choices[prompt.kind])
            rewards[row, number, : len(best)] = best
            for group in () if centring else np.unique(groups[number, : len(best)]):
                own = groups[number] == group
                ends = (-rewards[row, number, own].min(), 1.0 - rewards[row, number, own].max())
                shift[:, row, number, own] = np.reshape(ends if bounded else (-np.inf, np.inf), (2, 1))
    over = ("utility", "prompt")
    return xr.Dataset(
        {
            "rewards": ((*over, "item"), rewards),
            "value": (over, value),
            "gap": (over, gap),
            "shift_low": ((*over, "item"), shift[0]),
            "shift_high": ((*over, "item"), shift[1]),
            "group": (("prompt", "item"), groups),
        },
        {
            "utility": list(schemes.choices),
            "item": np.arange(1, rewards.shape[-1] + 1),
            **prompt_coords(*parts),
            "pairs": "all",
            "labels": labels,
            "bounded": bounded,
        },
    )


def _prompts(rankings: Rankings) -> list[_Prompt]:
    wins = order_wins(rankings.mask) if rankings.wins is None else rankings.wins
    margins = np.zeros_like(wins) if rankings.margins is None else rankings.margins
    return [
        _Prompt(int(kind), won[:count, :count], margin[:count, :count])
        for kind, count, won, margin in zip(rankings.types, rankings.mask.sum(1), wins, margins, strict=True)
    ]


def _optimum(choice: Choice, prompt: _Prompt, labels: Labels, centring: float, bounded: bool) -> Optimum:
    if labels == "orders":
        law = finite_law(choice, len(prompt.weights), centring=centring, bounded=bounded)
        return law.rewards, law.value, law.gap
    graded = labels == "graded"
    return weighted_law(choice, prompt.weights, prompt.margins, centring=centring, bounded=bounded, both_sides=graded)
