"""Several processes running one sweep: what they agree on, and which part of each array is on which of them."""

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


def lowest(number: int | bool) -> int:
    """Return the lowest of the numbers that the processes give, in which True is 1."""
    if jax.process_count() == 1:
        return number
    # Sent in two halves, because JAX without x64 cuts integers to 32 bits.
    halves = np.array(divmod(number, 2**31), np.int32)
    return min(int(high) * 2**31 + int(low) for high, low in multihost_utils.process_allgather(halves))


def of_first(number: int) -> int:
    """Return the number that the first process gives."""
    return number if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def in_first(act: Callable[[], None]) -> None:
    """Let the first process act while the others wait; if that raises, the others raise OSError."""
    failure: BaseException | None = None
    if is_first():
        try:
            act()
        except (OSError, ValueError) as error:
            failure = error
    if not lowest(failure is None):
        raise failure or OSError("another process of this run can't use the directory; its message tells why")


def on_host(value: Any) -> np.ndarray:
    """Return an array's values on the host, without the copy that a JAX array keeps of what NumPy has read of it."""
    if isinstance(value, jax.Array) and value.is_fully_addressable:
        parts = [shard.data for shard in value.addressable_shards]
        value = jax.make_array_from_single_device_arrays(value.shape, value.sharding, parts)
    return np.asarray(value)


def put(value: Any, sharding: NamedSharding) -> jax.Array:
    """Return an array on the devices; each process copies only the part that its own devices hold.

    An array that every device shall hold whole, and some device holds whole already, is copied from that device to the
    others; on that device itself no second copy is made, because a device may not have room for its data set twice.
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
    """Return the numbers of the rows that this process has to write, ascending: each row is written by one process."""
    index = np.arange(array.shape[0])
    shards = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    return np.sort(np.concatenate([index[shard.index[0]] for shard in shards] or [index[:0]]))
