"""Reward models on disk: parameters as safetensors; the model, its reader and its members' labels as JSON."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from collapse_jax.checks.annotations import checked
from collapse_jax.checks.user_functions import same_functions
from collapse_jax.data.readers import Reader, load_reader
from collapse_jax.io.saved_models import CONFIG, TENSORS, load_folder, save_folder
from collapse_jax.io.tensors import in_tree, named_tensors
from collapse_jax.nets.transformer import Architecture
from collapse_jax.reward.encoders import prefix_encoder, text_encoder
from collapse_jax.reward.models import LINKS, Model, mlp
from collapse_jax.reward.scoring import RewardModel, expected_params

_KIND = "reward model"


@checked
def save_reward_model(reward_model: RewardModel, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a reward model to a folder, whole or not at all: `model.safetensors` and `config.json`; return the folder.

    Warns where loading will need `model=` or `reader=`: for a model, a link or a reader that is not the library's, or
    of which a function was replaced. Raises ValueError for a folder that holds anything, unless it is a saved model and
    `overwrite`; OSError if it can't be written.
    """
    model, reader = _known_model(reward_model.model), _known_reader(reward_model.reader)
    if why := _obstacle(model):
        warnings.warn(f"{why}; load_reward_model will need model=", stacklevel=3)
    if reader is None:
        warnings.warn(
            f"the reader {reward_model.reader.name!r} is not one of the library's, so that nothing says how to make "
            "it; load_reward_model will need reader=",
            stacklevel=3,
        )
    config = {
        "model": model,
        "reader": reader,
        "members": [dict(labels) for labels in reward_model.labels],
    }
    tensors = named_tensors("the parameters", reward_model.params)
    return save_folder(folder, _KIND, config, tensors, overwrite)


@checked
def load_reward_model(
    folder: str | os.PathLike[str], *, model: Model | None = None, reader: Reader | None = None
) -> RewardModel:
    """Return the reward model that `save_reward_model` wrote, its reader with it; no code is run on reading.

    `model` and `reader` are needed for those that are not the library's, and take precedence. Raises FileNotFoundError
    where there is no saved model, and ValueError, naming file and entry, for one that is damaged, was changed, is of
    another version or kind, whose parameters are not those of the model, or whose model can't read what its reader
    makes.
    """
    saved = load_folder(folder, _KIND)
    where = Path(folder) / CONFIG
    members = saved.config.get("members")
    if not isinstance(members, list) or not members or not all(isinstance(one, dict) for one in members):
        raise ValueError(f"{where} is damaged: its members are {members!r:.80}, not the labels of each")
    reader = reader or _build_reader(saved.config.get("reader"), where)
    model = model or build_model(saved.config.get("model"), where)

    def several(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((len(members), *leaf.shape), leaf.dtype)

    try:
        expected = expected_params(model, reader)
    except Exception as error:  # of any kind: a model stumbles as it likes over what is not made for it
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{where}: the model can't read what the reader {reader.name!r} makes ({told:.120})"
        ) from error
    like = jax.tree.map(several, expected)
    params = jax.tree.map(np.asarray, in_tree(str(Path(folder) / TENSORS), saved.tensors, like))
    return RewardModel(model, params, reader, tuple(members))


def _build_reader(config: Any, where: Path) -> Reader:
    if config is None:
        raise ValueError(f"{where}: the reader is not one of the library's; give it as reader=")
    if not isinstance(config, Mapping):
        raise ValueError(f"{where} is damaged: its reader is {config!r:.80}")
    try:
        return load_reader(config)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} describes a reader that can't be made ({error})") from error


def build_model(config: Any, where: Path) -> Model:
    """Return the model of a configuration that is the library's; ValueError, naming the file, for any other."""
    if why := _obstacle(config):
        raise ValueError(f"{where}: {why}; give it as model=")
    try:
        return _build(config)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{where} describes a model that can't be built ({error})") from error


def _build(config: Mapping[str, Any]) -> Model:
    sizes = {name: value for name, value in config.items() if name not in ("kind", "link")}
    if "architecture" in sizes:
        sizes["architecture"] = Architecture(**sizes["architecture"])
    return _MODELS[config["kind"]](**sizes, link=_link(config["link"]))


_MODELS: Mapping[str, Callable[..., Model]] = {
    "mlp": mlp,
    "text_encoder": text_encoder,
    "prefix_encoder": prefix_encoder,
}


def _known_model(model: Model) -> Mapping[str, Any] | None:
    """Return the configuration of a model; None if it makes another one, as after `_replace` of a function."""
    if model.config is None or _obstacle(model.config):
        return model.config
    return model.config if same_functions(_build(model.config), model) else None


def _known_reader(reader: Reader) -> Mapping[str, Any] | None:
    """Return the configuration of a reader; None if it makes none, or another one."""
    try:
        return reader.config if same_functions(load_reader(reader.config), reader) else None
    except (ValueError, TypeError, AttributeError):
        return None


def _link(name: str | None) -> Any:
    return None if name is None else LINKS[name]


def _obstacle(config: Any) -> str:
    """Return why a model can't be built of its configuration, in words; empty if it can."""
    if config is None:
        return "the model is not one of the library's, so that nothing says how to build it"
    if not isinstance(config, Mapping) or config.get("kind") not in _MODELS:
        kind = config.get("kind") if isinstance(config, Mapping) else config
        return f"the model is of the kind {kind!r:.40}; the library has {', '.join(_MODELS)}"
    link = config.get("link")
    if link is not None and link not in list(LINKS):
        name = link.get("function") if isinstance(link, Mapping) else link
        return f"the link of the model is {name!r:.80}; only {', '.join(LINKS)} and None are built by name"
    return ""
