"""A process that runs the rows of one stage, and tells a file of each: the process may be killed at any row.

    python -m experiments.benchmark.stages.child MODULE FILE FIRST [--small]

The file gets a line of JSON at a time: the machine, the rows, then the beginning and the end of each row from number
FIRST on. After an error in a row the process ends, because a device that failed once may fail at everything after it.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from experiments.benchmark.stages import NotMet

_LONGEST = 500  # letters of an error: compilers quote whole programs


def main() -> None:
    """Run from the command line."""
    module, file, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    small = "--small" in sys.argv
    stage = importlib.import_module(module)
    rows = stage.rows(small, file.parent)
    if getattr(stage, "USES_DEVICE", True):
        tell(file, {"machine": machine()})
    tell(file, {"rows": [[row.name, row.seconds] for row in rows]})
    for number in range(first, len(rows)):
        tell(file, {"began": number})
        begin = time.perf_counter()
        found: dict[str, Any] = {"ended": number, "error": ""}
        unknown = False
        try:
            found["values"] = rows[number].run()
        except NotMet as error:
            found |= {"values": error.values, "error": str(error)}
        except Exception as error:
            found["error"] = f"{type(error).__name__}: {error}"[:_LONGEST]
            unknown = True
        tell(file, found | {"seconds": round(time.perf_counter() - begin, 2)})
        if unknown:
            sys.exit(1)


def tell(file: Path, line: dict[str, Any]) -> None:
    """Append a line that is on the disk when this returns."""
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def machine() -> dict[str, Any]:
    """Return what runs here: devices, the versions of their software, and how float32 products are computed."""
    import jax

    devices = jax.devices()
    memory = devices[0].memory_stats() or {}
    return {
        "platform": devices[0].platform,
        "devices": [device.device_kind for device in devices],
        "bytes_limit": memory.get("bytes_limit"),
        "runtime": " ".join(devices[0].client.platform_version.split()),
        "jax_default_matmul_precision": str(getattr(jax.config, "jax_default_matmul_precision")),  # noqa: B009
    }


if __name__ == "__main__":
    main()
