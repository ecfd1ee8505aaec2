"""A world of instructions in which data evolution is exact: what a pool emits is linear in what it holds."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.families.evolved import Operator, Pool
from collapse_jax.generative.family import Examples
from collapse_jax.numerics.indexing import segment_sum
from collapse_jax.numerics.precision import exact_products


class InstructionSpace(NamedTuple):
    """A world of instructions, each a whole number: cell topic · depths + depth, and one last cell for the broken.

    `truth` is the distribution over the cells, `deepening` and `broadening` hold in row i the distribution of what the
    operator makes of cell i. `deepen` and `broaden` are the operators themselves, `correct` tells what isn't broken.
    `draw(key, n)` draws seeds from the truth, and `measure(key, pool)` describes a pool of the family `evolved`.
    """

    truth: Float[np.ndarray, " cell"]
    deepening: Float[np.ndarray, "cell cell"]
    broadening: Float[np.ndarray, "cell cell"]
    deepen: Operator
    broaden: Operator
    correct: Callable[[Examples], Bool[Array, " n"]]
    draw: Callable[[Key[Array, ""], int], Examples]
    composition: Callable[[Pool], Float[Array, " cell"]]
    measure: Callable[[Key[Array, ""], Pool], dict[str, Array]]

    def transition(self, evolution: float, deepening: float) -> Float[np.ndarray, "cell cell"]:
        """Return the matrix K of one round: a pool of composition p emits p K on average, whatever the sizes."""
        evolves = deepening * self.deepening + (1.0 - deepening) * self.broadening
        return (1.0 - evolution) * np.eye(len(self.truth)) + evolution * evolves


@checked
def instruction_space(
    topics: int = 50,
    depths: int = 8,
    *,
    exponent: float = 1.0,
    decay: float = 0.6,
    failure: float = 0.1,
    reach: int = 1,
) -> InstructionSpace:
    """Return the space of `topics` x `depths` instructions, common topics and shallow depths being likelier.

    The truth is a product: topics follow Zipf's law with `exponent` (0: all alike), depths fall off by the factor
    `decay` in (0, 1]. To deepen adds one to the depth; it breaks the instruction with probability `failure`, and beyond
    the last depth always. To broaden moves, on a circle of topics, by 1 to `reach` topics in either direction, equally
    likely, at the same depth. What is broken stays so.

    The measure records `coverage` (the truth's mass on cells that the pool holds), `broken` (the pool's mass there),
    `depth` (its mean among what isn't broken, from 0) and `distance` (the total variation between pool and truth).

    Raises ValueError for parameters out of range.
    """
    for name, value, least in (("topics", topics, 2), ("depths", depths, 1), ("reach", reach, 1)):
        numbers.whole(name, value, least)
    if reach > topics // 2:
        raise ValueError(f"reach is {reach}; on a circle of {topics} topics it can be {topics // 2} at most")
    if not 0.0 <= exponent < np.inf:
        raise ValueError(f"exponent is {exponent}; it must be a finite number from 0 on")
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"decay is {decay}; it must be in (0, 1]")
    if not 0.0 <= failure <= 1.0:
        raise ValueError(f"failure is {failure}; it must be a probability in [0, 1]")
    broken = topics * depths
    mass = np.outer(np.arange(1.0, topics + 1.0) ** -exponent, decay ** np.arange(depths)).ravel()
    truth = np.append(mass / mass.sum(), 0.0)

    def deepen(key: Key[Array, ""], cell: Int[Array, ""]) -> Int[Array, ""]:
        breaks = (jax.random.uniform(key) < failure) | (cell % depths == depths - 1)
        return jnp.where(breaks | (cell == broken), broken, cell + 1)

    def broaden(key: Key[Array, ""], cell: Int[Array, ""]) -> Int[Array, ""]:
        at = jax.random.randint(key, (), 0, 2 * reach)
        steps = at - reach + (at >= reach)  # -reach to reach without 0
        moved = (cell // depths + steps) % topics * depths + cell % depths
        return jnp.where(cell == broken, broken, moved)

    def composition(pool: Pool) -> Float[Array, " cell"]:
        return segment_sum(pool.shares, pool.members, broken + 1)

    @exact_products
    def measure(key: Key[Array, ""], pool: Pool) -> dict[str, Array]:
        p, q = composition(pool), jnp.asarray(truth, float)
        sound = 1.0 - p[broken]
        depth = jnp.append(jnp.tile(jnp.arange(depths), topics), 0).astype(float)
        return {
            "coverage": q @ (p > 0),
            "broken": p[broken],
            # A pool of broken instructions alone has no depth.
            "depth": jnp.where(sound > 0, p @ depth / jnp.where(sound > 0, sound, 1.0), jnp.nan),
            "distance": 0.5 * jnp.abs(p - q).sum(),
        }

    return InstructionSpace(
        truth,
        *_matrices(topics, depths, failure, reach),
        deepen,
        broaden,
        lambda cells: cells != broken,
        lambda key, n: draw_tokens(key, jnp.asarray(truth, float), n),
        composition,
        measure,
    )


def _matrices(topics: int, depths: int, failure: float, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the transition matrices of the two operators, built cell by cell."""
    broken = topics * depths
    deepening, broadening = np.zeros((2, broken + 1, broken + 1))
    deepening[broken, broken] = broadening[broken, broken] = 1.0
    for topic in range(topics):
        for depth in range(depths):
            here = topic * depths + depth
            deepening[here, broken] = failure
            deepening[here, here + 1 if depth + 1 < depths else broken] += 1.0 - failure
            for steps in range(1, reach + 1):
                for there in (topic + steps, topic - steps):
                    broadening[here, there % topics * depths + depth] += 0.5 / reach
    return deepening, broadening
