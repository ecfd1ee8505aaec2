import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.generative.draws.chi_square import draw_chi_square

REPLICAS = 50_000


@pytest.mark.parametrize("freedom", [1.0, 2.0, 3.0, 9.0, 99.0, 999.0])
def test_draws_have_the_distribution_of_scipy(freedom):
    keys = jax.random.split(jax.random.key(int(freedom)), REPLICAS)
    draws = np.asarray(jax.vmap(lambda key: draw_chi_square(key, jnp.array([freedom])))(keys))[:, 0].astype(float)
    # The level of |z| < 4.
    assert stats.kstest(draws, stats.chi2(freedom).cdf).pvalue > 6e-5
    for power in (1, 2):
        moment = stats.chi2(freedom).moment(power)
        assert abs((draws**power).mean() - moment) / ((draws**power).std() / np.sqrt(REPLICAS)) < 4


def test_a_key_for_which_the_library_sampler_never_ends():
    key = jax.random.wrap_key_data(np.array([626370715, 3328156003], np.uint32))
    draws = draw_chi_square(key, jnp.array([999.0, 998.0, 997.0]))
    assert jnp.isfinite(draws).all()


def test_several_draws_are_independent():
    keys = jax.random.split(jax.random.key(0), REPLICAS)
    draws = np.asarray(jax.vmap(lambda key: draw_chi_square(key, jnp.array([3.0, 3.0])))(keys))
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / np.sqrt(REPLICAS)
