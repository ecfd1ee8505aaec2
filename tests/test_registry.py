"""The open tables: entering, finding and missing a record."""

from functools import partial
from typing import NamedTuple

import pytest

import collapse_jax as cj
from collapse_jax.registry import Table


class Colour(NamedTuple):
    name: str
    shade: int = 0


@pytest.fixture
def colours():
    return Table("colour", [Colour("red"), Colour("blue")])


def test_a_table_is_a_mapping_in_the_order_of_entry(colours):
    assert colours.add(Colour("amber", 3)) == Colour("amber", 3)
    assert list(colours) == ["red", "blue", "amber"]
    assert len(colours) == 3
    assert colours["amber"].shade == 3
    assert "red" in colours
    assert "green" not in colours
    assert colours.get("green") is None
    assert repr(colours) == "<3 colour records: red, blue, amber>"


def test_a_miss_lists_what_is_known_in_alphabetical_order(colours):
    with pytest.raises(KeyError, match="unknown colour 'green'; known: blue, red"):
        colours["green"]


def test_a_clash_changes_nothing_unless_asked(colours):
    with pytest.raises(ValueError, match=r"colour 'red' exists already.*overwrite=True"):
        colours.add(Colour("red", 5))
    assert colours["red"].shade == 0
    colours.add(Colour("red", 5), overwrite=True)
    assert colours["red"].shade == 5
    assert list(colours) == ["red", "blue"]


def test_a_clash_inside_the_first_records_is_refused_too():
    with pytest.raises(ValueError, match="'red' exists already"):
        Table("colour", [Colour("red"), Colour("red", 1)])


@pytest.mark.parametrize("name", [float("nan"), 3, None, ""])
def test_a_name_that_is_no_name_is_refused(colours, name):
    with pytest.raises(ValueError, match=f"name is {name!r}; a colour needs a string"):
        colours.add(Colour(name))


def test_tables_share_nothing():
    first, second = Table("colour"), Table("colour")
    first.add(Colour("red"))
    assert list(second) == []


def painter(colours, function=None, *, name="", shade=0, overwrite=False):
    """A decorator as users meet it: bare, or with keywords."""

    def check(record):
        if record.shade < 0:
            raise ValueError(f"shade is {record.shade}")

    return colours.enter(function, lambda f, name: Colour(name, f() + shade), check, name=name, overwrite=overwrite)


def test_a_function_is_entered_bare_with_keywords_and_under_another_name(colours):
    def green():
        return 3

    assert painter(colours, green) == Colour("green", 3) == colours["green"]
    assert painter(colours, name="lime", shade=1)(green) == Colour("lime", 4) == colours["lime"]
    with pytest.raises(ValueError, match="'green' exists already"):
        painter(colours, green)
    assert painter(colours, shade=2, overwrite=True)(green) == Colour("green", 5) == colours["green"]


def test_what_does_not_pass_its_check_is_not_entered(colours):
    with pytest.raises(ValueError, match="shade is -1"):
        painter(colours, name="dark")(lambda: -1)
    assert "dark" not in colours


def test_a_function_without_a_name_is_asked_for_one(colours):
    with pytest.raises(ValueError, match=r"has no name of its own: pass the colour's as name="):
        painter(colours, partial(int, 3))
    assert painter(colours, name="three")(partial(int, 3)) == colours["three"]


class Painted:
    """A callable object, which has no name."""

    def __call__(self, gap, *, steepness=2.0):
        return steepness * gap


def test_utilities_and_regimes_enter_plain_functions_partials_and_objects():
    def all_of_it(generation, source, samples, ratio):
        return samples if source == 0 else 0

    utilities, regimes = dict(cj.UTILITIES._records), dict(cj.REGIMES._records)
    try:
        assert cj.utility(name="painted")(Painted()).defaults == {"steepness": 2.0}
        assert cj.utility(name="line")(lambda gap: 3 * gap) is cj.UTILITIES["line"]
        assert cj.regime(all_of_it) is cj.REGIMES["all_of_it"]
        assert cj.regime(name="other", models=2)(partial(all_of_it)).models == 2
        with pytest.raises(ValueError, match="has no name of its own: pass the regime's"):
            cj.regime(partial(all_of_it))
        with pytest.raises(ValueError, match="no examples at all"):
            cj.regime(name="none")(lambda generation, source, samples, ratio: 0)
        assert "none" not in cj.REGIMES
    finally:
        cj.UTILITIES._records, cj.REGIMES._records = utilities, regimes
