"""Check that every notebook is in step with its .py file, and run it top to bottom in its small setting.

`python -m colab.execute` checks and runs; `python -m colab.execute --write` makes the .ipynb files from the .py files.
"""

import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def main() -> None:
    """Check and run, or write, the notebooks of this folder."""
    os.environ.setdefault("COLLAPSE_SMALL", "1")
    for source in sorted(FOLDER.glob("*.py")):
        if source.stem == "execute":
            continue
        notebook, path = jupytext.read(source), source.with_suffix(".ipynb")
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"
        if "--write" in sys.argv:
            nbformat.write(notebook, path)
            continue
        written = nbformat.read(path, as_version=4)
        if [(c.cell_type, c.source) for c in written.cells] != [(c.cell_type, c.source) for c in notebook.cells]:
            sys.exit(f"{path.name} is out of step with {source.name}: run `python -m colab.execute --write`")
        code = [cell for cell in written.cells if "%pip" not in cell.source]
        written.cells = code
        begin = time.perf_counter()
        resources = {"metadata": {"path": str(FOLDER)}}
        NotebookClient(written, timeout=600, kernel_name="python3", resources=resources).execute()
        print(f"{path.name}: {len(written.cells)} cells in {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
