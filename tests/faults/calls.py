"""Calling child processes and judging what they leave: verdicts on one trial each."""

import contextlib
import fcntl
import multiprocessing
import os
import random
import re
import time
from collections.abc import Collection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from collapse_jax.io import results
from tests.faults.child import KILLED, SIGNALS, WATCH_BYTES, Blow, Job, read_watch, run
from tests.faults.disk import differences, half_written

RESUMED, REFUSED, LOST = OUTCOMES = ("resumed", "refused with a clear error", "lost")
_LIMIT = 120.0
_WORDS = 1 << 20  # bytes that a child may print: into a pipe, which no limit of files or disks concerns
# Forked from one process that has imported these, children start in a third of the time. No import starts JAX's
# backend, whose threads a fork would lose.
_PRELOADED = [
    "tests.faults.child",
    "matplotlib.backends.backend_agg",
    "h5netcdf",
    "orbax.checkpoint",
    "tyro._backends",
]


class Verdict(NamedTuple):
    """What became of one trial: its outcome, whether the user was told, and why results count as lost."""

    kind: str
    outcome: str
    told: bool = False
    why: str = ""


class Reference(NamedTuple):
    """A sweep that nothing happened to: its results, and the phase at each of its events."""

    dataset: xr.Dataset
    events: bytes

    def random_blow(self, action: str, generator: random.Random, size: int = 0) -> Blow:
        """Return a blow at a random moment: first which phase, as some are short, then when."""
        phase = generator.choice(sorted({0, *self.events}))
        event = generator.choice([i + 1 for i, now in enumerate(self.events) if now == phase] or [0])
        if not phase and generator.random() < 0.5:
            return Blow(0, action, generator.uniform(0, 1.5) if action in SIGNALS else None, size)
        if action == "kill" and generator.random() < 0.3:
            return Blow(event, "cut", None, int(10 ** generator.uniform(0, 4)))
        delay = 10 ** generator.uniform(-5, -1.5) if action in SIGNALS and generator.random() < 0.6 else None
        return Blow(event, action, delay, size)


class Bench(NamedTuple):
    """Where trials run, and what they must end in."""

    scratch: Path
    references: dict[str, Reference]

    @property
    def cache(self) -> Path:
        """The folder of compiled programs, which all children share."""
        return self.scratch / "cache"


class Ended(NamedTuple):
    """A child that has ended: how, in which phase, and what it printed; `hung` if it had to be ended."""

    status: int
    phase: str
    words: str
    hung: bool

    @property
    def last(self) -> str:
        """The last line printed."""
        return self.words.rstrip().rpartition("\n")[2]


class Child(NamedTuple):
    """A child that runs."""

    process: BaseProcess
    job: Job
    output: int


def make_job(bench: Bench, work: str, trial: Path, *blows: Blow, options: tuple[str, ...] = ()) -> Job:
    """Return the job of a run of the trial in that folder, with a watch and a log of its own."""
    results_folder(trial).mkdir(parents=True, exist_ok=True)
    for folder in (trial, results_folder(trial)):
        folder.chmod(0o755)
    stem = trial / str(time.monotonic_ns())
    watch, log = stem.with_suffix(".watch"), stem.with_suffix(".log")
    return Job(work, results_folder(trial), bench.cache, watch, log, blows, options=options)


def results_folder(trial: Path) -> Path:
    """Return the folder that the runs of a trial are given for their results."""
    return trial / "results"


def start(job: Job) -> Child:
    """Start a child."""
    job.watch.write_bytes(bytes(WATCH_BYTES))
    os.mkfifo(job.log)
    output = os.open(job.log, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _WORDS)
    multiprocessing.set_forkserver_preload(_PRELOADED)
    process = multiprocessing.get_context("forkserver").Process(target=run, args=(job,))
    process.start()
    return Child(process, job, output)


def wait(child: Child, limit: float = _LIMIT) -> Ended:
    """Deal the child the blows that come from outside, wait for its end, and return that."""
    process, job, output = child
    end = time.monotonic() + limit
    for blow in job.blows:
        # Of the delays, only those from the start on need someone outside.
        if blow.delay is not None and not blow.event:
            time.sleep(blow.delay)
            with contextlib.suppress(ProcessLookupError):
                if process.is_alive() and process.pid:
                    os.kill(process.pid, SIGNALS[blow.action])
    process.join(max(end - time.monotonic(), 0.0))
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    phase = read_watch(job.watch)[1]
    try:
        words = os.read(output, _WORDS).decode(errors="replace")
    except BlockingIOError:
        words = ""
    os.close(output)
    job.log.unlink()
    return Ended(process.exitcode or 0, phase, words, hung)


def call(job: Job) -> Ended:
    """Run a job to its end."""
    return wait(start(job))


def refusal(ended: Ended) -> str:
    """Return the clear error that a child ended with: one line that its user can act on; else nothing."""
    clear = re.search(r"^(error: |(OS|Permission|Value|Runtime|Memory|FileNotFound|FileExists)\w*Error: )", ended.last)
    return ended.last if ended.status == 1 and clear else ""


def warned(ended: Ended) -> bool:
    """Return whether a child warned its user of something."""
    return bool(re.search(r"\w*Warning: ", ended.words))


def problem(trial: Path, ended: Ended, damaged: Collection[str] = ()) -> str:
    """Return what is wrong after a child has ended in whatever way: a hang, a crash, or a half-written file.

    Files that were `damaged` before it started are not its doing.
    """
    if ended.hung:
        return f"hung while {ended.phase}: {ended.words[-600:]}"
    if ended.status < 0 and ended.status not in KILLED and -ended.status not in SIGNALS.values():
        return f"crashed with signal {-ended.status} while {ended.phase}: {ended.words[-600:]}"
    broken = {name: why for name, why in half_written(results_folder(trial)).items() if name not in damaged}
    return f"half-written after {ended.phase}: {broken}" if broken else ""


def run_folder(trial: Path) -> Path:
    """Return the folder of results that the runs of a trial have worked in."""
    (found,) = (results_folder(trial) / "fault").iterdir()
    return found


def difference(trial: Path, reference: Reference) -> str:
    """Return in what the results saved in a trial differ from the uninterrupted run's."""
    different = differences(results.load(run_folder(trial)), reference.dataset)
    return f"other bits than the uninterrupted run's in {', '.join(different)}" if different else ""


def finish(bench: Bench, work: str, trial: Path) -> tuple[str, Ended]:
    """Run a sweep to its end; return what is wrong with that, nothing if it ends like the uninterrupted run."""
    ended = call(make_job(bench, work, trial))
    why = problem(trial, ended)
    if not why and ended.status:
        why = f"the rerun failed ({ended.status}): {ended.words[-600:]}"
    return why or difference(trial, bench.references[work]), ended


def make_bench(scratch: Path, works: tuple[str, ...]) -> Bench:
    """Run every sweep once, undisturbed, to fill the cache; and again, to see what a run does and when."""
    bench = Bench(scratch, {})
    for directory in (scratch, bench.cache):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777 if directory == bench.cache else 0o755)
    for work in works:
        for number in range(2):
            trial = scratch / f"{work}-{number}"
            job = make_job(bench, work, trial)
            ended = call(job)
            if ended.status or problem(trial, ended):
                raise RuntimeError(f"the sweep {work!r} fails without any fault: {ended.words[-2000:]}")
            dataset = results.load(run_folder(trial))
            if number and differences(dataset, bench.references[work].dataset):
                raise RuntimeError(f"the sweep {work!r} does not repeat itself")
            bench.references[work] = Reference(dataset, read_watch(job.watch)[2])
    return bench
