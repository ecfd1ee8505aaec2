"""How Sphinx builds the pages: `make docs`."""

import re
from typing import Any

import collapse_jax

project, author = "collapse_jax", "the collapse_jax authors"
version = release = collapse_jax.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"collapse_jax {version}"
myst_heading_anchors = 3
autodoc_default_options = {
    "members": True,
    "imported-members": True,
    "special-members": "__call__",
    "member-order": "groupwise",
}
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
maximum_signature_line_length = 100


def _as_rest(text: str) -> str:
    """Return text that marks code as Markdown does, between backticks, as reStructuredText."""
    parts = text.split("`")
    plain = [re.sub(r"([*|\\])|(?<=\w)(_)(?!\w)", r"\\\1\2", part) for part in parts[::2]]
    # An escaped space, which is not shown, lets a letter or a bracket stand beside code.
    code = [rf"\ ``{part.strip()}``\ " for part in parts[1::2]]
    return "".join(text for pair in zip(plain, [*code, ""], strict=True) for text in pair)


def read_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText, but for its examples."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(one if one.lstrip().startswith(">>>") else _as_rest(one) for one in paragraphs).split("\n")


def _is_protocol(obj: Any) -> bool:
    return bool(getattr(obj, "_is_protocol", False))


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out the fields of records, which their class describes, and calls of what is no protocol of functions."""
    if name == "__call__":
        owner = getattr(obj, "__globals__", {}).get(getattr(obj, "__qualname__", "").partition(".")[0])
        return not _is_protocol(owner)
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def read_signature(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str) -> Any:
    """Say `Array` as everybody does, and leave out the arguments of protocols, which their `__call__` has."""
    if what == "class" and _is_protocol(obj):
        return "", None
    parts = (part and part.replace("jaxlib._jax.Array", "Array") for part in (signature, returns))
    return tuple(parts)


def setup(app: Any) -> None:
    """Connect the functions above."""
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("autodoc-skip-member", skip)
