"""How much memory a population needs on each device, known before it runs, and how many members fit."""

from collections.abc import Callable

import jax
import psutil
from jax.sharding import Mesh

from collapse_jax.engine import hosts

# The shares of the free memory that a sweep may fill: a device's allocator loses some to fragments, and a host needs
# some for everything else that runs on it. Trying out kernels needs no reserve: it is over before the population is
# placed.
_OF_DEVICE, _OF_HOST = 0.95, 0.9
_SURELY = 100  # a member takes less than this many times its least memory: networks were seen to take up to 57 times
_TRIALS = 4


def fitting(free: int, few: tuple[int, int], many: tuple[int, int]) -> int:
    """Return how many members fit into `free` bytes of a device, 0 if not even one does.

    `few` and `many` are pairs of a number of members and the bytes that a program of so many needs; the answer lies on
    the straight line through both.
    """
    slope = max((many[1] - few[1]) / (many[0] - few[0]), 1.0)
    return max(int(few[0] + (free - few[1]) // slope), 0)


def most_that_fit(
    needed: Callable[[int], int], even: Callable[[int], int], whole: int, limit: int, *, least: int, data: int
) -> int:
    """Return how many members of a device, up to `whole`, run at once within `limit` bytes, 0 if not even one does.

    `needed(members)` compiles a program for so many members and returns the bytes that it needs. This is expensive, so
    it is called rarely, and never for far more members than fit, since these take longest to compile and compiling them
    may itself run out of memory. `even(members)` returns the size of the chunks when the population is cut into equal
    chunks of at most `members`. Each member takes at least `least` bytes; the data that all members share take `data`.
    """
    if whole < 1:
        return 0
    # The common case: memory is so plentiful that all members surely fit, and one program is compiled.
    if data + _SURELY * least * whole <= limit and needed(whole) <= limit:
        return whole
    few = min(2, whole)
    if needed(few) > limit:
        # One member may still fit: it takes less than half of what two take, as a loop over one holds no copies.
        return int(few > 1 and needed(1) <= limit)
    fits, beyond = few, whole + 1
    # So many would fit if all memory but the data's grew in proportion to the members. What doesn't grow with them
    # leaves room for more, so this guess is low.
    guess = max(fitting(limit, (0, data), (few, needed(few))), 2 * few)
    for _ in range(_TRIALS):
        members = even(min(guess, beyond - 1))
        if members <= fits:
            break
        guess = fitting(limit, (fits, needed(fits)), (members, needed(members)))
        if needed(members) <= limit:
            fits = members
        else:
            # Near the limit the straight line misleads: XLA then stores less and computes it again instead, so that
            # what a program needs hardly grows any more.
            guess = max(min(guess, (fits + 3 * members) // 4), (fits + members) // 2)
            beyond = members
    return fits


def capacity(mesh: Mesh, results: int) -> tuple[int, int]:
    """Return the bytes of one device that are free, less a reserve, and the bytes that it has in total.

    On a CPU the devices share the host's memory, which also holds the `results` (bytes). Both numbers are the lowest
    over all processes.
    """
    local = list(mesh.local_devices)
    stats = [device.memory_stats() for device in local]
    if all(one and one.get("bytes_limit") for one in stats):
        free = min(one["bytes_limit"] - one.get("bytes_in_use", 0) for one in stats)
        total, share = min(one["bytes_limit"] for one in stats), _OF_DEVICE
    else:
        host = psutil.virtual_memory()
        free, total = ((bytes_ - results) // len(local) for bytes_ in (host.available, host.total))
        share = _OF_HOST
    return hosts.lowest(int(share * free)), hosts.lowest(total)


def is_out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Return whether a device ran out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()


def gibibytes(count: int) -> str:
    """Return a number of bytes for a reader."""
    return f"{count / 2**30:.3g} GiB"
