"""What the testbeds of minorities share: settings, mitigations, and how measures meet their laws.

A testbed returns, by `mitigation`, `seed`, `generation` and `group`, the `share` of a group in the model, whether it is
`alive`, the `coverage` of what is real of it and its `error`, NaN for a dead group; and laws of these where there are
exact ones, else NaN.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax.generative import selections
from experiments.shared.launch import Options, watched

CONTROL = "control"
MEASURES = ("share", "alive", "coverage", "error")
# Regimes that store every generation: others in the same program would carry a pool as large.
STORED = ("accumulate", "subsample")


@dataclass(frozen=True)
class TokensConfig:
    """Groups of tokens."""

    tokens: int = 4
    """Tokens of each group, equally likely in truth."""
    samples: int = 200
    """Examples that train a generation."""
    generations: int = 50
    """Models in a row."""
    seeds: int = 100
    """Lineages for each mitigation."""
    models: int = 4
    """Models of the ecosystem."""
    threshold: float = 0.05
    """Probability from which real tokens are written anew, where they are edited."""


@dataclass(frozen=True)
class PointsConfig:
    """Components of a mixture of Gaussians in the plane, on a circle."""

    radius: float = 12.0
    """Radius of the circle, in standard deviations of a component."""
    samples: int = 300
    """Examples that train a generation."""
    generations: int = 30
    """Models in a row."""
    seeds: int = 12
    """Lineages for each mitigation."""
    drawn: int = 2000
    """Points drawn of each model, to measure it."""
    held_out: int = 200
    """Real points of each component, to measure it by."""


@dataclass(frozen=True)
class ImagesConfig:
    """Classes of scikit-learn's digits, their shares by Zipf's law."""

    exponent: float = 2.0
    """Exponent of Zipf's law; digit 0 is the most frequent."""
    samples: int = 200
    """Images that train a generation: the whole real set."""
    generations: int = 8
    """Models in a row."""
    seeds: int = 4
    """Lineages for each mitigation."""
    steps: int = 400
    """Optimiser steps of an autoencoder."""


@dataclass(frozen=True)
class Minorities(Options):
    """Groups of several shares in one corpus, under every mitigation."""

    shares: tuple[float, ...] = (0.5, 0.25, 0.12, 0.06, 0.03, 0.02, 0.012, 0.008)
    """Shares of the groups of tokens and of points, the majority first."""
    real: float = 0.1
    """Real share of the regimes that have one."""
    strength: float = 0.25
    """How much better the majority is rewarded, where examples are curated."""
    refused: float = 0.1
    """Share of the right examples of all other groups that a verifier refuses."""
    tokens: TokensConfig = TokensConfig()
    """The categorical testbed."""
    points: PointsConfig = PointsConfig()
    """The mixture."""
    images: ImagesConfig = ImagesConfig()
    """The images."""


def make_mitigations(config: Minorities, is_majority: Callable[[Any], Array]) -> dict[str, cj.Mitigation]:
    """Return the mitigations that every testbed has; `is_majority` tells which examples are of the first group."""
    replayed, fresh = (cj.REGIMES[f"real_fraction_{kind}"] for kind in ("replayed", "fresh"))
    curated = selections.curated(lambda examples: is_majority(examples).astype(float))
    verified = selections.verified(is_majority, oversample=2)
    return {
        "replace": cj.Mitigation(),
        "replayed": cj.Mitigation(cj.with_share(replayed, config.real, "replayed")),
        "fresh": cj.Mitigation(cj.with_share(fresh, config.real, "fresh")),
        "accumulate": cj.Mitigation(cj.REGIMES["accumulate"]),
        "subsample": cj.Mitigation(cj.REGIMES["accumulate_subsample"]),
        "curated": cj.Mitigation(curate=curated._replace(defaults={"strength": config.strength})),
        "verified": cj.Mitigation(curate=verified._replace(defaults={"right": 1.0, "wrong": 1.0 - config.refused})),
        CONTROL: cj.Mitigation(cj.with_share(fresh, 1.0, CONTROL)),
    }


def compare(
    family: cj.generative.Family,
    mitigations: Mapping[str, cj.Mitigation],
    own: TokensConfig | PointsConfig | ImagesConfig,
    config: Minorities,
    directory: Path,
    options: dict[str, Any],
) -> xr.Dataset:
    """Return the records of all mitigations; those that store every generation run in a program of their own."""
    parts, programs = [], 0
    stored = {label: one for label, one in mitigations.items() if label in STORED}
    last = {label: one for label, one in mitigations.items() if label not in STORED}
    for name, chosen in (("last", last), ("stored", stored)):
        if not chosen:
            continue
        found = cj.compare_mitigations(
            family,
            chosen,
            generations=own.generations,
            samples=own.samples,
            seeds=range(own.seeds),
            **watched(config, directory / name),
            **options,
        )
        found = found.assign(program=found["program"] + programs)
        programs = int(found["program"].max()) + 1
        parts.append(found)
    merged: xr.Dataset = xr.concat(parts, "mitigation", data_vars="all", join="outer", combine_attrs="drop")
    return merged.sel(mitigation=list(mitigations))


def with_laws(
    dataset: xr.Dataset, found: Mapping[str, Mapping[str, np.ndarray]], shares: np.ndarray, programs: np.ndarray
) -> xr.Dataset:
    """Return the measures with their laws, the real shares, and the times to disappearance."""
    mitigations = list(dataset["mitigation"].to_numpy())
    for name in ("share", "share_variance", "alive", "coverage", "time", "time_variance", "time_lost"):
        over = ("group",) if name.startswith("time") else ("generation", "group")
        law = np.full((len(mitigations), *(dataset.sizes[one] for one in over)), np.nan)
        for i, mitigation in enumerate(mitigations):
            if name in found.get(mitigation, {}):
                law[i] = found[mitigation][name]
        dataset[f"{name}_law"] = (("mitigation", *over), law)
    # The first generation without the group; the number after the last stands for all that come later.
    dataset["time"] = 1.0 + dataset["alive"].cumprod("generation").sum("generation")
    dataset["program"] = ("mitigation", programs)
    dataset["real_share"] = ("group", shares)
    return dataset.drop_attrs()


def group_names(shares: np.ndarray) -> list[str]:
    """Return labels that tell groups apart, with their shares."""
    return [f"{number}: {share:g}" for number, share in enumerate(shares, 1)]


def require_groups(testbed: str, config: Minorities, samples: int) -> None:
    """Raise ValueError for shares that don't add up to 1, and for groups or real examples that would be less than one.

    A group of less than one example would be extinct from the start.
    """
    shares = np.array(config.shares)
    if not (0 < config.real <= 1 and config.real * samples >= 1):
        raise ValueError(
            f"{testbed}: real is {config.real}; it must be a share of one of the {samples} samples at least"
        )
    if len(shares) < 2 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"shares are {shares.tolist()}; they must be two or more above 0 that add up to 1")
    if shares.argmax() != 0:
        raise ValueError(f"shares are {shares.tolist()}; the first group is the majority, so its share is the largest")
    for number, share in enumerate(shares, 1):
        if share * samples < 1:
            raise ValueError(
                f"{testbed}: group {number} with share {share:g} has less than one example of samples = {samples}: it "
                f"would be extinct from the start; give it a share of {1 / samples:g} or more"
            )
