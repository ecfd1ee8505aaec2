"""Watching a sweep: every segment is handed out once, labelled like the results, before and after a stop."""

import importlib
import logging
import sys
import types
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from collapse_jax.engine import Process, Segment, sweep, to_tensorboard
from tests.walks import make_walk, walk_axes


class Watcher(NamedTuple):
    """Keeps what it is given; raises once `stop_at` segments are done."""

    seen: list[Segment]
    stop_at: int = 0

    def __call__(self, segment):
        self.seen.append(segment)
        if segment.done == self.stop_at:
            raise RuntimeError("enough")


def run(on_segment, directory=None, **options):
    options = {"segment": 4, **options}
    return sweep(make_walk(), walk_axes(), directory=directory, progress=False, on_segment=on_segment, **options)


def assert_all_of(segments, expected):
    """Check that segments have, at every member's labels, exactly what the results have there."""
    coords = segments[0].records.coords
    axes = [name for name in expected.dims if name in coords and coords[name].dims == ("member",)]
    time = segments[0].records["diverged"].dims[1]
    places = 0
    for segment in segments:
        for at in range(segment.records.sizes["member"]):
            one = segment.records.isel(member=at)
            whole = expected.sel({name: one[name].item() for name in axes}).sel({time: one[time]})
            for name in one.data_vars:
                np.testing.assert_array_equal(one[name], whole[name], err_msg=name)
            places += one.sizes[time]
    assert places == expected["diverged"].size
    assert set().union(*(one.records.data_vars for one in segments)) == set(expected.data_vars)


@pytest.mark.parametrize("options", [{}, {"max_members": 5}, {"segment": 10}])
def test_segments_hold_all_that_the_results_hold(options):
    watch = Watcher([])
    expected = run(watch, **options)
    assert_all_of(watch.seen, expected)
    assert [one.done for one in watch.seen] == list(range(1, watch.seen[0].total + 1))
    assert not any(one.restored for one in watch.seen)
    first = watch.seen[0].records
    assert first["place"].dims == ("member", "step", "coordinate")
    assert first["member"].to_numpy().tolist() == list(range(first.sizes["member"]))
    assert watch.seen[-1].records["step"].to_numpy()[-1] == 9  # a last segment that reaches past the end is cut


def test_members_are_numbered_over_all_chunks():
    watch = Watcher([])
    size = run(watch, max_members=5)["diverged"].isel(step=0).size
    members = np.concatenate([one.records["member"] for one in watch.seen[:: watch.seen[0].total // (-(-size // 5))]])
    assert members.tolist() == list(range(size))


@pytest.mark.parametrize(("options", "stop_at"), [({}, 1), ({}, 3), *(({"max_members": 5}, at) for at in (2, 3, 5))])
def test_what_it_raises_stops_the_sweep_and_the_next_call_goes_on_from_there(tmp_path, options, stop_at):
    expected = run(None, **options)
    watch = Watcher([], stop_at)
    with pytest.raises(RuntimeError, match="enough") as raised:
        run(watch, tmp_path, **options)
    assert f"at segment {stop_at} of {watch.seen[0].total}" in raised.value.__notes__[0]
    assert len(watch.seen) == stop_at
    again = Watcher([])
    xr.testing.assert_identical(run(again, tmp_path, **options).drop_attrs(), expected.drop_attrs())
    assert_all_of(again.seen, expected)
    # After the last segment of a chunk no state is kept: nothing goes on from there.
    assert [one.restored for one in again.seen] == [one.done <= stop_at for one in again.seen]


@pytest.mark.parametrize("options", [{}, {"max_members": 5}])
def test_a_finished_sweep_hands_out_what_its_directory_has(tmp_path, options):
    expected = run(None, tmp_path, **options)
    watch = Watcher([])
    run(watch, tmp_path, **options)
    assert all(one.restored for one in watch.seen)
    assert_all_of(watch.seen, expected)


def test_coordinates_of_the_process_come_along():
    process = Process(
        lambda key, hyper: 0.0,
        lambda state, hyper, index: (state + hyper["by"], {"x": state}),
        6,
        {"by": 1.0},
        coords={"generation": np.arange(1, 7) * 10, "even": ("generation", np.arange(6) % 2 == 1)},
        time="generation",
    )
    watch = Watcher([])
    sweep(process, {"by": [1.0, 2.0]}, segment=2, progress=False, on_segment=watch)
    assert [one.records["generation"].to_numpy().tolist() for one in watch.seen] == [[10, 20], [30, 40], [50, 60]]
    assert watch.seen[1].records["even"].to_numpy().tolist() == [False, True]
    assert watch.seen[1].records["x"].sel(member=1).to_numpy().tolist() == [4.0, 6.0]


def test_an_axis_named_like_that_of_the_members_is_refused():
    process = Process(lambda key, hyper: 0.0, lambda state, hyper, index: (state, {}), 1, {"member": 1.0})
    with pytest.raises(ValueError, match="on_segment gets segments with a dimension 'member'"):
        sweep(process, {"member": [1.0]}, progress=False, on_segment=Watcher([]))
    with pytest.raises(ValueError, match="on_segment is 3; sweep needs"):
        sweep(process, {}, on_segment=3)


def test_a_line_is_logged_for_every_segment(caplog, tmp_path):
    with caplog.at_level(logging.INFO, "collapse_jax"):
        run(None, tmp_path)
        run(None, tmp_path)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("collapse_jax.engine")]
    assert "compiled for 9 members" in told[0]
    assert told[1:4] == [f"segment {i} of 3 done: step {end}" for i, end in ((1, 4), (2, 8), (3, 10))]
    assert told[4:] == [f"segment {i} of 3 restored: step {end}" for i, end in ((1, 4), (2, 8), (3, 10))]


def curves(folder):
    """Return what TensorBoard reads in a folder: by run and name, the steps and the values of a curve."""
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = {}
    for run in {path.parent for path in folder.rglob("*tfevents*")}:
        read = accumulator.EventAccumulator(str(run))
        read.Reload()
        for name in read.Tags()["scalars"]:
            events = read.Scalars(name)
            steps, values = [one.step for one in events], [one.value for one in events]
            found[run.relative_to(folder).as_posix(), name] = (steps, values)
    return found


@pytest.mark.parametrize("stop_at", [0, 2])
def test_tensorboard_reads_the_means_over_seeds(tmp_path, stop_at):
    if stop_at:
        write = to_tensorboard(tmp_path / "board")
        with pytest.raises(RuntimeError, match="enough"):
            run(lambda segment: (write(segment), Watcher([], stop_at)(segment)), tmp_path / "sweep")
    expected = run(to_tensorboard(tmp_path / "board"), tmp_path / "sweep")
    found = curves(tmp_path / "board")
    assert {name for name, _ in found} == {"rate=slow", "rate=middle", "rate=fast"}
    for (name, record), (steps, values) in found.items():
        means = expected[record].sel(rate=name.removeprefix("rate=")).astype(float)
        assert steps == list(range(10))
        np.testing.assert_allclose(values, means.mean([dim for dim in means.dims if dim != "step"]), rtol=1e-6)
    assert {record for _, record in found} == set(expected.data_vars)


def test_files_that_an_earlier_call_began_in_the_same_second_are_hidden(tmp_path, monkeypatch):
    # Files are read by their second, then by their segment. The second file of the first call comes after the first of
    # the second call.
    seconds, now = iter([10, 11, 11, 12, 12]), [0]
    clock = types.SimpleNamespace(time=lambda: 1e9 + now[0])
    monkeypatch.setattr(importlib.import_module("tensorboardX.event_file_writer"), "time", clock)

    def call(stop_at):
        write, watch = to_tensorboard(tmp_path / "board"), Watcher([], stop_at)

        def at_its_second(segment):
            now[0] = next(seconds)
            write(segment)
            watch(segment)

        run(at_its_second, tmp_path / "sweep")

    with pytest.raises(RuntimeError, match="enough"):
        call(2)
    call(0)
    assert all(steps == list(range(10)) for steps, _ in curves(tmp_path / "board").values())


def test_chunks_that_part_the_seeds_of_a_run_are_runs_of_their_own(tmp_path):
    expected = run(to_tensorboard(tmp_path), max_members=5)
    found = curves(tmp_path)
    assert {name for name, _ in found} == {"rate=slow", "rate=middle", "rate=fast", "rate=middle, from member 5"}
    parts = {"rate=middle": slice(0, 1), "rate=middle, from member 5": slice(2, 2)}
    for name, seeds in parts.items():
        means = expected["noise"].sel(rate="middle", seed=seeds).mean("seed")
        np.testing.assert_allclose(found[name, "noise"][1], means, rtol=1e-6)


def test_without_tensorboardx_the_error_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match="to_tensorboard needs the package tensorboardX"):
        to_tensorboard(tmp_path)
