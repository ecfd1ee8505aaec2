"""Trees of arrays as named tensors, and their structure as JSON: what files can hold, and what no code has to read."""

import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

_ARRAY = "array"
_RECORDS = "collapse_jax."  # the modules whose named tuples are made again by their name
TYPES = {
    **{f"F{8 * one.itemsize}": one for one in map(np.dtype, ("f2", "f4", "f8"))},
    **{f"I{8 * one.itemsize}": one for one in map(np.dtype, ("i1", "i2", "i4", "i8"))},
    **{f"U{8 * one.itemsize}": one for one in map(np.dtype, ("u1", "u2", "u4", "u8"))},
    "BOOL": np.dtype(bool),
    "C64": np.dtype(np.complex64),
    "BF16": np.dtype(jnp.bfloat16),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": np.dtype(jnp.float8_e5m2),
}
"""The types of numbers that safetensors files hold, by their names there."""


def named_tensors(what: str, tree: PyTree) -> dict[str, np.ndarray]:
    """Return the leaves of a tree by the names of their paths, such as "params.head.kernel", as NumPy arrays.

    Numbers of Python's get the type that JAX gives them. Raises ValueError for two paths of one name, and for a leaf
    that is no array of a type that safetensors files hold; `what` calls the tree.
    """
    found: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = _name(path)
        if name in found:
            raise ValueError(f"{what} has two leaves of the path {name!r}; give them names without dots")
        found[name] = _as_tensor(f"{what} at {name!r}", leaf)
    return found


def in_tree(what: str, tensors: Mapping[str, np.ndarray], like: PyTree) -> PyTree:
    """Return the tensors in the structure of `like`, as JAX arrays.

    Leaves of `like` that have a shape say which the tensors must have. Raises ValueError, naming them, for tensors that
    are missing, unexpected or of another shape; `what` calls the tensors.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = {_name(path): getattr(leaf, "shape", None) for path, leaf in paths}
    for label, names in (
        ("lacks", [name for name in expected if name not in tensors]),
        ("has the unexpected", [name for name in tensors if name not in expected]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"{what} {label} {', '.join(map(repr, names[:3]))}{more}; expected {listed(expected)}")
    for name, shape in expected.items():
        if shape is not None and tensors[name].shape != tuple(shape):
            raise ValueError(f"{what} has {name!r} of shape {tensors[name].shape}; expected {tuple(shape)}")
    return jax.tree.unflatten(structure, [jnp.asarray(tensors[name]) for name in expected])


def structure_of(tree: PyTree) -> Any:
    """Return the structure of a tree as JSON, from which `template` makes it again.

    It may consist of dicts with string keys, lists, tuples, None and the named tuples of this package. Raises
    ValueError for anything else, naming its type.
    """
    if tree is None:
        return None
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: structure_of(one) for key, one in tree.items()}}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        kind = type(tree)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if _record(name) is not kind:
            raise ValueError(f"{name} is no record of this package")
        return {"record": name, "fields": {key: structure_of(one) for key, one in zip(tree._fields, tree, strict=True)}}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [structure_of(one) for one in tree]}
    if not jax.tree_util.treedef_is_leaf(jax.tree.structure(tree)):
        raise ValueError(f"{type(tree).__module__}.{type(tree).__qualname__} is no dict, list, tuple or record")
    return _ARRAY


def template(structure: Any) -> PyTree:
    """Return a tree of the structure that `structure_of` told, its leaves 0. Raises ValueError for what it never tells.

    Only named tuples of modules of this package that are imported already are made by name.
    """
    match structure:
        case None:
            return None
        case "array":
            return 0
        case {"dict": dict(entries)}:
            return {key: template(one) for key, one in entries.items()}
        case {"list": list(entries)}:
            return [template(one) for one in entries]
        case {"tuple": list(entries)}:
            return tuple(template(one) for one in entries)
        case {"record": str(name), "fields": dict(fields)}:
            kind = _record(name)
            if kind is None or set(fields) != set(kind._fields):
                raise ValueError(f"the structure has the record {name} with {listed(fields)}; there is none such here")
            return kind(**{key: template(one) for key, one in fields.items()})
    raise ValueError(f"the structure has {structure!r:.80}, which is none of a tree")


def _record(name: str) -> Any:
    """Return the class of named tuples of this name in an imported module of this package; None if there is none."""
    module, _, own = name.rpartition(".")
    found = vars(sys.modules[module]).get(own) if module.startswith(_RECORDS) and module in sys.modules else None
    return found if isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields") else None


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "value"


def _as_tensor(where: str, leaf: Any) -> np.ndarray:
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise ValueError(f"{where} are random keys, which are no part of a model: save what was learned")
    if isinstance(leaf, bool | int | float | complex):
        leaf = np.asarray(leaf, jax.dtypes.canonicalize_dtype(np.result_type(leaf)))
    values = np.asarray(leaf, order="C")
    if values.dtype.newbyteorder("=") not in TYPES.values():
        allowed = ", ".join(one.name for one in TYPES.values())
        raise ValueError(f"{where} is of type {values.dtype}; a safetensors file holds {allowed}")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def listed(names: Mapping[str, Any]) -> str:
    """Return the first of some names, and how many there are if these are not all."""
    shown = ", ".join(map(repr, list(names)[:5]))
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 5 else shown or "none"
