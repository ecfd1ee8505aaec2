"""The open tables: entering, finding and missing a record."""

from typing import NamedTuple

import pytest

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


def test_tables_share_nothing():
    first, second = Table("colour"), Table("colour")
    first.add(Colour("red"))
    assert list(second) == []
