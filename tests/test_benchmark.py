"""The benchmark counts what the programs do, bounds are rates that bind, and populations are not slower than loops.

The guards are ratios of medians of interleaved repeats, far below what a quiet machine shows.
"""

import itertools
import json
import statistics
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from experiments.benchmark import ceilings, compile_times, report, scaling
from experiments.benchmark.family_workloads import EXAMPLES, STATISTICS, by_examples, by_statistics
from experiments.benchmark.network_workloads import image_models, language_models
from experiments.benchmark.numpy_loops import LOOPS
from experiments.benchmark.reward_workloads import perceptrons, text_encoders
from experiments.benchmark.roofline import LIMITS, Resources, bound, moved
from experiments.benchmark.workloads import WAYS, compiled_once, run_seconds, whole_member
from tests.jaxprs import inside

SIZES = cj.nets.Architecture(1, 32)
SMALL = {"samples": 400, "generations": 8, "lineages": 1}
NETWORKS = [
    perceptrons(1, steps=1),
    *text_encoders(SIZES, members=1, steps=1),
    *language_models(SIZES, members=1, steps=1, rows=8),
    *image_models(members=1, steps=1, rows=8),
]
FAMILIES = [
    *(by_examples(name, **SMALL) for name in EXAMPLES),
    *(by_statistics(name, **SMALL) for name in STATISTICS),
]


def named(work):
    return work.name


def traced(jaxpr, number=1):
    """Yield the equations of a jaxpr with how often each runs; a `while` counts once, its trips being unknown."""
    for equation in jaxpr.eqns:
        times = number * equation.params.get("length", 1) if equation.primitive.name == "scan" else number
        yield equation, number
        for inner in inside(equation, jax.default_backend()):
            yield from traced(inner, times)


def done(work):
    """Return the operations of products and the random words in the program of a member."""
    operations = words = 0
    for equation, number in traced(jax.make_jaxpr(lambda seed: whole_member(work.process, seed))(jnp.uint32(0)).jaxpr):
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            operations += 2 * number * equation.outvars[0].aval.size * np.prod([shape[i] for i in contracted])
        if equation.primitive.name == "random_bits":
            words += number * equation.outvars[0].aval.size
    return operations, words


# A fork of a binomial tree draws a word for its search and two for a rejection, and levels are padded to at most twice.
WORDS_DRAWN = {"histogram, 400 by statistics": 6.0, "categorical, 400 by statistics": 6.0}


@pytest.mark.parametrize("work", [*NETWORKS, *FAMILIES], ids=named)
def test_products_and_random_words_are_counted_as_the_traced_program_does_them(work):
    operations, words = done(work)
    counted = work.takes.times(work.units)
    assert counted.normals + counted.words <= 1.02 * words
    # A choice takes two words where one would do, and the real examples are drawn once more.
    assert words <= WORDS_DRAWN.get(work.name, 2.3) * (counted.normals + counted.words) + 1000
    assert counted.operations <= operations
    if work in NETWORKS:
        # The embedding, the pairs of a record and the scalar head.
        assert operations <= 1.07 * counted.operations
    else:
        # Small solutions, moments and the weighted sums of a generation.
        assert operations <= 1.25 * counted.operations + 8 * work.units * SMALL["samples"]


@pytest.mark.parametrize("work", [NETWORKS[place] for place in (0, 5, 7)], ids=named)
def test_products_are_counted_as_the_compiler_counts_them(work):
    compiled = jax.jit(lambda seed: whole_member(work.process, seed)).lower(jnp.uint32(0)).compile()
    # It counts elementwise work too, and loops once: one step, and no model that loops within it.
    assert 0.9 < compiled.cost_analysis()["flops"] / (work.takes.operations * work.units) < 1.6


def seconds_in_turn(*runs):
    """Return the median seconds of each run, of three interleaved ones."""
    with compiled_once():
        return [statistics.median(times) for times in zip(*([run() for run in runs] for _ in range(3)), strict=True)]


def numpy_seconds(samples, generations, lineages):
    begin = time.perf_counter()
    for lineage in range(lineages):
        LOOPS["gaussian"](np.random.default_rng(lineage), samples, generations)
    return time.perf_counter() - begin


@pytest.mark.slow
def test_populations_of_gaussians_outrun_the_numpy_loop_and_statistics_outrun_examples(optimised):
    generations, lineages = 50, 128
    sizes = {"samples": 1000, "generations": generations, "lineages": lineages}
    examples = by_examples("gaussian", **sizes)
    statistics_ = by_statistics("gaussian", **sizes)._replace(members=lineages)
    loop, by_example, by_statistic = seconds_in_turn(
        lambda: numpy_seconds(1000, generations, lineages // 8) * 8,
        lambda: run_seconds(examples),
        lambda: run_seconds(statistics_),
    )
    assert by_example < 2.5 * loop
    assert by_statistic < loop / 4
    assert by_statistic < by_example / 3


@pytest.mark.slow
def test_four_times_the_members_take_about_four_times_as_long(optimised):
    few, many = (perceptrons(members, steps=20) for members in (16, 64))
    small, large = seconds_in_turn(lambda: run_seconds(few), lambda: run_seconds(many))
    assert large < 4 * 2.5 * small


def test_more_chunks_and_segments_compile_no_more_programs():
    compiled = []
    process = by_statistics("gaussian", samples=10, generations=8, lineages=1).process

    def listen(event, duration, **_):
        compiled.extend([event] if event.endswith("backend_compile_duration") else [])

    def programs(**layout):
        before = len(compiled)
        cj.sweep(process, {"seed": range(8)}, progress=False, **layout)
        return len(compiled) - before

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        whole, split = programs(segment=8), programs(segment=2, max_members=2)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert 2 <= whole <= 6
    assert split <= whole + 1


def test_the_bound_is_the_rate_of_the_resource_that_binds():
    machine = Resources(operations=100.0, bytes=10.0, normals=5.0, words=8.0, transcendentals=50.0)
    assert bound(Resources(operations=50.0, bytes=20.0), machine) == ("bytes", 0.5)
    assert bound(Resources(operations=50.0, normals=1.0), machine) == ("operations", 2.0)
    with pytest.raises(ValueError, match="unit takes nothing"):
        bound(Resources(), machine)


@pytest.mark.parametrize(
    ("kind", "mebibytes"),
    [("NVIDIA H100 80GB HBM3", 50), ("NVIDIA A100-SXM4-40GB", 40), ("TPU v5 lite", 32), ("cpu", 32)],
)
def test_what_a_cache_holds_needs_not_move(monkeypatch, kind, mebibytes):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(device_kind=kind)])
    assert moved(7.0, mebibytes * 2**20) == 0.0
    assert moved(7.0, mebibytes * 2**20 + 1) == 7.0


@pytest.mark.parametrize("resource", Resources._fields)
def test_every_resource_has_a_rate(resource):
    assert all(0.0 < probe() < np.inf for probe in ceilings.probes(resource, small=True))


def test_the_matrix_of_the_peak_is_random_and_keeps_its_size(monkeypatch):
    seen = []
    monkeypatch.setattr(ceilings, "_timed", lambda program, operands, amount: seen.append((program, *operands)))
    ceilings.probes("operations", small=True)
    ((program, matrix),) = seen
    assert (np.asarray(matrix) != 0.0).all()
    assert 0.1 < np.asarray(program(matrix)).std() * len(matrix) ** 0.5 < 10.0


def test_fits_take_their_settings_as_members_of_a_recursion_do():
    fits = [work for work in NETWORKS if "training" in work.name]
    assert [set(work.process.hyper) for work in fits] == [{"learning_rate", "steps"}] * 3


def test_seconds_that_overlap_count_once():
    rng = np.random.default_rng(0)
    begins = rng.integers(0, 60, size=30)
    intervals = [
        (int(begin), int(begin + length)) for begin, length in zip(begins, rng.integers(1, 9, 30), strict=True)
    ]
    assert compile_times.union(intervals) == len({place for begin, end in intervals for place in range(begin, end)})


def test_a_part_of_a_file_is_rewritten_between_its_marks_and_nothing_else(tmp_path):
    path = tmp_path / "BENCHMARKS.md"
    with pytest.raises(FileNotFoundError, match=r"BENCHMARKS\.md, which is not there"):
        report.write(path, "speed", "new")
    path.write_text("before\n")
    with pytest.raises(ValueError, match="lacks the lines <!-- speed --> and <!-- end of speed -->"):
        report.write(path, "speed", "new")
    path.write_text(
        "a\n<!-- speed -->\nold\nolder\n<!-- end of speed -->\nb\n<!-- faults -->\n<!-- end of faults -->\n"
    )
    report.write(path, "speed", r"n\1w")
    report.write(path, "speed", r"n\1w")
    assert path.read_text() == (
        "a\n<!-- speed -->\nn\\1w\n<!-- end of speed -->\nb\n<!-- faults -->\n<!-- end of faults -->\n"
    )


def test_growth_goes_on_until_the_next_point_would_take_too_long_or_too_much_memory(monkeypatch):
    def point(axis, size):
        seconds = {"members": 0.01 * size, "generations": 1e-6 * size, "items": 1e-4 * size**2}[axis]
        return {
            "run_seconds": seconds,
            "predicted_bytes": 1e6 * size,
            "limit_bytes": 3e10 if axis == "generations" else np.inf,
            "resident_bytes": 1.1e6 * size,
        }

    monkeypatch.setattr(scaling, "_in_child", point)
    found = scaling.measure(2.0, progress=False)
    sizes = {axis: found["size"].to_numpy()[found["along"] == axis].tolist() for axis in np.unique(found["along"])}
    assert sizes == {"members": [1, 4, 16, 64], "generations": [64, 256, 1024, 4096], "items": [4, 16, 64]}
    figure = scaling.draw(found)
    assert len(figure.axes) == 6
    lines = report.markdown(report_of(found)).splitlines()
    assert "| items | 64 | 0.41 | 2.00 | 61 | 67.1 |" in lines


def report_of(growth):
    """Return what a run of the benchmark with one piece of work would return."""
    speed = xr.DataArray([[[1.0, 2.0, 4.0], [2.0] * 3, [8.0] * 3]], dims=("work", "way", "repeat"))
    dataset = xr.Dataset(
        {
            "speed": speed,
            "takes": (("work", "resource"), [Resources(operations=1.0)]),
            "limits": (("repeat", "resource"), np.full((3, len(LIMITS)), 16e9)),
            "bound": ("work", [16.0]),
            "binding": ("work", ["operations"]),
            "unit": ("work", ["tokens"]),
            "holds_back": ("work", ["Nothing."]),
        },
        {"work": ["writing"], "way": list(WAYS), "resource": list(LIMITS)},
    ).merge(growth)
    return dataset.assign_attrs(provenance=report.provenance("float32"))


def test_the_table_sets_the_population_beside_the_loop_and_the_bound(monkeypatch):
    growth = {name: ("point", [1.0]) for name in ("size", "run_seconds", "predicted_bytes", "resident_bytes")}
    text = report.markdown(report_of(xr.Dataset({"along": ("point", ["members"]), **growth})))
    row = "| writing | tokens | 2 | 2 | 8 | 4 (2–8) | 16 | matrix products | 50 % | Nothing. |"
    assert row in text.splitlines()
    assert "matrix products 16 GFLOP/s" in text
    assert json.loads(report.provenance("float32"))["versions"]["jax"] == jax.__version__
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert all(len(set(group)) == 1 for _, group in itertools.groupby(widths))
