"""Where experiments read real text and images from: what each name that --source knows makes of --path."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import collapse_jax as cj

T = TypeVar("T")


class Origin(NamedTuple, Generic[T]):
    """How real data are read, `read(path, data_dir)`, and whether their path must, may or can't be given."""

    read: Callable[[Any, Path | None], T]
    path: Literal["required", "optional", "refused"]


TEXTS: Mapping[str, Origin[cj.data.Source]] = {
    "python_docs": Origin(lambda path, data_dir: cj.data.python_docs(), "refused"),
    "text_files": Origin(lambda path, data_dir: cj.data.text_files(path), "required"),
    "wikitext": Origin(lambda path, data_dir: cj.data.wikitext(path), "required"),
    "longform": Origin(lambda path, data_dir: cj.data.longform(path, data_dir=data_dir), "optional"),
    "tiny_shakespeare": Origin(lambda path, data_dir: cj.data.tiny_shakespeare(path, data_dir=data_dir), "optional"),
}
IMAGES: Mapping[str, Origin[cj.data.ImageSplits]] = {
    "digits": Origin(lambda path, data_dir: cj.data.digits(data_dir=data_dir), "refused"),
    "mnist": Origin(lambda path, data_dir: cj.data.mnist(path, data_dir=data_dir), "optional"),
}


def read_source(origins: Mapping[str, Origin[T]], source: str, path: Path | None, data_dir: Path | None) -> T:
    """Return what a source of this name holds. Raises ValueError for a path that is missing, or given and not read."""
    origin = origins[source]
    if origin.path == "required" and path is None:
        raise ValueError(f"--source {source} needs --path, a file or folder of UTF-8 text")
    if origin.path == "refused" and path is not None:
        raise ValueError(f"--path is {path}, but --source {source} reads no file or folder")
    return origin.read(path, data_dir)
