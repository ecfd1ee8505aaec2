"""Which mitigation of collapse first? Every known one on the same text and images, at the same training.

Generations that train on what the one before emitted, and what is done about it: real examples kept (accumulated,
replayed or fresh in some share), real prompts, or a choice among four candidates: by an oracle, by a reward model that
is trained in the loop, by a verifier that errs, by novelty, by length; machine-made examples weighed down by a detector
that is trained on the go; real text edited by the model. The text has a majority of prose, and minorities of code and
of names; the images are digits whose classes follow Zipf's law. The control trains on fresh real examples alone.
Instructions are evolved from people's seeds: deepened and broadened by prompts, replaced or accumulated, and dropped
where they are malformed, unusual or too near to others; here the control trains on the seeds alone.

    python -m experiments.defences --testbeds text images
    python -m experiments.defences --small
    python -m experiments.defences                            with instructions, which take hours
    python -m experiments.defences --testbeds instructions --instructions.path seed_tasks.jsonl --instructions.length 64

Expected: fresh real data help most, then keeping all that there is and letting models edit real text; choosing by
quality, whoever tells it, raises risk and costs diversity and minorities; novelty filters keep the diversity of images.
Of instructions, what counts is that the seeds stay in the training set.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import interval
from experiments.shared.launch import Options, script, watched
from experiments.testbeds.image_groups import ImageConfig, make_images
from experiments.testbeds.instruction_groups import InstructionConfig, make_instructions
from experiments.testbeds.testbed import CONTROL, Testbed
from experiments.testbeds.text_groups import TextConfig, make_text

COLUMNS = {
    "risk": "risk",
    "diversity": "diversity",
    "drift": "drift",
    "tail": "tail",
    "minority_share": "min. share",
    "minority_coverage": "min. cover.",
    "minority_risk": "min. risk",
}
"""What is measured, each with its head in the table; shares of minorities are in units of their true share."""
_ANY = (-np.inf, np.inf)
SUPPORTS = {
    **dict.fromkeys(("diversity", "drift", "minority_share"), plotting.POSITIVE),
    **dict.fromkeys(("tail", "minority_coverage"), plotting.SHARE),
    # Minus the logarithm of a density, as images have it, can be below 0.
    **dict.fromkeys(("risk", "minority_risk"), _ANY),
}
# A loss against the control is at most all that the control has, and may be a gain.
LOSSES = {
    **dict.fromkeys(("diversity lost", "tail lost"), (-np.inf, 1.0)),
    **dict.fromkeys(("drift", "share of minorities, off by"), plotting.POSITIVE),
}
_FORMS = (".3g", ".2g")
# Measured of instructions alone: broken ones, copies of seeds, and the part of a generation that selections could fill.
OF_INSTRUCTIONS = {"broken": "broken", "copied": "copied", "kept": "kept"}
SHOWN = (
    *("replace", "tenth replayed", "half fresh", "half, detector", "accumulate", "oracle", "novel"),
    *("evolve, replace", "evolve, accumulate", "well-formed and novel", "seeds evolved anew", CONTROL),
)


@dataclass(frozen=True)
class Config(Options):
    """Testbeds, and lineages of each mitigation."""

    testbeds: tuple[Literal["text", "images", "instructions"], ...] = ("text", "images", "instructions")
    """What mitigations are compared on."""
    defences: tuple[str, ...] = ()
    """Mitigations that are compared, beside `replace` and the control; by default all that a testbed has."""
    seeds: int = 4
    """Lineages of each mitigation."""
    text: TextConfig = field(default_factory=TextConfig)
    images: ImageConfig = field(default_factory=ImageConfig)
    instructions: InstructionConfig = field(default_factory=InstructionConfig)


GROUPS_SHOWN = ("replace", "accumulate", "oracle", "evolve, accumulate", "novel")

SMALL = {
    "testbeds": ("text", "images"),
    "defences": ("accumulate", "tenth fresh", "oracle", "half, detector"),
    "seeds": 4,
    "text": TextConfig(samples=64, length=32, generations=2, steps=15, pretraining=100, layers=1),
    "images": ImageConfig(samples=120, generations=2, steps=60),
    "instructions": InstructionConfig(generations=3, steps=30, batch_size=16, pretraining=100, layers=1),
}


MAKE: dict[str, Callable[[Config, Path], Testbed]] = {
    "text": lambda config, directory: make_text(config.text, directory, config.data_dir),
    "images": lambda config, directory: make_images(config.images, config.data_dir),
    "instructions": lambda config, directory: make_instructions(config.instructions, directory),
}


def run(config: Config, directory: Path) -> xr.Dataset:
    """Compare all mitigations on each testbed; return what was recorded and what each mitigation spent, by testbed."""
    check_config(config)
    found = {}
    for name in config.testbeds:
        own = directory / name
        own.mkdir(parents=True, exist_ok=True)
        options, testbed = getattr(config, name), MAKE[name](config, own)
        testbed = testbed._replace(mitigations=_chosen(testbed.mitigations, config.defences))
        dataset = cj.compare_mitigations(
            testbed.family,
            testbed.mitigations,
            generations=options.generations,
            samples=options.samples,
            seeds=range(config.seeds),
            **watched(config, own),
            truth=testbed.truth,
            measure=testbed.measure,
            inspect=testbed.inspect,
            dims=testbed.dims,
            coords=testbed.coords,
            **testbed.options,
        )
        found[name] = _described(dataset, testbed, options.generations, options.samples)
    names = xr.DataArray(list(found), dims="testbed", name="testbed")
    merged: xr.Dataset = xr.concat(list(found.values()), names, join="outer", data_vars="all", combine_attrs="drop")
    for told in ("config", "provenance"):
        merged.attrs[told] = json.dumps({testbed: json.loads(one.attrs[told]) for testbed, one in found.items()})
    # The outer join has sorted the mitigations: this is their order in the testbeds.
    return merged.sel(
        mitigation=list(dict.fromkeys(name for one in found.values() for name in one["mitigation"].values))
    )


def _chosen(mitigations: dict[str, cj.Mitigation], names: tuple[str, ...]) -> dict[str, cj.Mitigation]:
    """Return the mitigations of these names, all if no name is given, with `replace` and the control among them."""
    if unknown := [name for name in names if name not in mitigations]:
        raise ValueError(f"defences has {', '.join(unknown)}; this testbed has {', '.join(mitigations)}")
    wanted = {"replace", CONTROL, *(names or mitigations)}
    return {name: one for name, one in mitigations.items() if name in wanted}


def _described(dataset: xr.Dataset, testbed: Testbed, generations: int, samples: int) -> xr.Dataset:
    """Return the records, with measures of minorities, groups of at most half an equal share, and what was spent."""
    minority = testbed.shares <= 0.5 / len(testbed.shares)
    rare = {"group": np.flatnonzero(minority)}
    dataset["minority_share"] = dataset["group_share"].isel(rare).sum("group") / testbed.shares[minority].sum()
    for name in ("coverage", "risk"):
        dataset[f"minority_{name}"] = dataset[f"group_{name}"].isel(rare).mean("group")
    dataset["true_share"] = ("group", testbed.shares)
    spent = [cj.loop.data_spent(one, generations, samples) for one in testbed.mitigations.values()]
    for name in cj.loop.Spent._fields:
        dataset[name] = ("mitigation", [float(getattr(one, name)) for one in spent])
    for name, value in testbed.facts.items():
        dataset[name.replace(" ", "_")] = value
    # Forward passes: of training, of writing candidates and, where some are chosen or weighed, of scoring them.
    passes = [
        testbed.training_passes * generations * samples
        + one.written * (1.0 if mitigation.curate is None else 2.0)
        + (samples * generations if mitigation.reweigh is not None else 0.0)
        for one, mitigation in zip(spent, testbed.mitigations.values(), strict=True)
    ]
    dataset["compute"] = ("mitigation", np.array(passes) / passes[list(testbed.mitigations).index("replace")])
    return dataset.drop_vars(["diverged", "row"], errors="ignore")


def profile(dataset: xr.Dataset) -> xr.Dataset:
    """Return the collapse profile of the mitigations of one testbed against the control."""
    names = [name for name in ("risk", "variance", "modes", "tail", "off_support") if name in dataset]
    kept = dataset[names]
    others = [one for one in dataset["mitigation"].to_numpy() if one != CONTROL]
    return cj.metrics.collapse_profile(kept.sel(mitigation=others), kept.sel(mitigation=CONTROL, drop=True))


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return for each testbed what real data buy, measures by generation, groups, and the collapse profile."""
    figures = {}
    for testbed in dataset["testbed"].to_numpy():
        one = dataset.sel(testbed=testbed)
        one = one.dropna("mitigation", subset=["risk"], how="all").dropna("generation", subset=["risk"], how="all")
        one = one.dropna("group", subset=["true_share"])
        last, control = one.isel(generation=-1), one.sel(mitigation=CONTROL).isel(generation=-1)
        losses = {
            "risk above the control's": last["risk"] - control["risk"].mean("seed"),
            "diversity lost": 1.0 - last["diversity"] / control["diversity"].mean("seed"),
            "drift": last["drift"],
            "tail lost": 1.0 - last["tail"] / control["tail"].mean("seed"),
            "share of minorities, off by": abs(1.0 - last["minority_share"]),
            "risk of minorities above the control's": last["minority_risk"] - control["minority_risk"].mean("seed"),
        }
        figures[f"{testbed}_pareto.png"] = plotting.pareto(
            last["real_shown"],
            losses,
            label="real examples trained on",
            title=f"{testbed}, last generation",
            supports=LOSSES,
        )
        shown = one.sel(mitigation=[name for name in SHOWN if name in one["mitigation"].to_numpy()])
        figures[f"{testbed}_profile.png"] = plotting.collapse_profile(profile(shown))
        figures[f"{testbed}.png"] = plotting.curves(
            {label: plotting.Curve(shown[name], support=SUPPORTS[name]) for name, label in COLUMNS.items()},
            x="generation",
            hue="mitigation",
        )
        shown = shown.sel(mitigation=[name for name in GROUPS_SHOWN if name in shown["mitigation"].to_numpy()])
        groups = shown["group_share"] / shown["true_share"]
        figures[f"{testbed}_groups.png"] = plotting.curves(
            {"share of a group / its true share": plotting.Curve(groups, support=plotting.POSITIVE)},
            x="generation",
            hue="group",
            column="mitigation",
            titles={name: name for name in shown["mitigation"].to_numpy()},
        )
    return figures


def table(dataset: xr.Dataset) -> str:
    """Return for each testbed the measures of the last generation with their intervals, and what was spent."""
    lines: list[str] = []
    for testbed in dataset["testbed"].to_numpy():
        one = dataset.sel(testbed=testbed).dropna("mitigation", subset=["risk"], how="all")
        one = one.dropna("generation", subset=["risk"], how="all")
        last = one.isel(generation=-1)
        programs = len(np.unique(last["program"].to_numpy()))
        own = {name: head for name, head in OF_INSTRUCTIONS.items() if name in last and last[name].notnull().any()}
        columns = COLUMNS | own
        lines += [
            f"\n{testbed}, generation {int(last['generation'])}: mean over {last.sizes['seed']} seeds and two standard "
            f"errors either way; {last.sizes['mitigation']} mitigations in {programs} programs",
            f"{'mitigation':<28}"
            + "".join(f"{head:>24}" for head in columns.values())
            + f"{'holds':>7}{'real':>7}{'shown':>8}{'made':>8}{'written':>9}{'compute':>9}",
        ]
        holds = profile(one)["holds"].isel(generation=-1)
        for mitigation in last["mitigation"].to_numpy():
            row = last.sel(mitigation=mitigation)
            cells = "".join(f"{_interval(row[name], name):>24}" for name in columns)
            # How many of the definitions of collapse hold against the control.
            held = "-" if mitigation == CONTROL else str(int((holds.sel(mitigation=mitigation) == 1).sum()))
            counts = [f"{int(row[name])}" for name in ("real", "real_shown", "generated_shown", "written")]
            lines.append(
                f"{mitigation:<28}{cells}{held:>7}{counts[0]:>7}{counts[1]:>8}{counts[2]:>8}{counts[3]:>9}"
                f"{float(row['compute']):>9.2f}"
            )
        if "detected" in last and np.isfinite(last["detected"]).any():
            seen = one.sel(mitigation="half, detector").isel(generation=slice(1, None)).mean("generation")
            lines.append(
                f"detector, generations 2 on: tells machine from real {_interval(seen['detected'], 'detected')} "
                f"(.5: not at all), calibration error {_interval(seen['miscalibration'], 'miscalibration')}"
            )
    return "\n".join(lines)


def _interval(values: xr.DataArray, name: str) -> str:
    return interval(values, *_FORMS, support=SUPPORTS.get(name, plotting.SHARE))


def summary(dataset: xr.Dataset) -> str:
    """Return the risk of text above the control's, and the diversity of images, under the mitigations drawn."""
    parts = []
    for testbed, name, form in (("text", "risk", "+.2f"), ("images", "diversity", ".3g")):
        if testbed not in dataset["testbed"]:
            continue
        one = dataset[name].sel(testbed=testbed).dropna("mitigation", how="all").dropna("generation", how="all")
        last = one.isel(generation=-1)
        if name == "risk":
            last = last - last.sel(mitigation=CONTROL).mean("seed")
        shown = [each for each in SHOWN if each in last["mitigation"]]
        cells = ", ".join(f"{interval(last.sel(mitigation=each), form, '.2g')} {each}" for each in shown)
        label = "risk above the control's, nats" if name == "risk" else name
        parts.append(f"{label}, {testbed}, t = {int(last['generation'])}, {last.sizes['seed']} seeds: {cells}")
    return "; ".join(parts)


main = script(
    __name__,
    __file__,
    Config(),
    SMALL,
    run,
    draw,
    table,
    summary,
    description=__doc__,
    measured=("--testbeds", "text", "images"),
)
