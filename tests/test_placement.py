"""Data that a process closes over go to the devices once, and leave nothing behind on the host."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.engine.tracing import Traced
from tests.walks import finish, spawn

PLACED = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from collapse_jax.engine import hosts

mesh = Mesh(np.array(jax.devices()), ("population",))
values = np.arange(1000.0, dtype=np.float32).reshape(100, 10)
data = jax.device_put(values, jax.devices()[2])
hosts.on_host, read = None, hosts.on_host  # nothing passes through the host
everywhere = hosts.put(data, NamedSharding(mesh, P()))
again = hosts.put(everywhere, NamedSharding(mesh, P()))
keys = hosts.put(jax.random.key(3), NamedSharding(mesh, P()))
at = [shard.data.unsafe_buffer_pointer() for shard in everywhere.addressable_shards]
assert [place == data.unsafe_buffer_pointer() for place in at] == [False, False, True, False]
assert at == [shard.data.unsafe_buffer_pointer() for shard in again.addressable_shards]
assert all((np.asarray(shard.data) == values).all() for shard in everywhere.addressable_shards)
assert (jax.random.key_data(keys) == jax.random.key_data(jax.random.key(3))).all()
hosts.on_host = read
halves = jax.device_put(values, NamedSharding(Mesh(np.array(jax.devices()[:2]), ("half",)), P("half")))
for given in (values, halves):
    for spec in (P(), P("population")):
        assert (np.asarray(hosts.put(given, NamedSharding(mesh, spec))) == values).all()
"""


def test_data_go_from_device_to_device_and_are_shared_where_they_lie():
    finish(spawn(PLACED))


def test_a_fingerprint_keeps_no_copy_on_the_host_and_is_that_of_the_bytes():
    arrays = [
        jnp.arange(12, dtype=jnp.bfloat16).reshape(3, 4),
        jnp.float32(7.5),
        jnp.zeros((0, 3), bool),
        np.arange(6, dtype=np.int32).reshape(2, 3).T,
        jax.random.key(5),
    ]
    bare = Traced.of(lambda: 0)
    sha = hashlib.sha256(bare.jaxpr.pretty_print(source_info=False, use_color=False).encode())
    for array in [*arrays[:-1], jax.random.key_data(arrays[-1])]:
        sha.update(f"{array.dtype}{array.shape}".encode() + np.array(array).tobytes())
    assert bare._replace(consts=arrays).digest() == sha.hexdigest()
    fresh = jnp.arange(5.0) + 1
    bare._replace(consts=[fresh]).digest()
    assert fresh._npy_value is None  # what NumPy read of it would stay with it
