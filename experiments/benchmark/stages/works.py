"""What is timed on an accelerator: the benchmark's pieces of work at sizes that a device takes a second or so for."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import collapse_jax as cj
from experiments.benchmark.family_workloads import EXAMPLES, STATISTICS, by_examples, by_statistics
from experiments.benchmark.network_workloads import image_models, language_models
from experiments.benchmark.reward_workloads import perceptrons, text_encoders
from experiments.benchmark.workloads import Workload

LANGUAGE = ("language model 2x64", "GPT-2's size in bf16")
FEW = (2, 6)
_SMALL = ("reward perceptrons", "language model 2x64, writing", "Gaussian by statistics")


class Work(NamedTuple):
    """A piece of work for any number of members, timed with one and with the most that fit, at most `most`.

    `most` is what a device is expected to do in some seconds. `few` are two numbers of members by which the memory of
    many is predicted: two points give a line. `sizes` are those of a language model that writes: its architecture,
    vocabulary, rows and length.
    """

    name: str
    make: Callable[[int], Workload]
    most: int
    dtype: str = "float32"
    seconds: float = 45.0
    few: tuple[int, int] = FEW
    sizes: tuple[cj.nets.Architecture, int, int, int] | None = None


def works(small: bool) -> list[Work]:
    """Return all works, the most important ones first; with `small` as few as still run all of this code."""
    found = [
        Work("reward perceptrons", partial(_perceptrons, small), 16 if small else 65_536),
        *_language_models(small),
        *_encoders(small),
        *_gaussians(small),
        *_images(small),
        *_families(small),
    ]
    return [work for work in found if work.name in _SMALL] if small else found


def _perceptrons(small: bool, members: int) -> Workload:
    # One member has too little work for a device: it takes as many steps as can be timed.
    return perceptrons(members, steps=4 if small else 2000 if members == 1 else 50)


def _language_models(small: bool) -> list[Work]:
    given = [
        (LANGUAGE[0], cj.nets.Architecture(2, 64), 2048, {"steps": 16, "rows": 256}, 45.0),
        (
            LANGUAGE[1],
            cj.nets.Architecture(12, 768, 12, positions="learned", dtype="bfloat16"),
            64,
            # A vocabulary of GPT-2's 50,257 tokens, filled up to a multiple of 64.
            {"steps": 4, "rows": 16, "vocabulary": 50_304, "length": 1024, "batch": 8},
            75.0,
        ),
    ]
    if small:
        tiny = {"steps": 2, "rows": 4, "vocabulary": 64, "length": 8, "batch": 4}
        given = [
            (LANGUAGE[0], cj.nets.Architecture(1, 16), 2, tiny, 45.0),
            (LANGUAGE[1], cj.nets.Architecture(1, 16, positions="learned", dtype="bfloat16"), 2, tiny, 45.0),
        ]
    found = []
    for name, architecture, most, sizes, seconds in given:
        for place, part in enumerate(("training", "writing")):
            writes = (architecture, sizes.get("vocabulary", 512), sizes["rows"], sizes.get("length", 64))
            found.append(
                Work(
                    f"{name}, {part}",
                    partial(_part, partial(language_models, architecture, **sizes), place),
                    most,
                    architecture.dtype,
                    seconds,
                    # A device holds few of the large ones. One alone takes less than the line of more, which makes it
                    # too steep.
                    (1, 2) if architecture.width > 256 else FEW,
                    writes if part == "writing" else None,
                )
            )
    return found


def _encoders(small: bool) -> list[Work]:
    sizes = (
        cj.nets.Architecture(1, 16, positions="learned") if small else cj.nets.Architecture(2, 128, positions="learned")
    )
    many = partial(text_encoders, sizes, steps=1 if small else 8)
    return [
        Work(f"reward text encoders, {name}", partial(_part, many, place), 2 if small else 512)
        for place, name in enumerate(("each completion", "each prompt"))
    ]


def _gaussians(small: bool) -> list[Work]:
    sizes = {"samples": 100, "generations": 3} if small else {"samples": 1000, "generations": 100}
    return [
        Work("Gaussian by statistics", partial(_by_statistics, "gaussian", sizes), 16 if small else 2**20),
        Work("Gaussian by examples", partial(_by_examples, "gaussian", sizes), 16 if small else 10_000),
    ]


def _images(small: bool) -> list[Work]:
    many = partial(image_models, steps=2 if small else 128, rows=8 if small else 512)
    names = ("VAE, training", "VAE, sampling", "flow, training", "flow, sampling")
    return [Work(name, partial(_part, many, place), 2 if small else 2048) for place, name in enumerate(names)]


def _families(small: bool) -> list[Work]:
    sizes = {"samples": 100, "generations": 3} if small else {"samples": 1000, "generations": 20}
    examples = [name for name in EXAMPLES if name != "gaussian"]
    statistics = [name for name in STATISTICS if name != "gaussian"]
    found = [Work(f"{name} by examples", partial(_by_examples, name, sizes), 1000) for name in examples]
    found += [Work(f"{name} by statistics", partial(_by_statistics, name, sizes), 10_000) for name in statistics]
    return [work._replace(most=4) for work in found] if small else found


def _part(many: Callable[..., list[Workload]], place: int, members: int) -> Workload:
    return many(members=members)[place]


def _by_examples(name: str, sizes: dict[str, int], members: int) -> Workload:
    return by_examples(name, lineages=members, **sizes)._replace(members=members)


def _by_statistics(name: str, sizes: dict[str, int], members: int) -> Workload:
    return by_statistics(name, lineages=1, **sizes)._replace(members=members)
