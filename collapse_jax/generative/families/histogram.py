"""Histograms on a fixed grid: nonparametric, with exact moments and a tail that dies bin by bin."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.generative.decoding import of_probabilities
from collapse_jax.generative.draws.multinomial import draw_frequencies
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.family import FAMILIES, Family, MomentMatching, Moments, Statistics, exact_family
from collapse_jax.generative.rebuilding import rebuildable
from collapse_jax.numerics.indexing import segment_sum

_EDGE = 8.0 * float(np.finfo(np.float32).eps)
_NARROWEST = 1e-4


@checked
@rebuildable
def histogram(low: float = -4.0, high: float = 4.0, bins: int = 64) -> Family:
    """Return the family of histograms with equal bins from `low` to `high`; examples are (n, 1).

    Parameters are the probabilities of the bins, within which examples are uniform (up to a rounding's distance from
    the edges, so that an example is counted in the bin that emitted it and an empty bin stays empty). Examples outside
    [low, high] are dropped; with none inside the parameters are NaN. `temperature`, `top_k` and `top_p` act on the
    bins. The truth is the standard normal, binned and cut to [low, high], if it has mass there.

    Raises ValueError for bounds that aren't finite and increasing, and for bins narrower than 1e-4 of the bounds.
    """
    numbers.whole("bins", bins, 1, 2**20)
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low and high are {low} and {high}; they must be finite and increase")
    width, reach = (high - low) / bins, max(abs(low), abs(high))
    if width < _NARROWEST * reach:
        raise ValueError(f"bins is {bins}; from {low} to {high} it must be {int((high - low) / _NARROWEST / reach)}")
    centres = low + width * (jnp.arange(bins) + 0.5)
    margin = _EDGE * reach / width

    def init(key: Key[Array, ""], examples: Array, weights: Array) -> Float[Array, " bin"]:
        return jnp.full(bins, 1.0 / bins)

    def fit(
        key: Key[Array, ""], params: Array, examples: Float[Array, "n 1"], weights: Float[Array, " n"]
    ) -> Float[Array, " bin"]:
        inside, index = locate(examples)
        counts = segment_sum(jnp.where(inside, weights, 0.0), index, bins)
        return counts / counts.sum()

    def locate(examples: Float[Array, "n 1"]) -> tuple[Array, Int[Array, " n"]]:
        x = examples[:, 0]
        index = jnp.clip(jnp.floor((x - low) / width), 0, bins - 1).astype(jnp.int32)
        return (x >= low) & (x <= high), index

    def sample(key: Key[Array, ""], params: Float[Array, " bin"], n: int) -> Float[Array, "n 1"]:
        bin_key, place_key = jax.random.split(key)
        place = jax.random.uniform(place_key, (n,), minval=margin, maxval=1.0 - margin)
        return (low + width * (draw_tokens(bin_key, params, n) + place))[:, None]

    def log_prob(params: Float[Array, " bin"], examples: Float[Array, "n 1"]) -> Float[Array, " n"]:
        inside, index = locate(examples)
        return jnp.where(inside, jnp.log(params)[index] - jnp.log(width), -jnp.inf)

    def moments(params: Float[Array, " bin"]) -> Moments:
        mean = params @ centres
        return Moments(mean[None], params @ (centres - mean) ** 2 + width**2 / 12.0)

    def fit_statistics(statistics: Float[Array, "source bin"], weights: Float[Array, " source"]) -> Array:
        total: Array = weights @ statistics
        return total / total.sum()

    below = scipy.special.ndtr(np.linspace(low, high, bins + 1))
    mass = below[-1] - below[0]
    family = Family(
        "histogram",
        init,
        fit,
        sample,
        log_prob,
        moments,
        decodings=of_probabilities(bins),
        statistics=Statistics(draw_frequencies, fit_statistics),
        truth=jnp.asarray(np.diff(below) / mass, jnp.float32) if mass > 0 else None,
        matching=MomentMatching(within=width**2 / 12.0),
    )
    return exact_family(family)


FAMILIES.promise("histogram", histogram)
