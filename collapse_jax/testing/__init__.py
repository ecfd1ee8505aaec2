"""Checks of records of one's own: what the library's own utilities, regimes, families and selections are held to.

Each raises AssertionError, saying what was promised and what was found, for a record that runs but isn't what its class
describes; one that can't run is refused by name with ValueError, as everywhere. They are for a test of the record:

>>> import collapse_jax as cj
>>> cj.testing.check_utility(cj.UTILITIES["log"], min_gap=1e-3)
"""

from collapse_jax.testing.families import check_family
from collapse_jax.testing.regimes import check_regime
from collapse_jax.testing.selections import check_selection
from collapse_jax.testing.utilities import check_utility

__all__ = ["check_family", "check_regime", "check_selection", "check_utility"]
