"""Metrics with one bad argument. NaN stays NaN in them, so that it is no nonsense here."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Array

from collapse_jax import metrics
from tests.fuzz.arguments import derived
from tests.fuzz.probes import Probe, of


def by_group(metric: Callable[..., Array], labels: Array, groups: int) -> Array:
    """Return `metrics.by_group` with its labels under a name."""
    return metrics.by_group(metric, labels, groups=groups)


def probes() -> Sequence[Probe]:
    """Return the probes of all metrics."""
    by_hand = [
        of(by_group, metric=lambda where: where.mean(), labels=np.array([0, 1, 1], np.int32), groups=2),
        of(metrics.collapse_profile, dataset=_lineages(0.0), control=_lineages(1.0), level=0.9),
    ]
    return [probe._replace(may_be_nan=True) for probe in [*by_hand, *derived(metrics, by_hand)]]


def _lineages(shift: float) -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = ("seed", "generation")
    values = {name: (shape, shift + rng.random((3, 4))) for name in ("risk", "variance", "modes", "tail")}
    return xr.Dataset(values, {"seed": [0, 1, 2], "generation": [1, 2, 3, 4]})
