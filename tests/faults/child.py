"""A child process: one sweep, run and saved as an experiment script does it, under a watch that tells how far it is.

The watch is a file that both sides map: it outlives a SIGKILL. Python tells an audit hook of each file and folder that
is opened, made, renamed or removed; their count is the clock by which a blow is timed.
"""

import mmap
import os
import re
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import xarray as xr
from tqdm.std import tqdm

import collapse_jax as cj
from experiments.shared.launch import Options, launch
from tests.faults.works import TOO_LARGE, WORKS, draw

STARTING, TRAINING, RECORD, BETWEEN, CHECKPOINT, REMOVAL, FINAL, ENDED = PHASES = (
    "starting and compiling",
    "training",
    "writing a record",
    "between record and checkpoint",
    "writing a checkpoint",
    "removing an old checkpoint",
    "writing the results",
    "after the end",
)
# What an event at a path begins.
_BEGINS = (
    ("tempfile.mkstemp", r"/records/", RECORD),
    ("open to write", r"/records/", RECORD),
    ("os.rename", r"/records/", BETWEEN),
    ("os.mkdir", r"/checkpoints/\d+[^/]*$", CHECKPOINT),
    ("os.rename", r"/checkpoints/\d+[^/]*$", TRAINING),
    ("shutil.rmtree", r"/checkpoints/\d+$", REMOVAL),
    ("os.rmdir", r"/checkpoints/\d+$", TRAINING),
    ("tempfile.mkstemp", r"/\.(results|provenance|figure)-[^/]*$", FINAL),
    ("open to write", r"/(results|provenance|figure)[^/]*$", FINAL),
)
_HEADER = struct.Struct("<IB")
WATCH_BYTES = 1 << 16


class Blow(NamedTuple):
    """What happens to a child once `event` events have passed (0: at once)."""

    event: int
    action: str
    delay: float | None = None
    """Seconds after the event; None: right at it."""
    size: int = 0
    """Bytes of the largest file, for "limit" and "cut"."""


class Host(NamedTuple):
    """One of several processes that run one sweep."""

    port: int
    processes: int
    number: int


class Job(NamedTuple):
    """One run of a sweep into the folder `results`; `watch` is a file outside it, `log` a pipe."""

    work: str
    results: Path
    cache: Path
    watch: Path
    log: Path
    blows: tuple[Blow, ...] = ()
    host: Host | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config(Options):
    """Which sweep."""

    work: Literal["walk", "training", "recursion", "many", "large"] = "walk"
    """Name of the sweep."""


def limit_files(results: Path, size: int) -> None:
    """Let no file of this process grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def cut(results: Path, size: int) -> None:
    """Let the kernel end this process in the midst of the first write beyond `size` bytes of a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_files(results, size)


def seal(results: Path, size: int) -> None:
    """Let this process no longer write below `results`, root or not."""
    for folder in (results, *results.rglob("*/")):
        folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


def send(number: signal.Signals) -> Callable[[Path, int], None]:
    """Return the action that sends this process a signal."""
    return lambda results, size: os.kill(os.getpid(), number)


KILLED = (-signal.SIGKILL, -signal.SIGXFSZ)
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
_ACTIONS = {"limit": limit_files, "cut": cut, "seal": seal} | {name: send(number) for name, number in SIGNALS.items()}


def read_watch(path: Path) -> tuple[int, str, bytes]:
    """Return how many events have passed, the phase, and the phase of each event."""
    content = path.read_bytes()
    count, phase = _HEADER.unpack_from(content)
    return count, PHASES[phase], content[_HEADER.size : min(_HEADER.size + count, WATCH_BYTES)]


def run(job: Job) -> None:
    """Run the sweep of `job` and save its results, in this process."""
    output = os.open(job.log, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(output, stream)
    with job.watch.open("r+b") as file:
        watch = mmap.mmap(file.fileno(), WATCH_BYTES)
    folder, count, phase, early = str(job.results), 0, PHASES.index(STARTING), True

    def strike(now: int) -> None:
        for blow in job.blows:
            if now == blow.event and (blow.delay is None or now):
                act = partial(_ACTIONS[blow.action], job.results, blow.size)
                # A thread gets its turn while others wait for the disk, which is where a blow is wanted.
                threading.Timer(blow.delay, act).start() if blow.delay else act()

    def note(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count, phase, early
        if args and isinstance(args[0], str) and args[0].startswith(folder) and len(args[0]) > len(folder):
            if event == "open" and isinstance(args[1], str) and args[1][:1] in "wxa":
                event = "open to write"
            for name, pattern, begun in _BEGINS:
                if event == name and re.search(pattern, args[0]):
                    phase, early = PHASES.index(begun), False
            count += 1
            _HEADER.pack_into(watch, 0, count, phase)
            if _HEADER.size + count <= WATCH_BYTES:
                watch[_HEADER.size + count - 1] = phase
            strike(count)

    def compiled(event: str, duration_secs: float, **_: str | int) -> None:
        nonlocal phase
        # Until the first record, what has been traced is compiled next, and what has been compiled trains next.
        if early and event.endswith(("jaxpr_trace_duration", "backend_compile_duration")):
            phase = PHASES.index(STARTING if "trace" in event else TRAINING)
        _HEADER.pack_into(watch, 0, count, phase)

    for name, value in (("dir", str(job.cache)), ("min_compile_time_secs", 0), ("min_entry_size_bytes", -1)):
        prefix = "jax_compilation_cache_" if name == "dir" else "jax_persistent_cache_"
        jax.config.update(prefix + name, value)
    jax.monitoring.register_event_duration_secs_listener(compiled)
    if job.host:
        jax.distributed.initialize(f"127.0.0.1:{job.host.port}", job.host.processes, job.host.number)
    # Of its own, tqdm takes a semaphore of the system's, which a killed process leaves behind.
    tqdm.set_lock(threading.RLock())
    if any(blow.action == "cut" for blow in job.blows):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
    sys.addaudithook(note)
    strike(0)
    sys.argv = ["fault", "--results", folder, "--no-progress", "--work", job.work, *job.options]
    try:
        launch("fault", Config(), {}, _sweep, draw, lambda dataset: "done", description="")
    finally:
        if job.host:
            jax.distributed.shutdown()  # as an interpreter does at its end, which a forked process skips
    _HEADER.pack_into(watch, 0, count, PHASES.index(ENDED))


def _sweep(config: Config, directory: Path) -> xr.Dataset:
    work = (WORKS | TOO_LARGE)[config.work]()
    return cj.sweep(work.process, work.axes, directory=directory / "sweep", progress=config.progress, **work.options)
