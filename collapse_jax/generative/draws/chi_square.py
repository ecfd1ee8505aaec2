"""Chi-square draws in a fixed number of operations: `jax.random.gamma` loops, and for some keys never ends (0.10)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

_ROUNDS = 10


def draw_chi_square(key: Key[Array, ""], freedom: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return independent chi-square draws with the given degrees of freedom, 1 or more.

    The rejection of Marsaglia and Tsang (ACM TOMS 26:363, 2000), for a shape raised by one, which accepts 97 % and
    more: all rounds are drawn at once and the first accepted is taken. Where none is, fewer than once in 1e15, the
    last stands.
    """
    normal_key, uniform_key, power_key = jax.random.split(key, 3)
    shape = freedom / 2.0
    # Draws are from Gamma(shape + 1): multiplied by a uniform number to the power 1/shape they follow Gamma(shape).
    d = shape[None] + (1.0 - 1.0 / 3.0)
    x = jax.random.normal(normal_key, (_ROUNDS, *freedom.shape))
    base = 1.0 + x / jnp.sqrt(9.0 * d)
    v = jnp.maximum(base, 1e-6) ** 3
    u = jax.random.uniform(uniform_key, x.shape, minval=1e-12)
    accepted = (base > 0) & (jnp.log(u) < 0.5 * x * x + d * (1.0 - v + jnp.log(v)))
    first = jnp.argmax(accepted.at[-1].set(True), axis=0)
    raised = jnp.take_along_axis(d * v, first[None], axis=0)[0]
    power = jax.random.uniform(power_key, freedom.shape, minval=1e-12) ** (1.0 / shape)
    return 2.0 * raised * power
