"""Readers: how prompts and completions become what a reward model reads, as a record that can be saved as JSON."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.data.blocks import token_rows
from collapse_jax.data.features import ngram_features, require_size
from collapse_jax.data.prefixes import Prefixes, prefix_rows
from collapse_jax.data.ranking_sets import require_completions
from collapse_jax.data.tokenizers import Tokenizer, load_tokenizer, tokenizer_config

__all__ = ["Read", "Reader", "load_reader", "ngram_reader", "prefix_reader", "token_reader"]

Features = Float[np.ndarray, "prompt item feature"] | Int[np.ndarray, "prompt item token"] | Prefixes


class Read(Protocol):
    """A function of prompts, the completions of each, and the number of items that there must be room for."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[Sequence[str]], width: int, /
    ) -> tuple[Features, Bool[np.ndarray, "prompt item"]]:
        """Return what a model reads, `width` items a prompt in the order of its completions, and which items exist."""
        ...


class Reader(NamedTuple):
    """How texts become what a model reads. `config` is JSON that `load_reader` makes the same reader of."""

    name: str
    read: Read
    config: Mapping[str, Any]


@checked
def ngram_reader(prompt_size: int = 256, completion_size: int = 512, orders: Sequence[int] = (1, 2)) -> Reader:
    """Return the reader of hashed n-grams, which `featurize` makes: vectors `prompt_size + completion_size` long.

    Raises ValueError as `hashed_ngrams` does for the sizes and orders.
    """
    require_size("prompt_size", prompt_size, orders)
    require_size("completion_size", completion_size, orders)
    sizes: dict[str, Any] = {
        "prompt_size": int(prompt_size),
        "completion_size": int(completion_size),
        "orders": [*map(int, orders)],
    }
    return _reader("ngrams", partial(ngram_features, **sizes), sizes)


@checked
def token_reader(tokenizer: Tokenizer, length: int) -> Reader:
    """Return the reader of tokens for a `text_encoder`: each completion after its prompt, as `tokenize` makes them.

    Raises ValueError for a length below 1, and when it reads a text that is longer, with the length needed.
    """
    return _of_tokens("tokens", token_rows, tokenizer, length)


@checked
def prefix_reader(tokenizer: Tokenizer, length: int) -> Reader:
    """Return the reader of `Prefixes` for a `prefix_encoder`, as `tokenize_prefixes` makes them.

    Raises ValueError for a length below 1, and when it reads a text that is longer, with the length needed, or a
    completion whose tokens aren't the first ones of the prompt's longest.
    """
    return _of_tokens("prefixes", _prefixes, tokenizer, length)


@checked
def load_reader(config: Mapping[str, Any]) -> Reader:
    """Return the reader of a `Reader.config`.

    Raises ValueError for an unknown kind, a missing or surplus entry, what the makers of readers refuse, and a
    tokeniser that is neither bytes nor a BPE.
    """
    given = {name: value for name, value in config.items() if name != "kind"}
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in _ENTRIES:
        raise ValueError(f"config has the kind {kind!r}; known kinds are {', '.join(_ENTRIES)}")
    if {*given} != {*_ENTRIES[kind]}:
        raise ValueError(
            f"config of {kind} has {', '.join(given) or 'nothing'}; it must have {', '.join(_ENTRIES[kind])}"
        )
    if kind == "ngrams":
        return ngram_reader(**given)
    make = token_reader if kind == "tokens" else prefix_reader
    return make(load_tokenizer(given["tokenizer"]), given["length"])


_ENTRIES: Mapping[str, Sequence[str]] = {
    "ngrams": ("prompt_size", "completion_size", "orders"),
    "tokens": ("tokenizer", "length"),
    "prefixes": ("tokenizer", "length"),
}


def _prefixes(
    prompts: Sequence[str], completions: Sequence[Sequence[str]], width: int, tokenizer: Tokenizer, length: int
) -> tuple[Prefixes, Bool[np.ndarray, "prompt item"]]:
    tokens, start, last, mask = prefix_rows(prompts, completions, width, tokenizer, length)
    return Prefixes(tokens, start, last), mask


def _of_tokens(kind: str, rows: Callable[..., Any], tokenizer: Tokenizer, length: int) -> Reader:
    numbers.whole("length", length, 1)
    config = {"tokenizer": tokenizer_config(tokenizer), "length": int(length)}
    return _reader(kind, partial(rows, tokenizer=tokenizer, length=length), config)


def _reader(kind: str, rows: Callable[..., Any], config: Mapping[str, Any]) -> Reader:
    return Reader(kind, partial(_read, rows), {"kind": kind, **config})


def _read(
    rows: Callable[..., Any], prompts: Sequence[str], completions: Sequence[Sequence[str]], width: int, /
) -> tuple[Features, Bool[np.ndarray, "prompt item"]]:
    """Return what `rows` makes of texts, after checks that name them."""
    require_completions(prompts, completions, "read")
    if len(prompts) != len(completions):
        raise ValueError(f"there are {len(prompts)} prompts, and completions of {len(completions)}")
    numbers.whole("width", width, 1)
    most = max(map(len, completions))
    if most > width:
        raise ValueError(f"width is {width}, and prompt {[*map(len, completions)].index(most)} has {most} completions")
    found: tuple[Features, Bool[np.ndarray, "prompt item"]] = rows(prompts, completions, width)
    return found
