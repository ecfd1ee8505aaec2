"""Probes of public functions: arguments that are right by their annotation, or by name where that tells more.

A new function is probed without an edit here as long as its arguments are of a kind, or of a name, that others have.
For one that isn't, `arguments_of` raises LookupError, which names the argument: enter values for its name in `named`.
"""

import functools
import inspect
import os
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType, UnionType
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st
from jaxtyping import AbstractArray, Bool, Float, Key, jaxtyped

import collapse_jax as cj
from collapse_jax.checks import hints
from collapse_jax.generative import selections
from tests.fuzz.probes import Probe
from tests.fuzz.values import STRANGE

Function = Callable[..., Any]

LEFT_OUT: Mapping[str, str] = {
    "collapse_jax.data.builders": "what TFDS calls; it prepares data sets on disk",
    "collapse_jax.data.corpus.corpus": "prepares a data set on disk; tests/test_corpus.py has its bad input",
    "collapse_jax.data.images.digits": "prepares a data set on disk; tests/test_images.py has its bad input",
    "collapse_jax.data.ranking_sets.ranking_sets": "prepares a data set; tests/test_ranking_sets.py has its bad input",
    "collapse_jax.data.tokenizers.save_bpe": "writes a file wherever it is told to",
    "collapse_jax.engine.devices.spread": "takes any tree of arrays",
    "collapse_jax.engine.members.train": "runs what sweep runs; see tests/fuzz/sweeps.py",
    "collapse_jax.engine.sweep.sweep": "see tests/fuzz/sweeps.py",
    "collapse_jax.engine.tensorboard.to_tensorboard": "writes files wherever it is told to",
    "collapse_jax.generative.families.rewriting.rewriting": "needs a family that writes; see tests/test_rewriting.py",
    "collapse_jax.generative.fitting.make_fit": "its loss is called only by a family; `Fitting` is probed",
    "collapse_jax.generative.selections.learned.by_reward": "what curated, best_of and top_share, probed, are made by",
    "collapse_jax.generative.saving.save_generator": "writes a folder wherever it is told to",
    "collapse_jax.loop.mitigations.compare_mitigations": "compiles sweeps; see tests/test_mitigations.py",
    "collapse_jax.plotting": "draws datasets that only sweeps and laws make",
    "collapse_jax.reward.cross_validation.held_out_scores": "takes datasets that only sweeps make",
    "collapse_jax.reward.labelled_summary.summarize_labelled": "takes datasets that only sweeps and laws make",
    "collapse_jax.reward.saving.save_reward_model": "writes a folder wherever it is told to",
    "collapse_jax.reward.summary.summarize_rewards": "takes datasets that only sweeps and laws make",
    "collapse_jax.reward.utilities.utility": "see tests/fuzz/records.py",
    "collapse_jax.testing": "raises AssertionError for what is wrong; see tests/test_testing.py",
}
"""Public functions, or all of a package, that are not probed as others are, and why."""

_SIZES = {"n": 6, "m": 5, "d": 2, "length": 4}
"""Lengths of arrays by the names of their axes, 3 for any other name."""
_PLAIN: Mapping[Any, Any] = {bool: True, int: 2, float: 0.5, str: "own"}


@functools.cache
def named() -> Mapping[str, Sequence[Any]]:
    """Return values by the name of an argument; of several, the first that fits the annotation is taken."""
    # Laws are told exact probabilities, metrics those of float32.
    exact = np.array([0.5, 0.3, 0.2])
    p, q = exact.astype(np.float32), np.array([0.2, 0.4, 0.4], np.float32)
    place, rates = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(6, 2), np.array([1.0, 0.5, 0.0])
    mean, covariance = np.zeros(2, np.float32), np.array([[1.0, 0.2], [0.2, 2.0]], np.float32)
    tokens = np.array([[1, 2, 1, 2], [3, 1, 2, -1], [1, 1, 1, 1], [2, 2, 0, 1], [0, 1, 2, 3], [3, 3, 2, 2]], np.int32)
    return {
        "budget": (8,),
        "centres": (np.array([[-1.0], [1.0]]),),
        "choices": (2,),
        "correct": (lambda x: _first(x) > 0,),
        "counts": (np.array([[0, 10, 0], [0, 5, 5]]),),
        "covariance": (covariance,),
        "defaults": ({"a": 1.0},),
        "density": (p,),
        "detector": (selections.empirical_detector(),),
        "distance": (lambda x, y: abs(x - y).max(),),
        "edges": (np.arange(3.0, dtype=np.float32),),
        "exponent": (2.0,),
        "features": (lambda x: x,),
        "first": (1,),
        "generated": (place[:5] ** 2,),
        "generated_where": (np.ones(5, bool),),
        "grid": (np.arange(3.0, dtype=np.float32),),
        "group": (np.array([True, False, True]),),
        "high": (1.0,),
        "images": (place,),
        "kernel": (np.eye(3), lambda distance: -distance, lambda x, y: -((x - y) ** 2).sum()),
        "last": (3,),
        "link": (jax.nn.sigmoid,),
        "log_density": (np.log(p),),
        "log_probs": (-abs(place),),
        "low": (-1.0,),
        "lower": (0.1,),
        "model": (exact,),
        "most": (4,),
        "other_covariance": (2 * covariance,),
        "other_mean": (mean + 1,),
        "p": (p,),
        "picks": ([4, 8],),
        "probability": (lambda x, **_: jax.nn.sigmoid(_first(x)),),
        "q": (q,),
        "ranges": ({"a": (0.0, 1.0)},),
        "real": (place, exact, 50),
        "real_where": (np.ones(6, bool),),
        "reference": (2 * covariance,),
        "reward": (_first,),
        "rewards": (rates,),
        "samples": (23, [100, 50]),
        "shares": (np.array([0.1, 0.4]),),
        "similarity": (np.eye(6, dtype=np.float32),),
        "start": (exact,),
        "steps": (2,),
        "texts": (["low lower lowest"] * 3,),
        "tokens": (tokens,),
        "truth": (0.8, q, exact),
        "upper": (1.0,),
        "weight": (0.5,),
        "weights": (np.ones((6, 2), np.float32),),
        "where": (np.ones(6, bool), np.ones(4, bool)),
    }


def _first(examples: Float[jax.Array, "n ..."]) -> Float[jax.Array, " n"]:
    return examples.reshape(len(examples), -1)[:, 0]


@functools.cache
def records() -> Mapping[Any, Any]:
    """Return values by the type of an argument, for those that take records of the library."""
    return {
        cj.data.RankedPrompts: cj.data.RankedPrompts(
            ["a", "b"], ["say", "tell"], np.array([0, 1]), [["one", "two"]] * 2
        ),
        cj.data.Reader: cj.data.ngram_reader(8, 8),
        cj.data.Tokenizer: cj.data.byte_tokenizer(),
        cj.generative.Family: cj.families.categorical(5),
        cj.generative.Regime: cj.REGIMES["accumulate"],
        cj.generative.Selection: selections.verified(lambda x: x > 0),
        cj.reward.Utility: cj.UTILITIES["linear"],
    }


def arguments_of(function: Function) -> dict[str, Any]:
    """Return right values of a function's arguments, those left out whose default is None or a record.

    Raises LookupError, with the argument's name, where neither name nor annotation tells a value.
    """
    found: dict[str, Any] = {}
    with jaxtyped("context"):
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            value = _value(parameter)
            if value is not parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
                found[parameter.name] = value
            elif parameter.default is parameter.empty:
                raise LookupError(
                    f"argument {parameter.name!r} of {function.__name__} has no value that is right: enter one in "
                    f"`named` in tests/fuzz/arguments.py for {parameter.annotation}"
                )
    return found


def _value(parameter: inspect.Parameter) -> Any:
    default, hint = parameter.default, parameter.annotation
    for value in named().get(parameter.name, ()):
        if not hints.problem(value, hint):
            return _as_annotated(value, hint)
    if default is not parameter.empty:
        return default if isinstance(default, bool | int | float | str | tuple) else parameter.empty
    for option in _options(hint):
        value = records().get(option, _PLAIN.get(option, parameter.empty))
        if isinstance(option, type) and issubclass(option, AbstractArray):
            value = _array(option)
        if typing.get_origin(option) is Callable:
            value = _last
        if value is not parameter.empty:
            hints.problem(value, hint)  # the axes of its array are bound for the arguments that follow
            return value
    return parameter.empty


def _last(*arguments: Any) -> Any:
    return arguments[-1]


def _options(hint: Any) -> Sequence[Any]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)


def _as_annotated(value: Any, hint: Any) -> Any:
    """Return a table's NumPy array as one of JAX where only that is annotated."""
    kinds = [option.array_type for option in _options(hint) if hasattr(option, "array_type")]
    return jax.numpy.asarray(value) if kinds == [jax.Array] and isinstance(value, np.ndarray) else value


def _array(option: Any) -> Any:
    if option.dtype is Key:
        return jax.random.key(0)
    axes = [axis for axis in option.dim_str.split() if axis.isidentifier()]
    shape = tuple(_SIZES.get(axis, 3) for axis in axes)
    if option.dtype is Bool:
        made = np.ones(shape, bool)
    elif option.dtype is Float:
        made = np.linspace(0.1, 1.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    else:
        made = (np.arange(int(np.prod(shape))) % 2).reshape(shape).astype(np.int32)
    return jax.numpy.asarray(made) if option.array_type is jax.Array else made


def functions_of(namespace: ModuleType) -> list[Function]:
    """Return the public functions of a namespace that take an argument; those that are imported late are left out."""
    found = [vars(namespace)[name] for name in namespace.__all__ if name in vars(namespace)]
    return [one for one in found if inspect.isfunction(one) and inspect.signature(one).parameters]


def left_out(function: Function) -> str:
    """Return why a function isn't probed, empty if it is."""
    name = f"{function.__module__}.{function.__name__}"
    return next((why for one, why in LEFT_OUT.items() if name == one or name.startswith(f"{one}.")), "")


def is_reader(function: Function) -> bool:
    """Whether a function reads a file or folder, its first argument: tests/fuzz/files.py gives it bad ones."""
    hint = next(iter(inspect.signature(function).parameters.values())).annotation
    return any(typing.get_origin(option) is os.PathLike for option in _options(hint))


def unprobed(namespace: ModuleType, by_hand: Sequence[Probe]) -> list[Function]:
    """Return the functions of a namespace that no probe calls, and that aren't left out for a reason."""
    known: Collection[Any] = [probe.function for probe in by_hand]
    # A function that takes what the fuzzer can't name is probed by one of the fuzzer's own, under the same name.
    own = {probe.name for probe in by_hand if not probe.function.__module__.startswith("collapse_jax.")}
    return [
        one
        for one in functions_of(namespace)
        if one not in known and one.__name__ not in own and not is_reader(one) and not left_out(one)
    ]


def derived(namespace: ModuleType, by_hand: Sequence[Probe] = ()) -> list[Probe]:
    """Return the probes of those functions of a namespace for which there is none among those written by hand."""
    return [derive(one) for one in unprobed(namespace, by_hand)]


def derive(function: Function) -> Probe:
    """Return the probe of a function: records are replaced whole, keys stay, a plural is known by its singular."""
    arguments = arguments_of(function)
    parameters = inspect.signature(function).parameters
    whole = [name for name in arguments if any(one in records() for one in _options(parameters[name].annotation))]
    return Probe(
        function.__name__,
        function,
        arguments,
        words={name: [name.removesuffix("s"), name.replace("_", " ")] for name in arguments},
        strategies=dict.fromkeys(whole, st.sampled_from(STRANGE)),
        fixed=[name for name in arguments if name == "key"],
    )
