"""Metrics of densities on a grid, against scipy and Gaussian closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from scipy.stats import norm

from collapse_jax.metrics import cell_masses, kl_divergence, modes, tail_mass

RNG = np.random.default_rng(0)
GRID = jnp.linspace(-8.0, 8.0, 1601)


def test_cell_masses_integrate_a_density():
    uneven = np.concatenate([np.linspace(-8, 0, 400)[:-1], np.linspace(0, 5, 900)])
    masses = cell_masses(jnp.array(norm.logpdf(uneven)), jnp.array(uneven))
    np.testing.assert_allclose(masses, norm.pdf(uneven) * np.gradient(uneven), atol=1e-3)
    assert float(masses.sum()) == pytest.approx(1.0, abs=1e-4)  # steps of 0.02: trapezoid error of their square
    assert float(jnp.where(jnp.array(uneven) < -1, masses, 0).sum()) == pytest.approx(norm.cdf(-1), abs=5e-3)


def test_divergence_of_gaussians_by_their_cells():
    p, q = (cell_masses(jnp.array(norm.logpdf(GRID, *g)), GRID) for g in ((0, 1), (0.5, 1.2)))
    assert float(kl_divergence(p, q)) == pytest.approx(np.log(1.2) + 1.25 / (2 * 1.44) - 0.5, rel=1e-3)  # float32


@pytest.mark.parametrize(("distance", "number"), [(1.9, 1), (2.2, 2), (6.0, 2)])
def test_equal_gaussians_have_two_modes_from_two_standard_deviations_on(distance, number):
    density = norm.pdf(GRID, -distance / 2) + norm.pdf(GRID, distance / 2)
    assert float(modes(jnp.array(density))) == number


@pytest.mark.parametrize("height", [0.1, 0.6])
def test_modes_are_scipys_peaks(height):
    # Rounded, so that plateaus occur; padded, since scipy's peaks are inside the array.
    density = np.round(RNG.uniform(size=200), 1)
    peaks = scipy.signal.find_peaks(np.pad(density, 1), height=height * density.max() + 1e-6)[0]
    assert len(peaks) > 20
    assert float(modes(jnp.array(density), height=height)) == len(peaks)


@pytest.mark.parametrize(
    ("density", "number"), [([1, 1, 1], 1), ([0, 0, 0], 0), ([3, 1, 2], 2), ([0, 1, 1, 2], 1), ([2, 1, 1, 2], 2)]
)
def test_modes_of_plateaus_and_ends(density, number):
    assert float(modes(jnp.array(density, dtype=float))) == number


def test_tail_mass_counts_what_is_beyond_either_quantile():
    x = jnp.array([-3.0, -2.0, 0.0, 1.0, 2.0, 5.0, 7.0, 0.5])
    assert float(tail_mass(x, lower=-2.0, upper=2.0)) == 3 / 8


def test_what_is_not_a_number_stays_so():
    broken = jnp.array([0.0, jnp.nan, 1.0])
    assert np.isnan(modes(broken))
    assert np.isnan(tail_mass(broken, lower=0.0, upper=1.0))
    assert np.isnan(cell_masses(broken, jnp.arange(3.0))[1])
