"""Multinomial draws without a pass over the examples: counts go down a binary tree, a level of binomials at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

# Up to this mean a binomial is found by search, beyond it by rejection.
_SEARCHED = 10.0
# Outcomes a turn of the search's loop looks at.
_OUTCOMES = 4
# Levels of the tree that share a loop.
_SHARED = 4


def draw_frequencies(key: Key[Array, ""], p: Float[Array, " v"], n: Int[Array, ""]) -> Float[Array, " v"]:
    """Return how often each token comes in n independent draws: n in all, and never a dead one.

    n is at most 2^24: beyond it single precision no longer holds every whole number. Only ratios of p matter.
    """
    # Where p is NaN no token can be drawn, and the parameters show it: what is returned is then all of the first token.
    forks = _forks(jnp.where(p > 0, p, 0.0))

    def level(carry: tuple[Array, Array], fork: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (counts, key), (left, right) = carry, fork
        key, word_key, fork_key = jax.random.split(key, 3)
        # All 32 bits count near 0, where the rare outcomes are.
        uniform = (jax.random.bits(word_key, left.shape, jnp.uint32).astype(p.dtype) + 0.5) * 2.0**-32
        counts, total = counts[: len(left)], left + right
        rarity = jnp.minimum(left, right) / jnp.where(total > 0, total, 1.0)
        rarer = draw_binomials(fork_key, uniform, counts, rarity)
        to_left = jnp.where(left < right, rarer, counts - rarer)
        return (jnp.stack([to_left, counts - to_left], axis=1).reshape(-1), key), None

    counts = n.astype(p.dtype)[None]
    # A few levels share one loop, padded to the widest of them: each loop costs a second of compiling.
    for end in range(len(forks) % _SHARED or _SHARED, len(forks) + 1, _SHARED):
        levels = forks[max(end - _SHARED, 0) : end]
        width = len(levels[-1][0])
        sides = [jnp.stack([jnp.pad(fork[i], (0, width - len(fork[i]))) for fork in levels]) for i in (0, 1)]
        # The nodes that were added to fill a level up have no weight, so that they get no counts, and can be cut or
        # padded with zeros.
        counts = jnp.pad(counts, (0, max(2 * width - len(counts), 0)))[: 2 * width]
        (counts, key), _ = jax.lax.scan(level, (counts, key), (sides[0], sides[1]))
    return counts[: len(p)]


def _forks(p: Float[Array, " v"]) -> list[tuple[Array, Array]]:
    """Return the weights on the left and on the right of each fork, the tree's levels from the root down."""
    forks = []
    while len(p) > 1:
        p = jnp.pad(p, (0, len(p) % 2))
        forks.append((p[0::2], p[1::2]))
        p = p[0::2] + p[1::2]
    return forks[::-1]


def draw_binomials(
    key: Key[Array, ""], u: Float[Array, " k"], n: Float[Array, " k"], q: Float[Array, " k"]
) -> Float[Array, " k"]:
    """Return independent binomial draws of n trials with probabilities q, from 0 to 1/2, given uniform numbers u.

    Search through the outcomes from 0 where the mean is small, the transformed rejection of Hörmann (J. Stat. Comput.
    Simul. 46:101, 1993) elsewhere. `jax.random.binomial` computes the first by summing geometric draws, a round of
    random words for each.
    """
    rejects = n * q > _SEARCHED
    found = _search(u, n, jnp.where(rejects, 0.0, q))
    # The loop draws for every entry, also for those that the search has found: these get a law for which rejection
    # works, and what it draws is not used.
    trials, chance = jnp.where(rejects, n, 100.0), jnp.where(rejects, q, 0.5)

    def waits(carry: tuple[Array, Bool[Array, " k"], Array]) -> Bool[Array, ""]:
        return ~carry[1].all()

    def attempt(carry: tuple[Array, Bool[Array, " k"], Array]) -> tuple[Array, Bool[Array, " k"], Array]:
        draws, done, key = carry
        key, round_key = jax.random.split(key)
        proposed, accepted = _propose(round_key, trials, chance)
        return jnp.where(done, draws, proposed), done | accepted, key

    draws: Array = jax.lax.while_loop(waits, attempt, (found, ~rejects, key))[0]
    return draws


def _search(u: Float[Array, " k"], n: Float[Array, " k"], q: Float[Array, " k"]) -> Float[Array, " k"]:
    """Return binomial draws by inversion: how many tails P(X > 0), P(X > 1), ... exceed u."""
    odds = q / (1.0 - q)
    logarithm = n * jnp.log1p(-q)
    start = (jnp.zeros((), q.dtype), jnp.exp(logarithm), -jnp.expm1(logarithm), jnp.zeros_like(q))

    def waits(carry: tuple[Array, Array, Array, Array]) -> Bool[Array, ""]:
        return (u < carry[2]).any()

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        outcome, mass, tail, found = carry
        for _ in range(_OUTCOMES):
            ratio = (n - outcome) / (outcome + 1.0) * odds
            mass = mass * ratio
            # Ratios fall, so masses that halve bound the tail: what rounding left of it must not be drawn.
            tail = jnp.where(ratio <= 0.5, jnp.minimum(tail, 2.0 * mass), tail)
            found = found + (u < tail).astype(q.dtype)
            tail, outcome = tail - mass, outcome + 1.0
        return outcome, mass, tail, found

    found: Array = jax.lax.while_loop(waits, step, start)[3]
    return found


def _propose(
    key: Key[Array, ""], n: Float[Array, " k"], q: Float[Array, " k"]
) -> tuple[Float[Array, " k"], Bool[Array, " k"]]:
    """Return proposals of Hörmann's BTRS, without its squeeze, and which are accepted (two in three and more)."""
    u, v = jax.random.uniform(key, (2, *n.shape), q.dtype)
    deviation = jnp.sqrt(n * q * (1.0 - q))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * q
    alpha = (2.83 + 5.1 / b) * deviation
    u = u - 0.5
    edge = 0.5 - jnp.abs(u)
    proposed = jnp.floor((2.0 * a / edge + b) * u + n * q + 0.5)
    inside = (proposed >= 0) & (proposed <= n)
    hits = jnp.clip(proposed, 0.0, n)
    misses = n - hits
    # Logarithm of the mass over (a bound, a percent or so above) its largest: Stirling's formula about the centre
    # (n + 2) q, in which no large terms cancel.
    centre, opposite = (n + 2.0) * q, (n + 2.0) * (1.0 - q)
    off = hits + 1.0 - centre
    mass = -(hits + 0.5) * jnp.log1p(off / centre) - (misses + 0.5) * jnp.log1p(-off / opposite)
    mass = mass - _remainder(hits + 1.0) - _remainder(misses + 1.0) - 0.125 / centre
    return hits, inside & (jnp.log(v * alpha * edge**2 / (a + b * edge**2)) <= mass)


def _remainder(x: Float[Array, " k"]) -> Float[Array, " k"]:
    """Return what Stirling's formula for log (x - 1)! leaves out, within 6e-4 at x = 1 and 3e-5 from 2 on."""
    return (1.0 / 12.0 - 1.0 / 360.0 / (x * x)) / x
