"""Wrong records of a user: utilities, regimes, families, selections, learned rewards, models and processes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import collapse_jax as cj
from collapse_jax.generative import selections
from tests.fuzz.probes import Probe
from tests.fuzz.sweeps import process


class UserError(Exception):
    """What a function of the user's raises by itself: it comes through as it is."""


def _raise(*args: Any, **kwargs: Any) -> Any:
    raise UserError("the user's own")


_JUNK: tuple[Callable[..., Any], ...] = (
    lambda *_, **__: None,
    lambda *_, **__: "x",
    lambda *_, **__: {},
    lambda *_, **__: object(),
    lambda *_, **__: jnp.zeros((7, 3)),
    lambda *_, **__: jnp.nan,
    lambda *_, **__: np.array(["a"]),
    lambda *_, **__: (1, 2, 3),
    lambda: 1.0,
    lambda a: a,
    lambda a, b, c, d, e, f, g: a,
    _raise,
)
"""Functions of any arity that return what nobody asked for, and some of the wrong arity."""

_UNFIT = tuple(_JUNK[i] for i in (1, 3, 6, 8, 9, 10, 11))
"""Those of them that are wrong whatever a record's other functions make of what they return."""

_UTILITIES: tuple[Callable[..., Any], ...] = (
    lambda gap: -gap,
    lambda gap: 0.0 * gap,
    lambda gap: gap * jnp.nan,
    lambda gap: jnp.where(gap > 0.5, jnp.nan, gap),
    lambda gap: gap if gap > 0 else 0.0,
    lambda gap: float(gap),
    lambda gap: np.log(gap),
    lambda gap: jnp.floor(10 * gap),
    lambda gap: jnp.sin(9 * gap),
    lambda gap: jnp.stack([gap, gap]),
    lambda gap: gap.sum()[None],
    lambda gap: (gap > 0).astype(int),
    lambda gap: gap + 1j,
    lambda gap: gap.missing,
    lambda gap: [][7],
    lambda gap: gap[5],
    lambda gap: jax.lax.stop_gradient(gap),
    lambda gap: jnp.where(gap > 0.3, gap, gap - 1.0),
    lambda gap, *, scale="one": gap,
    lambda gap, extra: gap + extra,
)

_COUNTS: tuple[Callable[..., Any], ...] = (
    lambda *_: 1.5,
    lambda *_: -1,
    lambda *_: 2**40,
    lambda *_: float("nan"),
    lambda *_: np.array([1, 2]),
    lambda generation, source, samples, ratio: samples,
    lambda generation, source, samples, ratio: 0,
    lambda generation, source, samples, ratio: samples if source == generation else 0,
    lambda generation, source, samples: samples,
    lambda generation, source, samples, ratio: samples if source == 0 and generation < 2 else 0,
)


def probes() -> Sequence[Probe]:
    """Return the probes of every kind of record."""
    junk = st.sampled_from(_JUNK)
    plan = cj.make_plan(cj.REGIMES["accumulate"], 2, 4)
    family = cj.families.categorical(3)
    axes = {"seed": [0]}
    mine = cj.Selection(
        "mine",
        lambda key, candidates, pool, memory, **params: candidates.weights,
        {"strength": 1.0},
        start=lambda key, real, **params: jnp.zeros(2),
        learn=lambda key, candidates, pool, memory, **params: memory,
        inspect=lambda key, candidates, pool, memory, **params: {"seen": memory.sum()},
    )
    judge = selections.LearnedReward(
        lambda key, real, **params: jnp.zeros(2),
        lambda memory, examples: examples * 1.0,
        lambda key, candidates, pool, memory, **params: memory,
    )
    choice = cj.make_schemes({"a": cj.choose(cj.UTILITIES["linear"])}, ("open", "closed"))
    rankings = cj.make_rankings(
        np.ones((2, 2, 2), np.float32), np.ones((2, 2), bool), np.array([0, 1]), choice.type_names
    )
    right = process()

    def run(one: cj.engine.Process) -> Any:
        return cj.sweep(one, axes, progress=False)

    def recurse(**options: Any) -> Any:
        return run(cj.make_recursion(options.pop("family", family), plan, **options))

    def utility(fn: Any) -> Any:
        return cj.finite_law(cj.utility(name="fuzzed", overwrite=True)(fn), 3)

    def regime(counts: Any, draws: Any, weights: Any) -> Any:
        return cj.make_plan(cj.generative.Regime("mine", counts, draws, weights), 3, 10)

    def selection(**fields: Any) -> Any:
        return recurse(curate=mine._replace(**fields))

    def judged(**fields: Any) -> Any:
        return recurse(curate=selections.curated(judge._replace(**fields)))

    def model(**fields: Any) -> Any:
        training = cj.reward.Training(steps=1, records=1, batch_size=2)
        return run(cj.make_training(rankings, cj.mlp((2,))._replace(**fields), choice, training=training))

    def any_of(record: Any, *names: str, unfit: str = "") -> dict[str, Any]:
        strategies = {name: st.sampled_from(_UNFIT) if name == unfit else junk for name in names}
        return {"arguments": {name: getattr(record, name) for name in names}, "strategies": strategies}

    every = cj.REGIMES["accumulate"]
    counts = st.one_of(junk, st.sampled_from(_COUNTS))
    return [
        Probe(
            "utility",
            utility,
            {"fn": cj.UTILITIES["linear"].fn},
            {"fn": ["utility"]},
            {"fn": st.one_of(st.sampled_from(_UTILITIES), junk)},
        ),
        Probe(
            "regime",
            regime,
            {"counts": every.counts, "draws": None, "weights": None},
            dict.fromkeys(("counts", "draws", "weights"), ("regime",)),
            {"counts": counts, "draws": counts, "weights": counts},
        ),
        Probe(
            "family",
            lambda **fields: recurse(family=family._replace(**fields)),
            words=dict.fromkeys(
                ("init", "fit", "sample", "moments"),
                (
                    "family",
                    "measure",
                ),
            ),
            **any_of(family, "init", "fit", "sample", "moments", unfit="init"),
        ),
        Probe("truth", recurse, {"truth": lambda key, n: jnp.zeros(n, int)}, strategies={"truth": junk}),
        Probe(
            "measure",
            recurse,
            {"measure": lambda key, params: {"p": params.sum()}},
            {"measure": ["record"]},
            {"measure": junk},
        ),
        Probe(
            "inspect",
            recurse,
            {"inspect": lambda key, x, weights: {"n": weights.sum()}},
            {"inspect": ["record"]},
            {"inspect": junk},
        ),
        Probe(
            "selection",
            selection,
            words=dict.fromkeys(
                mine._fields,
                (
                    "selection",
                    "curate",
                ),
            ),
            **any_of(mine, "weigh", "start", "learn", "inspect", "correct", unfit="start"),
        ),
        Probe(
            "judge",
            judged,
            words=dict.fromkeys(
                judge._fields,
                (
                    "selection",
                    "judge",
                    "reward",
                ),
            ),
            **any_of(judge, "start", "score", "learn"),
        ),
        Probe(
            "model",
            model,
            words=dict.fromkeys(("init", "apply"), ("model",)),
            **any_of(cj.mlp((2,)), "init", "apply", unfit="init"),
        ),
        Probe(
            "process",
            lambda **fields: run(right._replace(**fields)),
            words={"watch": ["state"], "step": ["record"]},
            **any_of(right, "init", "step", "watch", unfit="init"),
        ),
    ]
