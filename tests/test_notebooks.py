"""Notebooks as a stranger opens them: outputs are there, installing is loud, and one address stands in all of them."""

import subprocess
import sys

import jupytext
import nbformat
import pytest

from colab import execute

SOURCES = sorted(path for path in execute.FOLDER.glob("*.py") if path.stem != "execute")
NAMES = [path.stem for path in SOURCES]


def cells(path):
    return jupytext.read(path).cells


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_stored_notebook_shows_figures_and_what_ran_it(path):
    stored = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in cells(path)]
    outputs = [one for cell in stored.cells if cell.cell_type == "code" for one in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    figures = [one for one in outputs if "image/png" in one.get("data", {})]
    assert len(figures) >= 2
    assert any(one.get("text", "").startswith("JAX ") for one in outputs)
    silent = [cell for cell in stored.cells if "plotting." in cell.source and "def " not in cell.source]
    assert all(cell.outputs for cell in silent if cell.cell_type == "code")


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_all_addresses_are_the_one_of_the_project(path):
    source = path.read_text()
    assert source.count("collapse-jax/collapse_jax") == 2  # the badge and the cell that installs
    assert execute.with_address(source, execute.repository()) == source
    moved = execute.with_address(source, "https://github.com/someone/collapse_jax")
    assert "collapse-jax" not in moved
    assert moved.count("someone/collapse_jax") == 2


def installing(path):
    (cell,) = [cell for cell in cells(path) if "REPOSITORY = " in cell.source]
    return compile(cell.source, path.name, "exec")


@pytest.fixture
def pip(monkeypatch):
    """Return the commands that were called, a growing list; a runtime without any accelerator."""
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, len(commands) - 1, "", "no such repository")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("shutil.which", lambda name: None)
    return commands


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_failure_to_install_stops_the_notebook_with_what_pip_said(path, pip):
    exec(installing(path), {})
    with pytest.raises(RuntimeError, match=r"(?s)pip could not install .*collapse_jax @ git.*no such repository"):
        exec(installing(path), {})
    address = f"collapse_jax @ git+{execute.repository()}"
    assert pip == [[sys.executable, "-m", "pip", "install", "--quiet", address, "jax"]] * 2


@pytest.mark.parametrize(("found", "extra"), [("nvidia-smi", "jax[cuda12]"), ("TPU_ACCELERATOR_TYPE", "jax[tpu]")])
def test_jax_is_installed_for_the_accelerator_of_the_runtime(pip, monkeypatch, found, extra):
    if found == "nvidia-smi":
        monkeypatch.setattr("shutil.which", lambda name: name if name == found else None)
    else:
        monkeypatch.setenv(found, "local")
    exec(installing(SOURCES[0]), {})
    assert pip[0][-1] == extra


def notebook(*outputs, source="1"):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, outputs=list(outputs))])


PRINTED = nbformat.v4.new_output("stream", name="stdout", text="1")
FIGURE = nbformat.v4.new_output("display_data", data={"image/png": "", "text/plain": ""})
PAGE = nbformat.v4.new_output("display_data", data={"text/html": "", "text/plain": ""})
STEP = {
    "the same": (notebook(PRINTED, FIGURE), notebook(PRINTED, FIGURE, FIGURE), []),
    "another cell": (notebook(source="2"), notebook(), ["its cells are not those of the .py file"]),
    "no figure": (
        notebook(PRINTED),
        notebook(PRINTED, FIGURE),
        ["cell 0 has outputs ['stdout'] stored, now ['stdout', "],
    ),
    "a page for a figure": (notebook(PAGE), notebook(FIGURE), ["cell 0 has outputs ['text/html'] stored, now ['image"]),
    "nothing stored": (notebook(), notebook(PRINTED), ["cell 0 has outputs of no kind stored, now ['stdout']"]),
}


@pytest.mark.parametrize("case", STEP)
def test_a_notebook_out_of_step_is_told(case):
    stored, now, faults = STEP[case]
    found = list(execute.differences(stored, now))
    assert len(found) == len(faults)
    assert all(one.startswith(fault) for one, fault in zip(found, faults, strict=True))
