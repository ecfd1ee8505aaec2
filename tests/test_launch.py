"""What all scripts do beside their claim: curves for TensorBoard, lines of logging, and a word at the door."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import xarray as xr

import collapse_jax as cj
from experiments.shared.launch import Options, launch, watched
from tests.test_watching import curves
from tests.walks import make_walk, walk_axes


@dataclass(frozen=True)
class Config(Options):
    """Nothing of its own."""


def walk_twice(config, directory):
    """Return the results of two sweeps, the second in a folder below that of the first."""
    for name in ("walks", "more/walks"):
        found = cj.sweep(make_walk(), walk_axes(), **watched(config, directory / name), segment=4)
    return found


class Told(NamedTuple):
    """What a script printed, and what it wrote on stderr."""

    out: str
    err: str


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    """Run a script of two sweeps as from the command line, where nobody set up logging."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["walks", "--results", str(tmp_path / "results"), *arguments])
        monkeypatch.setattr(logging.root, "handlers", [])
        launch("walks", Config(), {}, walk_twice, lambda dataset: {}, lambda dataset: "a table", description="")
        return Told(*capsys.readouterr())

    logger = logging.getLogger("collapse_jax")
    level = logger.level
    logger.setLevel(logging.NOTSET)
    yield run
    logger.setLevel(level)


def test_every_sweep_has_a_folder_of_curves_named_like_its_own(start, tmp_path):
    told = start("--no-progress", "--tensorboard", str(tmp_path / "board"))
    (folder,) = (tmp_path / "results" / "walks").iterdir()
    found = curves(tmp_path / "board" / "walks" / folder.name)
    runs = {f"{sweep}/rate={rate}" for sweep in ("walks", "more/walks") for rate in ("slow", "middle", "fast")}
    assert {run for run, _ in found} == runs
    assert len({path.parent for path in (tmp_path / "board").rglob("*tfevents*")}) == len(runs)
    # How a run is shown changes no result: the same folder goes on.
    assert start("--no-progress").out == told.out
    assert list((tmp_path / "results" / "walks").iterdir()) == [folder]


def test_without_a_bar_every_segment_is_one_line_on_stderr(start):
    told = start("--no-progress")
    lines = re.findall(r"segment (\d) of 3 done: step \d+\n", told.err)
    assert lines == ["1", "2", "3"] * 2
    assert len(told.err.splitlines()) == 2 * (3 + 1)  # and one for each program that is compiled
    assert "segment" not in told.out


def test_with_a_bar_nothing_is_logged(start):
    assert not re.search(r"segment \d of \d done", start().err)


def test_what_tensorboard_lacks_is_said_before_anything_is_written(start, monkeypatch, tmp_path):
    (tmp_path / "board").write_text("years of work")
    with pytest.raises(SystemExit, match=r"error: --tensorboard is .*board, which is a file; it must be a folder"):
        start("--tensorboard", str(tmp_path / "board"))
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(SystemExit, match=r"error: --tensorboard needs the package tensorboardX, .* pip install"):
        start("--tensorboard", str(tmp_path / "other"))
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


@pytest.mark.parametrize("refused", ["when it looks at its settings", "when it makes a sweep"])
def test_a_refused_run_leaves_no_folder(monkeypatch, tmp_path, refused):
    def refuse(config, directory):
        if refused == "when it makes a sweep":
            (directory / "walks" / "deeper").mkdir(parents=True)
        raise ValueError("steps is 0")

    monkeypatch.setattr("sys.argv", ["walks", "--results", str(tmp_path / "all" / "results")])
    with pytest.raises(SystemExit, match="error: steps is 0"):
        launch("walks", Config(), {}, refuse, lambda dataset: {}, lambda dataset: "", description="")
    assert [path.name for path in tmp_path.iterdir()] == ["all"]
    assert not list((tmp_path / "all").iterdir())


def test_a_run_that_fails_later_keeps_what_it_wrote(monkeypatch, tmp_path):
    def fail(config, directory):
        (directory / "walks").write_text("a record")
        raise ValueError("the disk is full")

    monkeypatch.setattr("sys.argv", ["walks", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match="error: the disk is full"):
        launch("walks", Config(), {}, fail, lambda dataset: {}, lambda dataset: "", description="")
    (folder,) = (tmp_path / "walks").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "walks"]


@dataclass(frozen=True)
class Part:
    """A part of a configuration."""

    depth: int = 2


@dataclass(frozen=True)
class Sized(Options):
    """What an index tells apart."""

    samples: tuple[int, ...] = (5,)
    seeds: int = 4
    part: Part = Part()


def test_the_index_has_a_line_a_folder_with_what_differs_from_the_usual_settings(monkeypatch, tmp_path):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["walks", "--results", str(tmp_path), "--no-progress", *arguments])
        launch(
            "walks", Sized(), {"seeds": 2}, lambda config, directory: xr.Dataset({"x": 1.0}),
            lambda dataset: {}, lambda dataset: "", description="",
        )  # fmt: skip
        return [line.split("\t") for line in (tmp_path / "index.tsv").read_text().splitlines()]

    run()
    run("--small", "--samples", "7", "9", "--part.depth", "3")
    header, *rows = run("--small", "--samples", "7", "9", "--part.depth", "3")
    assert header == ["experiment", "date", "folder", "settings"]
    assert [row[0] for row in rows] == ["walks", "walks"]
    assert {row[3] for row in rows} == {"", "samples=7,9 seeds=2 part.depth=3"}
    assert {row[2] for row in rows} == {f"walks/{path.name}" for path in (tmp_path / "walks").iterdir()}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[1]) for row in rows)
    # What was removed is not told of.
    shutil.rmtree(tmp_path / rows[0][2])
    assert [row[2] for row in run("--seeds", "9")[1:]].count(rows[0][2]) == 0


# As Python starts `python -m`, also where the tests are a background job, whose children ignore Ctrl-C.
AS_COMMAND = "import signal, sys; sys.argv = ['-m']; signal.signal(signal.SIGINT, signal.default_int_handler)"


@pytest.mark.parametrize("swallowed", [False, True])
def test_ctrl_c_during_imports_is_a_word_and_not_a_traceback(tmp_path, swallowed):
    # JAX registers a callback of the garbage collector's, and Python ignores what is raised there.
    wait = "print('importing', flush=True) or time.sleep(60)"
    slow = f"gc.callbacks.append(lambda *_: {wait})\ngc.collect()" if swallowed else wait
    (tmp_path / "slow.py").write_text(f"import gc, time\n{slow}\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    command = f"{AS_COMMAND}; import experiments, slow"
    with subprocess.Popen(
        [sys.executable, "-c", command], stdout=-1, stderr=-1, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as child:
        assert child.stdout.readline() == "importing\n"
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=30)
    assert (told, child.returncode) == ("\nstopped\n", 130)


def test_ctrl_c_elsewhere_in_a_script_is_a_word_too(tmp_path):
    command = f"{AS_COMMAND}; import time, experiments; print('running', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=-1, stderr=-1, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    ) as child:  # fmt: skip
        assert child.stdout.readline() == "running\n"
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=30)
    assert (told, child.returncode) == ("\nstopped\n", 130)


def test_a_message_names_the_option_of_the_setting(monkeypatch, tmp_path):
    def told(message):
        def refuse(config, directory):
            raise ValueError(message)

        monkeypatch.setattr("sys.argv", ["walks", "--results", str(tmp_path)])
        with pytest.raises(SystemExit) as caught:
            launch("walks", Sized(), {}, refuse, lambda dataset: {}, lambda dataset: "", description="")
        return str(caught.value)

    assert told("samples is 512; this text has 156 rows") == "error: --samples is 512; this text has 156 rows"
    assert told("training.seeds is 0") == "error: --seeds is 0"
    assert told("part.depth is 0; it must be 1") == "error: --part.depth is 0; it must be 1"
    assert told("depth is 0") == "error: --part.depth is 0"
    assert told("plot_only is no") == "error: --plot-only is no"
    assert told("another thing is wrong") == "error: another thing is wrong"
    assert told("seeds") == "error: seeds"
