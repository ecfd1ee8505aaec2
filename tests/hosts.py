"""A sweep over processes joined on one machine, as a launcher would start them: python hosts.py PORT COUNT RANK ..."""

import sys

import jax

port, count, rank, devices, directory, output, end_at = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(devices))
if int(count) > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(rank))

import os  # noqa: E402

import numpy as np  # noqa: E402
from test_sweep_damage import AXES, OPTIONS, make_wide  # noqa: E402

from collapse_jax.engine import sweep  # noqa: E402
from collapse_jax.engine.checkpoint import Store  # noqa: E402

save = Store.save


def ending(self, position, *given):
    save(self, position, *given)
    if position == int(end_at):
        os._exit(9)  # as a kill would, all hosts at once


Store.save = ending
try:
    result = sweep(make_wide(), AXES, directory=directory, **OPTIONS)
except (ValueError, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
np.savez(f"{output}-{rank}.npz", **{name: values.to_numpy() for name, values in result.items()})
print(result.attrs["provenance"])
