"""A sweep of reward models beside the laws that are for it: one rule for the metrics and for the figures."""

import json
from typing import Any

import numpy as np
import xarray as xr

OWN = ("n_items", "type", "item")
"""The axes of a law that are not settings of a sweep."""


def along_utilities(dataset: xr.Dataset, predicted: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return both with an axis of utilities, which a sweep of one scheme lacks, and a law of one of them.

    Raises ValueError for a sweep of one scheme, without its label, beside the laws of several.
    """
    if "utility" not in dataset.dims:
        dataset = dataset.assign_coords(utility=_label(dataset, predicted)).expand_dims("utility")
    if "utility" not in predicted.dims:
        if "utility" not in predicted.coords and dataset.sizes["utility"] == 1:
            predicted = predicted.assign_coords(utility=dataset["utility"].item())
        predicted = predicted.expand_dims("utility")
    return dataset, predicted


def _label(dataset: xr.Dataset, predicted: xr.Dataset) -> str:
    """Return the label of the one scheme of a sweep: its own, else that of the only law."""
    if "utility" in dataset.coords:
        return str(dataset["utility"].item())
    if len(trained := _schemes(dataset, "trained_schemes")) == 1:
        return next(iter(trained))
    if "utility" not in predicted.coords:
        return "trained"
    if predicted["utility"].size > 1:
        raise ValueError(
            f"predicted is for the utilities {', '.join(predicted['utility'].to_numpy())}, dataset is of one: take its "
            "law, predicted.sel(utility=...)"
        )
    return str(predicted["utility"].item())


def require_laws_of_orders(name: str, law: xr.Dataset) -> None:
    """Raise ValueError for laws, called `name`, that are each prompt's own."""
    if "prompt" in law["rewards"].dims or "prompt_items" in law.coords:
        raise ValueError(
            f"{name} has each prompt's own law, as predict_labelled and predict_mixed return them; give those of "
            "types, predict_rewards(schemes, n_items), or summarize_labelled those of predict_labelled"
        )


def require_settings(name: str, law: xr.Dataset, dataset: xr.Dataset) -> None:
    """Raise ValueError for a law, called `name`, without a value that the sweep has of what both record.

    That is what the labels of pairs say, the labels of the schemes and what they stand for, the pairs of items, the
    centring and the utilities' parameters.
    """
    _require_labels(name, law, dataset)
    if "trained_pairs" in dataset.coords:
        dataset = dataset.assign_coords(pairs=dataset["trained_pairs"])
    if "trained_centring" in dataset.coords and "centring" not in dataset.coords:
        dataset = dataset.assign_coords(centring=dataset["trained_centring"])
    for setting in [str(one) for one in law.coords if one not in (*OWN, "schemes") and one in dataset.coords]:
        known, run = np.atleast_1d(law[setting].to_numpy()), np.atleast_1d(dataset[setting].to_numpy())
        if (missing := run[~np.isin(run, known)]).size:
            raise ValueError(
                f"{name} is for {setting} = {', '.join(map(str, known))}; the sweep has {missing[0]}: "
                f"{_instead(name, setting, missing[0])}"
            )
    _require_types(name, law, dataset)
    _require_schemes(name, law, dataset)


def _require_types(name: str, law: xr.Dataset, dataset: xr.Dataset) -> None:
    """Raise ValueError for a law of types that were told beside a sweep of memberships, and the reverse.

    The law says so in the coordinate `types`, the sweep in `trained_types`; without it types are told.
    """
    known, run = (
        str(side[at].item()) if at in side.coords else "told"
        for side, at in ((law, "types"), (dataset, "trained_types"))
    )
    if known != run:
        raise ValueError(
            f"{name} is for types = {known}; the sweep has {run}: "
            + ("its laws are predict_mixed(rankings, schemes)" if run != "told" else "predict_rewards has its laws")
        )


def _require_labels(name: str, law: xr.Dataset, dataset: xr.Dataset) -> None:
    """Raise ValueError for laws of orders beside labels that say more, of rewards beside logits, and the reverse."""
    known, run = (
        side.coords[setting].item() if setting in side.coords else "orders"
        for side, setting in ((law, "labels"), (dataset, "trained_labels"))
    )
    if known != run:
        instead = "predict_rewards(schemes, n_items)" if run == "orders" else "predict_labelled(rankings, schemes)"
        own = "" if run == "orders" else ", by which each prompt has a law of its own"
        raise ValueError(
            f"{name} is for {known} labels; the sweep was trained on {run} labels{own}: its law is {instead}"
        )
    bounded = bool(dataset.coords.get("trained_bounded", True))
    if "bounded" in law.coords and bool(law["bounded"]) != bounded:
        raise ValueError(
            f"{name} has bounded = {not bounded}; the sweep is of {'rewards in [0, 1]' if bounded else 'raw logits'}: "
            f"give predict_labelled bounded={bounded}"
        )


def _require_schemes(name: str, law: xr.Dataset, dataset: xr.Dataset) -> None:
    """Raise ValueError for a law of other utilities or parameters than those that go by the same labels in the sweep.

    The law has them as text in the coordinate `schemes`, the sweep in `trained_schemes`: those of `make_schemes`, where
    the values of what a sweep or a law varies are overridden by its own coordinates. The names differ so that a sweep
    and a law merge into one dataset.
    """
    known, run = _schemes(law, "schemes"), _schemes(dataset, "trained_schemes")
    for label in np.atleast_1d(dataset["utility"].to_numpy()).tolist() if "utility" in dataset.coords else ():
        for kind, (utility, params) in run.get(label, {}).items():
            other, predicted = known.get(label, {}).get(kind, (utility, params))
            if (utility, [*params]) != (other, [*predicted]):
                raise ValueError(
                    f"{name} is for {other}({', '.join(predicted)}) as the utility of {label!r} on {kind} prompts; the "
                    f"sweep has {utility}({', '.join(params)}): {_SAME}"
                )
            for param in params:
                values = _values(law, *predicted[param])
                if None not in values and (missing := _values(dataset, *params[param]) - values):
                    raise ValueError(
                        f"{name} is for {utility} with {param} = {', '.join(map(str, sorted(values)))} in {label!r} on "
                        f"{kind} prompts; the sweep has {min(missing)}: {_SAME}"
                    )


_SAME = "give predict_rewards the schemes and the values of their parameters that were trained"


def _schemes(side: xr.Dataset, name: str) -> dict[str, Any]:
    """Return what is recorded of the schemes, as `schemes_text` writes it; nothing where nothing is."""
    return dict(json.loads(side[name].item())) if name in side.coords else {}


def _values(side: xr.Dataset, value: float | None, setting: str) -> set[Any]:
    """Return the values that one side has of a parameter: of its own coordinate, if there is one."""
    return set(np.atleast_1d(side[setting].to_numpy()).tolist()) if setting in side.coords else {value}


def _instead(name: str, setting: str, value: object) -> str:
    if setting != "pairs":
        return f"predict the values of the sweep, as in predict_rewards(schemes, n_items, {setting}=[...])"
    if name == "limits":
        return "limit laws are those of all pairs, so leave limits out"
    return f"its law is predict_rewards(schemes, n_items, pairs={str(value)!r})"
