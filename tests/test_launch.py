"""What all scripts do beside their claim: curves for TensorBoard, lines of logging, and a word at the door."""

import logging
import re
import sys
from dataclasses import dataclass
from typing import NamedTuple

import pytest

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
