"""Ranked completions of prompts, best first, and the pairs of them that an objective compares."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Array, Bool, Float, Int

Pairs = Literal["all", "chain", "star"]


class Prefixes(NamedTuple):
    """Completions that are prefixes of one text: its tokens, below 0 where there is none, and the last token of each.

    A text begins with the prompt; `start` is the place where the completions begin. `last` is a place in the text; for
    an item that does not exist it is 0.
    """

    tokens: Int[np.ndarray, "prompt token"] | Int[Array, "... token"]
    start: Int[np.ndarray, " prompt"] | Int[Array, "..."]
    last: Int[np.ndarray, "prompt item"] | Int[Array, "... item"]


Features = Float[np.ndarray, "prompt item feature"] | Int[np.ndarray, "prompt item token"] | Prefixes


class Rankings(NamedTuple):
    """Prompts with their completions, the best first, as what a model reads: features, tokens, or `Prefixes`.

    `mask` is true where there is a completion: prompts may have different numbers of them, the missing ones last.
    `types` index `type_names`, by which a prompt-aware objective chooses its utility: as many types as the data have,
    under the names that they have there.
    """

    features: Features
    mask: Bool[np.ndarray, "prompt item"]
    types: Int[np.ndarray, " prompt"]
    type_names: tuple[str, ...] = ("all",)


def make_rankings(
    features: Features,
    mask: Bool[np.ndarray, "prompt item"],
    types: Int[np.ndarray, " prompt"],
    type_names: tuple[str, ...] = ("all",),
) -> Rankings:
    """Return checked rankings; `type_names` names the types of prompts, one type unless it is given.

    Raises ValueError for shapes or types that don't fit, no prompts, a non-finite feature, a prompt with fewer than two
    completions or with a gap between them, or a type outside `type_names`; it names the argument and the prompt.
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
    return Rankings(features, mask, types.astype(np.int32), tuple(type_names))


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


def pair_indices(n_items: int, pairs: Pairs) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Return the (better, worse) items of every pair, item 0 being the best.

    "all" pairs, the "chain" of neighbours, or the "star" of the best against each other one.

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
