"""Faults other than kills, each injected at a random moment: disks, damaged files, a second run, signals, memory."""

import random
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.calls import (
    LOST,
    REFUSED,
    RESUMED,
    Bench,
    Ended,
    Verdict,
    call,
    difference,
    finish,
    make_job,
    problem,
    refusal,
    results_folder,
    run_folder,
    start,
    wait,
    warned,
)
from tests.faults.child import SIGNALS, Blow
from tests.faults.disk import DAMAGES, half_written, kept, newest_checkpoints, small_disk, unseal
from tests.faults.kills import kill_one_host

_STOPPED = 130  # as a shell tells Ctrl-C
_TOO_LARGE = (  # the sweep, what it is, and the way out
    ("many", "too many members for the memory", r"max_members=\d"),
    ("large", "one member too large for the memory", "make_mesh"),
)

Injection = Callable[[Bench, str, random.Random], list[Verdict]]


def _judge(kind: str, bench: Bench, work: str, trial: Path, ended: Ended) -> Verdict:
    """Return the verdict on a run that may have failed with a clear error, and on the rerun without the fault."""
    why = problem(trial, ended)
    if not why and ended.status and not refusal(ended):
        why = f"an unclear error ({ended.status}) while {ended.phase}: {ended.words[-1500:]}"
    told = bool(refusal(ended)) or warned(ended)
    why = why or finish(bench, work, trial)[0]
    return Verdict(kind, LOST if why else RESUMED, told, why)


def limit_files(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """From a random moment on, let no file grow beyond a random size; rerun without that limit."""
    work = generator.choice(sorted(bench.references))
    blow = bench.references[work].random_blow("limit", generator, size=int(10 ** generator.uniform(0, 4.5)))
    with kept(bench.scratch / name) as (trial, keep):
        verdict = _judge("file size limit", bench, work, trial, call(make_job(bench, work, trial, blow)))
        if verdict.why:
            keep(verdict.why)
    return [verdict]


def fill_disk(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Run on a disk of a random, small size; rerun once it has been made larger."""
    work = generator.choice(sorted(bench.references))
    with kept(bench.scratch / name) as (trial, keep):
        with small_disk(results_folder(trial), generator.randint(8, 400)) as resize:
            if resize is None:
                return []
            ended = call(make_job(bench, work, trial))
            why = problem(trial, ended)
            if not why and ended.status and not refusal(ended):
                why = f"an unclear error ({ended.status}) while {ended.phase}: {ended.words[-1500:]}"
            resize(65536)
            why = why or finish(bench, work, trial)[0]
        if why:
            keep(why)
    return [Verdict("disk full", LOST if why else RESUMED, bool(refusal(ended)), why)]


def seal(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """From a random moment on, or from the start, let nothing be written; rerun with the permission to."""
    work = generator.choice(sorted(bench.references))
    blow = Blow(0, "seal") if generator.random() < 0.3 else bench.references[work].random_blow("seal", generator)
    with kept(bench.scratch / name) as (trial, keep):
        ended = call(make_job(bench, work, trial, blow))
        unseal(results_folder(trial))
        verdict = _judge("read-only directory", bench, work, trial, ended)
        if verdict.why:
            keep(verdict.why)
    return [verdict]


def damage(what: str, pattern: str, bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Stop a sweep at a random moment, damage one of its files, and run it again: the same bits, or a clear error."""
    how = generator.choice(sorted(DAMAGES))
    work = generator.choice(sorted(bench.references))
    reference = bench.references[work]
    with kept(bench.scratch / name) as (trial, keep):
        late = Blow(generator.randrange(len(reference.events) // 3, len(reference.events)), "kill")
        call(make_job(bench, work, trial, late))
        files = [path for path in sorted(run_folder(trial).glob(f"sweep/{pattern}")) if path.is_file()]
        if what == "checkpoint":
            newest = newest_checkpoints(run_folder(trial) / "sweep" / "checkpoints")[0]
            files = [path for path in files if newest in path.parents]
        path = generator.choice(files)
        DAMAGES[how](path, generator)
        damaged = half_written(results_folder(trial))
        ended = call(make_job(bench, work, trial))
        why = problem(trial, ended, damaged)
        if why:
            outcome = LOST
        elif ended.status:
            outcome, why = (REFUSED, "") if refusal(ended) else (LOST, f"an unclear error: {ended.words[-1500:]}")
        else:
            why = difference(trial, reference)
            outcome = LOST if why else RESUMED
        if why:
            why = f"{path.relative_to(trial)} {how}: {why}"
            keep(why)
    return [Verdict(f"{what} {how}", outcome, bool(refusal(ended)) or warned(ended), why)]


def damage_results(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Damage the results of a finished sweep: to draw them again must fail, to run it again must restore them."""
    # A changed byte of a netCDF file can't be told: the format has no checksums.
    how = generator.choice(sorted(DAMAGES.keys() - {"with a byte changed"}))
    work = generator.choice(sorted(bench.references))
    with kept(bench.scratch / name) as (trial, keep):
        why, _ = finish(bench, work, trial)
        path = run_folder(trial) / "results.nc"
        DAMAGES[how](path, generator)
        ended = call(make_job(bench, work, trial, options=("--plot-only",)))
        if not why and not refusal(ended):
            why = f"drawn from results that are {how} ({ended.status}): {ended.words[-1500:]}"
        why = why or finish(bench, work, trial)[0]
        if why:
            keep(why)
    return [Verdict(f"results {how}", LOST if why else RESUMED, bool(refusal(ended)), why)]


def race(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Start a second run in the directory of one that runs, at a random moment: one ends well, the other too or not."""
    work = generator.choice(sorted(bench.references))
    with kept(bench.scratch / name) as (trial, keep):
        first = start(make_job(bench, work, trial))
        time.sleep(generator.uniform(0, 1.0))
        second = start(make_job(bench, work, trial))
        ended = [wait(first), wait(second)]
        why = next(filter(None, (problem(trial, one) for one in ended)), "")
        refused = [one for one in ended if one.status]
        if not why and len(refused) == 2:
            why = f"both runs failed: {ended[0].last} / {ended[1].last}"
        unclear = next((one for one in refused if "in use" not in refusal(one)), None)
        if not why and unclear:
            why = f"an unclear error while {unclear.phase}: {unclear.words[-1500:]}"
        why = why or difference(trial, bench.references[work]) or finish(bench, work, trial)[0]
        if why:
            keep(why)
    return [Verdict("two runs at once", LOST if why else RESUMED, bool(refused), why)]


def stop(kind: str, action: str, bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Send a signal at a random moment, or two, one soon after the other; rerun."""
    times = generator.choice((1, 2))
    work = generator.choice(sorted(bench.references))
    blow = bench.references[work].random_blow(action, generator)
    again = [Blow(blow.event, action, generator.uniform(0, 0.1)) for _ in range(times - 1)]
    with kept(bench.scratch / name) as (trial, keep):
        ended = call(make_job(bench, work, trial, blow, *again))
        why = problem(trial, ended) or finish(bench, work, trial)[0]
        if why:
            keep(why)
    told = ended.status in (_STOPPED, -SIGNALS[action])
    return [Verdict(kind + " twice" * (times - 1), LOST if why else RESUMED, told, why)]


def exhaust_memory(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Run what no memory holds: it must end in an error that names the way out."""
    work, kind, way_out = generator.choice(_TOO_LARGE)
    with kept(bench.scratch / name) as (trial, keep):
        ended = call(make_job(bench, work, trial))
        clear = bool(re.match(rf"\w*Error: .*{way_out}|error: .*{way_out}", ended.last)) and ended.status == 1
        why = problem(trial, ended) or ("" if clear else f"an unclear error ({ended.status}): {ended.words[-1500:]}")
        if why:
            keep(why)
    return [Verdict(kind, LOST if why else REFUSED, clear, why)]


FAULTS: dict[str, Injection] = {
    "limit": limit_files,
    "full": fill_disk,
    "sealed": seal,
    "checkpoint": partial(damage, "checkpoint", "checkpoints/*/**/*"),
    "record": partial(damage, "record", "records/*.npz"),
    "description": partial(damage, "sweep.json", "sweep.json"),
    "results": damage_results,
    "race": race,
    "interrupt": partial(stop, "Ctrl-C", "interrupt"),
    "terminate": partial(stop, "SIGTERM", "terminate"),
    "memory": exhaust_memory,
    "hosts": kill_one_host,
}
