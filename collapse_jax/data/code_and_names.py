"""Program code and the names of characters: texts of other kinds than prose, at hand offline in every CPython."""

import ast
import sysconfig
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from collapse_jax.data.passages import MIN_WORDS, Passage, Source, merge, read_utf8
from collapse_jax.data.words import split_words

__all__ = ["character_names", "python_code"]

# Modules of the standard library that are one file each in 3.11, 3.12 and 3.13.
_MODULES = (
    "argparse",
    "ast",
    "asyncio/base_events",
    "bdb",
    "calendar",
    "configparser",
    "contextlib",
    "csv",
    "dataclasses",
    "difflib",
    "doctest",
    "email/message",
    "enum",
    "fractions",
    "ftplib",
    "html/parser",
    "http/client",
    "http/cookiejar",
    "imaplib",
    "inspect",
    "ipaddress",
    "logging/handlers",
    "mailbox",
    "optparse",
    "pickle",
    "pickletools",
    "plistlib",
    "pprint",
    "random",
    "shutil",
    "smtplib",
    "statistics",
    "subprocess",
    "tempfile",
    "textwrap",
    "threading",
    "traceback",
    "urllib/parse",
    "urllib/request",
    "uuid",
    "weakref",
    "xml/dom/minidom",
)

# Blocks of Unicode whose characters have names in words, by their first and last code point.
_BLOCKS = {
    "Basic Latin": (0x0000, 0x007F),
    "Latin-1 Supplement": (0x0080, 0x00FF),
    "Latin Extended-B": (0x0180, 0x024F),
    "IPA Extensions": (0x0250, 0x02AF),
    "Combining Diacritical Marks": (0x0300, 0x036F),
    "Greek and Coptic": (0x0370, 0x03FF),
    "Cyrillic": (0x0400, 0x04FF),
    "Armenian": (0x0530, 0x058F),
    "Hebrew": (0x0590, 0x05FF),
    "Arabic": (0x0600, 0x06FF),
    "Devanagari": (0x0900, 0x097F),
    "Bengali": (0x0980, 0x09FF),
    "Tamil": (0x0B80, 0x0BFF),
    "Sinhala": (0x0D80, 0x0DFF),
    "Thai": (0x0E00, 0x0E7F),
    "Tibetan": (0x0F00, 0x0FFF),
    "Myanmar": (0x1000, 0x109F),
    "Ethiopic": (0x1200, 0x137F),
    "Cherokee": (0x13A0, 0x13FF),
    "Runic": (0x16A0, 0x16FF),
    "Mongolian": (0x1800, 0x18AF),
    "Latin Extended Additional": (0x1E00, 0x1EFF),
    "General Punctuation": (0x2000, 0x206F),
    "Letterlike Symbols": (0x2100, 0x214F),
    "Arrows": (0x2190, 0x21FF),
    "Mathematical Operators": (0x2200, 0x22FF),
    "Miscellaneous Technical": (0x2300, 0x23FF),
    "Box Drawing": (0x2500, 0x257F),
    "Geometric Shapes": (0x25A0, 0x25FF),
    "Miscellaneous Symbols": (0x2600, 0x26FF),
    "Dingbats": (0x2700, 0x27BF),
    "Supplemental Mathematical Operators": (0x2A00, 0x2AFF),
    "Miscellaneous Symbols and Arrows": (0x2B00, 0x2BFF),
    "Tifinagh": (0x2D30, 0x2D7F),
    "CJK Radicals Supplement": (0x2E80, 0x2EFF),
    "Kangxi Radicals": (0x2F00, 0x2FDF),
    "Katakana": (0x30A0, 0x30FF),
    "Phaistos Disc": (0x101D0, 0x101FF),
    "Cuneiform": (0x12000, 0x123FF),
    "Byzantine Musical Symbols": (0x1D000, 0x1D0FF),
    "Musical Symbols": (0x1D100, 0x1D1FF),
    "Mahjong and Domino Tiles": (0x1F000, 0x1F09F),
    "Playing Cards": (0x1F0A0, 0x1F0FF),
    "Miscellaneous Symbols and Pictographs": (0x1F300, 0x1F5FF),
    "Emoticons": (0x1F600, 0x1F64F),
    "Transport and Map Symbols": (0x1F680, 0x1F6FF),
    "Alchemical Symbols": (0x1F700, 0x1F77F),
    "Supplemental Symbols and Pictographs": (0x1F900, 0x1F9FF),
    "Chess Symbols": (0x1FA00, 0x1FA6F),
    "Symbols and Pictographs Extended-A": (0x1FA70, 0x1FAFF),
    "Symbols for Legacy Computing": (0x1FB00, 0x1FBFF),
}


def python_code() -> Source:
    """Return functions and classes of the running Python's own library, without comments and docstrings.

    The title is the module. Consecutive definitions are joined, an empty line between them, until they
    have 100 words; a shorter rest is dropped. The text differs between Python versions, and the fingerprint with it.
    Raises FileNotFoundError where Python was installed without the library's source files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    passages = []
    for module in _MODULES:
        file = root / f"{module}.py"
        if not file.is_file():
            raise FileNotFoundError(f"{file}: this Python lacks the source of its library; use character_names()")
        passages += [Passage(module.replace("/", "."), text) for text in _joined(definitions(read_utf8(file)))]
    return Source("python_code", tuple(passages), request="Write the Python module {title}.")


def definitions(code: str) -> Iterator[str]:
    """Yield the functions and classes of a module as the `ast` module prints them, without comments and docstrings.

    >>> list(definitions("import os\\ndef f(x):  # why\\n    'What.'\\n    return (x)"))
    ['def f(x):\\n    return x']
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield ast.unparse(node)


def character_names() -> Source:
    """Return the names of Unicode characters in lower case, a comma after each: some 9,000, titled by their 51 blocks.

    Names are joined until they have 100 words; a shorter rest is dropped. The names that the running Python knows
    differ between its versions, and the fingerprint with them. Source: `unicodedata`.
    """
    passages = []
    for title, (first, last) in _BLOCKS.items():
        names = (unicodedata.name(chr(point), "").lower() for point in range(first, last + 1))
        passages += [Passage(title, text) for text in merge(f"{name}," for name in names if name)]
    return Source("character_names", tuple(passages), request="Name the characters of {title}.")


def _joined(pieces: Iterable[str]) -> Iterator[str]:
    """Yield consecutive pieces, their line breaks kept, joined until they have 100 words."""
    parts: list[str] = []
    for piece in pieces:
        parts.append(piece)
        if len(split_words(text := "\n\n".join(parts))) >= MIN_WORDS:
            yield text
            parts = []
