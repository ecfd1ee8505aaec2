"""Prompts and answers as texts, from texts, from dialogues that begin alike, or from lists of messages."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ()

# Where an answer begins in a dialogue of one text: of HH, ChatML, Llama, Vicuna, Alpaca.
TURNS = ("\n\nAssistant:", "<|im_start|>assistant\n", "<|assistant|>", "[/INST]", "ASSISTANT:", "### Response:")


def key_of(text: str) -> str:
    """Return what texts are compared by: composed letters (Unicode's NFC), without the white space around them."""
    return unicodedata.normalize("NFC", text.strip())


def split(
    place: str, names: Sequence[str], raw: Sequence[Any], column: str | None, prompt: Any
) -> tuple[str, list[str]]:
    """Return the prompt, empty where none is found, and the answers.

    `names` are the answers' columns, and `column` is the prompt's, or None: then the answers begin with it.
    """
    if any(map(is_messages, raw)):
        return _of_messages(place, column or "prompt", names, prompt, raw)
    answers = [_text(place, name, one) for name, one in zip(names, raw, strict=True)]
    if column is None:
        return _of_dialogues(answers)
    return _rendered(_turns(place, column, prompt, "user")), answers


def _text(place: str, column: str, value: Any) -> str:
    if value is None or (isinstance(value, list | tuple) and not value):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{place}: {column} is {value!r:.60}; it must be a text, or a list of messages")
    return require_whole(place, column, value)


def require_whole(place: str, column: str, text: str) -> str:
    """Return the text; raises ValueError for half of a surrogate pair in it."""
    if not text.isascii() and (half := [char for char in text if "\ud800" <= char <= "\udfff"]):
        raise ValueError(f"{place}: {column} has {half[0]!a}, half of a surrogate pair, which is no character")
    return text


def _of_dialogues(dialogues: Sequence[str]) -> tuple[str, list[str]]:
    """Split dialogues after the last turn to answer that stands in what all of them have in common."""
    common = os.path.commonprefix([one for one in dialogues if one])  # noqa: RUF071 - characters, not folders
    end = max((at + len(turn) for turn in TURNS if (at := common.rfind(turn)) >= 0), default=0)
    return common[:end], [one[end:] for one in dialogues]


def is_messages(value: Any) -> bool:
    """Return whether a value is a list of messages, each with a role and its content."""
    return isinstance(value, list | tuple | np.ndarray) and len(value) > 0 and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and ({"role", "content"} <= value.keys() or {"from", "value"} <= value.keys())


def _of_messages(
    place: str, column: str, names: Sequence[str], prompt: Any, raw: Sequence[Any]
) -> tuple[str, list[str]]:
    """Return the prompt and the answers of lists of messages: what all answers begin with belongs to the prompt."""
    lists = [_turns(place, name, one, "assistant") for name, one in zip(names, raw, strict=True)]
    shared = _shared([one for one in lists if one])
    before = _turns(place, column, prompt, "user")
    # Where the answers repeat the prompt, it is not said twice.
    begin = shared if shared[: len(before)] == before else [*before, *shared]
    return _rendered(begin), [_rendered(one[len(shared) :]) for one in lists]


Turn = tuple[str, str]
_PEOPLE = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatbot": "assistant"}


def _turns(place: str, column: str, value: Any, alone: str) -> list[Turn]:
    """Return (role, text) of messages; a text alone has the role `alone`."""
    if is_messages(value):
        pairs = [(one["role"], one["content"]) if "role" in one else (one["from"], one["value"]) for one in value]
        return [(_PEOPLE.get(str(role), str(role)), _text(place, column, text)) for role, text in pairs]
    return [(alone, text)] if (text := _text(place, column, value)) else []


def _shared(lists: Sequence[list[Turn]]) -> list[Turn]:
    """Return the messages that all lists begin with, but for the last one of each."""
    most = min((len(one) - 1 for one in lists), default=0)
    alike = (len({*turns}) == 1 for turns in zip(*(one[:most] for one in lists), strict=True))
    for number, same in enumerate(alike):
        if not same:
            return lists[0][:number]
    return lists[0][:most] if lists else []


def _rendered(turns: Sequence[Turn]) -> str:
    """Return messages as one text; of a single one, of the user or the assistant, its own."""
    if len(turns) == 1 and turns[0][0] in ("user", "assistant"):
        return turns[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in turns)
