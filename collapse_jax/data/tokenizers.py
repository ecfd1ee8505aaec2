"""Tokenisers: bytes, which need no training, and byte-level BPE (Sennrich et al., arXiv:1508.07909), trained or loaded.

Both give every text back exactly. The id `end` stands for no text: it separates documents and starts a sequence.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from jaxtyping import Array, Int
from tokenizers import decoders, models, pre_tokenizers, trainers

from collapse_jax.checks.annotations import checked
from collapse_jax.data.passages import read_utf8
from collapse_jax.io.files import write_atomically

__all__ = ["Tokenizer", "byte_tokenizer", "load_bpe", "save_bpe", "train_bpe"]

END_OF_TEXT = "<|endoftext|>"

_BYTES = 256
# Contractions, digits, runs of spaces, line ends, composed and decomposed letters, several scripts, a special token.
_PROBE = f" It's  naïve,\r\n\t12.50 e\u0301 \ufb01 中文 🙂\x00{END_OF_TEXT} A "

Tokens = Int[np.ndarray, " token"] | Int[Array, " token"] | Sequence[int | np.integer[Any]]


class Tokenizer(NamedTuple):
    """A text to token ids below `size`, int32, and back.

    `decode` drops `end`, other special tokens and negative ids, puts U+FFFD where the bytes are not UTF-8, and raises
    ValueError for an id of `size` or more; `encode` raises it for half a surrogate pair. `name` tells tokenisers apart.
    `content` is the tokenizer.json of a BPE.
    """

    encode: Callable[[str], Int[np.ndarray, " token"]]
    decode: Callable[[Tokens], str]
    size: int
    end: int
    name: str
    content: str = ""


def byte_tokenizer() -> Tokenizer:
    """Return the tokeniser whose tokens are the 256 bytes of UTF-8, and 256 for the end of a text.

    >>> tokenizer = byte_tokenizer()
    >>> tokenizer.encode("né").tolist()
    [110, 195, 169]
    >>> tokenizer.decode([110, 195, 169, tokenizer.end, -1])
    'né'
    """
    return Tokenizer(_encode_bytes, _decode_bytes, size=_BYTES + 1, end=_BYTES, name="bytes")


@checked
def train_bpe(texts: Iterable[str], size: int = 1024) -> Tokenizer:
    """Return a byte-level BPE of `size` tokens, the 256 bytes and the end token among them; fewer if texts run out.

    The same texts give the same tokeniser. Raises ValueError if `size` is below 257 or there is no text.

    >>> tokenizer = train_bpe(["low lower lowest"] * 9, size=259)
    >>> tokenizer.decode(tokenizer.encode("slow")), len(tokenizer.encode("slow"))
    ('slow', 2)
    """
    if size <= _BYTES:
        raise ValueError(f"size is {size}; it must be {_BYTES + 1} or more, for all bytes and the end token")
    texts = list(texts)
    for text in texts:
        _require_text(text)
    texts = [text for text in texts if text]
    if not texts:
        raise ValueError("there is no text to train on")
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return _from_content(model.to_str(), END_OF_TEXT, "the trained tokeniser")


@checked
def load_bpe(path: str | os.PathLike[str], *, end: str = END_OF_TEXT) -> Tokenizer:
    """Return the byte-level BPE of a tokenizer.json; `end` is its end-of-text token, "</s>" in some vocabularies.

    Raises FileNotFoundError for a missing file, and ValueError for one that is no such tokeniser, has not `end` among
    its special tokens, or does not give texts back as they were.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; name a tokenizer.json, or use train_bpe or byte_tokenizer()")
    return _from_content(read_utf8(file), end, str(file))


@checked
def save_bpe(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Write the tokenizer.json of a BPE, which `load_bpe` and the `tokenizers` package read.

    Raises ValueError for a tokeniser that has none, and OSError where the file can't be written.
    """
    if not tokenizer.content:
        raise ValueError(f"tokenizer {tokenizer.name} is no BPE, and has no tokenizer.json to save")
    write_atomically(Path(path), lambda temporary: temporary.write_text(tokenizer.content, encoding="utf-8"))


def tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return what `load_tokenizer` makes a tokeniser of: the name of bytes, or the content of a BPE and its end token.

    Of a tokeniser of somebody's own that is its name alone, which can't be loaded.
    """
    if not tokenizer.content:
        return {"name": tokenizer.name}
    added = json.loads(tokenizer.content)["added_tokens"]
    (end,) = (token["content"] for token in added if token["id"] == tokenizer.end)
    return {"name": tokenizer.name, "content": tokenizer.content, "end": end}


def load_tokenizer(config: Any) -> Tokenizer:
    """Return the tokeniser of a config; raises ValueError where it is none of this library's."""
    texts = (
        {key: value for key, value in config.items() if isinstance(value, str)} if isinstance(config, Mapping) else {}
    )
    if {"content", "end"} <= texts.keys():
        return _from_content(texts["content"], texts["end"], "the tokenizer's content")
    if texts.get("name") == byte_tokenizer().name:
        return byte_tokenizer()
    raise ValueError(
        f"tokenizer is {config!r:.80}; it must be bytes, by name, or a BPE, by content and end: make a reader with the "
        "tokenizer instead"
    )


def _from_content(content: str, end: str, where: str) -> Tokenizer:
    try:
        model = tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # The package raises no narrower one.
        raise ValueError(f"{where}: not a tokenizer.json: {error}") from None
    if not isinstance(model.model, models.BPE):
        raise ValueError(f"{where}: the model is {type(model.model).__name__}; it must be BPE")
    special = {token.content: number for number, token in model.get_added_tokens_decoder().items() if token.special}
    if end not in special:
        raise ValueError(
            f"{where}: {end!r} is not among its special tokens, {sorted(special)}; name the end-of-text token"
        )
    model.no_truncation()
    model.no_padding()
    size = max(model.get_vocab(with_added_tokens=True).values()) + 1
    name = f"bpe-{size}-{hashlib.blake2b(f'{end} {content}'.encode(), digest_size=6).hexdigest()}"
    encode = functools.partial(_encode_bpe, model)
    decode = functools.partial(_decode_bpe, model, size)
    if (back := decode(encode(_PROBE))) != _PROBE:
        raise ValueError(f"{where}: {_PROBE!r} comes back as {back!r}; the BPE must be byte-level, without normaliser")
    return Tokenizer(encode, decode, size, special[end], name, content)


def _encode_bytes(text: str) -> Int[np.ndarray, " token"]:
    _require_text(text)
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def _decode_bytes(tokens: Tokens) -> str:
    ids = _existing(tokens, _BYTES + 1)
    return ids[ids < _BYTES].astype(np.uint8).tobytes().decode(errors="replace")


def _encode_bpe(model: tokenizers.Tokenizer, text: str) -> Int[np.ndarray, " token"]:
    _require_text(text)
    text.encode()  # Raises for half a surrogate pair, and says where.
    # A text that spells a special token is encoded like any other text. Set at each call, as pickling loses it.
    model.encode_special_tokens = True
    return np.array(model.encode(text, add_special_tokens=False).ids, np.int32)


def _decode_bpe(model: tokenizers.Tokenizer, size: int, tokens: Tokens) -> str:
    text: str = model.decode(_existing(tokens, size).tolist(), skip_special_tokens=True)
    return text


def _require_text(text: str) -> None:
    if not isinstance(text, str):
        raise ValueError(f"text is {text!r:.80}; it must be a string")


def _existing(tokens: Tokens, size: int) -> Int[np.ndarray, " existing"]:
    try:
        ids = np.asarray(tokens)
    except ValueError:
        ids = np.zeros((), object)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(f"tokens are {tokens!r:.80}; they must be a sequence of whole numbers")
    ids = ids.astype(np.int64)
    if (ids >= size).any():
        raise ValueError(f"token {ids.max()} is not among the {size} of this tokenizer")
    return ids[ids >= 0]
