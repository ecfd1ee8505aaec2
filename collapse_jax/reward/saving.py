"""Reward models on disk: parameters as safetensors; the model, its reader and its members' labels as JSON."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from collapse_jax.checks.annotations import checked
from collapse_jax.data.readers import load_reader
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

    Warns where loading will need `model=`: for a model or a link that is not the library's. Raises ValueError for a
    folder that holds anything, unless it is a saved model and `overwrite`; OSError if it can't be written.
    """
    if why := _obstacle(reward_model.model.config):
        warnings.warn(f"{why}; load_reward_model will need model=", stacklevel=3)
    config = {
        "model": reward_model.model.config,
        "reader": reward_model.reader.config,
        "members": [dict(labels) for labels in reward_model.labels],
    }
    tensors = named_tensors("the parameters", reward_model.params)
    return save_folder(folder, _KIND, config, tensors, overwrite)


@checked
def load_reward_model(folder: str | os.PathLike[str], *, model: Model | None = None) -> RewardModel:
    """Return the reward model that `save_reward_model` wrote, its reader with it; no code is run on reading.

    `model` is needed for one that is not the library's, and takes precedence. Raises FileNotFoundError where there is
    no saved model, and ValueError, naming file and entry, for one that is damaged, was changed, is of another version
    or kind, or whose parameters are not those of the model.
    """
    saved = load_folder(folder, _KIND)
    where = Path(folder) / CONFIG
    members = saved.config.get("members")
    if not isinstance(members, list) or not members or not all(isinstance(one, dict) for one in members):
        raise ValueError(f"{where} is damaged: its members are {members!r:.80}, not the labels of each")
    if not isinstance(saved.config.get("reader"), Mapping):
        raise ValueError(f"{where} is damaged: its reader is {saved.config.get('reader')!r:.80}")
    try:
        reader = load_reader(saved.config["reader"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} describes a reader that can't be made ({error})") from error
    model = model or build_model(saved.config.get("model"), where)

    def several(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((len(members), *leaf.shape), leaf.dtype)

    like = jax.tree.map(several, expected_params(model, reader))
    params = jax.tree.map(np.asarray, in_tree(str(Path(folder) / TENSORS), saved.tensors, like))
    return RewardModel(model, params, reader, tuple(members))


def build_model(config: Any, where: Path) -> Model:
    """Return the model of a configuration that is the library's; ValueError, naming the file, for any other."""
    if why := _obstacle(config):
        raise ValueError(f"{where}: {why}; give it as model=")
    sizes = {name: value for name, value in config.items() if name not in ("kind", "link")}
    try:
        if "architecture" in sizes:
            sizes["architecture"] = Architecture(**sizes["architecture"])
        return _MODELS[config["kind"]](**sizes, link=_link(config["link"]))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{where} describes a model that can't be built ({error})") from error


_MODELS: Mapping[str, Callable[..., Model]] = {
    "mlp": mlp,
    "text_encoder": text_encoder,
    "prefix_encoder": prefix_encoder,
}


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
