"""Ranked completions of prompts, best first, what labels say of them, and the pairs that an objective compares."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from collapse_jax.data.prefixes import Prefixes as Prefixes
from collapse_jax.data.readers import Features

Pairs = Literal["all", "chain", "star", "plackett_luce"]
Labels = Literal["orders", "weighted", "graded"]
"""What labels say: each prompt's items in order; weights and margins of pairs of which one side wins; or both sides."""
Weights = Float[np.ndarray, "item item"]
PairLabels = Float[np.ndarray, "prompt item item"]

_ROUNDING = 1e-6  # Of two shares in float32 that should add up to one.
_SHARES = 1e-5  # The same of any number of them.


class Rankings(NamedTuple):
    """Prompts with their completions, the best first, as what a model reads: features, tokens, or `Prefixes`.

    `mask` is true where there is a completion: prompts may have different numbers of them, the missing ones last.
    `types` index `type_names`, by which a prompt-aware objective chooses its utility: as many types as the data have,
    under the names that they have there. Where a type is not certain, `memberships` are the shares of each, which sum
    to one: a prompt's objective is then the mean of those of the types, with these weights, and `types` only name the
    prompt in records.

    Labels may say more than an order. `wins` has at [prompt, i, j] the weight, in [0, 1], of "i beats j": 1 and 0 for a
    pair in order, 1/2 both ways for a tie, a probability and its complement where there is one, and 0 both ways where
    the pair was not compared. None stands for orders: every item beats all that come after it. `margins`, 0 or more,
    has at [prompt, i, j] the gap of rewards by which i should beat j; None stands for no margins.
    """

    features: Features
    mask: Bool[np.ndarray, "prompt item"]
    types: Int[np.ndarray, " prompt"]
    type_names: tuple[str, ...] = ("all",)
    wins: PairLabels | None = None
    margins: PairLabels | None = None
    memberships: Float[np.ndarray, "prompt type"] | None = None


def make_rankings(
    features: Features,
    mask: Bool[np.ndarray, "prompt item"],
    types: Int[np.ndarray, " prompt"],
    type_names: tuple[str, ...] = ("all",),
    *,
    wins: PairLabels | None = None,
    margins: PairLabels | None = None,
    memberships: Float[np.ndarray, "prompt type"] | None = None,
) -> Rankings:
    """Return checked rankings; `type_names` names the types of prompts, one type unless it is given.

    `wins` and `margins` say more of pairs than an order does, as in `Rankings`. `memberships` are the shares, in
    [0, 1], that each type has in a prompt; `soft_types` makes them of what data tell.

    Raises ValueError for shapes or types that don't fit, no prompts, a non-finite feature, a prompt with fewer than two
    completions or with a gap between them, or a type outside `type_names`; for wins outside [0, 1], of which the two of
    a pair add up to more than 1, of an item with itself or one that isn't there, or of no pair at all; for negative or
    infinite margins; and for memberships that aren't shares which sum to one. It names the argument and the prompt.
    """
    if not isinstance(type_names, tuple | list) or not all(isinstance(name, str) for name in type_names):
        raise ValueError(f"type_names is {type_names!r}; it must be a tuple of strings")
    mask, types = np.asarray(mask), np.asarray(types)
    features, items = _checked(features)
    if mask.shape != items or mask.dtype != bool:
        raise ValueError(f"mask is {mask.dtype}{mask.shape}; expected bool{items}, as features have")
    if types.shape != items[:1] or types.dtype.kind not in "iu":
        raise ValueError(f"types are {types.dtype}{types.shape}; expected one integer for each prompt of features")
    if not items[0]:
        raise ValueError("rankings need at least one prompt; features is empty")
    few = mask.sum(1) < 2
    if few.any():
        raise ValueError(f"prompt {int(few.argmax())} has fewer than two completions: nothing to rank")
    holes = (np.diff(mask.astype(int), axis=1) > 0).any(1)
    if holes.any():
        raise ValueError(f"the mask of prompt {int(holes.argmax())} has a gap: missing completions come last")
    strange = (types < 0) | (types >= len(type_names))
    if strange.any():
        at = int(strange.argmax())
        raise ValueError(f"prompt {at} has type {types[at]}; types index type_names, {type_names}")
    if wins is not None:
        wins = _checked_wins(wins, mask)
    if margins is not None:
        margins = _checked_margins(margins, mask)
    if memberships is not None:
        memberships = np.asarray(memberships)
        require_memberships("memberships", memberships, (items[0], len(type_names)))
    return Rankings(features, mask, types.astype(np.int32), tuple(type_names), wins, margins, memberships)


def require_memberships(name: str, given: Float[np.ndarray, "... prompt type"], shape: tuple[int, int]) -> None:
    """Raise ValueError unless all are rows of shares in [0, 1], which sum to one, of so many prompts and types."""
    if given.shape[-2:] != shape or given.dtype.kind not in "fiu":
        raise ValueError(f"{name} are {given.dtype}{given.shape}; expected shares {shape}, by prompt and type")
    wrong = ~((given >= 0).all(-1) & (np.abs(given.sum(-1) - 1) <= _SHARES))
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise ValueError(f"{name} of prompt {place[-1]} are {given[place]}; they must be shares >= 0 that sum to 1")


def shares_of_types(rankings: Rankings) -> Float[np.ndarray, "prompt type"]:
    """Return the memberships, or where there are none, those of the types: all of a prompt is of its own."""
    own = np.eye(len(rankings.type_names))[rankings.types]
    return own if rankings.memberships is None else np.asarray(rankings.memberships)


def _checked_wins(given: Any, mask: Bool[np.ndarray, "prompt item"]) -> PairLabels:
    """Return wins in float64; ValueError, with the prompt, for what isn't the weights of compared pairs."""
    wins: PairLabels = _pair_labels("wins", given, mask)
    _refuse("wins", wins, (wins < 0) | (wins > 1), "weights are in [0, 1]")
    both = wins + wins.swapaxes(1, 2)
    _refuse("wins", wins, both > 1 + _ROUNDING, "with that of the other side it adds up to more than 1")
    _refuse("wins", wins, (wins != 0) & ~_pairs_of(mask), "an item of the mask is compared with another one of it")
    alone = ~(wins > 0).any((1, 2))
    if alone.any():
        raise ValueError(f"wins of prompt {int(alone.argmax())} are all 0; at least one pair must be compared")
    return wins


def _checked_margins(given: Any, mask: Bool[np.ndarray, "prompt item"]) -> PairLabels:
    margins: PairLabels = _pair_labels("margins", given, mask)
    _refuse("margins", margins, margins < 0, "margins are 0 or more")
    return margins


def _pair_labels(name: str, labels: Any, mask: Bool[np.ndarray, "prompt item"]) -> PairLabels:
    labels = np.asarray(labels)
    shape = (*mask.shape, mask.shape[1])
    if labels.shape != shape or labels.dtype.kind not in "fi":
        raise ValueError(f"{name} are {labels.dtype}{labels.shape}; expected floats (prompt, item, item), {shape}")
    exact: PairLabels = labels.astype(np.float64)
    _refuse(name, exact, ~np.isfinite(exact), "they must be finite")
    return exact


def _refuse(name: str, labels: PairLabels, bad: Bool[np.ndarray, "prompt item item"], why: str) -> None:
    if bad.any():
        prompt, one, other = (int(at) for at in np.argwhere(bad)[0])
        raise ValueError(f"{name} of prompt {prompt} have {labels[prompt, one, other]:g} at [{one}, {other}]: {why}")


def _pairs_of(mask: Bool[np.ndarray, "prompt item"]) -> Bool[np.ndarray, "prompt item item"]:
    """Return which places [i, j] are two different items that are there."""
    return np.asarray(mask[:, :, None] & mask[:, None] & ~np.eye(mask.shape[1], dtype=bool))


def order_wins(mask: Bool[np.ndarray, "prompt item"]) -> PairLabels:
    """Return the wins that orders stand for: every item beats all that come after it."""
    return np.triu(_pairs_of(mask)).astype(np.float64)


def labels_of(rankings: Rankings) -> Labels:
    """Return what the labels of rankings say: wins that are 1 for complete orders say no more than orders do."""
    wins = order_wins(rankings.mask) if rankings.wins is None else rankings.wins
    if ((wins > 0) & (wins.swapaxes(1, 2) > 0)).any():
        return "graded"
    margins = rankings.margins is not None and (rankings.margins[wins > 0] > 0).any()
    return "weighted" if margins or (wins != order_wins(rankings.mask)).any() else "orders"


def _checked(features: Any) -> tuple[Features, tuple[int, int]]:
    """Return the features as NumPy arrays, and the number of prompts and of items."""
    if isinstance(features, Prefixes):
        tokens, start, last = (np.asarray(field) for field in features)
        if tokens.ndim != 2 or tokens.dtype.kind != "i" or last.ndim != 2 or last.dtype.kind != "i":
            raise ValueError(
                f"features have tokens {tokens.dtype}{tokens.shape} and last {last.dtype}{last.shape}; "
                "expected integers (prompt, token) and (prompt, item)"
            )
        if start.ndim != 1 or start.dtype.kind != "i":
            raise ValueError(f"features have start {start.dtype}{start.shape}; expected integers (prompt,)")
        if len({len(tokens), len(start), len(last)}) > 1:
            raise ValueError(
                f"features have tokens of {len(tokens)} prompts, start of {len(start)} and last of {len(last)}"
            )
        outside = (last < 0) | (last >= tokens.shape[1])
        if outside.any():
            prompt, item = (int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"features of prompt {prompt} have last {last[prompt, item]} for item {item}; "
                f"places of tokens are 0 to {tokens.shape[1] - 1}"
            )
        return Prefixes(tokens, start, last), (len(last), last.shape[1])
    features = np.asarray(features)
    if features.ndim != 3 or features.dtype.kind not in "fi":
        raise ValueError(
            f"features are {features.dtype}{features.shape}; expected floats (prompt, item, feature), integers "
            "(prompt, item, token), or Prefixes"
        )
    if not np.isfinite(features).all():
        raise ValueError(f"features of prompt {int(np.argwhere(~np.isfinite(features))[0][0])} are not finite")
    return features, (len(features), features.shape[1])


def prompt_coords(train: Rankings, *test: Rankings) -> dict[str, tuple[str, np.ndarray]]:
    """Return what is known of each prompt, those to test on last, as coordinates of sweeps and of the laws beside them.

    They are its split, the name of its type and its number of items.
    """
    parts = [train, *test]
    prompts = sum(len(part.types) for part in parts)
    return {
        "prompt_split": ("prompt", np.where(np.arange(prompts) < len(train.types), "train", "test")),
        "prompt_type": ("prompt", np.concatenate([np.asarray(part.type_names)[part.types] for part in parts])),
        "prompt_items": ("prompt", np.concatenate([part.mask.sum(1) for part in parts])),
    }


def strongest_labels(parts: Sequence[Rankings]) -> Labels:
    """Return what the labels of all rankings say together: graded if any are, and orders only if all are."""
    order: tuple[Labels, ...] = get_args(Labels)
    return max((labels_of(part) for part in parts), key=order.index)


def pair_indices(n_items: int, pairs: Pairs) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Return the (better, worse) items of every pair, item 0 being the best.

    "all" pairs, the "chain" of neighbours, or the "star" of the best against each other one. "plackett_luce" has all
    pairs, in stages: each item against all that come after it.

    >>> [(int(i), int(j)) for i, j in zip(*pair_indices(3, "all"))]
    [(0, 1), (0, 2), (1, 2)]

    Raises ValueError for another word.
    """
    if pairs not in get_args(Pairs):
        raise ValueError(f"pairs is {pairs!r}; it must be one of {', '.join(get_args(Pairs))}")
    if pairs == "chain":
        return np.arange(n_items - 1), np.arange(1, n_items)
    if pairs == "star":
        return np.zeros(n_items - 1, int), np.arange(1, n_items)
    better, worse = np.triu_indices(n_items, 1)
    return better, worse
