"""Every experiment script runs, resumes, redraws and refuses; the main job shows what it claims."""

import ast
import importlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.io import results
from experiments import all as all_experiments
from experiments import reward_collapse
from tests.test_watching import curves

TEXT = ["--seeds", "1", "--steps", "20", "--records", "2", "--hidden", "8"]
LANGUAGE = [
    *["--pretraining", "3", "--steps", "2", "--samples", "8", "--length", "16", "--generations", "2", "--seeds", "2"],
    *["--layers", "1", "--width", "16", "--vocabulary", "257", "--ways"],
]
# Those that aren't named run as --small, which takes longer.
SCRIPTS = {
    "reward_collapse": TEXT,
    "no_cure": TEXT,
    "early_stopping": [*TEXT, "--edge-steps", "200"],
    "reward_laws": ["--seeds", "1", "--steps", "20", "--n-items", "6", "--sizes", "4", "8"],
    "recursion_gaussian": ["--seeds", "3", "--generations", "3", "--dims", "2", "--samples", "5"],
    "recursion_regression": ["--seeds", "3", "--generations", "2", "--samples", "15"],
    "golden_ratio": ["--seeds", "3", "--generations", "3", "--samples", "40", "--weights", "0.5", "0.618", "1.0"],
    "real_fraction": ["--seeds", "3", "--generations", "4", "--samples", "10", "20", "--ratios", "0.1", "0.5"],
    "decoding": ["--seeds", "2", "--generations", "3", "--vocabularies", "3"],
    "tails": [
        "--seeds",
        "3",
        "--generations",
        "2",
        "--vocabulary",
        "30",
        "--samples",
        "9",
        "40",
        "--cutoffs",
        "9",
        "15",
    ],
    "mixture": ["--seeds", "2", "--generations", "3", "--samples", "40", "--shown", "1", "3"],
    "curation": ["--seeds", "2", "--generations", "2", "--samples", "50", "--ratios", "0.0", "0.5"],
    "seeds_and_evolution": ["--seeds", "2", "--generations", "2", "--samples", "20", "--topics", "5"],
    "ecosystem": ["--seeds", "3", "--generations", "2", "--models", "1", "2"],
    "recursion_images": [
        "--seeds",
        "2",
        "--samples",
        "60",
        "--vae-generations",
        "2",
        "--vae-steps",
        "5",
        "--flow-generations",
        "2",
        "--flow-steps",
        "5",
        "--guidances",
        "0.0",
        "1.0",
    ],
    "minorities": [
        *["--testbeds", "tokens", "--shares", "0.7", "0.3", "--tokens.tokens", "2", "--tokens.generations", "3"],
        *["--tokens.samples", "20", "--tokens.seeds", "3"],
    ],
    "recursion_lm": LANGUAGE,
    "diversity": [*LANGUAGE, "sampling"],
    "curated_loop": [
        *LANGUAGE[:-1],
        *["--token-seeds", "2", "--token-generations", "3", "--token-samples", "40"],
        *["--reward-steps", "8", "--refit-steps", "2", "--hidden", "8"],
    ],
    # Instructions: see test_instruction_groups.
    "defences": [
        *["--testbeds", "text", "images", "--defences", "half, detector"],
        *["--seeds", "2", "--images.samples", "40", "--images.generations", "2", "--images.steps", "3"],
        *["--text.pretraining", "3", "--text.steps", "2", "--text.samples", "24", "--text.length", "24"],
        *["--text.generations", "2", "--text.layers", "1", "--text.width", "16", "--text.vocabulary", "300"],
    ],
    "text_reward_collapse": [
        *["--seeds", "1", "--steps", "4", "--records", "2", "--layers", "1", "--width", "16", "--vocabulary", "300"],
    ],
    # Each kind of work: see test_benchmark.
    "benchmark": [
        *["--work", "perceptrons", "language", "--populations", "1", "2", "--perceptron-steps", "4", "--members", "1"],
        *["--steps", "2", "--rows", "4", "--layers", "1", "--width", "16", "--repeats", "1", "--seconds", "0"],
    ],
}


# A few that take seconds; the others are among the slow tests.
FAST = {"reward_collapse", "real_fraction", "ecosystem"}


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Call an experiment as from the command line; return what it printed."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, "--results", str(tmp_path), "--no-progress", *arguments])
        importlib.import_module(f"experiments.{name}").main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[] if one in FAST else pytest.mark.slow) for one in all_experiments.EXPERIMENTS]
)
def test_a_script_runs_prints_draws_and_redraws(name, call, tmp_path):
    arguments = SCRIPTS.get(name, ["--small"])
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


@pytest.mark.parametrize("name", SCRIPTS)
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
    assert set(SCRIPTS) <= set(all_experiments.EXPERIMENTS)
    called = []

    def fail(command, check):
        called.append(command[2:])
        return subprocess.CompletedProcess(command, returncode=len(called) == 2)

    monkeypatch.setattr("subprocess.run", fail)
    monkeypatch.setattr("sys.argv", ["all", "--small"])
    with pytest.raises(SystemExit, match=f"these experiments failed: {all_experiments.EXPERIMENTS[1]}$"):
        all_experiments.main()
    assert called == [[f"experiments.{name}", "--small"] for name in all_experiments.EXPERIMENTS]


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
        ([*TEXT, "--steps", "21"], "training.steps is 21; it must be a multiple of records, 2"),
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
