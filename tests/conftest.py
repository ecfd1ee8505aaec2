"""Shapes and types are checked, rank promotion is refused, key reuse is detected, warnings are errors."""

import os
import tempfile

import jax
from jaxtyping import install_import_hook

# Data sets are prepared outside the home folder, and not by two workers in one place.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["TFDS_DATA_DIR"] = os.path.join(tempfile.gettempdir(), f"collapse_jax-tests-{_WORKER}")

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook("collapse_jax", "typechecking.checked")
