"""The table of experiments is what was taken, and names what took it; where the code has changed, that is told."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from collapse_jax.io import results
from experiments import all as all_experiments
from experiments import ecosystem, real_fraction
from experiments.shared import launch, pages, programs, rows

TAKEN = pages.taken()
QUICK = ["--small", "--models", "2", "--generations", "2", "--seeds", "2"]


@pytest.mark.parametrize("name", TAKEN)
def test_a_row_is_of_the_configuration_that_its_script_has(name):
    row = TAKEN[name]
    assert row["arguments"] == list(rows.experiment(name).measured)
    again = "python -m experiments.all --write --only"
    assert row["configuration"] == rows.configuration(name, row["arguments"]), f"take it anew: {again} {name}"


def test_there_is_no_row_of_a_script_that_is_gone():
    assert set(TAKEN) <= set(all_experiments.TABLED)


# Programs.


def test_the_hash_of_programs_is_that_of_the_code_and_runs_nothing(monkeypatch):
    monkeypatch.setattr(programs.SWEEP, "run_population", pytest.fail)
    first = programs.digest("ecosystem", QUICK)
    assert programs.digest("ecosystem", QUICK) == first
    assert programs.digest("ecosystem", [*QUICK, "--vocabulary", "7"]) != first
    run = ecosystem.main.run
    monkeypatch.setattr(
        ecosystem, "main", dataclasses.replace(ecosystem.main, run=lambda *given: (run(*given), run(*given)))
    )
    assert programs.digest("ecosystem", QUICK) != first


def test_what_a_script_jits_is_among_its_programs(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import jax\ndouble = jax.jit(lambda x: 2 * x)\n@jax.jit\ndef half(x): return x / 2\n")
    monkeypatch.setattr(programs, "_SCRIPTS", str(tmp_path))
    with programs.traced_only() as texts:
        own = {}
        exec(compile(script.read_text(), script, "exec"), own)
        assert float(own["double"](3.0)) == 0.0
        assert own["half"](xr.DataArray([1.0, 2.0]).to_numpy()).tolist() == [0.0, 0.0]
    assert ["multiply" in text or "divide" in text for text in texts] == [True, True]


# What is stale.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of rows, which is not there yet; programs have one hash."""
    monkeypatch.setattr(pages, "FOLDER", tmp_path / "rows")
    monkeypatch.setattr(rows, "programs", lambda name, arguments: "hash")
    return tmp_path / "rows"


def keep(folder, **changed):
    row = {
        "arguments": [],
        "configuration": rows.configuration("ecosystem", []),
        "programs": "hash",
        "jax": rows.jax.__version__,
        "minutes": 1.5,
        "date": "2030-01-02",
        "commit": "abc",
        "machine": "a machine",
        "summary": "|z| < 1",
        "table": "a table",
    }
    folder.mkdir()
    (folder / "ecosystem.json").write_text(json.dumps(row | changed))


STALE = {
    "nothing": ({}, None),
    "configuration": ({"configuration": {"seeds": 1}}, "its configuration has changed since abc"),
    "programs": ({"programs": "other"}, "its compiled programs have changed since abc"),
    "jax": ({"jax": "0.1"}, "it was taken with jax 0.1, whose programs can't be compared with these"),
}


@pytest.mark.parametrize("case", STALE)
def test_a_stale_row_is_named_with_the_reason(folder, case, monkeypatch, capsys):
    change, reason = STALE[case]
    keep(folder, **change)
    assert rows.changed(["ecosystem"]) == ({} if reason is None else {"ecosystem": reason})
    monkeypatch.setattr("sys.argv", ["all", "--stale", "--only", "ecosystem"])
    if reason is None:
        all_experiments.main()
    else:
        with pytest.raises(SystemExit, match="these rows are stale: ecosystem"):
            all_experiments.main()
        assert capsys.readouterr().out == f"ecosystem: {reason}\n"


def test_a_row_that_was_not_taken_is_named(folder):
    assert rows.changed(["tails"]) == {"tails": "it has not been taken yet"}


# Pages.


README = """| script | claim | figure | minutes | measured (law) | taken |
|---|---|---|---|---|---|
| [ecosystem](ecosystem.py) | Models \\| pool. | — | 3 | old | old |
| [tails](tails.py) | Rare tokens. | Hutter | 9 | old | old |
| [benchmark](benchmark/speed.py) | Speed. | — | 8 | there | there |
"""


def test_rows_stand_in_the_table_and_what_scripts_printed_on_a_page_of_its_own(folder):
    keep(folder, arguments=["--small"])
    assert pages.with_rows(README, pages.taken()).splitlines()[2:] == [
        "| [ecosystem](ecosystem.py) | Models \\| pool. | — | 1.5 (`--small`) | \\|z\\| < 1 | 2030-01-02, abc |",
        "| [tails](tails.py) | Rare tokens. | Hutter | — | not taken yet | — |",
        "| [benchmark](benchmark/speed.py) | Speed. | — | 8 | there | there |",
    ]
    page = pages.results_page(pages.taken())
    assert "`python -m experiments.ecosystem --small`: 2030-01-02, commit abc, a machine; 1.5 minutes." in page
    assert "```text\na table\n```" in page


# Taking a row.


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_row_names_a_commit_that_holds_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="a row names its commit, and git tells none here"):
        rows.commit()
    git(tmp_path, "init")
    (tmp_path / "experiments" / "rows").mkdir(parents=True)
    for name in ("code.py", "experiments/rows/tails.json", "experiments/README.md"):
        (tmp_path / name).write_text("old")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    at = rows.commit()
    assert len(at) == 10
    (tmp_path / "experiments/rows/tails.json").write_text("new")
    (tmp_path / "experiments/README.md").write_text("new")
    assert rows.commit() == at
    (tmp_path / "code.py").write_text("new")
    with pytest.raises(ValueError, match=r"but code.py differ from it: commit them first"):
        rows.commit()


def test_a_row_is_taken_with_the_declared_arguments_and_counts_all_its_minutes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ecosystem, "main", dataclasses.replace(ecosystem.main, measured=("--small",)))
    monkeypatch.setattr(rows, "commit", lambda: "abc")
    place, called = tmp_path / "results", []

    def run(command):
        called.append(command)
        return 0 if "experiments.shared.rows" in command else len(called) == 1

    assert rows.take("ecosystem", place, run) == 1
    assert len(called) == 1  # no row of a run that failed
    (place / "ecosystem.seconds").write_text("120.0")
    assert rows.take("ecosystem", place, run) == 0
    assert called[1] == [
        *[sys.executable, "-m", "experiments.ecosystem", "--no-progress", "--results", str(place)],
        "--small",
    ]
    assert called[2] == [sys.executable, "-m", "experiments.shared.rows", "ecosystem", str(place), "abc", "2.0"]


def test_a_row_holds_what_the_script_says_of_its_results(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ecosystem, "main", dataclasses.replace(ecosystem.main, measured=tuple(QUICK)))
    config = ecosystem.main.configured(QUICK)
    dataset = ecosystem.main.run(dataclasses.replace(config, progress=False, results=tmp_path), tmp_path / "run")
    results.save(dataset, results.folder(tmp_path, "ecosystem", launch.identity(config)))
    rows.keep("ecosystem", tmp_path, "abc", 1.5)
    (row,) = pages.taken().values()
    assert row["summary"] == ecosystem.summary(dataset)
    assert row["table"] == ecosystem.table(dataset)
    assert row["configuration"]["models"] == [2]
    assert rows.changed(["ecosystem"]) == {}


def test_rows_of_this_commit_are_not_taken_twice(folder, monkeypatch):
    keep(folder)
    taken = []
    monkeypatch.setattr(rows, "commit", lambda: "abc")
    monkeypatch.setattr(rows, "take", lambda name, place, run: taken.append((name, str(place))) or name == "tails")
    monkeypatch.setattr(rows, "write_pages", lambda: taken.append("pages"))
    monkeypatch.setattr("sys.argv", ["all", "--write", "--only", "curation", "ecosystem", "tails"])
    with pytest.raises(SystemExit, match=r"these experiments failed: tails$"):
        all_experiments.main()
    assert taken == [("curation", "results/rows-abc"), "pages", ("tails", "results/rows-abc"), "pages"]


def test_a_row_takes_no_arguments_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["all", "--write", "--small"])
    with pytest.raises(SystemExit):
        all_experiments.main()
    assert "--small: a row is taken with the arguments that its script declares" in capsys.readouterr().err


def test_the_row_of_real_shares_counts_the_examples_that_ran():
    over = {"regime": list(real_fraction.REGIMES), "samples": [32], "ratio": [0.0, 0.03, 1.0], "seed": [0, 1]}
    error = xr.DataArray(np.full((3, 1, 3, 2), 0.5), over, list(over))
    dataset = xr.Dataset({"mean_error": error, "mean_error_law": error.isel(seed=0, drop=True)})
    # .03 of 32 is one example and not .96 of one.
    assert "fresh 0.50 at α = 0.03 (law 0.50)" in real_fraction.summary(dataset)
