"""Every test runs with shapes and types checked, float rank promotion refused, key reuse detected, warnings as errors."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook("collapse_jax", "beartype.beartype")
