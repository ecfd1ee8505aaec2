"""Rankings are checked where they are made."""

import numpy as np
import pytest

import collapse_jax as cj


def parts():
    mask = np.array([[True, True, True], [True, True, False]])
    return {
        "features": np.ones((2, 3, 4), np.float32),
        "mask": mask,
        "types": np.array([0, 1]),
        "type_names": ("a", "b"),
    }


def test_good_rankings_pass():
    assert cj.make_rankings(**parts()).types.dtype == np.int32
    # As schemes have them, which compare equal only then.
    assert cj.make_rankings(**parts() | {"type_names": ["a", "b"]}).type_names == ("a", "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.array([[True, True, True], [True, False, False]])}, "prompt 1 has fewer than two completions"),
        ({"mask": np.array([[True, False, True], [True, True, False]])}, "mask of prompt 0 has a gap"),
        ({"types": np.array([0, 2])}, r"prompt 1 has type 2; types index type_names, \('a', 'b'\)"),
        (
            {"features": np.where(np.arange(2)[:, None, None] > 0, np.nan, np.ones((2, 3, 4)))},
            "prompt 1 are not finite",
        ),
    ],
)
def test_bad_rankings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        cj.make_rankings(**parts() | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.ones((2, 2), bool)}, r"mask is bool\(2, 2\); expected bool\(2, 3\)"),
        ({"mask": np.ones((2, 3))}, "mask is float64"),
        ({"types": np.zeros(3, int)}, "types are int64.*one integer for each prompt"),
        ({"types": np.array([0.5, 1.0])}, "types are float64"),
        ({"features": np.ones((2, 3))}, "features are float64"),
    ],
)
def test_shapes_and_types_must_fit(change, message):
    unchecked = getattr(cj.make_rankings, "__wrapped__", cj.make_rankings)  # the annotations would speak first
    with pytest.raises(ValueError, match=message):
        unchecked(**parts() | change)


def test_no_prompts_are_refused():
    with pytest.raises(ValueError, match="at least one prompt"):
        cj.make_rankings(np.ones((0, 3, 4)), np.ones((0, 3), bool), np.zeros(0, int))
