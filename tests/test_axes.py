"""Named axes: their product, and what is refused before anything is compiled or written."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from collapse_jax.engine import sweep
from collapse_jax.engine.axes import make_population
from collapse_jax.engine.process import Axis, Process
from tests.walks import COORDINATES, make_walk, walk_axes

SHIFTS = {"start": np.array([0.0, 1.0]), "sides": np.array([[0, 0], [1, -1]])}


def test_the_product_runs_over_all_axes_the_last_one_fastest():
    axes = {"seed": [7, 5], "rate": Axis(np.array([0.5, 2.0, 1.0]), ["a", "b", "c"]), "shift": Axis(SHIFTS)}
    population = make_population(make_walk(), axes)
    assert population.shape == (2, 3, 2)
    assert population.size == 12
    assert population.seeds.tolist() == [7] * 6 + [5] * 6
    assert population.hyper["rate"].tolist() == [0.5, 0.5, 2, 2, 1, 1] * 2
    assert population.hyper["shift"]["sides"].tolist() == [[0, 0], [1, -1]] * 6
    assert population.describe(3) == "seed=7, rate=b, shift=1"
    assert {name: labels.tolist() for name, labels in population.labels.items()} == {
        "seed": [7, 5],
        "rate": ["a", "b", "c"],
        "shift": [0, 1],
    }


def test_values_take_the_type_that_the_default_has_in_jax():
    process = Process(lambda key, hyper: 0.0, lambda state, hyper, index: (state, {}), 1, {"a": 1.0, "b": 1, "c": True})
    hyper = make_population(process, {"a": [1, 2], "b": [2.0, 3.0], "c": [0, 1]}).hyper
    assert [hyper[name].dtype for name in "abc"] == [jnp.asarray(one).dtype for one in (1.0, 1, True)]
    assert make_population(process, {"a": jnp.array([0.1])}).hyper["a"].dtype == jnp.asarray(1.0).dtype


def test_defaults_fill_what_no_axis_names():
    population = make_population(make_walk(), {})
    assert population.shape == ()
    assert population.size == 1
    assert population.hyper["rate"] == np.float32(0.7)
    assert population.seeds.tolist() == [0]


def test_labels_default_to_values_and_else_to_places():
    process = make_walk()
    assert make_population(process, {"rate": [0.1, 0.2]}).labels["rate"].tolist() == [0.1, 0.2]  # in double precision
    assert make_population(process, {"rate": Axis([0.1, 0.2])}).labels["rate"].tolist() == [0.1, 0.2]
    assert make_population(process, {"rate": Axis([0.1, 0.2], ["x", "y"])}).labels["rate"].tolist() == ["x", "y"]
    assert make_population(process, {"shift": Axis(SHIFTS)}).labels["shift"].tolist() == [0, 1]


def carrying(**axes):
    return make_walk()._replace(axes=axes)


RATES = Axis(np.array([0.5, 2.0, 1.0]), ["a", "b", "c"])


def test_a_process_runs_all_values_of_its_axes_before_those_of_the_call():
    population = make_population(carrying(shift=Axis(SHIFTS), rate=RATES), {"seed": range(2)})
    assert {name: labels.tolist() for name, labels in population.labels.items()} == {
        "shift": [0, 1],
        "rate": ["a", "b", "c"],
        "seed": [0, 1],
    }
    assert population.hyper["rate"].tolist() == [0.5, 0.5, 2, 2, 1, 1] * 2
    assert population.hyper["shift"]["start"].tolist() == [0.0] * 6 + [1.0] * 6


@pytest.mark.parametrize(
    ("given", "labels", "values"),
    [
        (["c", "a"], ["c", "a"], [1.0, 0.5]),
        ("b", ["b"], [2.0]),
        (RATES, ["a", "b", "c"], [0.5, 2.0, 1.0]),
        (Axis([7.0], ["new"]), ["new"], [7.0]),
        (Axis(7.0), [7.0], [7.0]),
    ],
)
def test_a_call_chooses_of_an_axis_by_label_or_gives_another(given, labels, values):
    population = make_population(carrying(rate=RATES), {"seed": [5], "rate": given})
    assert list(population.labels) == ["seed", "rate"]
    assert population.labels["rate"].tolist() == labels
    assert population.hyper["rate"].tolist() == values


def test_labels_of_an_axis_without_them_are_its_values_or_places():
    process = carrying(rate=Axis([0.5, 2.0]), shift=Axis(SHIFTS))
    population = make_population(process, {"rate": 2, "shift": [1]})
    assert population.hyper["rate"].tolist() == [2.0]
    assert population.hyper["shift"]["sides"].tolist() == [[1, -1]]
    # What has the structure of the hyperparameter is its values.
    assert make_population(process, {"shift": SHIFTS}).hyper["shift"]["start"].tolist() == [0.0, 1.0] * 2


def test_the_only_value_of_an_axis_is_run_and_adds_no_dimension_unless_it_is_named():
    process = carrying(rate=Axis([3.0], ["only"]))
    unnamed, named = make_population(process, {"seed": [0, 1]}), make_population(process, {"rate": "only"})
    assert list(unnamed.labels) == ["seed"]
    assert unnamed.hyper["rate"].tolist() == [3.0, 3.0]
    assert named.labels["rate"].tolist() == ["only"]


def test_what_a_process_resolves_is_asked_once_for_all_members_in_the_precision_given():
    asked = []

    def resolve(hyper):
        asked.append(hyper["rate"])
        return {"rate": 2.0 * hyper["rate"]}

    population = make_population(make_walk()._replace(resolve=resolve), {"rate": [0.1, np.pi], "seed": range(2)})
    assert [one.tolist() for one in asked] == [[0.1, 0.1, np.pi, np.pi]]
    assert list(population.hyper) == ["rate"]
    assert population.hyper["rate"].dtype == np.float32
    np.testing.assert_array_equal(population.hyper["rate"], np.float32([0.2, 0.2, 2 * np.pi, 2 * np.pi]))
    assert population.labels["rate"].tolist() == [0.1, np.pi]


def test_a_number_is_a_dimension_of_length_one():
    population = make_population(make_walk(), {"seed": 3, "rate": 0.5})
    assert population.shape == (1, 1)
    assert (population.seeds.tolist(), population.hyper["rate"].tolist()) == ([3], [0.5])
    assert {name: labels.tolist() for name, labels in population.labels.items()} == {"seed": [3], "rate": [0.5]}


@pytest.mark.parametrize("given", [["a", "d"], "d", 0, [[0.5]], 2.0, None])
def test_unknown_labels_are_refused_with_the_known_ones(given):
    with pytest.raises(ValueError, match=r"axis 'rate' has no label .*; this process has 'a', 'b', 'c'"):
        make_population(carrying(rate=RATES), {"rate": given})


def test_an_axis_of_the_process_that_is_no_hyperparameter_is_refused():
    with pytest.raises(ValueError, match="unknown axis 'size'; this process has rate, shift, seed"):
        make_population(carrying(size=Axis([1.0, 2.0])), {})


REFUSED_AXES = {
    "unknown": ({"size": [1]}, "unknown axis 'size'; this process has rate, shift, seed"),
    "empty": ({"rate": []}, "axis 'rate' is empty; it needs at least one value"),
    "empty pytree": ({"shift": {"start": np.zeros(0), "sides": np.zeros((0, 2), int)}}, "'shift' is empty"),
    "a number in a pytree": ({"shift": SHIFTS | {"start": 1.0}}, "axis 'shift' needs leaves with one common leading"),
    "a number for a pytree": ({"shift": 3}, "axis 'shift' has the structure"),
    "a string": ({"rate": "log"}, "expected numbers of shape () (names become records"),
    "too few labels": ({"rate": Axis([1.0, 2.0], ["a"])}, "axis 'rate' has 2 values but 1 labels"),
    "too many labels": ({"rate": Axis([1.0], ["a", "b"])}, "axis 'rate' has 1 values but 2 labels"),
    "one string as labels": ({"rate": Axis([1.0, 2.0], "ab")}, "axis 'rate' has the labels 'ab'; expected a sequence"),
    "pairs as labels": ({"rate": Axis([1.0, 2.0], [("a", 1), ("b", 2)])}, "axis 'rate' has the labels"),
    "ragged labels": ({"rate": Axis([1.0, 2.0], [("a",), ("b", 2)])}, "axis 'rate' has labels of different shapes"),
    "no label": ({"rate": Axis([1.0, 2.0], ["a", None])}, "axis 'rate' has the labels"),
    "repeated labels": ({"rate": Axis([1.0, 2.0], ["a", "a"])}, "axis 'rate' repeats a label: a, a"),
    "repeated values": ({"seed": [0, 1, 0]}, "axis 'seed' repeats a label: 0, 1, 0"),
    "other structure": ({"shift": {"start": np.zeros(2)}}, "axis 'shift' has the structure"),
    "numbers for a pytree": ({"shift": [0.0, 1.0]}, "axis 'shift' has the structure"),
    "a pytree for numbers": ({"rate": {"start": [0.0]}}, "axis 'rate' has the structure"),
    "leaves of other lengths": (
        {"shift": SHIFTS | {"start": np.zeros(3)}},
        "axis 'shift' needs leaves with one common",
    ),
    "leaf of other shape": ({"shift": SHIFTS | {"sides": np.zeros((2, 3))}}, r"values of shape (3,) and type"),
    "vectors for numbers": ({"rate": [[1.0, 2.0]]}, "axis 'rate' has values of shape (2,) and type float64"),
    "ragged values": ({"rate": [[1.0], [1.0, 2.0]]}, "axis 'rate' has values of different shapes"),
    "strings": ({"rate": ["log", "linear"]}, "expected numbers of shape () (names become records"),
    "not a number": ({"rate": [1.0, np.nan]}, "axis 'rate' has a non-finite value at position 1: nan"),
    "infinite": ({"rate": [-np.inf]}, "axis 'rate' has a non-finite value at position 0: -inf"),
    "infinite in single precision": ({"rate": [1.0, 1e300]}, "'rate' has a value too large for float32 at position 1"),
    "negative seed": ({"seed": [0, -1]}, "axis 'seed' needs values of type uint32; at position 1 it has -1"),
    "half a seed": ({"seed": [0.5]}, "axis 'seed' needs values of type uint32; at position 0 it has 0.5"),
    "giant seed": ({"seed": [2**40]}, "axis 'seed' needs values of type uint32"),
    "fractions for integers": ({"shift": SHIFTS | {"sides": np.full((2, 2), 0.5)}}, "needs values of type int32"),
}


def _process(step=None, **changes) -> Process:
    walk = make_walk(4)
    return walk._replace(step=step or walk.step, **changes)


def _recording(record) -> Process:
    return _process(lambda state, hyper, index: (state, record(state) if callable(record) else record))


REFUSED_PROCESSES = {
    "no steps": (_process(num_steps=0), "num_steps 0; it must be a whole number from 1 on"),
    "half a step": (_process(num_steps=2.5), "num_steps 2.5; it must be a whole number from 1 on"),
    "a name as a default": (_process(hyper={"utility": "log"}), "hyperparameter 'utility' has the default 'log'"),
    "a hyperparameter named seed": (_process(hyper={"seed": 1}), "hyperparameter 'seed'"),
    "no pair": (_process(lambda state, hyper, index: state), "step must return a pair (state, record)"),
    "state of another structure": (
        _process(lambda state, hyper, index: (tuple(state), {})),
        "step returns a state of structure",
    ),
    "state of another shape": (
        _process(lambda state, hyper, index: (state._replace(place=state.place[:2]), {})),
        "step turns the state's leaf .place from float32(8,) into float32(2,); shapes and types must stay",
    ),
    "state of another type": (
        _process(lambda state, hyper, index: (state._replace(count=state.count + 0.5), {})),
        "step turns the state's leaf .count from int32() into float32()",
    ),
    "record not a dict": (_recording(lambda state: state.place), "step must return its record as a flat dict"),
    "record nested": (_recording({"a": {"b": 1.0}}), "step must return its record as a flat dict"),
    "record of none": (_recording({"a": None}), "step must return its record as a flat dict"),
    "record without a name": (_recording({1: 1.0}), "step must return its record as a flat dict"),
    "record of keys": (_recording(lambda state: {"a": state.key}), "record 'a' has the type key<fry>"),
    "record of bfloat16": (_recording({"a": jnp.bfloat16(1)}), "record 'a' has the type bfloat16"),
    "record too deep": (_recording(lambda state: {"a": state.place}), "record 'a' has shape (8,), but its dims are ()"),
    "record too flat": (_recording({"place": 1.0}), "record 'place' has shape (), but its dims are ('coordinate',)"),
    "record named like an axis": (_recording({"rate": 1.0}), "record 'rate' has the name of an axis of the results"),
    "record named like the time": (_recording({"step": 1.0}), "record 'step' has the name of an axis of the results"),
    "record named diverged": (_recording({"diverged": 1.0}), "record 'diverged' has the name of an axis"),
    "record named like its own axis": (
        _recording(lambda state: {"coordinate": 1.0, "place": state.place}),
        "record 'coordinate' has the name of an axis of the results",
    ),
    "an axis twice": (
        _recording(lambda state: {"a": jnp.zeros((4, 4))})._replace(dims={"a": ("coordinate", "coordinate")}),
        "record 'a' has shape (4, 4), but its dims are ('coordinate', 'coordinate'): name each axis once",
    ),
    "time as an own axis": (_process(dims={"place": ("step",)}), "none of them diverged, rate, seed, step"),
    "an own axis as an axis": (
        _process(dims={"place": ("rate",)}),
        "axis 'rate' has the name of an axis of the records",
    ),
    "own axes of two lengths": (
        _recording(lambda state: {"a": state.place, "b": state.place[:3]})._replace(dims={"a": ("c",), "b": ("c",)}),
        "record 'b' has length 3 along 'c', another record has 8",
    ),
    "coordinates of another length": (
        _process(coords={"coordinate": [1, 2]}),
        "coords has length 2 along 'coordinate'",
    ),
    "times of another length": (_process(coords={"step": [1, 2]}), "coords has length 2 along 'step'"),
    "coordinates of no axis": (_process(coords={"item": [1, 2]}), "coords has length 2 along 'item'"),
    "coordinates of an axis of members": (_process(coords={"rate": [1, 2, 3]}), "coords has rate, already the name"),
    "coordinates named like a record": (_process(coords={"place": 1}), "coords has place, already the name"),
    "coordinates that clash": (
        _process(coords={"coordinate": range(8), "kind": ("coordinate", [1, 2])}),
        "coords don't fit each other",
    ),
}

REFUSED_OPTIONS = {
    "no segment": ({"segment": 0}, "segment is 0; it must be a whole number from 1 on"),
    "half a segment": ({"segment": 2.0}, "segment is 2.0; it must be a whole number from 1 on"),
    "segment true": ({"segment": True}, "segment is True"),
    "no members": ({"max_members": 0}, "max_members is 0; it must be a whole number from 1 on"),
    "members as text": ({"max_members": "3"}, "max_members is '3'"),
    "negative batch": ({"vmap_members": -1}, "vmap_members is -1; it must be a whole number from 1 on"),
    "other mesh": (
        {"mesh": Mesh(np.array(jax.devices()[:1]), ("data",))},
        "mesh has the axes ('data',); it needs 'population'",
    ),
    "wide mesh": (
        {"mesh": Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("population", "rows"))},
        "mesh has the axes ('population', 'rows'); it needs 'population' and may have 'batch' and 'model'",
    ),
}

REFUSED = (
    {name: (make_walk(4), axes, {}, message) for name, (axes, message) in REFUSED_AXES.items()}
    | {
        name: (process, walk_axes(2) if "rate" in process.hyper else {}, {}, message)
        for name, (process, message) in REFUSED_PROCESSES.items()
    }
    | {name: (make_walk(4), walk_axes(2), options, message) for name, (options, message) in REFUSED_OPTIONS.items()}
)


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_compiled_or_written(tmp_path, monkeypatch, case):
    process, axes, options, message = REFUSED[case]
    monkeypatch.setattr(jax, "jit", lambda *args, **kwargs: pytest.fail("it compiles"))
    unhooked = inspect.unwrap(sweep)  # without the tests' type checker, which refuses some of these first
    with pytest.raises(ValueError, match=re.escape(message)):
        unhooked(process, axes, directory=tmp_path / "new", progress=False, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_cases_above_differ_from_one_that_runs_in_what_they_name_alone():
    result = sweep(make_walk(4), walk_axes(2), progress=False)
    assert dict(result.sizes) == {"rate": 3, "seed": 2, "step": 4, "coordinate": COORDINATES}
