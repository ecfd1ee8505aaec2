"""Trained generators on disk: parameters as safetensors; their family, structure and labels as JSON."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import same_functions
from collapse_jax.engine.members import Members
from collapse_jax.generative.family import Examples, Family, Params
from collapse_jax.generative.rebuilding import rebuild
from collapse_jax.io.saved_models import CONFIG, TENSORS, load_folder, save_folder
from collapse_jax.io.tensors import in_tree, named_tensors, structure_of, template

_KIND = "generator"


class Generator(NamedTuple):
    """A trained generator: its family, the parameters of one model, and the labels of the member that it was."""

    family: Family
    params: Params
    labels: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        labels = "".join(f", {name}={label}" for name, label in self.labels.items())
        return f"<Generator: {self.family.name}{labels}>"

    def sample(self, key: Key[Array, ""], n: int) -> Examples:
        """Return n independent examples: equal draws for equal keys, before and after saving."""
        return self.family.sample(key, self.params, n)


@checked
def make_generator(family: Family, members: Members | PyTree) -> Generator:
    """Return the generator of a single member of a trained recursion, or of parameters of the family.

    Its model is that of the last generation, before decoding; `family.decodings["temperature"].apply(params, 0.7)` are
    the parameters that emit at a temperature of 0.7. Raises ValueError for several members, and for parameters that the
    family can't emit from.
    """
    labels: Mapping[str, Any] = {}
    if isinstance(members, Members):
        members.state  # noqa: B018 - raises for several
        members, labels = members.learned, dict(members.labels)
    named_tensors("members", members)
    params = jax.tree.map(jnp.asarray, members)
    try:
        jax.eval_shape(lambda key: family.sample(key, params, 1), jax.eval_shape(lambda: jax.random.key(0)))
    except Exception as error:  # of any kind: a family's functions stumble as they like over what is not theirs
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"members are no parameters that the family {family.name!r} can emit from ({told:.120}); those of several "
            "models are given one by one"
        ) from error
    return Generator(family, params, labels)


@checked
def save_generator(generator: Generator, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a generator to a folder, whole or not at all: `model.safetensors` and `config.json`; return the folder.

    Warns where loading will need `family=`, for a family that is not the library's, was renamed, was given a function
    or has one replaced, and `like=`, for parameters in records of your own. Raises ValueError for a folder that holds
    anything, unless it is a saved model and `overwrite`; OSError if it can't be written.
    """
    family, structure, missing = generator.family, None, []
    known = family.config
    # A family of your own that was made from one of the library's by `_replace` has its `config`.
    if known is not None and not _same(rebuild(known), family):
        known = None
    if known is None:
        missing.append(f"nothing says how to make the family {family.name!r}, so that it will need family=")
    try:
        structure = structure_of(generator.params)
    except ValueError as error:
        missing.append(f"{error}, so that it will need like=")
    if missing:
        warnings.warn(f"load_generator: {'; '.join(missing)}", stacklevel=3)
    config = {
        "family": {"name": family.name, "config": known},
        "structure": structure,
        "member": dict(generator.labels),
    }
    return save_folder(folder, _KIND, config, named_tensors("the parameters", generator.params), overwrite)


@checked
def load_generator(folder: str | os.PathLike[str], *, family: Family | None = None, like: PyTree = None) -> Generator:
    """Return the generator that `save_generator` wrote; no code is run on reading.

    `family` is needed for one that is not the library's. `like` are parameters of the same structure and shapes, of any
    numbers, where these are in records of your own. Raises FileNotFoundError where there is no saved model, and
    ValueError, naming file and entry, for one that is damaged, was changed, is of another version or kind, or of
    another family.
    """
    saved = load_folder(folder, _KIND)
    where, known, labels = Path(folder) / CONFIG, saved.config.get("family"), saved.config.get("member")
    if not isinstance(known, Mapping) or not isinstance(labels, dict):
        raise ValueError(f"{where} is damaged: it has no family or no labels of its member")
    if family is None:
        if known.get("config") is None:
            raise ValueError(f"{where}: the family {known.get('name')!r:.60} is not the library's; give it as family=")
        family = _named(where, rebuild, known["config"])
    elif family.name != known.get("name"):
        raise ValueError(f"{where} is of the family {known.get('name')!r:.60}; family is {family.name!r}")
    if like is None:
        if saved.config.get("structure") is None and set(saved.tensors) - {"value"}:
            raise ValueError(f"{where}: the parameters are in records that are not the library's; give like=")
        like = _named(where, template, saved.config.get("structure"))
    else:
        like = jax.eval_shape(lambda: like)
    return Generator(family, in_tree(str(Path(folder) / TENSORS), saved.tensors, like), labels)


def _same(one: Family, other: Family) -> bool:
    """Return whether two families have one name and functions of the same names, whatever they learn from."""
    ours, theirs = (family._replace(truth=None, matching=None) for family in (one, other))
    return ours.name == theirs.name and same_functions(ours, theirs)


def _named(where: Path, make: Any, given: Any) -> Any:
    """Return what a function makes of an entry; its ValueError names the file."""
    try:
        return make(given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
