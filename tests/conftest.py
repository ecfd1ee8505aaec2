"""Shapes and types are checked, rank promotion is refused, key reuse is detected, warnings are errors."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook("collapse_jax", "typechecking.checked")
