"""Fitting a network to weighted examples by gradient steps: what the neural families share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import check_fields
from collapse_jax.engine.devices import spread
from collapse_jax.generative.decoding import Scalar
from collapse_jax.generative.family import Examples, Fit, Params
from collapse_jax.nets.accumulation import Total, count_parts, mean_gradient

Loss = Callable[[Params, Key[Array, ""], Examples], Total]


@dataclass(frozen=True)
class Fitting:
    """How a network is fitted in a generation: AdamW with a linear warm-up, a cosine decay to 0 and a clipped norm."""

    steps: int = 200
    """Optimiser steps; a sweep over `steps` may ask for fewer, which takes as long: the rest of the steps is idle."""
    batch_size: int = 32
    """Examples a step; where a generation has fewer, each comes several times, and the mean is that of all of them."""
    learning_rate: float = 3e-3
    """Its peak; a sweep may vary it."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.01
    """Decay of the weights a step, in multiples of the learning rate."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    accumulate: int | None = None
    """Parts of a batch that are computed one after the other, to save memory; by default those that are fastest."""

    def __post_init__(self) -> None:
        check_fields("fitting", self)
        wholes = {"steps": self.steps, "batch_size": self.batch_size}
        if self.accumulate is not None:
            wholes["accumulate"] = self.accumulate
        for name, value in wholes.items():
            numbers.whole(name, value, 1)
        if self.accumulate is not None and self.batch_size % self.accumulate:
            raise ValueError(f"accumulate is {self.accumulate}; it must divide batch_size, {self.batch_size}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it must lie in [0, 1)")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and above 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay is {self.weight_decay}; it must be finite and 0 or more")

    @property
    def hyper(self) -> Mapping[str, float]:
        """The settings that a sweep may vary, with their defaults."""
        return {"learning_rate": self.learning_rate, "steps": self.steps}

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Their bounds."""
        return {"learning_rate": (0.0, float("inf")), "steps": (0, self.steps)}


def make_fit(loss: Loss, fitting: Fitting) -> Fit:
    """Return the function (key, params, examples, weights, *, learning_rate, steps) -> params that minimises `loss`.

    What is minimised is a mean over a batch of examples: `loss(params, key, batch)` returns the sum over it and the
    number of its terms. Examples come into batches in proportion to their weights: those of equal weights in random
    order, each once before any comes again; one of weight 2 trains exactly like two of weight 1 beside each other.
    Where all weights are 0 the parameters are NaN.
    """

    def optimizer(learning_rate: Scalar, steps: Int[Array, ""]) -> optax.GradientTransformation:
        def schedule(count: Array) -> Array:
            done = count / jnp.maximum(steps, 1)
            rise = jnp.minimum(1.0, (count + 1) / jnp.maximum(1.0, fitting.warmup * steps))
            return learning_rate * rise * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(done, 1.0)))

        return optax.chain(
            optax.clip_by_global_norm(fitting.clip), optax.adamw(schedule, weight_decay=fitting.weight_decay)
        )

    def slope(params: Params, key: Key[Array, ""], batch: Examples) -> Params:
        def total(params: Params, part: Examples, index: Array) -> Total:
            return loss(params, jax.random.fold_in(key, index), part)

        parts = fitting.accumulate or count_parts(lambda params, batch: loss(params, key, batch)[0], params, batch)
        return mean_gradient(total, params, batch, parts)

    def fit(
        key: Key[Array, ""],
        params: Params,
        examples: Examples,
        weights: Float[Array, " n"],
        *,
        learning_rate: Scalar = fitting.learning_rate,
        steps: Int[Array, ""] | int = fitting.steps,
    ) -> Params:
        steps = jnp.asarray(steps)
        # A selection may keep nothing, so that all weights are 0: NaN says so, the start would look like a model.
        params = jax.tree.map(lambda leaf: jnp.where(weights.sum() > 0, leaf, jnp.nan).astype(leaf.dtype), params)
        order_key, loss_key = jax.random.split(key)
        order = visits(order_key, weights, steps * fitting.batch_size, fitting.steps * fitting.batch_size)
        update = optimizer(learning_rate, steps).update

        def step(index: Array, carry: tuple[Params, Params]) -> tuple[Params, Params]:
            params, state = carry
            chosen = jax.lax.dynamic_slice_in_dim(order, index * fitting.batch_size, fitting.batch_size)
            batch = spread(jax.tree.map(lambda leaf: leaf[chosen], examples))
            gradient = slope(params, jax.random.fold_in(loss_key, index), batch)
            updates, state = update(gradient, state, params)
            moved = optax.apply_updates(params, updates)
            return jax.tree.map(lambda new, old: jnp.where(index < steps, new, old), moved, params), state

        state = optimizer(learning_rate, steps).init(params)
        # A loop of known length: of another an accelerator's host waits for the end of every step. What the optimiser
        # holds after a member's own steps moves no parameter any more.
        fitted: Params = jax.lax.fori_loop(0, fitting.steps, step, (params, state))[0]
        return fitted

    return fit


def visits(
    key: Key[Array, ""], weights: Float[Array, " n"], number: Int[Array, ""], size: int
) -> Int[Array, " {size}"]:
    """Return the examples to visit, `number` of them, in random order; what follows is filled up at random.

    An example of share p of the weight is visited `number` x p times, up to one more or less: systematic sampling, from
    places equally far apart with one random shift.
    """
    shift_key, order_key = jax.random.split(key)
    index = jnp.arange(size)
    at = (index % jnp.maximum(number, 1) + jax.random.uniform(shift_key)) / jnp.maximum(number, 1)
    cumulative = jnp.cumsum(weights)
    # Compared as shares of the total: at share 1 - ε the rounding of the sum must not lead past the last example.
    found = jnp.searchsorted(cumulative / cumulative[-1], at, side="right")
    last = jnp.max(jnp.where(weights > 0, jnp.arange(len(weights)), 0))
    shuffled = jnp.argsort(jnp.where(index < number, jax.random.uniform(order_key, (size,)), 2.0))
    return jnp.minimum(found, last)[shuffled]
