"""Groups in set shares: counts by brute force, what is drawn traced back; and the texts that make minorities."""

import ast
import itertools
import re
import sysconfig
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.data import Passage, character_names, corpus, mix_groups, pack, python_code, train_bpe
from collapse_jax.data.code_and_names import definitions
from collapse_jax.data.grouped import Grouped


def made_up(sizes):
    """Return examples that tell their group and place, as a tree of two arrays."""
    return {
        name: {"x": 1000 * group + np.arange(n), "y": np.full((n, 2), group, np.float32)}
        for group, (name, n) in enumerate(sizes.items())
    }


def nearest_counts(shares, size):
    """Return the whole numbers that add up to `size` nearest to the quotas, by trying all."""
    every = (c for c in itertools.product(range(size + 1), repeat=len(shares)) if sum(c) == size)
    return min(every, key=lambda c: sum((n - s * size) ** 2 for n, s in zip(c, shares, strict=True)))


@pytest.mark.parametrize("size", [9, 10, 11, 17])
@pytest.mark.parametrize("shares", [(0.5, 0.29, 0.21), (0.62, 0.14, 0.24), (1 / 3, 1 / 3, 1 / 3)])
def test_counts_are_the_nearest_that_add_up(shares, size):
    mixed = mix_groups(made_up({"a": 20, "b": 20, "c": 20}), dict(zip("abc", shares, strict=True)), size)
    assert len(mixed.examples["x"]) == size
    counts = np.bincount(mixed.groups, minlength=3)
    quotas = np.array(shares) * size
    assert ((counts - quotas) ** 2).sum() == pytest.approx(((nearest_counts(shares, size) - quotas) ** 2).sum())


def test_examples_keep_their_group_and_come_once():
    mixed = mix_groups(made_up({"a": 30, "b": 5}), {"b": 0.1, "a": 0.9}, 30)
    assert isinstance(mixed, Grouped)
    assert mixed.group_names == ("a", "b")
    np.testing.assert_array_equal(mixed.examples["x"] // 1000, mixed.groups)
    np.testing.assert_array_equal(mixed.examples["y"], mixed.groups[:, None].repeat(2, 1))
    assert len(set(mixed.examples["x"].tolist())) == 30
    assert 0 < mixed.groups[:15].sum() + mixed.groups[15:].sum() == 3


def test_the_draw_is_uniform_shuffled_and_depends_on_the_seed_alone():
    groups, shares = made_up({"a": 8, "b": 8}), {"a": 0.5, "b": 0.5}
    replicas = 1000
    drawn = [mix_groups(groups, shares, 6, seed=seed) for seed in range(replicas)]
    np.testing.assert_array_equal(mix_groups(groups, shares, 6, seed=7).examples["x"], drawn[7].examples["x"])
    chosen = np.array([np.isin(groups["a"]["x"], one.examples["x"]) for one in drawn])
    z = (chosen.mean(axis=0) - 3 / 8) / np.sqrt(3 / 8 * 5 / 8 / replicas)
    assert np.abs(z).max() < 4
    others = np.array([np.isin(groups["b"]["x"], one.examples["x"]) for one in drawn])
    both, p = (chosen & others).mean(axis=0), (3 / 8) ** 2
    assert np.abs((both - p) / np.sqrt(p * (1 - p) / replicas)).max() < 4
    order = np.array([one.groups for one in drawn])
    assert np.abs((order.mean(axis=0) - 0.5) / np.sqrt(0.25 / replicas)).max() < 4


def test_fewer_are_among_more():
    groups = made_up({"a": 50, "b": 50})
    few, more = (mix_groups(groups, {"a": 0.8, "b": 0.2}, size, seed=3).examples["x"] for size in (20, 50))
    assert set(few.tolist()) < set(more.tolist())
    # A group's draw doesn't change with the share of another.
    less = mix_groups(groups, {"a": 0.6, "b": 0.4}, 50, seed=3).examples["x"]
    assert set(less[less < 1000].tolist()) < set(more[more < 1000].tolist())


def test_all_examples_of_a_group_can_be_used_up():
    mixed = mix_groups(made_up({"a": 93, "b": 7}), {"a": 0.93, "b": 0.07}, 100)
    assert np.bincount(mixed.groups).tolist() == [93, 7]


GOOD = made_up({"a": 30, "b": 12})
HALVES = {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("groups", "shares", "size", "message"),
    [
        ({}, {}, 4, "groups is empty"),
        (GOOD, {"a": 0.5, "c": 0.5}, 4, "shares name a, c, groups are a, b; missing: b, unknown: c"),
        (GOOD, {"a": 1.0}, 4, "missing: b, unknown: none"),
        (GOOD, {"a": 1.1, "b": -0.1}, 4, r"share of 'a' is 1.1; it must be above 0, at most 1"),
        (GOOD, {"a": 1.0, "b": 0.0}, 4, r"share of 'b' is 0.0; it must be above 0, at most 1: leave out what has none"),
        (GOOD, {"a": float("nan"), "b": 0.5}, 4, "share of 'a' is nan"),
        (GOOD, {"a": 0.5, "b": 0.4}, 4, r"add up to 0.9; they must add up to 1"),
        (GOOD, HALVES, 0, "size is 0; it must be a whole number from 1 on"),
        (
            GOOD,
            {"a": 0.98, "b": 0.02},
            20,
            "share of 'b' is 0.02, no example at all at size 20: it would be extinct from the start; "
            "a share of 1/20 is one example, and so is this share at size 50",
        ),
        (
            GOOD,
            HALVES,
            30,
            "group 'b' has 12 examples; its share of 0.5 at size 30 takes 15. With these shares a size of 24 fits, and "
            "at this size a share of 12/30 for 'b'",
        ),
        ({"a": np.zeros(3), "b": np.float32(1)}, HALVES, 2, r"group 'b' has arrays of the shapes \[\(\)\]"),
        ({"a": np.zeros(3), "b": np.zeros(0)}, HALVES, 2, "one leading axis, of one example or more"),
        ({"a": {"x": np.zeros(3), "y": np.zeros(2)}}, {"a": 1.0}, 2, "group 'a' has arrays of the shapes"),
        ({"a": np.zeros((3, 4)), "b": np.zeros((3, 5))}, HALVES, 2, "'a' and 'b' have different kinds of examples"),
        ({"a": np.zeros(3), "b": np.zeros(3, int)}, HALVES, 2, "'a' and 'b' have different kinds of examples"),
        ({"a": np.zeros(3), "b": {"x": np.zeros(3)}}, HALVES, 2, "'a' and 'b' have different kinds of examples"),
    ],
)
def test_bad_groups_and_shares_are_refused(groups, shares, size, message):
    with pytest.raises(ValueError, match=message):
        mix_groups(groups, shares, size)


def test_what_errors_advise_works():
    mix_groups(GOOD, HALVES, 24)
    mix_groups(GOOD, {"a": 18 / 30, "b": 12 / 30}, 30)
    for size, share in ((50, 0.02), (20, 1 / 20)):
        one = mix_groups(made_up({"a": 60, "b": 12}), {"a": 1 - share, "b": share}, size)
        assert one.groups.sum() == 1


# Sources


@pytest.fixture(scope="module")
def code():
    return python_code()


@pytest.fixture(scope="module")
def names():
    return character_names()


def test_code_is_code_without_prose(code):
    assert all(len(text.split()) >= 100 for _, text in code.passages)
    assert python_code().fingerprint == code.fingerprint
    for title, text in code.passages[::4]:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                assert ast.get_docstring(node) is None, title
    assert "#" not in re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "", code.passages[0].text)
    # The same functions, read by another way.
    found = "\n".join(text for title, text in code.passages if title == "textwrap")
    source = (Path(sysconfig.get_path("stdlib")) / "textwrap.py").read_text()
    body = re.search(r"def shorten\(.*\n(?:(?:    .*)?\n)*", source)[0]
    assert ast.unparse(ast.parse(re.sub(r'"""(.|\n)*?"""', "", body))) in found


def test_definitions_lose_docstrings_at_every_depth():
    module = 'X = 1\n@cache\nclass A:\n    """a"""\n\n    async def f(self):\n        "b"\n\n'
    module += "def g():\n    def h(): return 1 # c\n"
    assert list(definitions(module)) == [
        "@cache\nclass A:\n\n    async def f(self):\n        pass",
        "def g():\n\n    def h():\n        return 1",
    ]


def test_names_are_those_of_their_block(names):
    assert names.passages[0].text.startswith("space, exclamation mark, quotation mark, number sign,")
    greek = " ".join(text for title, text in names.passages if title == "Greek and Coptic")
    points = [unicodedata.lookup(name) for name in greek.rstrip(",").split(", ")]
    # All that have a name, but for the last few, which make no passage.
    block = [chr(point) for point in range(0x370, 0x400) if unicodedata.category(chr(point)) != "Cn"]
    assert points == block[: len(points)]
    assert len(points) > len(block) - 40
    assert all(len(text.split()) >= 100 and text == text.lower() for _, text in names.passages)
    assert len(dict(names.passages)) > 40
    assert character_names().fingerprint == names.fingerprint


def test_both_make_corpora_with_enough_rows_for_minorities(code, names, tmp_path):
    for source, least in ((code, 1500), (names, 600)):
        splits = corpus(source, data_dir=tmp_path)
        assert not set(splits.train.titles) & set(splits.test.titles)
        assert len(splits.test.titles) > 2
        assert isinstance(source.passages[0], Passage)
        # On its own text a BPE is at its shortest.
        assert len(pack(train_bpe(splits.train.texts, 512), splits.train.texts, 64)) >= least
