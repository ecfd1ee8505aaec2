"""A mixture of Gaussians trained on its own samples merges its modes, then shrinks; a few real examples keep it.

Shumailov et al. (Nature 631:755) fit a mixture to 1000 of its own samples, over and over. Three regimes are set beside
the control that trains on fresh real data: replaced samples, samples beside the real set, and a tenth of real examples
replayed. Figures: densities over the generations, and the collapse profile, all eight definitions of collapse in use.

    python -m experiments.mixture

Expected: when samples are replaced, modes merge, coverage of real data vanishes and the risk grows without bound:
variance, modes and tail collapse. Beside the real set nothing is lost; a replayed tenth costs little.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.generative.families.mixture import Mixture
from experiments.shared.bounds import check_config
from experiments.shared.intervals import median_interval
from experiments.shared.launch import Options, script, watched

REGIMES = ("replace", "augment", "real_fraction_replayed")
HELD_OUT = 2000


@dataclass(frozen=True)
class Config(Options):
    """Sizes and lineages."""

    samples: int = 1000
    """Examples that train a generation."""
    generations: int = 1000
    """Models in a row."""
    seeds: int = 6
    """Lineages for each regime."""
    ratio: float = 0.1
    """Share of replayed real examples in the third regime."""
    shown: tuple[int, ...] = (1, 50, 200, 500, 1000)
    """Generations whose densities are drawn."""


SMALL = {"samples": 200, "generations": 60, "seeds": 3, "shown": (1, 20, 60)}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Run regimes and control; return records, densities of the first lineage, and the collapse profile."""
    check_config(config, shown=(1, config.generations))
    family = cj.families.mixture()
    truth, log_prob, moments = family.truth, family.log_prob, family.moments
    assert isinstance(truth, Mixture)
    assert log_prob is not None
    assert moments is not None
    held_key, _ = jax.random.split(jax.random.key(2024))
    held_out = family.sample(held_key, truth, HELD_OUT)
    # The edge of the real support: the density that all but a hundredth of real examples exceed.
    edge = jnp.quantile(log_prob(truth, held_out), 0.01)

    def measure(key: Array, params: Mixture) -> dict[str, Array]:
        generated = family.sample(key, params, HELD_OUT)
        near = jnp.linalg.norm(generated[:, None] - truth.means[None], axis=-1) < 2.0
        on_real = log_prob(params, held_out)
        return {
            "risk": -on_real.mean(),
            "variance": moments(params).variance,
            # A mode of the truth is alive while a tenth of its due share is emitted within two deviations of it.
            "modes": (near.mean(axis=0) > 0.1 * truth.shares).sum().astype(float),
            "tail": (on_real > edge).mean(),
            "off_support": (log_prob(truth, generated) < edge).mean(),
            **params._asdict(),
        }

    dims = {"shares": ("component",), "means": ("component", "dim"), "covariances": ("component", "dim", "dim2")}

    def sweep(regimes: list[cj.generative.Regime], ratio: float, name: str) -> xr.Dataset:
        plan = cj.make_plan(regimes, config.generations, config.samples, ratio)
        return cj.sweep(
            cj.make_recursion(family, plan, measure=measure, dims=dims),
            {"regime": plan.axes["regime"], "seed": range(config.seeds)},
            **watched(config, directory / name),
        ).drop_vars("diverged")

    dataset = sweep([cj.REGIMES[name] for name in REGIMES], config.ratio, "regimes")
    control = sweep([cj.REGIMES["real_fraction_fresh"]], 1.0, "control").isel(regime=0, drop=True)
    profile = cj.metrics.collapse_profile(dataset[list(_MEASURES)], control[list(_MEASURES)])
    return xr.merge(
        [
            dataset,
            control[list(_MEASURES)].rename({name: f"control_{name}" for name in _MEASURES}),
            profile.rename({name: f"profile_{name}" for name in profile.data_vars}),
            _densities(dataset, config.shown, log_prob),
        ],
        join="left",
        combine_attrs="drop_conflicts",
    )


_MEASURES = ("risk", "variance", "modes", "tail", "off_support")


def _densities(
    dataset: xr.Dataset, shown: tuple[int, ...], log_prob: Callable[[Mixture, Array], Array]
) -> xr.DataArray:
    """Return the densities of the first lineage on a grid, by regime, in the generations that are shown."""
    grid = np.linspace(-8.0, 8.0, 81)
    points = jnp.asarray(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), jnp.float32)
    lineage = dataset.isel(seed=0).sel(generation=list(shown))
    density = np.empty((len(REGIMES), len(shown), grid.size, grid.size))
    for i, j in np.ndindex(density.shape[:2]):
        one = lineage.isel(regime=i, generation=j)
        params = Mixture(*(jnp.asarray(one[name].to_numpy()) for name in Mixture._fields))
        density[i, j] = np.exp(np.asarray(log_prob(params, points))).reshape(grid.size, grid.size)
    over = {"regime": list(REGIMES), "shown": list(shown), "y": grid, "x": grid}
    return xr.DataArray(density, over, tuple(over), "density")


def _profile(dataset: xr.Dataset) -> xr.Dataset:
    prefix = "profile_"
    names = [str(name) for name in dataset.data_vars if str(name).startswith(prefix)]
    return dataset[names].rename({name: name.removeprefix(prefix) for name in names})


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return densities over generations, the measures beside the control, and the collapse profile."""
    rows = {
        label: plotting.Curve(
            xr.concat(
                [dataset[name], dataset[f"control_{name}"].expand_dims(regime=["control"])], "regime", join="outer"
            ).reindex(regime=[*REGIMES, "control"]),
            None,
            scale,
            over_seeds="median",
        )
        for name, label, scale in (
            ("risk", "risk (nats)", "log"),
            ("variance", "variance", "log"),
            ("modes", "modes alive", "linear"),
            ("tail", "real data covered", "linear"),
            ("off_support", "off-support mass", "linear"),
        )
    }
    return {
        "figure.png": plotting.density_maps(dataset["density"], row="regime", column="shown"),
        "measures.png": plotting.curves(rows, x="generation", hue="regime", xscale="log"),
        "profile.png": plotting.collapse_profile(_profile(dataset)),
    }


def table(dataset: xr.Dataset) -> str:
    """Return medians of the measures of the last generation, and the definitions of collapse that hold there."""
    last, profile = dataset.isel(generation=-1), _profile(dataset).isel(generation=-1)
    heads = ("risk (nats)", "variance", "modes", "covered", "off support")
    lines = [
        f"generation {int(last['generation'])}: medians over {dataset.sizes['seed']} lineages, whose means one lineage "
        "rules, and their intervals of 95 % (of fewer than six: all of them)\n",
        f"{'regime':<24}" + "".join(f"{head:>28}" for head in heads) + "  collapsed by",
    ]
    for regime in [*dataset["regime"].to_numpy(), "control"]:
        if regime == "control":
            measured, verdict = [last[f"control_{name}"] for name in _MEASURES], "(control)"
        else:
            measured = [last[name].sel(regime=regime) for name in _MEASURES]
            holds = profile["holds"].sel(regime=regime)
            verdict = ", ".join(str(d) for d in holds["definition"].to_numpy()[holds.to_numpy() == 1]) or "none"
        lines.append(f"{regime:<24}" + "".join(f"{median_interval(one):>28}" for one in measured) + f"  {verdict}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return what is left of replaced samples in the last generation, and what holds of the augmented."""
    last, profile = dataset.isel(generation=-1), _profile(dataset).isel(generation=-1)
    replaced = last.sel(regime="replace")
    holds = profile["holds"].sel(regime="augment")
    held = [str(one) for one in holds["definition"].to_numpy()[holds.to_numpy() == 1]]
    return (
        f"replaced, t = {int(last['generation'])}, medians of {dataset.sizes['seed']} seeds and 95 % intervals: risk "
        f"{median_interval(replaced['risk'])} nats (control {float(last['control_risk'].median()):.2f}), "
        f"{median_interval(replaced['modes'])} of {dataset.sizes['component']} modes, "
        f"{median_interval(100 * replaced['tail'])} % of real data covered; augmented: "
        f"{', '.join(held) or 'none of the eight definitions holds'}"
    )


main = script(__name__, __file__, Config(), SMALL, run, draw, table, summary, description=__doc__)
