"""How much memory a population needs on each device, known before it runs, and how many members fit."""

import jax
import psutil
from jax.sharding import Mesh

from collapse_jax.engine import hosts

_RESERVE = 0.9  # of what is free: allocators lose some to fragments, and hosts to everything else


def fitting(free: int, few: tuple[int, int], many: tuple[int, int]) -> int:
    """Return how many members fit into `free` bytes of a device, 0 if not even one does.

    Given are two numbers of members and the bytes that they need: what a program needs grows linearly in between.
    """
    slope = max((many[1] - few[1]) / (many[0] - few[0]), 1.0)
    return max(int(few[0] + (free - few[1]) // slope), 0)


def capacity(mesh: Mesh, results: int) -> tuple[int, int]:
    """Return the bytes of one device that are free, less a reserve, and those that it has at all.

    On a CPU the devices share the host's memory, which also takes the `results`. The least of all processes.
    """
    local = list(mesh.local_devices)
    stats = [device.memory_stats() for device in local]
    if all(one and one.get("bytes_limit") for one in stats):
        free = min(one["bytes_limit"] - one.get("bytes_in_use", 0) for one in stats)
        total = min(one["bytes_limit"] for one in stats)
    else:
        host = psutil.virtual_memory()
        free, total = ((bytes_ - results) // len(local) for bytes_ in (host.available, host.total))
    return hosts.lowest(int(_RESERVE * free)), hosts.lowest(total)


def is_out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Return whether a device ran out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()


def gibibytes(count: int) -> str:
    """Return a number of bytes for a reader."""
    return f"{count / 2**30:.3g} GiB"
