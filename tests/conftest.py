"""Shapes and types are checked, rank promotion is refused, key reuse is detected, warnings are errors."""

import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

import tests.typechecking  # noqa: F401 - the hook reads it from `tests`, which is all that it imports

# Data sets are prepared outside the home folder, and not by two workers in one place.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["TFDS_DATA_DIR"] = os.path.join(tempfile.gettempdir(), f"collapse_jax-tests-{_WORKER}")

# Compiling takes most of the time of these tests, and these flags shorten it.
_QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def _is_known(flag):
    """Return whether XLA knows a flag: it ends the process, without a message, for one that it doesn't."""
    start = [sys.executable, "-c", "import jaxlib.xla_client; jaxlib.xla_client.make_cpu_client()"]
    return not subprocess.run(start, env={**os.environ, "XLA_FLAGS": flag}, capture_output=True).returncode


# Workers inherit what the process that starts them was told.
if _WORKER == "alone":
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *filter(_is_known, _QUICK)]).strip()

# Child processes inherit both, as they compare bits.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

# What checks is not checked itself: it would call itself without end.
_PACKAGE = Path(__file__).parents[1] / "collapse_jax"
_HOOKED = [f"collapse_jax.{module.name}" for module in pkgutil.iter_modules([_PACKAGE]) if module.name != "checks"]
install_import_hook(_HOOKED, "tests.typechecking.checked")


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
