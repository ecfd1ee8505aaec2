"""Every experiment script runs, resumes, redraws and refuses; the main job shows what it claims."""

import importlib
import json

import numpy as np
import pytest

from collapse_jax import results
from experiments import reward_collapse

TEXT = ["--seeds", "1", "--steps", "20", "--records", "2", "--hidden", "8"]
SCRIPTS = {
    "reward_collapse": TEXT,
    "no_cure": TEXT,
    "early_stopping": [*TEXT, "--edge-steps", "200"],
    "reward_laws": ["--seeds", "1", "--steps", "20", "--n-items", "6", "--sizes", "4", "8"],
}


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Call an experiment as from the command line; return what it printed."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, "--results", str(tmp_path), "--no-progress", *arguments])
        importlib.import_module(f"experiments.{name}").main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_prints_draws_and_redraws(name, call, tmp_path):
    printed = call(name, *SCRIPTS[name])
    (folder,) = (tmp_path / name).iterdir()
    figures = sorted(folder.glob("*.png"))
    assert figures
    assert json.loads((folder / "config.json").read_text())["steps"] == 20
    for figure in figures:
        figure.unlink()
    again = call(name, *SCRIPTS[name], "--plot-only")
    assert sorted(folder.glob("*.png")) == figures
    assert again == printed


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
        (["--path", "somewhere"], "--path is somewhere, but --source python_docs reads no file"),
        ([*TEXT, "--steps", "21"], "training.steps is 21; it must be a multiple of records, 2"),
        ([*TEXT, "--seeds", "0"], "axis 'seed' is empty"),
    ],
)
def test_bad_arguments_end_in_a_line_that_says_why(call, arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        call("reward_collapse", *arguments)
    assert ("--plot-only" not in arguments) or not list(tmp_path.iterdir())


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
