"""A sweep over processes joined on one machine, as a launcher would start them: python hosts.py PORT COUNT RANK ..."""

import os
import sys


def main(port: str, count: str, rank: str, devices: str, directory: str, output: str, end_at: str, way: str) -> None:
    import jax

    jax.config.update("jax_num_cpu_devices", int(devices))
    if int(count) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(rank))

    import numpy as np

    from collapse_jax.engine import sweep, train
    from collapse_jax.engine.checkpoint import Store
    from tests.test_sweep_damage import AXES, OPTIONS, make_wide

    save = Store.save

    def ending(self, position, *given):
        save(self, position, *given)
        if position == int(end_at):
            os._exit(9)  # as a kill would, all hosts at once

    def enough(segment):
        if segment.done == -int(end_at):
            raise RuntimeError("enough")

    Store.save = ending
    try:
        options = {"directory": directory, "on_segment": enough, **OPTIONS}
        if way == "train":
            result, members = train(make_wide(), AXES, **options)
            np.save(f"{output}-states-{rank}.npy", members.states)
        else:
            result = sweep(make_wide(), AXES, **options)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    np.savez(f"{output}-{rank}.npz", **{name: values.to_numpy() for name, values in result.items()})
    print(result.attrs["provenance"])


if __name__ == "__main__":
    main(*sys.argv[1:])
