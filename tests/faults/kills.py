"""SIGKILL at random moments: of a sweep alone on its host, again and again until it is done, and of one host of two."""

import concurrent.futures
import contextlib
import random
import socket

from tests.faults.calls import (
    LOST,
    RESUMED,
    Bench,
    Ended,
    Verdict,
    call,
    finish,
    make_job,
    problem,
    results_folder,
    start,
    wait,
)
from tests.faults.child import KILLED, Blow, Host, Job
from tests.faults.disk import half_written, kept

_GRACE = 3.0  # seconds for which the other host of two goes on, at most, before the launcher ends the step


def kill_until_done(bench: Bench, name: str, generator: random.Random, at_most: int = 4) -> list[Verdict]:
    """Kill a sweep and its reruns, up to `at_most` times, then let it end; return a verdict on each kill."""
    work = generator.choice(sorted(bench.references))
    phases, why = [], ""
    with kept(bench.scratch / name) as (trial, keep):
        for _ in range(generator.randint(1, at_most)):
            ended = call(make_job(bench, work, trial, bench.references[work].random_blow("kill", generator)))
            if ended.status in KILLED:
                phases.append(ended.phase)
            elif ended.status > 0:
                why = f"failed while {ended.phase}: {ended.words[-600:]}"
            why = why or problem(trial, ended)
            if why or ended.status not in KILLED:
                break
        why = why or finish(bench, work, trial)[0]
        if why:
            keep(why)
    # What was wrong came with the last kill, or stayed hidden until the end: then any of them may be to blame.
    return [Verdict(phase, LOST if why else RESUMED, why=why) for phase in phases or ([ended.phase] if why else [])]


def kill_one_host(bench: Bench, name: str, generator: random.Random) -> list[Verdict]:
    """Kill one of two processes that share a sweep, and the other with it if it goes on; rerun with two or with one."""
    work = generator.choice(sorted(bench.references))
    # Two hosts share the events of one: both see a third of them.
    delay = 10 ** generator.uniform(-5, -1.5) if generator.random() < 0.5 else None
    blow = Blow(generator.randrange(1, len(bench.references[work].events) // 3), "kill", delay)
    together = generator.random() < 0.5
    with kept(bench.scratch / name) as (trial, keep):
        ended = run_on_two(make_job(bench, work, trial, blow), make_job(bench, work, trial), generator)
        broken = half_written(results_folder(trial))
        why = f"half-written: {broken}" if broken else ""
        if any(one.hung for one in ended):
            why = f"hung: {ended[0].words[-600:]} / {ended[1].words[-600:]}"
        elif ended[0].status and ended[0].status not in KILLED:
            why = f"failed before it was killed ({ended[0].status}): {ended[0].words[-1500:]}"
        if together and not why:
            again = run_on_two(make_job(bench, work, trial), make_job(bench, work, trial), generator)
            why = next((f"the rerun failed ({one.status}): {one.words[-1500:]}" for one in again if one.status), "")
        # Where two have finished it already, one finds it finished.
        why = why or finish(bench, work, trial)[0]
        if why:
            keep(why)
    # A host may see fewer events than were counted, and end before the blow: then its results are what is looked at.
    missed = ended[0].status == 0
    kind = (
        "two hosts, ended before the kill"
        if missed
        else f"one host of two killed, rerun on {'two' if together else 'one'}"
    )
    return [Verdict(kind, LOST if why else RESUMED, why=why)]


def run_on_two(struck: Job, other: Job, generator: random.Random) -> tuple[Ended, Ended]:
    """Run two jobs as the processes of one sweep, in random order; once one has failed, the other has little time."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    numbers = generator.sample(range(2), 2)
    jobs = [job._replace(host=Host(port, 2, number)) for job, number in zip((struck, other), numbers, strict=True)]
    children = [start(job) for job in jobs]
    grace = generator.uniform(0, _GRACE)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(wait, child) for child in children]
        done, going = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        # As launchers do: a task that fails takes the whole step with it.
        if going and next(iter(done)).result().status:
            concurrent.futures.wait(going, timeout=grace)
            children[waiting.index(next(iter(going)))].process.kill()
        return waiting[0].result(), waiting[1].result()
