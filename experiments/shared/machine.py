"""Which machine runs, in words."""

import os
import platform
import re
import sys
from pathlib import Path

import jax


def machine() -> str:
    """Return what ran: devices, Python and jax."""
    devices = jax.devices()
    where = f"{cores()} CPU cores, {processor()}"
    if devices[0].platform != "cpu":
        where = f"{len(devices)} x {devices[0].device_kind}"
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{where}; Python {version}, jax {jax.__version__}"


def cores() -> int:
    """Return how many cores of the CPU this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor."""
    known = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", known.read_text()) if known.exists() else None
    return named.group(1) if named else platform.processor() or platform.machine()
