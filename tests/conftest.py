"""Shapes and types are checked, rank promotion is refused, key reuse is detected, warnings are errors."""

import mmap
import os
import tempfile
from pathlib import Path

import jax
import jaxlib
import pytest
from jaxtyping import install_import_hook

# Data sets are prepared outside the home folder, and not by two workers in one place.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["TFDS_DATA_DIR"] = os.path.join(tempfile.gettempdir(), f"collapse_jax-tests-{_WORKER}")

# Compiling takes most of the time of these tests. XLA dies of a flag that it doesn't know, so ask the library first.
_QUICK = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
for _path in Path(jaxlib.__file__).parent.glob("libjax_common.*"):
    with _path.open("rb") as _file, mmap.mmap(_file.fileno(), 0, access=mmap.ACCESS_READ) as _library:
        _KNOWN = [f"--{flag}={value}" for flag, value in _QUICK.items() if _library.find(flag.encode()) >= 0]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_KNOWN]).strip()

# Child processes inherit both, as they compare bits.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook("collapse_jax", "typechecking.checked")


@pytest.fixture
def optimised():
    """Optimise what a test compiles: worth it where running takes longer than compiling."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def saved(monkeypatch):
    """Return the positions that sweeps saved so far, a growing list."""
    from collapse_jax.engine.checkpoint import Store

    positions = []
    save = Store.save

    def counting(self, position, *given):
        save(self, position, *given)
        positions.append(position)

    monkeypatch.setattr(Store, "save", counting)
    return positions
