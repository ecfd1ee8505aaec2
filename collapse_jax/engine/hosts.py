"""What the processes of a sweep agree on, and which part of an array each of them holds: all of it if there is one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding


def is_first() -> bool:
    """Return whether this process writes what is written once."""
    return jax.process_index() == 0


def lowest(number: int) -> int:
    """Return the lowest of the numbers that the processes give."""
    if jax.process_count() == 1:
        return number
    # In two halves: without x64, JAX cuts larger numbers off.
    halves = np.array(divmod(number, 2**31), np.int32)
    return min(int(high) * 2**31 + int(low) for high, low in multihost_utils.process_allgather(halves))


def of_first(number: int) -> int:
    """Return the number that the first process gives."""
    return number if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def in_first(act: Callable[[], None]) -> None:
    """Let the first process act while the others wait; what it raises, all do: the others as OSError."""
    failure: BaseException | None = None
    if is_first():
        try:
            act()
        except (OSError, ValueError) as error:
            failure = error
    if not lowest(failure is None):
        raise failure or OSError("another process of this run can't use the directory; its message tells why")


def on_host(value: Any) -> np.ndarray:
    """Return an array's values on the host. A JAX array keeps what NumPy reads of it as long as it lives; not here."""
    if isinstance(value, jax.Array) and value.is_fully_addressable:
        parts = [shard.data for shard in value.addressable_shards]
        value = jax.make_array_from_single_device_arrays(value.shape, value.sharding, parts)
    return np.asarray(value)


def put(value: Any, sharding: NamedSharding) -> jax.Array:
    """Return an array on the devices, of which each process copies its own part only.

    What should be whole on every device, and is so on some device already, goes from there to the others, and is shared
    with the array given where it lies: a second copy of a data set may be more than a device holds.
    """
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = put(jax.random.key_data(value), sharding)
        keys: jax.Array = jax.random.wrap_key_data(data, impl=jax.random.key_impl(value))
        return keys
    if isinstance(value, jax.Array) and value.is_fully_replicated and sharding.is_fully_replicated:
        there = {shard.device: shard.data for shard in value.addressable_shards}
        one = next(iter(there.values()))
        parts = [jax.device_put(there.get(device, one), device) for device in sharding.mesh.local_devices]
        return jax.make_array_from_single_device_arrays(value.shape, sharding, parts)
    host = on_host(value)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def whole(array: jax.Array) -> np.ndarray:
    """Return an array in full in every process."""
    if jax.process_count() == 1:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def own_rows(array: jax.Array) -> np.ndarray:
    """Return the numbers of the rows that this process is the one to write, ascending."""
    index = np.arange(array.shape[0])
    shards = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    return np.sort(np.concatenate([index[shard.index[0]] for shard in shards] or [index[:0]]))
