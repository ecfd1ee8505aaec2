"""What is lost when runs are killed and machines fail: kills at random moments, and every other fault of clusters.

Child processes run small sweeps of three kinds and save their results as every experiment does. They are killed with
SIGKILL at random moments, called again and killed again, until they are done; after each kill every file with its final
name must be whole, and the end must be, bit for bit, that of a run which nothing happened to. Other faults are injected
likewise: disks that are full, sealed or small, damaged files, two runs in one directory, signals, memory, one host of
two. Lost counts other bits without an error, half-written files, hangs, crashes, and errors that don't say what to do.

    python -m tests.faults --kills 200 --times 20     the long run
    python -m tests.faults --small                    half a minute on two CPU cores

Expected: no results lost, whatever the moment. Folders of lost results are kept beside the figure, in `lost/`.
"""

import concurrent.futures
import itertools
import json
import logging
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from tqdm.std import tqdm

from collapse_jax import plotting
from experiments.shared.launch import Options, launch
from tests.faults.calls import LOST, OUTCOMES, REFUSED, RESUMED, Bench, Verdict, make_bench
from tests.faults.child import PHASES
from tests.faults.injections import FAULTS, Injection
from tests.faults.kills import kill_until_done

_KILLED = "killed while "
_SIDE_BY_SIDE = 2


@dataclass(frozen=True)
class Config(Options):
    """How many kills and faults."""

    kills: int = 100
    """Moments at which a run is killed."""
    faults: tuple[str, ...] = ("all",)
    """Other faults, by their names in `injections.FAULTS`; none if empty."""
    times: int = 5
    """How often each of them is injected, at another moment each time."""
    works: tuple[Literal["walk", "training", "recursion"], ...] = ("walk", "training", "recursion")
    """Sweeps that are hit."""
    seed: int = 0
    """Seed of the moments and the faults; what they hit also depends on the clock."""


SMALL = {"kills": 6, "times": 1, "works": ("walk",)}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Kill and injure; return how often each moment was hit, and what came of it."""
    if config.kills < 0 or config.times < 0:
        raise ValueError(f"kills is {config.kills} and times {config.times}; they must be at least 0")
    if not config.works:
        raise ValueError("works is empty; name at least one sweep to hit")
    if unknown := set(config.faults) - {"all", *FAULTS}:
        raise ValueError(f"faults has {', '.join(sorted(unknown))}; there are all, {', '.join(FAULTS)}")
    names = tuple(FAULTS) if "all" in config.faults else config.faults
    injections = [FAULTS[name] for name in names] * config.times
    # Orbax warns of every checkpoint that is read by itself.
    logging.getLogger("absl").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        bench = make_bench(Path(scratch), config.works)
        verdicts = _kill(bench, config) + _try_all(bench, injections, config)
        for kept in Path(scratch).glob("*/why.txt"):
            shutil.copytree(kept.parent, directory / "lost" / kept.parent.name, dirs_exist_ok=True)
    return _count(verdicts)


def _kill(bench: Bench, config: Config) -> list[Verdict]:
    """Return verdicts on as many kills as are wanted, or a few more."""
    verdicts: list[Verdict] = []
    bar = tqdm(total=config.kills, unit="kill", disable=not config.progress)
    with bar, concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        numbers = itertools.count()
        while len(verdicts) < config.kills:
            rest = config.kills - len(verdicts)
            some = itertools.islice(numbers, rest // 3 + 2)
            found = pool.map(lambda number: _try(kill_until_done, bench, f"kill-{config.seed}-{number:05d}"), some)
            for several in found:
                verdicts += [one._replace(kind=_KILLED + one.kind) for one in several]
                bar.update(len(several))
    return verdicts


def _try_all(bench: Bench, trials: list[Injection], config: Config) -> list[Verdict]:
    with concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        running = [
            pool.submit(_try, trial, bench, f"fault-{config.seed}-{number:05d}") for number, trial in enumerate(trials)
        ]
        ended = concurrent.futures.as_completed(running)
        bar = tqdm(ended, total=len(running), unit="fault", disable=not config.progress)
        return [verdict for done in bar for verdict in done.result()]


def _try(trial: Injection, bench: Bench, name: str) -> list[Verdict]:
    return trial(bench, name, random.Random(name))


def _count(verdicts: list[Verdict]) -> xr.Dataset:
    order = [_KILLED + phase for phase in PHASES]
    kinds = sorted({one.kind for one in verdicts}, key=lambda kind: (kind not in order, kind))
    kinds.sort(key=lambda kind: order.index(kind) if kind in order else len(order))
    trials = np.zeros((len(kinds), len(OUTCOMES)), int)
    told = np.zeros(len(kinds), int)
    for one in verdicts:
        trials[kinds.index(one.kind), OUTCOMES.index(one.outcome)] += 1
        told[kinds.index(one.kind)] += one.told
    return xr.Dataset(
        {"trials": (("moment", "outcome"), trials), "told": ("moment", told)},
        {"moment": kinds, "outcome": list(OUTCOMES)},
        {"lost": json.dumps([one._asdict() for one in verdicts if one.outcome == LOST], indent=1)},
    )


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return a bar for each moment and fault, cut into outcomes."""
    return {"figure.png": plotting.stacked_bars(dataset["trials"], x="moment", hue="outcome", label="trials")}


def table(dataset: xr.Dataset) -> str:
    """Return a line for each moment and fault: how many, what came of them, and of how many the user was told."""
    trials = dataset["trials"]
    lines = [f"{'moment or fault':<44}{'tried':>7}{'resumed':>9}{'refused':>9}{'told':>6}{'lost':>6}"]

    def line(name: str, here: xr.DataArray, told: int) -> str:
        resumed, refused, lost = (int(here.sel(outcome=outcome)) for outcome in (RESUMED, REFUSED, LOST))
        return f"{name:<44}{int(here.sum()):>7}{resumed:>9}{refused:>9}{told:>6}{lost:>6}"

    for moment in dataset["moment"].to_numpy():
        lines.append(line(str(moment), trials.sel(moment=moment), int(dataset["told"].sel(moment=moment))))
    killed = [str(moment).startswith(_KILLED) for moment in dataset["moment"].to_numpy()]
    for name, chosen in (("all kills", killed), ("all faults", [not one for one in killed])):
        lines.append(line(name, trials[chosen].sum("moment"), int(dataset["told"][chosen].sum())))
    for one in json.loads(dataset.attrs["lost"]):
        lines.append(f"\nlost: {one['kind']}: {one['why']}")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line; the exit status tells whether results were lost."""
    lost = 0

    def run_and_count(config: Config, directory: Path) -> xr.Dataset:
        nonlocal lost
        dataset = run(config, directory)
        lost = int(dataset["trials"].sel(outcome=LOST).sum())
        return dataset

    launch("faults", Config(), SMALL, run_and_count, draw, table, description=__doc__ or "")
    if lost:
        sys.exit(f"error: {lost} results lost")
