"""Text that models write for each other loses its variety, the faster the more the writing favours the probable.

After Guo et al. (arXiv 2311.09807): language models trained on the rows that the one before wrote, replaced in each
generation, by five ways of writing, beside as many real rows drawn from the text they learned (dashed). Lexical:
distinct-2, self-BLEU-4, repeated 4-grams, entropy of tokens. Syntactic, by proxy: entropy of four token classes in a
row. Semantic: Vendi score, drift from held-out text and spread, of hashed n-grams; a sentence embedder can be plugged
in beside them. Beams continue 16 real tokens: a quarter of their text is real.

    python -m experiments.diversity --small
    python -m experiments.diversity
    python -m experiments.diversity --source text_files --path FILE  the same on your own text
    python -m experiments.diversity --embedder MODEL                 also by sentence-transformers, of up to 256 rows

Expected: temperature below 1 and beams lose variety of every kind, top-k and top-p less of it, plain sampling hardly
any. A model this small starts with more distinct pairs than real text has and a lower self-BLEU, as it misspells:
compare generations rather than levels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import collapse_jax as cj
from collapse_jax import plotting
from experiments.shared.bounds import check_config
from experiments.shared.intervals import interval
from experiments.shared.language_models import HELD_OUT, Language, LanguageConfig, read, texts
from experiments.shared.language_population import SHOWN, WAYS, compare_ways, make_description, overfitted, require_ways
from experiments.shared.launch import script

SHARES = ("distinct_2", "self_bleu", "repetition")
METRICS = {
    "distinct_2": "distinct-2",
    "self_bleu": "self-BLEU-4",
    "repetition": "repeated 4-grams",
    "entropy": "entropy of tokens (nats)",
    "syntax": "entropy of class 4-grams (nats)",
    "vendi": "Vendi score",
    "drift": "semantic drift",
    "spread": "semantic spread",
    "embedded_vendi": "Vendi score, embedder",
    "embedded_drift": "semantic drift, embedder",
}


@dataclass(frozen=True)
class Config(LanguageConfig):
    """Ways of writing, and what measures meaning."""

    ways: tuple[str, ...] = tuple(WAYS)
    """Ways of writing to compare."""
    embedder: str | None = None
    """Name or folder of a sentence-transformers model (extra `embeddings`), for a semantic measure of its own."""


SMALL = {
    "ways": ("sampling", "temperature .7", "5 beams, penalty 3"),
    "generations": 3,
    "samples": 64,
    "steps": 15,
    "seeds": 2,
    "pretraining": 100,
    "length": 32,
    "layers": 1,
}

Encode = Callable[[Sequence[str]], np.ndarray]


def run(config: Config, directory: Path) -> xr.Dataset:
    """Run all ways; return records with a text of each model, and the same measures of real text."""
    check_config(config, may_be_empty=("ways",))
    require_ways(config.ways)
    if not config.ways:
        raise ValueError(f"ways is empty; it must name one or more of {', '.join(WAYS)}")
    encode = None if config.embedder is None else load_embedder(config.embedder)
    language = read(config, directory)
    dataset = compare_ways(config, language, config.ways, directory, shown=HELD_OUT if encode else SHOWN)
    number = min(config.samples, HELD_OUT)
    generator = np.random.default_rng(0)
    draws = np.stack([generator.choice(language.train, number, replace=False) for _ in range(config.seeds)])
    describe = jax.jit(make_description(config, language))
    real = xr.concat([_scalars(describe(jnp.asarray(rows))) for rows in draws], "seed")
    held_out = _scalars(describe(jnp.asarray(language.held_out[:number])))
    if encode:
        rows = dataset["row"].transpose("way", "seed", "generation", "sample", "token")
        dataset = dataset.merge(_embedded(encode, language, rows.to_numpy(), rows.dims[:3]))
        real = real.merge(_embedded(encode, language, draws, ("seed",)))
    first = dataset["row"].isel(sample=0)
    dataset["text"] = (
        first.dims[:-1],
        np.reshape(texts(language, first.to_numpy().reshape(-1, config.length)), first.shape[:-1]),
    )
    parts = [dataset.drop_vars("row"), _prefixed("real", real), _prefixed("held_out", held_out)]
    return xr.merge(parts, combine_attrs="override")


def load_embedder(name: str) -> Encode:
    """Return the `encode` of a sentence-transformers model. Raises ValueError where the package is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ValueError(
            f"--embedder {name} needs sentence-transformers: pip install 'collapse-jax[embeddings]'"
        ) from None
    encode: Encode = SentenceTransformer(name).encode
    return encode


def _embedded(encode: Encode, language: Language, rows: np.ndarray, dims: Sequence[Any]) -> xr.Dataset:
    """Return Vendi score and drift by the embedder, of rows (*dims, n, length)."""
    reference = jnp.asarray(encode(texts(language, language.held_out)))
    shape = rows.shape[: len(dims)]
    embedded = np.asarray(encode(texts(language, rows.reshape(-1, rows.shape[-1]))))

    def measure(x: Array) -> tuple[Array, Array]:
        vendi = cj.metrics.vendi_score(cj.metrics.cosine_similarities(x))
        return vendi, cj.metrics.semantic_drift(reference, x).distance

    both = jax.lax.map(measure, jnp.asarray(embedded.reshape(-1, rows.shape[-2], embedded.shape[-1])))
    names = ("embedded_vendi", "embedded_drift")
    return xr.Dataset({name: (dims, np.reshape(x, shape)) for name, x in zip(names, both, strict=True)})


def _scalars(description: dict[str, Array]) -> xr.Dataset:
    return xr.Dataset({name: np.asarray(description[name]) for name in METRICS if name in description})


def _prefixed(prefix: str, dataset: xr.Dataset) -> xr.Dataset:
    return dataset.rename({name: f"{prefix}_{name}" for name in dataset.data_vars})


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """Return every measure by generation, one line for each way, dashes at the level of real text."""
    level = xr.ones_like(dataset["generation"], dtype=float)
    figures = {
        "figure.png": plotting.curves(
            {
                label: plotting.Curve(
                    dataset[name],
                    level * dataset[f"real_{name}"].mean("seed"),
                    support=plotting.SHARE if name in SHARES else plotting.POSITIVE,
                )
                for name, label in METRICS.items()
                if name in dataset
            },
            x="generation",
            hue="way",
            dashes="real text",
        )
    }
    if words := overfitted(dataset, "way"):
        figures["figure.png"].suptitle("\n".join(words), fontsize=8)
    return figures


def _change(dataset: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the change of every measure from the first generation to the last, by seed, and two standard errors."""
    measures = dataset[[name for name in METRICS if name in dataset]]
    change = measures.isel(generation=-1, drop=True) - measures.isel(generation=0, drop=True)
    return change, 2.0 * change.std("seed", ddof=1) / np.sqrt(change.sizes["seed"])


def table(dataset: xr.Dataset) -> str:
    """Return the last generation's measures beside real text's, and their change since the first with its interval."""
    first, last = dataset["generation"].to_numpy()[[0, -1]]
    change, error = _change(dataset)
    ways, names, mean = dataset["way"].to_numpy(), list(map(str, change)), change.mean("seed")
    title = "".join(f"{way:>20}" for way in ways)
    lines = [f"{f'generation {last}':<28}{'real':>8}{'held out':>10}{title}"]
    for name in names:
        held_out = f"{float(dataset[f'held_out_{name}']):>10.3f}" if f"held_out_{name}" in dataset else " " * 10
        values = dataset[name].sel(generation=last).mean("seed")
        lines.append(
            f"{METRICS[name]:<28}{float(dataset[f'real_{name}'].mean('seed')):>8.3f}{held_out}"
            + "".join(f"{float(values.sel(way=way)):>20.3f}" for way in ways)
        )
    lines.append(
        f"\nchange from generation {first} to {last}: mean over seeds ± two standard errors; * where that excludes none"
    )
    lines.append(f"{'':<28}{title}")
    excluded = 0
    for name in names:
        line = f"{METRICS[name]:<28}"
        for way in ways:
            centre, width = float(mean[name].sel(way=way)), float(error[name].sel(way=way))
            excluded += abs(centre) > width
            line += f"{f'{centre:+.3f} ± {width:.3f}' + ('*' if abs(centre) > width else ' '):>20}"
        lines.append(line)
    lines.append(f"{excluded} of {len(names) * len(ways)} intervals exclude none")
    lines += overfitted(dataset, "way")
    for way in ways:
        text = str(dataset["text"].sel(way=way, generation=last, seed=0).to_numpy())
        lines.append(f"\n{way}, generation {last}: {text}")
    return "\n".join(lines)


def summary(dataset: xr.Dataset) -> str:
    """Return the change of the Vendi score by each way of writing, and how many intervals exclude no change."""
    first, last = dataset["generation"].to_numpy()[[0, -1]]
    change, error = _change(dataset)
    excluded = sum(int((abs(change[name].mean("seed")) > error[name]).sum()) for name in change)
    vendi = ", ".join(
        f"{interval(change['vendi'].sel(way=way), '+.1f', '.1f')} {way}" for way in dataset["way"].to_numpy()
    )
    return (
        f"Vendi score from generation {first} to {last} ({float(dataset['real_vendi'].mean()):.0f} in real text), "
        f"{change.sizes['seed']} seeds, ± two standard errors: {vendi}; {excluded} of "
        f"{len(change) * dataset.sizes['way']} intervals of all measures exclude none"
    )


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
    measured=("--generations", "4", "--samples", "192", "--steps", "40"),
)
