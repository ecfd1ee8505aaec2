"""Minorities among tokens: a categorical model whose vocabulary comes in groups, where almost everything has a law."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.generative import laws, selections
from experiments.shared.launch import watched
from experiments.testbeds.minority_testbeds import (
    CONTROL,
    Minorities,
    compare,
    group_names,
    make_mitigations,
    require_groups,
    with_laws,
)


def make_tokens(config: Minorities, directory: Path) -> xr.Dataset:
    """Return measures and laws of the categorical testbed; ValueError for shares that can't be met."""
    own, shares = config.tokens, np.array(config.shares)
    require_groups("tokens", config, own.samples)
    group_of = np.repeat(np.arange(len(shares)), own.tokens)
    truth = shares[group_of] / own.tokens
    family = cj.families.categorical(len(truth), exponent=0.0)
    mitigations = make_mitigations(config, lambda tokens: tokens < own.tokens)
    mitigations["importance"] = cj.Mitigation(
        mitigations["fresh"].regime,
        reweigh=selections.importance_resampled(selections.empirical_detector()),
    )
    mitigations["novel"] = cj.Mitigation(
        curate=selections.novel(lambda x, y: (x != y).astype(float), threshold=0.5, oversample=2)
    )
    edited = cj.families.token_edited(family, threshold=own.threshold)
    mitigations["edited"] = cj.Mitigation(respond=True, family=edited)
    options: dict[str, Any] = {"truth": jnp.asarray(truth, jnp.float32)}
    found = compare(family, mitigations, own, config, directory, options)
    ecosystem, plan = (
        f"ecosystem({own.models})",
        cj.make_plan(cj.generative.ecosystem(own.models), own.generations, own.samples),
    )
    together = cj.sweep(
        cj.make_recursion(family, plan, **options),
        {"seed": range(own.seeds)},
        **watched(config, directory / "ecosystem"),
    )
    if own.models > 1:
        together = together.mean("model")
    p = xr.concat([found["mean"], together["mean"].expand_dims(mitigation=[ecosystem])], "mitigation")
    programs = np.append(found["program"], found["program"].max() + 1)

    def measure(p: Array) -> dict[str, Array]:
        def of_group(where: Array) -> dict[str, Array]:
            real = jnp.asarray(truth, p.dtype)
            share = metrics.group_share(p, where)
            return {
                "share": share,
                "alive": (share > 0).astype(float),
                "coverage": metrics.group_coverage(p, real, where, threshold=0.0),
                "error": metrics.group_distance(p, real, where),
            }

        return metrics.by_group(of_group, jnp.asarray(group_of), groups=len(shares))

    over = ("mitigation", "seed", "generation")
    flat = p.transpose(*over, "dim").to_numpy()
    measured = jax.jit(jax.vmap(measure))(jnp.asarray(flat.reshape(-1, len(truth))))
    dataset = xr.Dataset(
        {name: ((*over, "group"), np.asarray(value).reshape(*flat.shape[:-1], -1)) for name, value in measured.items()},
        {name: p[name] for name in over} | {"group": group_names(shares)},
    )
    return with_laws(dataset, tokens_laws(config), shares, programs)


def tokens_laws(config: Minorities) -> dict[str, dict[str, np.ndarray]]:
    """Return the exact laws of the categorical testbed by mitigation, as (generation, group)."""
    own, shares = config.tokens, np.array(config.shares)
    m, t = own.samples, own.generations
    # A group, and one token of it: all tokens of a group are alike.
    both = np.concatenate([shares, shares / own.tokens])
    survival = {
        "replace": laws.fresh_share_survival(both, 0.0, m, t),
        "replayed": laws.replayed_share_survival(both, config.real, m, t),
        "fresh": laws.fresh_share_survival(both, config.real, m, t),
        "importance": laws.importance_survival(both, config.real, m, t),
        "accumulate": laws.accumulate_survival(both, m, t),
        "subsample": laws.subsample_survival(both, m, t),
        f"ecosystem({own.models})": laws.ecosystem_survival(both, own.models, m, t),
        CONTROL: laws.fresh_share_survival(both, 1.0, m, t),
    }
    variance = share_variances(config)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, law in survival.items():
        alive, coverage = np.split(law.alive, 2, axis=1)
        time = laws.disappearance_time(law.unbroken[:, : len(shares)])
        found[name] = {
            "share": np.tile(shares, (t, 1)),
            "share_variance": variance[name],
            "alive": alive,
            "coverage": coverage,
            "time": time.mean,
            "time_variance": time.variance,
            "time_lost": 1 - law.unbroken[-1, : len(shares)],
        }
    pull = {
        "curated": lambda rest: 1 - np.array([laws.curated_pair(1 - q, config.strength) for q in rest]),
        "verified": lambda rest: np.array([laws.verified(q, 1 - config.refused, 1.0) for q in rest]),
    }
    for name, kept in pull.items():
        both_groups = laws.two_groups(1 - shares[0], kept, m, t)
        rest, spread = both_groups.share[:, None], np.full((t, len(shares)), np.nan)
        spread[:, 0] = both_groups.variance
        # All groups but the first are selected alike, and keep their proportions in expectation.
        minorities = rest * (shares[1:] / shares[1:].sum())[None]
        found[name] = {"share": np.concatenate([1 - rest, minorities], axis=1), "share_variance": spread}
    return found


def share_variances(config: Minorities) -> dict[str, np.ndarray]:
    """Return the exact variance of the shares by mitigation, as (generation, group), where nothing is selected."""
    own, shares = config.tokens, np.array(config.shares)
    m, t = own.samples, own.generations
    every = make_mitigations(config, jnp.isnan)
    regimes = {name: one.regime for name, one in every.items() if one.curate is None}
    law = cj.predict_moments(cj.make_plan(regimes.values(), t, m), cj.families.categorical(len(shares) * own.tokens))
    errors = law["mean_error"].isel(samples=0, ratio=0)
    apart = (shares * (1 - shares))[None]
    found = {name: errors.sel(regime=one.name).to_numpy()[:, None] * apart for name, one in regimes.items()}
    # The detector leaves only the real examples to all models after the first.
    sizes = np.where(np.arange(t) > 0, round(config.real * m), m)[:, None]
    ecosystem = laws.ecosystem_share_variance(shares, own.models, m, t)
    return {**found, "importance": apart / sizes, f"ecosystem({own.models})": ecosystem}
