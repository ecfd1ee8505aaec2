"""Where experiments read real text and images from: what each name that --source knows makes of --path.

The names are those of the functions of `cj.data` that return a `Source` or `ImageSplits`.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import collapse_jax as cj

T = TypeVar("T")


class Origin(NamedTuple, Generic[T]):
    """How real data are read, `read(path, data_dir)`, and whether their path must, may or can't be given."""

    read: Callable[[Path | None, Path | None], T]
    path: Literal["required", "optional", "refused"]


def _origins(kind: type[T]) -> Mapping[str, Origin[T]]:
    """Return every public function of `cj.data` that reads such data, by its name."""
    # By `vars`, since asking for what is imported late would import it.
    public = {name: vars(cj.data)[name] for name in cj.data.__all__ if name in vars(cj.data)}
    return {
        name: _origin(one)
        for name, one in public.items()
        if inspect.isfunction(one) and inspect.signature(one).return_annotation is kind
    }


def _origin(function: Callable[..., T]) -> Origin[T]:
    """Return how a function of `cj.data` is asked: its `path` or `folder` is what --path names, where it takes one."""
    parameters = inspect.signature(function).parameters
    first = next((name for name in ("path", "folder") if name in parameters), None)

    def read(path: Path | None, data_dir: Path | None) -> T:
        known = {"path": path, "folder": path, "data_dir": data_dir}
        return function(**{name: known[name] for name in parameters if name in known})

    if first is None:
        return Origin(read, "refused")
    return Origin(read, "required" if parameters[first].default is inspect.Parameter.empty else "optional")


TEXTS: Mapping[str, Origin[cj.data.Source]] = _origins(cj.data.Source)
IMAGES: Mapping[str, Origin[cj.data.ImageSplits]] = _origins(cj.data.ImageSplits)
if TYPE_CHECKING:
    TextName: TypeAlias = str
    ImageName: TypeAlias = str
else:
    # The command line offers what there is; type checkers, which read no tables, take any string.
    TextName = Literal[tuple(TEXTS)]
    ImageName = Literal[tuple(IMAGES)]


def read_source(origins: Mapping[str, Origin[T]], source: str, path: Path | None, data_dir: Path | None) -> T:
    """Return what a source of this name holds.

    Raises ValueError for an unknown name, and for a path that is missing, or given and not read.
    """
    if source not in origins:
        raise ValueError(f"source is {source!r}; known: {', '.join(origins)}")
    origin = origins[source]
    if origin.path == "required" and path is None:
        raise ValueError(f"--source {source} needs --path, a file or folder of UTF-8 text")
    if origin.path == "refused" and path is not None:
        raise ValueError(f"--path is {path}, but --source {source} reads no file or folder")
    return origin.read(path, data_dir)
