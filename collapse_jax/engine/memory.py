"""How much memory a population needs on each device, known before it runs, and how many members fit."""

from collections.abc import Callable

import jax
import psutil
from jax.sharding import Mesh

from collapse_jax.engine import hosts

# Of what is free: an allocator loses some to fragments, a host to everything else that runs on it. Kernels are tried
# out while the population isn't there yet, so that this needs no reserve.
_OF_DEVICE, _OF_HOST = 0.95, 0.9
_SURELY = 100  # times what a member takes at the least: networks were seen to take up to 57 times that
_TRIALS = 4


def fitting(free: int, few: tuple[int, int], many: tuple[int, int]) -> int:
    """Return how many members fit into `free` bytes of a device, 0 if not even one does.

    Given are two numbers of members and the bytes that they need: what a program needs grows linearly in between.
    """
    slope = max((many[1] - few[1]) / (many[0] - few[0]), 1.0)
    return max(int(few[0] + (free - few[1]) // slope), 0)


def most_that_fit(
    needed: Callable[[int], int], even: Callable[[int], int], whole: int, limit: int, *, least: int, data: int
) -> int:
    """Return how many members of a device, up to `whole`, run at once within `limit` bytes, 0 if not even one does.

    `needed(members)` compiles a program for so many and returns its bytes: dear, so it is asked rarely, and never for
    far more members than fit, as compiling these takes longest and may itself run out of memory. `even(members)` is how
    many run at once where chunks of at most so many are equal. A member takes `least` bytes or more, all of them `data`
    bytes besides.
    """
    if whole < 1:
        return 0
    # The common case, one program: no guess about its memory is needed where there is so much more of it.
    if data + _SURELY * least * whole <= limit and needed(whole) <= limit:
        return whole
    few = min(2, whole)
    if needed(few) > limit:
        # One alone takes less than the half of two: a loop over one holds no copies.
        return int(few > 1 and needed(1) <= limit)
    fits, beyond = few, whole + 1
    # Were all but the data proportional to the members, so many would fit; a part that isn't leaves room for more.
    guess = max(fitting(limit, (0, data), (few, needed(few))), 2 * few)
    for _ in range(_TRIALS):
        members = even(min(guess, beyond - 1))
        if members <= fits:
            break
        guess = fitting(limit, (fits, needed(fits)), (members, needed(members)))
        if needed(members) <= limit:
            fits = members
        else:
            # Near the limit the line misleads: XLA keeps less there, and computes it again: the plan hardly grows.
            guess = max(min(guess, (fits + 3 * members) // 4), (fits + members) // 2)
            beyond = members
    return fits


def capacity(mesh: Mesh, results: int) -> tuple[int, int]:
    """Return the bytes of one device that are free, less a reserve, and those that it has at all.

    On a CPU the devices share the host's memory, which also takes the `results`. The least of all processes.
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
