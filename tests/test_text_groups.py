"""Text in groups: shares that can't make groups are refused before anything is read or written."""

import pytest

from experiments.testbeds.text_groups import TextConfig, make_text


@pytest.mark.parametrize(
    ("shares", "named"),
    [({}, "nothing"), ({"prose": 1.0}, "prose"), ({"prose": 0.5, "songs": 0.5}, "prose, songs")],
)
def test_shares_name_two_or_more_of_the_groups(tmp_path, shares, named):
    with pytest.raises(ValueError, match=f"shares name {named}; they must name two or more of prose, code, names$"):
        make_text(TextConfig(shares=shares), tmp_path)
    assert list(tmp_path.iterdir()) == []
