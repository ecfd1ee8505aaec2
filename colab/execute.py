"""Check that every notebook is in step with its .py file, and run it top to bottom in its small setting.

`python -m colab.execute` runs each notebook, all but the cell that installs the library, and checks what is stored in
the .ipynb file: the cells, the address of the repository, and outputs of the kinds that came out now.
`python -m colab.execute --write` makes the .ipynb files from the .py files, with their outputs, so that a reader on the
web sees the figures.
"""

import os
import re
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
_INSTALLS = "REPOSITORY = "
_KINDS = ("image/png", "text/html")  # of what is displayed, the richest counts


def repository() -> str:
    """Return the address of the repository, which pyproject.toml says."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    return str(project["urls"]["Repository"])


def with_address(source: str, address: str) -> str:
    """Return the source of a notebook with the repository's address, wherever it names it."""
    place = address.removeprefix("https://github.com/")
    return re.sub(r"(github(?:\.com)?/)[\w.-]+/collapse_jax\b", rf"\g<1>{place}", source)


def executed(source: str) -> Any:
    """Return the notebook of a .py file, run in its small setting without the cell that installs the library."""
    notebook = jupytext.reads(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    whole = list(notebook.cells)
    notebook.cells = [cell for cell in whole if _INSTALLS not in cell.source]
    options = {"timeout": 600, "kernel_name": "python3", "resources": {"metadata": {"path": str(FOLDER)}}}
    NotebookClient(notebook, record_timing=False, **options).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if not _is_progress(one)]
    notebook.cells = whole
    # What ran it is not what its reader has: the versions of a kernel would change the file at every run.
    notebook.metadata.pop("language_info", None)
    return notebook


def _is_progress(output: Any) -> bool:
    """Return whether an output is a bar of progress, which tells a reader nothing; warnings stay."""
    return output.get("name") == "stderr" and ("segment" in output.text or not output.text.strip())


def differences(stored: Any, now: Any) -> Iterator[str]:
    """Yield what is out of step in a stored notebook, compared with the one that ran now."""
    if [(c.cell_type, c.source) for c in stored.cells] != [(c.cell_type, c.source) for c in now.cells]:
        yield "its cells are not those of the .py file"
        return
    for number, (old, new) in enumerate(zip(stored.cells, now.cells, strict=True)):
        if old.cell_type == "code" and _kinds(old) != _kinds(new):
            yield f"cell {number} has outputs {_kinds(old) or 'of no kind'} stored, now {_kinds(new) or 'none'}"


def _kinds(cell: Any) -> list[str]:
    """Return the kinds of a cell's outputs: what it printed, figures and pages; numbers and texts may differ."""
    shown = (next((kind for kind in _KINDS if kind in one.get("data", {})), "text/plain") for one in cell.outputs)
    kinds = [one.get("name", kind) for one, kind in zip(cell.outputs, shown, strict=True)]
    return list(dict.fromkeys(kinds))


def main() -> None:
    """Run and check, or write, the notebooks of this folder."""
    os.environ.setdefault("COLLAPSE_SMALL", "1")
    faults = []
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem == "execute":
            continue
        source = path.read_text()
        addressed = with_address(source, repository())
        begin = time.perf_counter()
        now = executed(addressed)
        print(f"{path.stem}: {len(now.cells)} cells in {time.perf_counter() - begin:.0f} s")
        stored = path.with_suffix(".ipynb")
        if "--write" in sys.argv:
            path.write_text(addressed)
            nbformat.write(now, stored)
            continue
        if source != addressed:
            faults.append(f"{path.name}: its repository is not {repository()}, as in pyproject.toml")
        faults += [f"{stored.name}: {fault}" for fault in differences(nbformat.read(stored, as_version=4), now)]
    if faults:
        sys.exit("\n".join([*faults, "run `python -m colab.execute --write`"]))


if __name__ == "__main__":
    main()
