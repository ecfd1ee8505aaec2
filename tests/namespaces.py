"""What packages pass on, derived from what their modules export: `python -m tests.namespaces --write` writes it.

    python -m tests.namespaces            names the files that are out of step, and exits with 1 if there are any
    python -m tests.namespaces --write    writes them

A module exports the names in its `__all__`; without one, the functions and classes that it defines under public names.
A package of `OPEN` passes on all that its modules export, each by a static import, which type checkers and editors
read. The other packages choose by hand what they import. In both kinds `__all__` follows from the imports. In
experiments/README.md, a script that has no row in the table gets one from its docstring; the numbers in the rows, and
experiments/RESULTS.md, are what `python -m experiments.all --write` took.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from experiments.shared import pages

ROOT = Path(__file__).parents[1]
LIBRARY = "collapse_jax"
OPEN = (
    "data",
    "data/builders",
    "generative/families",
    "generative/laws",
    "generative/selections",
    "metrics",
    "plotting",
)
"""The packages that grow by modules, each passed on whole; they import nothing else of the library."""
README = "experiments/README.md"
_WIDTH = 120


def exports(source: str) -> list[str]:
    """Return the names that a module exports, by the source of it."""
    body = ast.parse(source).body
    for node in body:
        if isinstance(node, ast.Assign) and "__all__" in _targets(node):
            return list(ast.literal_eval(node.value))
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [name for name in dict.fromkeys(defined) if not name.startswith("_")]


def passed_on(source: str, package: str, modules: Mapping[str, str] | None) -> str:
    """Return the source of a package's `__init__` in step: `modules` are the sources that it passes on, if any.

    Raises ValueError where two modules export one name.
    """
    if modules is not None:
        source = _with_imports(source, package, modules)
    (place,) = [node for node in ast.parse(source).body if isinstance(node, ast.Assign) and "__all__" in _targets(node)]
    public = {name for name in _imported(ast.parse(source)) if not name.startswith("_")}
    names = sorted(public, key=lambda name: (_kind(name), name))
    return _replaced(source, place, place, _wrapped("__all__ = [", [f'"{name}"' for name in names], "]"))


def _with_imports(source: str, package: str, modules: Mapping[str, str]) -> str:
    found = {f"{package}.{stem}": exports(text) for stem, text in modules.items()}
    owners: dict[str, str] = {}
    for module, names in found.items():
        for name in names:
            if name in owners:
                raise ValueError(f"{name!r} is exported by {owners[name]} and {module}; name it in one __all__ only")
            owners[name] = module
    lines = [
        _wrapped(f"from {module} import ", sorted(names, key=lambda name: (_kind(name), name.casefold())), "")
        for module, names in sorted(found.items())
        if names
    ]
    standing = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom) and _is_own(node)]
    return _replaced(source, standing[0], standing[-1], "\n".join(lines))


def _is_own(node: ast.ImportFrom) -> bool:
    return (node.module or "").split(".")[0] == LIBRARY


def _targets(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the library's names that a package imports, those that only type checkers import among them."""
    for node in tree.body:
        for one in node.body if isinstance(node, ast.If) else [node]:
            if isinstance(one, ast.ImportFrom) and _is_own(one):
                yield from (alias.asname or alias.name for alias in one.names)


def _kind(name: str) -> int:
    """Constants come first, then classes, then the rest, as ruff sorts them."""
    return 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2


def _wrapped(start: str, items: list[str], end: str) -> str:
    line = f"{start}{', '.join(items)}{end}"
    if len(line) <= _WIDTH:
        return line
    opening, closing = (start, end) if end else (f"{start}(", ")")
    return "\n".join([opening, *(f"    {item}," for item in items), closing])


def _replaced(source: str, first: ast.stmt, last: ast.stmt, text: str) -> str:
    lines = source.splitlines()
    return "\n".join([*lines[: first.lineno - 1], *text.splitlines(), *lines[last.end_lineno :]]) + "\n"


def tabled(readme: str, scripts: Mapping[str, str]) -> str:
    """Return the table of experiments with a row for every script that had none, from its docstring."""
    rows = [line for line in readme.splitlines() if line.startswith("| [")]
    missing = [name for name in sorted(scripts) if not any(row.startswith(f"| [{name}](") for row in rows)]
    return readme.replace(rows[-1], "\n".join([*(row_of(name, scripts[name]) for name in missing), rows[-1]]))


def row_of(name: str, docstring: str) -> str:
    """Return the row of a script: its claim, and what its figure is after, as far as its docstring tells."""
    claim = " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")
    return f"| [{name}]({name}.py) | {claim} | — | | | |"


def in_pages(readme: str) -> dict[Path, str]:
    """Return the pages of experiments, under this root, with the rows that were taken."""
    return {ROOT / path.relative_to(pages.ROOT): text for path, text in pages.in_step(readme).items()}


def in_step() -> dict[Path, str]:
    """Return every file that is derived, with the text that it should have."""
    found = {}
    for path in sorted((ROOT / LIBRARY).rglob("__init__.py")):
        source, folder = path.read_text(), path.parent
        inside = folder.relative_to(ROOT / LIBRARY).as_posix()
        if "\n__all__ = [" in source:
            modules = {one.stem: one.read_text() for one in sorted(folder.glob("*.py")) if one != path}
            package = ".".join(folder.relative_to(ROOT).parts)
            found[path] = passed_on(source, package, modules if inside in OPEN else None)
    scripts = {
        path.stem: ast.get_docstring(ast.parse(path.read_text())) or ""
        for path in (ROOT / "experiments").glob("*.py")
        if path.stem not in ("__init__", "all")
    }
    return found | in_pages(tabled((ROOT / README).read_text(), scripts))


def out_of_step() -> dict[Path, str]:
    """Return the files that must be written, with their text."""
    return {path: text for path, text in in_step().items() if not path.exists() or path.read_text() != text}


def main() -> None:
    """Write what is out of step, or name it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the files instead of naming them")
    write = parser.parse_args().write
    try:
        files = out_of_step()
    except ValueError as error:
        sys.exit(f"error: {error}")
    for path, text in files.items():
        if write:
            path.write_text(text)
        print(f"{'written' if write else 'out of step'}: {path.relative_to(ROOT)}")
    sys.exit(int(bool(files) and not write))


if __name__ == "__main__":
    main()
