"""What a sweep leaves behind beside its records: every member's final state, by its labels."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh
from jaxtyping import PyTree

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import call
from collapse_jax.engine.keys import as_keys, is_key
from collapse_jax.engine.process import Process
from collapse_jax.engine.sweep import Options, run_sweep
from collapse_jax.engine.watching import OnSegment


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Members:
    """The final states of the members of a population, on the host, by their labels.

    `axes` holds the labels along each axis, in the order of the leading axes of every leaf of `states`. `labels` are
    those of the axes on which one label was chosen: with no axes left they name a single member. Leaves are NumPy
    arrays; keys are typed JAX keys.
    """

    axes: Mapping[str, np.ndarray]
    labels: Mapping[str, Any]
    states: PyTree
    pick: Callable[[PyTree], PyTree] | None = None
    """`learned` of the process: what is the model in a state; None takes all of it."""

    def sel(self, **labels: Any) -> "Members":
        """Return the members of these labels: one label leaves its axis out, a sequence of them keeps it.

        Raises ValueError for an axis or a label that there is not, naming those that there are, and for no label.
        """
        chosen = self
        for name, label in labels.items():
            chosen = chosen._along(name, label)
        return chosen

    def __len__(self) -> int:
        return int(np.prod([len(one) for one in self.axes.values()], dtype=int))

    def __iter__(self) -> "Iterator[Members]":
        """Yield every member alone, the last axis fastest; `labels` name it."""
        if not self.axes:
            yield self
            return
        name, labels = next(iter(self.axes.items()))
        for label in labels.tolist():
            yield from self._along(name, label)

    def __repr__(self) -> str:
        return f"<{len(self)} members: {self._described()}>"

    @property
    def state(self) -> PyTree:
        """The final state of a single member; raises ValueError where there are several."""
        if self.axes:
            raise ValueError(f"there are {len(self)} members, {self._described()}: choose one with sel")
        return self.states

    @property
    def learned(self) -> PyTree:
        """What the members have learned, their models: the part of `states` that `learned` of the process returns."""
        return self.states if self.pick is None else call("learned of the process", self.pick, self.states)

    def _along(self, name: str, label: Any) -> "Members":
        if name not in self.axes:
            known = ", ".join(self.axes) or "none left"
            raise ValueError(f"there is no axis {name!r} to choose from; these members have {known}")
        known = self.axes[name].tolist()
        several = not isinstance(label, str) and (isinstance(label, Sequence) or getattr(label, "ndim", 0) > 0)
        wanted = [np.asarray(one).tolist() for one in (label if several else [label])]
        for one in wanted:
            if one not in known:
                raise ValueError(f"axis {name!r} has no label {one!r}; it has {', '.join(map(repr, known))}")
        if not wanted:
            raise ValueError(f"no label of the axis {name!r} is given; it has {', '.join(map(repr, known))}")
        places = [known.index(one) for one in wanted]
        index: Any = np.array(places) if several else places[0]
        place = (slice(None),) * list(self.axes).index(name)

        others = {axis: labels for axis, labels in self.axes.items() if axis != name}
        return dataclasses.replace(
            self,
            axes={axis: own[index] if axis == name else own for axis, own in self.axes.items()} if several else others,
            labels=self.labels if several else {**self.labels, name: known[index]},
            states=jax.tree.map(partial(_in_numpy, lambda leaf: np.asarray(leaf[(*place, index)])), self.states),
        )

    def _described(self) -> str:
        kept = [f"{name} {', '.join(map(str, labels.tolist()))}" for name, labels in self.axes.items()]
        return "; ".join([*kept, *(f"{name}={label}" for name, label in self.labels.items())]) or "no labels"


class Trained(NamedTuple):
    """What `train` returns: the records, as of `sweep`, and the members."""

    records: xr.Dataset
    members: Members


@checked
def train(
    process: Process,
    axes: Mapping[str, Any],
    *,
    directory: str | Path | None = None,
    mesh: Mesh | None = None,
    segment: int | None = None,
    max_members: int | None = None,
    vmap_members: int | None = None,
    progress: bool = True,
    on_segment: OnSegment | None = None,
) -> Trained:
    """Return the records of a sweep, bit by bit those of `sweep`, and every member's final state by its labels.

    Arguments are those of `sweep`, and so is the program. States are copied to the host chunk by chunk, where all of
    them must fit beside the records; in several processes each gets all states, gathered a leaf at a time. What is
    saved as a model is `members.sel(...).learned`.

    With a `directory` the final states are kept there as well: called again, a finished training returns them without
    running. In a directory in which `sweep` ran, they are missing: this warns, and runs again to the same bits, from
    the last checkpoint if the members ran in one chunk, and all of them where they ran in several. Raises what `sweep`
    raises.
    """
    options = Options(
        directory=directory,
        mesh=mesh,
        segment=segment,
        max_members=max_members,
        vmap_members=vmap_members,
        progress=progress,
        on_segment=on_segment,
    )
    swept = run_sweep(process, axes, options, finals=True)
    assert swept.finals is not None
    shape = swept.population.shape

    def join(*chunks: np.ndarray) -> np.ndarray:
        joined = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        return joined.reshape((*shape, *joined.shape[1:]))

    states = jax.tree.map(partial(_in_numpy, join), *swept.finals)
    return Trained(swept.records, Members(swept.population.labels, {}, states, process.learned))


def _in_numpy(function: Callable[..., np.ndarray], *leaves: Any) -> Any:
    """Return the function of NumPy arrays; of the data of keys, as keys again."""
    if not is_key(leaves[0]):
        return function(*leaves)
    return as_keys(function(*(np.asarray(jax.random.key_data(leaf)) for leaf in leaves)), leaves[0])
