"""What curated_loop prints: measured beside predicted for either testbed, and the test of the claim."""

import numpy as np
import xarray as xr

from collapse_jax import plotting
from experiments.shared.intervals import interval
from experiments.testbeds.loop_curation import TYPES


def table(dataset: xr.Dataset) -> str:
    """Return measured beside predicted for either testbed, and the test of the claim."""
    lines = ["means over seeds and two standard errors either way; laws, of infinitely many samples, in brackets\n"]
    if "diversity" in dataset:
        lines += _token_lines(dataset)
    if "text_offered" in dataset:
        lines += _text_lines(text_of(dataset))
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return how much more diversity open-ended prompts lose than closed-ended ones, by testbed and utility."""
    parts = []
    if "diversity" in dataset:
        last = dataset.isel(generation=-1, strength=-1)
        cells = [
            f"{_difference(-last['diversity'].sel(utility=one), -last['diversity_law'].sel(utility=one))} {one}"
            for one in dataset["utility"].to_numpy()
        ]
        parts.append(
            f"diversity lost, open − closed (law): single tokens, generation {_last(dataset)}: {', '.join(cells)}"
        )
    if "text_offered" in dataset:
        text = text_of(dataset)
        lost = (text["distinct_2"].sel(arm="control") - text["distinct_2"]).isel(generation=-1)
        cells = [f"{_difference(lost.sel(arm=one))} {one}" for one in ("x", "-1/x", "aware")]
        parts.append(f"distinct-2 lost, open − closed: text, generation {_last(text)}: {', '.join(cells)}")
    return f"{'; '.join(parts)}; ± two standard errors"


def _token_lines(dataset: xr.Dataset) -> list[str]:
    return [*_growth_lines(dataset), *_crossing_lines(dataset), *_refit_lines(dataset), *_hard_lines(dataset), ""]


def _growth_lines(dataset: xr.Dataset) -> list[str]:
    """Return what the first choice does to diversity, beside its laws, and how prompts of either type differ later."""
    diversity, law = dataset["diversity"], dataset["diversity_law"]
    lost, lost_law = (one.isel(generation=0) - one for one in (diversity, law))
    growth, growth_law = (
        (one.isel(generation=0) - one.isel(generation=1)) / (1.0 - one.isel(generation=0)) for one in (diversity, law)
    )
    variance = dataset["growth_law"]
    lines = [
        "single tokens, frozen reward model: growth of Σp² by the first choice, beside its law and the variance of the "
        "rewards,\n(1 - 1/K)² τ² Var r; then diversity lost, open-ended minus closed-ended",
        f"{'utility':<8}{'τ':>4}{'open (law; variance)':>30}{'closed (law; variance)':>32}"
        f"{'generation 2':>26}{f'generation {_last(dataset)}':>26}",
    ]
    for utility in dataset["utility"].to_numpy():
        for strength in dataset["strength"].to_numpy():
            at = {"utility": utility, "strength": strength}
            cells = [
                f"{interval(growth.sel({**at, 'type': kind}))} ({float(growth_law.sel({**at, 'type': kind})):.3f}; "
                f"{float(variance.sel({**at, 'type': kind})):.3f})"
                for kind in TYPES
            ]
            cells += [
                _difference(lost.isel(generation=t).sel(at), lost_law.isel(generation=t).sel(at)) for t in (1, -1)
            ]
            lines.append(f"{utility:<8}{strength:>4g}{cells[0]:>30}{cells[1]:>32}{cells[2]:>26}{cells[3]:>26}")
    return lines


def _crossing_lines(dataset: xr.Dataset) -> list[str]:
    """Return from when on a prompt-aware utility leaves open-ended prompts with less diversity."""
    diversity, law = dataset["diversity"].mean("seed"), dataset["diversity_law"]
    lines = []
    for strength in dataset["strength"].to_numpy():
        measured, predicted = (_crossing(one.sel(utility="aware", strength=strength)) for one in (diversity, law))
        lines.append(
            f"prompt-aware, τ = {strength:g}: open-ended prompts are the less diverse ones from generation "
            f"{measured} on ({predicted})"
        )
    return lines


def _refit_lines(dataset: xr.Dataset) -> list[str]:
    """Return what reward models, frozen and refitted, come to in the last generation under the strongest choice."""
    strongest = dataset.isel(strength=-1, generation=-1)
    lines = [
        f"\nsingle tokens, generation {_last(dataset)}, τ = {float(dataset['strength'][-1]):g}: reward offered, true "
        "quality and diversity of the model (closed-ended: among right answers)\n"
        f"{'utility':<8}{'type':<8}{'reward model':<14}{'reward':>29}{'quality':>29}{'diversity':>29}"
    ]
    for utility in dataset["utility"].to_numpy():
        for kind in TYPES:
            for refit in dataset["refit"].to_numpy():
                row = strongest.sel(utility=utility, type=kind, refit=refit)
                cells = []
                for name in ("offered", "quality", "diversity" if kind == "open" else "diversity_right"):
                    predicted = f" ({float(row[f'{name}_law']):.3f})" if refit == "frozen" else ""
                    cells.append(_share(row[f"refit_{name}"]) + predicted)
                lines.append(f"{utility:<8}{kind:<8}{refit:<14}{cells[0]:>29}{cells[1]:>29}{cells[2]:>29}")
    return lines


def _hard_lines(dataset: xr.Dataset) -> list[str]:
    """Return what hard choices do: the best of the candidates, and the best share of all of them."""
    lines = [
        "\nsingle tokens, hard choices under frozen reward models: diversity in generations 2 and 3, and the share of "
        f"open-ended prompts in the training set of generation 2\n{'choice':<8}{'utility':<8}"
        f"{'open, 2':>29}{'closed, 2':>29}{'open, 3':>29}{'closed, 3':>29}{'share':>22}"
    ]
    for way in dataset["way"].to_numpy():
        for utility in dataset["utility"].to_numpy():
            row = dataset.sel(way=way, utility=utility)
            cells = [
                _share(row["hard_diversity"].isel(generation=t).sel(type=kind))
                + (f" ({float(row['hard_diversity_law'][t]):.3f})" if way == "best" else "")
                for t in (1, 2)
                for kind in TYPES
            ]
            share = _share(row["hard_share"].isel(generation=1).sel(type="open"))
            lines.append(f"{way:<8}{utility:<8}" + "".join(f"{cell:>29}" for cell in cells) + f"{share:>22}")
    return lines


def _text_lines(text: xr.Dataset) -> list[str]:
    lost = text[["distinct_2", "vendi"]].sel(arm="control") - text[["distinct_2", "vendi"]]
    return [
        *_offered_lines(text),
        *_lost_lines(lost["distinct_2"], "distinct-2"),
        *_lost_lines(lost["vendi"], "Vendi score"),
        *_true_lines(text),
        *_written_lines(text),
    ]


def _offered_lines(text: xr.Dataset) -> list[str]:
    """Return how near the rewards of the first generation are to their law, and the mean reward of what is chosen."""
    first = text.isel(generation=0)
    lines = [
        "text: distance of the rewards offered in generation 1 to their law (mean over quantiles), and the mean reward "
        f"of what is chosen\n{'arm':<22}{'open':>8}{'closed':>8}{'chosen, open (law)':>31}{'chosen, closed (law)':>31}"
    ]
    for arm in ("control", "x", "-1/x", "aware"):
        row, cells = first.sel(arm=arm), []
        for kind in TYPES:
            distance = abs(row["rewards"].sel(type=kind).mean("seed") - row["rewards_law"].sel(type=kind)).mean("item")
            cells.append(f"{float(distance):.3f}")
        cells += [
            f"{_share(row['judged'].sel(type=kind))} ({float(row['judged_law'].sel(type=kind)):.3f})" for kind in TYPES
        ]
        lines.append(f"{arm:<22}{cells[0]:>8}{cells[1]:>8}{cells[2]:>31}{cells[3]:>31}")
    return lines


def _lost_lines(lost: xr.DataArray, label: str) -> list[str]:
    """Return how much of a measure each arm has lost against the control by the last generation."""
    last = lost.isel(generation=-1)
    lines = [
        f"\ntext, generation {_last(lost)}: {label} lost against the control\n"
        f"{'arm':<22}{'open':>18}{'closed':>18}{'open - closed':>18}"
    ]
    for arm in lost["arm"].to_numpy()[1:]:
        loss = last.sel(arm=arm)
        cells = [interval(loss.sel(type=kind)) for kind in TYPES]
        lines.append(f"{arm:<22}{cells[0]:>18}{cells[1]:>18}{_difference(loss):>18}")
    contrast = last.sel(arm="aware") - last.sel(arm="x")
    return [*lines, f"{'aware less x':<22}{'':>36}{_difference(contrast):>18}"]


def _true_lines(text: xr.Dataset) -> list[str]:
    """Return what the last generation's rewards say beside what is true of its text."""
    lines = [
        f"\ntext, generation {_last(text)}: what rewards say and what is true\n{'arm':<22}{'reward, open':>22}"
        f"{'closed':>22}{'quality, open':>22}{'right, closed':>22}{'drift, open':>22}{'closed':>22}"
        f"{'nats, held-out':>22}"
    ]
    for arm in text["arm"].to_numpy():
        row = text.sel(arm=arm).isel(generation=-1)
        cells = [_share(row["offered"].sel(type=kind)) for kind in TYPES]
        # Of open-ended prompts quality is in standard deviations of the real answers', of the others the share right.
        cells += [interval(row["quality"].sel(type="open")), _share(row["quality"].sel(type="closed"))]
        cells += [interval(row["drift"].sel(type=kind), support=plotting.POSITIVE) for kind in TYPES]
        cells.append(interval(row["risk"]))
        lines.append(f"{arm:<22}" + "".join(f"{cell:>22}" for cell in cells))
    return lines


def _written_lines(text: xr.Dataset) -> list[str]:
    """Return a row that the first lineage of three arms writes for each type of prompt."""
    return [
        f"\n{arm}, {kind}-ended, generation {_last(text)}: {written}"
        for arm in ("control", "x", "aware")
        for kind, written in zip(TYPES, text["text"].sel(arm=arm).isel(seed=0, generation=-1).to_numpy(), strict=True)
    ]


def _share(values: xr.DataArray) -> str:
    return interval(values, support=plotting.SHARE)


def _last(dataset: xr.Dataset | xr.DataArray) -> int:
    return int(dataset["generation"][-1])


def _difference(lost: xr.DataArray, law: xr.DataArray | None = None) -> str:
    apart = interval(lost.sel(type="open") - lost.sel(type="closed"))
    return apart if law is None else f"{apart} ({float(law.sel(type='open') - law.sel(type='closed')):+.3f})"


def _crossing(diversity: xr.DataArray) -> str:
    """Return the first generation from which open-ended prompts stay below closed-ended ones."""
    above = np.flatnonzero((diversity.sel(type="open") >= diversity.sel(type="closed")).to_numpy())
    generations = diversity["generation"].to_numpy()
    after = int(above[-1]) + 1 if above.size else 0
    return str(generations[after]) if after < len(generations) else f"none up to {generations[-1]}"


def text_of(dataset: xr.Dataset) -> xr.Dataset:
    """Return the variables of text, under their names without `text_`."""
    own = {name: str(name).removeprefix("text_") for name in dataset.variables if str(name).startswith("text_")}
    text = dataset[[name for name in own if name in dataset.data_vars]]
    return text.rename({name: short for name, short in own.items() if name in text.variables})
