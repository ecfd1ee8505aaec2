"""Every experiment script runs, resumes, redraws and refuses; the main job shows what it claims."""

import ast
import importlib
import json
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.io import results
from experiments import all as all_experiments
from experiments import reward_collapse
from experiments.shared import rows
from tests.test_watching import curves

TEXT = ["--seeds", "1", "--steps", "20", "--records", "2", "--hidden", "8"]
# A few that take seconds; `make small` runs all scripts.
FAST = {
    "reward_collapse": TEXT,
    "real_fraction": ["--seeds", "3", "--generations", "4", "--samples", "10", "20", "--ratios", "0.1", "0.5"],
    "ecosystem": ["--seeds", "3", "--generations", "2", "--models", "1", "2"],
}


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Call an experiment as from the command line; return what it printed."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, "--results", str(tmp_path), "--no-progress", *arguments])
        importlib.import_module(f"experiments.{name}").main()
        return capsys.readouterr().out

    return run


# The first one is the main job, which `make demo` runs; the others are run by `make small`, too.
@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_a_script_runs_prints_draws_and_redraws(name, call, tmp_path):
    arguments = FAST[name]
    printed = call(name, *arguments)
    (folder,) = (tmp_path / name).iterdir()
    figures = sorted(folder.glob("*.png"))
    assert figures
    assert json.loads((folder / "config.json").read_text())
    for figure in figures:
        figure.unlink()
    again = call(name, *arguments, "--plot-only")
    assert sorted(folder.glob("*.png")) == figures
    assert again == printed
    assert printed.endswith(f"\n\nIn a line: {rows.experiment(name).summary(results.load(folder))}\n")


@pytest.mark.slow
def test_curves_for_tensorboard_are_the_results(call, tmp_path):
    grid = ["--seeds", "3", "--generations", "3", "--dims", "2", "--samples", "5", "7"]
    call("recursion_gaussian", "--small", *grid, "--tensorboard", str(tmp_path / "board"))
    (folder,) = (tmp_path / "recursion_gaussian").iterdir()
    found = curves(tmp_path / "board" / "recursion_gaussian" / folder.name)
    means = results.load(folder).sel(dim=2).mean("seed")
    sweeps = {"replace": "d2", "accumulate": "d2", "accumulate_subsample": "d2-subsample-7"}
    cells = {
        f"{sweep}/regime={regime}, samples={samples}": means.sel(regime=regime, samples=samples)
        for regime, sweep in sweeps.items()
        for samples in (5, 7)
    }
    assert {run for run, _ in found} == set(cells)
    for run, cell in cells.items():
        for name in ("variance", "mean_error"):
            steps, values = found[run, name]
            assert steps == cell["generation"].to_numpy().tolist()
            np.testing.assert_allclose(values, cell[name], rtol=1e-6)


@pytest.mark.parametrize("name", all_experiments.EXPERIMENTS)
def test_every_script_takes_a_folder_for_tensorboard(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit):
        importlib.import_module(f"experiments.{name}").main()
    assert "--tensorboard" in capsys.readouterr().out


def test_every_sweep_of_a_script_is_shown_as_the_command_line_asks():
    folder = Path(all_experiments.__file__).parent
    sweeps, shown = [], []
    # The benchmark times its sweeps: nothing else is to be done between their segments.
    for path in set(folder.rglob("*.py")) - set((folder / "benchmark").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cj.sweep", "cj.compare_mitigations"):
                place = f"{path.stem}, line {node.lineno}"
                sweeps.append(place)
                shown += [
                    place for one in node.keywords if one.arg is None and ast.unparse(one.value).startswith("watched(")
                ]
    assert len(sweeps) > 20
    assert shown == sweeps


def test_all_names_every_script(monkeypatch):
    called = []

    def fail(command, **options):
        called.append(command[2:])
        return subprocess.CompletedProcess(command, returncode=len(called) == 2)

    monkeypatch.setattr("subprocess.run", fail)
    monkeypatch.setattr("sys.argv", ["all", "--small"])
    with pytest.raises(SystemExit, match=f"these experiments failed: {all_experiments.EXPERIMENTS[1]}$"):
        all_experiments.main()
    assert called == [[f"experiments.{name}", "--small"] for name in all_experiments.EXPERIMENTS]


def test_all_runs_several_side_by_side_and_shows_each_whole(monkeypatch, capsys):
    together = threading.Barrier(2, timeout=10)

    def run(command, **options):
        together.wait()
        return subprocess.CompletedProcess(command, int(command[2] == "experiments.tails"), f"of {command[2]}\n")

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("sys.argv", ["all", "--jobs", "2", "--only", "tails", "curation"])
    with pytest.raises(SystemExit, match=r"these experiments failed: tails$"):
        all_experiments.main()
    printed = capsys.readouterr().out
    for name in ("tails", "curation"):
        assert f"\n=== {name} ===\nof experiments.{name}\n(" in printed


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["--jobs", "2", "--write"], ["--jobs", "2", "--stale"]])
def test_all_takes_rows_one_by_one(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["all", *arguments])
    with pytest.raises(SystemExit):
        all_experiments.main()
    assert f"--jobs is {arguments[1]}; it must be from 1 on, and 1 where rows are taken" in capsys.readouterr().err


@pytest.mark.slow
def test_a_script_called_again_resumes_and_ends_alike(call, tmp_path):
    printed = call("reward_collapse", *TEXT)
    (folder,) = (tmp_path / "reward_collapse").iterdir()
    first = results.load(folder)
    assert call("reward_collapse", *TEXT) == printed
    again = results.load(folder)
    assert again.equals(first)
    assert json.loads(again.attrs["provenance"])["programs_compiled"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot-only"], "run the experiment first, without --plot-only"),
        (["--source", "text_files"], "--source text_files needs --path"),
        (["--path", "."], "--path is ., but --source python_docs reads no file"),
        ([*TEXT, "--steps", "21"], "--steps is 21; it must be a multiple of records, 2"),
        ([*TEXT, "--seeds", "0"], "seeds is 0; it must be a whole number, 1 or more"),
    ],
)
def test_bad_arguments_end_in_a_line_that_says_why(call, arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        call("reward_collapse", *arguments)
    assert ("--plot-only" not in arguments) or not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_main_job_shows_collapse_onto_the_law_and_its_cure(call, tmp_path):
    call("reward_collapse", "--seeds", "1", "--steps", "1000")
    (folder,) = (tmp_path / "reward_collapse").iterdir()
    final = results.load(folder).isel(seed=0)
    fixed = [name for name in final["utility"].to_numpy() if name != "aware"]
    separation, distance = final["final_separation"], final["final_law_rmse"].sel(split="train")
    assert float(separation.sel(split="train", utility=fixed).max()) <= 0.04
    assert float(separation.sel(split="train", utility="aware")) >= 0.17
    assert float(separation.sel(split="test", utility="aware")) >= 0.12
    assert float(distance.max()) <= 0.02
    law = final["law"].sel(utility="aware")
    assert float(np.abs(law.sel(type="open") - law.sel(type="closed")).mean()) == pytest.approx(0.1856, abs=5e-5)
    assert set(reward_collapse.TITLES) == set(final["utility"].to_numpy())
