"""How open a prompt is, estimated from what data tell of it, for a prompt-aware utility without a label a prompt.

A prompt is open where many answers are about as good, and closed where good and bad ones are told apart without doubt.
Several kinds of data say something of that. Each has a statistic here, one number a prompt, NaN where it says nothing
of a prompt, and larger the more open the prompt is:

- `disagreement` of annotators, or of one who gives probabilities;
- `tie_rate`, how often answers are called equally good;
- `closeness` of answers by graded strengths;
- `score_closeness` of answers by the scores of a first reward model that was not trained on the prompt.

`estimate_openness` makes of a statistic each prompt's probability of being open, and `soft_types` of that memberships
for `make_rankings`. Without knowing why, a statistic takes any two groups of prompts for open and closed ones.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from collapse_jax.checks.annotations import checked

__all__ = ["closeness", "disagreement", "estimate_openness", "score_closeness", "soft_types", "tie_rate"]

Wins = Sequence[Float[np.ndarray, "_ _"]] | Float[np.ndarray, "prompt item item"]
"""By prompt, at [i, j] the weight in [0, 1] of "i beats j", 0 both ways where the pair was not compared.

Prompts may have different numbers of items.
"""

Votes = int | Sequence[Int[np.ndarray, "_ _"]] | Int[np.ndarray, "prompt item item"]
"""How many annotators compared a pair: one number for all pairs, or by prompt at [i, j] and at [j, i]."""

Strengths = Sequence[Float[np.ndarray, "_ _"]] | Float[np.ndarray, "prompt item item"]
"""By prompt, at [i, j] by how much i is better than j, NaN where nobody says so."""

_FEWEST = 10
_LEAST_DEVIATION = 0.1  # Of the deviation of all prompts: statistics with many equal values have no spread within.


@checked
def disagreement(wins: Wins, votes: Votes | None = None) -> Float[np.ndarray, " prompt"]:
    """Return 4p(1 - p), the mean over a prompt's compared pairs: 0 where all agree, 1 where every pair is undecided.

    p is the share of votes for one side of a pair, or the probability that somebody gave. A few votes agree more than
    their voters do: with `votes`, how many there were, each pair is corrected by votes / (votes - 1), so that the mean
    is that of the true p, and may exceed 1; pairs with a single vote say nothing.

    Raises ValueError for wins that aren't in [0, 1], for votes below 1, and for those of other pairs than the wins.
    """
    if not isinstance(votes, int | np.integer | None) and len(votes) != len(wins):
        raise ValueError(f"votes are those of {len(votes)} prompts; wins have {len(wins)}")
    found = []
    for prompt, own in enumerate(_checked(wins)):
        share, compared = _upper(own)
        value = 4.0 * share * (1.0 - share)
        if votes is not None:
            number = _votes_of(votes, prompt, own)
            compared = compared & (number > 1)
            value = value * number / np.maximum(number - 1, 1)
        found.append(_mean(value[compared]))
    return np.array(found)


@checked
def tie_rate(wins: Wins) -> Float[np.ndarray, " prompt"]:
    """Return the share of a prompt's compared pairs that are ties: 1/2 both ways. Raises ValueError as wins demand."""
    rates = []
    for own in _checked(wins):
        share, compared = _upper(own)
        rates.append(_mean(np.abs(share[compared] - 0.5) < 1e-6))
    return np.array(rates)


@checked
def closeness(strengths: Strengths) -> Float[np.ndarray, " prompt"]:
    """Return minus the mean |strength| over a prompt's compared pairs: 0 or less, 0 where no answer is any better.

    A strength is by how much one answer is better than another, in any unit that all prompts share: a grade with a
    sign, a difference of scores, a log-odds. Those that are NaN, or of an item with itself, don't count.
    """
    found = []
    for prompt, own in enumerate(_square("strengths", strengths)):
        if np.isinf(own).any():
            raise ValueError(f"strengths of prompt {prompt} are infinite; they must be numbers, or NaN for none")
        upper = np.abs(own[np.triu_indices(len(own), 1)])
        found.append(-_mean(upper[~np.isnan(upper)]))
    return np.array(found)


@checked
def score_closeness(scores: Float[np.ndarray, "prompt item"]) -> Float[np.ndarray, " prompt"]:
    """Return minus the mean, over a prompt's pairs, of the better answer's score less the worse one's.

    Answers stand best first, by labels that the scores are not fitted to: those of a first reward model on prompts that
    it was not trained on, as `held_out_scores` has them. Where labels are as good as drawn by lot, such a model learns
    to prefer no answer, and its scores lie close together. Scores of answers that aren't there are NaN.

    They say nothing where the labels that the model was trained on are certain for every prompt, however open it is: it
    then collapses, and spreads the scores of all prompts alike. Nor do scores of prompts that it has learned by heart.
    """
    if np.isinf(scores).any():
        raise ValueError("scores are infinite; they must be numbers, or NaN where there is no answer")
    upper = np.triu_indices(scores.shape[1], 1)
    return np.array([-_mean(gaps[~np.isnan(gaps)]) for gaps in (scores[:, upper[0]] - scores[:, upper[1]])])


@checked
def estimate_openness(statistic: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " prompt"]:
    """Return the probability, in [0, 1], that a prompt is of the group in which the statistic is larger.

    Two normal components of one variance are fitted to the statistic. So a larger statistic never means a smaller
    probability. A prompt that says nothing (NaN) has the share of the larger group in all others.

    A warning says so where one normal component describes the statistic as well as two (by their BIC): then two groups
    are not to be seen, and what is returned orders prompts, but is not to be taken for probabilities.

    Raises ValueError for fewer than 10 prompts that say something, a statistic that is infinite, or the same for all.
    """
    known = ~np.isnan(statistic)
    values = np.asarray(statistic, np.float64)[known]
    if len(values) < _FEWEST:
        raise ValueError(
            f"statistic is known of {len(values)} prompts; openness is estimated from {_FEWEST} on: fewer don't show "
            "two groups"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"statistic of prompt {int(np.isinf(statistic).argmax())} is infinite")
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        raise ValueError(
            f"statistic is {values[0]:g} for all {len(values)} prompts: it tells none from another, as scores of a "
            "reward model that has collapsed, or votes of one annotator, do"
        )
    # Imported here, because it takes longer than the rest of the library.
    from sklearn.mixture import GaussianMixture

    values = values / np.abs(values).max()  # so that no square overflows, nor vanishes
    standard = ((values - values.mean()) / values.std())[:, None]
    one, two = (
        GaussianMixture(number, covariance_type="tied", reg_covar=_LEAST_DEVIATION**2, random_state=0, n_init=3)
        for number in (1, 2)
    )
    if two.fit(standard).bic(standard) > one.fit(standard).bic(standard):
        warnings.warn(
            "statistic has no two groups: one normal component describes it as well as two, so that the openness "
            "orders prompts but is no probability",
            stacklevel=3,
        )
    upper = int(np.argmax(two.means_[:, 0]))
    openness = np.full(len(statistic), two.weights_[upper])
    openness[known] = two.predict_proba(standard)[:, upper]
    return openness


@checked
def soft_types(openness: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, "prompt 2"]:
    """Return memberships for `make_rankings`: the openness as the share of the first type, the rest of the second.

    So the first of the `type_names` is that of open prompts. `soft_types(openness).round()` decides for one of them: a
    mixture of utilities follows the steeper one, so that certain labels separate more than shares do, where they are
    right. Raises ValueError for numbers outside [0, 1].
    """
    if not ((openness >= 0) & (openness <= 1)).all():
        raise ValueError(f"openness is {openness}; each must be in [0, 1]")
    return np.stack([openness, 1.0 - np.asarray(openness, np.float64)], axis=1)


def _square(name: str, given: Wins) -> Wins:
    if not len(given):
        raise ValueError(f"{name} are empty; give those of one prompt or more")
    for prompt, own in enumerate(given):
        if own.shape[0] != own.shape[1]:
            raise ValueError(
                f"{name} of prompt {prompt} have shape {own.shape}; expected as many columns as rows, one for each item"
            )
    return given


def _checked(wins: Wins) -> Wins:
    for prompt, own in enumerate(_square("wins", wins)):
        if not ((own >= 0) & (own <= 1)).all():
            raise ValueError(f"wins of prompt {prompt} are not all in [0, 1]")
    return wins


def _upper(wins: Float[np.ndarray, "item item"]) -> tuple[np.ndarray, np.ndarray]:
    """Return by pair the share of the first item's wins, 0 where there are none, and whether it was compared."""
    upper = np.triu_indices(len(wins), 1)
    won, lost = wins[upper], wins.T[upper]
    total = won + lost
    return np.where(total > 0, won / np.where(total > 0, total, 1.0), 0.0), total > 0


def _votes_of(votes: Votes, prompt: int, own: np.ndarray) -> np.ndarray:
    given = votes if isinstance(votes, int | np.integer) else votes[prompt]
    if np.ndim(given) and np.shape(given) != own.shape:
        raise ValueError(f"votes of prompt {prompt} have shape {np.shape(given)}; its wins have {own.shape}")
    number = np.broadcast_to(given, own.shape)[np.triu_indices(len(own), 1)]
    if (number[_upper(own)[1]] < 1).any():
        raise ValueError(f"votes of prompt {prompt} are below 1 for a pair that was compared")
    return number


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan
