"""Preferences: what rows of every convention say comes out, put together by prompt, and counted."""

import hashlib
import itertools
import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import RankedPrompts, merging, preferences, read_preferences, split_prompts
from collapse_jax.data.comparisons import MOST_ANSWERS
from collapse_jax.data.majorities import agreement

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("COLLAPSE_DATA_DIR", ROOT / "../shared/data")) / "preferences"


def said(found):
    """Return what was found by prompt, as {(answer, other): weight of "answer beats other"} of all pairs compared."""
    return {
        prompt: {
            (items[i], items[j]): float(wins[i, j])
            for i, j in itertools.permutations(range(len(items)), 2)
            if wins[i, j] + wins[j, i] > 0
        }
        for prompt, items, wins in zip(found.prompts, found.completions, found.wins, strict=True)
    }


def over(*pairs):
    """Return both directions of (better, worse, weight)."""
    return {key: value for a, b, p in pairs for key, value in (((a, b), p), ((b, a), 1.0 - p))}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


# The files.


def lines(name):
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").split("\n") if line]


def scored_as_said(row):
    items = row["completions"]
    return {
        (a["response"], b["response"]): {-1: 0.0, 0: 0.5, 1: 1.0}[int(np.sign(a["overall_score"] - b["overall_score"]))]
        for a, b in itertools.permutations(items, 2)
    }


HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant:"
# By file, what one of its rows says: the prompt, and pairs.
SAID = {
    "pairs.jsonl": lambda row: (row["prompt"], over((row["chosen"], row["rejected"], 1.0))),
    "pairs_margin.jsonl": lambda row: (row["prompt"], over((row["chosen"], row["rejected"], 1.0))),
    "dialogue_pairs.jsonl": lambda row: (
        row["chosen"][: row["chosen"].index(ASSISTANT) + len(ASSISTANT)],
        over(*[[row[k].split(ASSISTANT)[1] for k in ("chosen", "rejected")] + [1.0]]),
    ),
    "message_pairs.jsonl": lambda row: (
        row["prompt"][0]["content"],
        over((row["chosen"][0]["content"], row["rejected"][0]["content"], 1.0)),
    ),
    "message_pairs_implicit.jsonl": lambda row: (
        row["chosen"][0]["content"],
        over((row["chosen"][1]["content"], row["rejected"][1]["content"], 1.0)),
    ),
    "scored.jsonl": lambda row: (row["instruction"], scored_as_said(row)),
    "ranked.jsonl": lambda row: (
        row["prompt"],
        over(*[(a, b, 1.0) for a, b in itertools.combinations(row["responses"], 2)]),
    ),
}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no preferences in {DATA}; set COLLAPSE_DATA_DIR")
@pytest.mark.parametrize("name", SAID)
def test_every_file_says_what_its_rows_say(name):
    found = read_preferences(DATA / name)
    assert said(found) == dict(map(SAID[name], lines(name)))
    assert found.report.rows == found.report.prompts == found.report.used == 21
    assert not found.report.left_out


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no preferences in {DATA}; set COLLAPSE_DATA_DIR")
def test_what_files_have_beyond_an_order():
    margins = read_preferences(DATA / "pairs_margin.jsonl")
    for row, one in zip(lines("pairs_margin.jsonl"), margins.margins, strict=True):
        np.testing.assert_array_equal(one, [[0, row["margin"]], [0, 0]])
    implicit = read_preferences(DATA / "message_pairs_implicit.jsonl")
    for one in implicit.strengths:
        np.testing.assert_array_equal(one, [[np.nan, 2.5], [-2.5, np.nan]])
    ranked = read_preferences(DATA / "ranked.jsonl")
    assert [ranked.type_names[kind] for kind in ranked.types] == [row["type"] for row in lines("ranked.jsonl")]
    assert ranked.type_names == ("closed", "open")
    assert ranked.width == 5
    scored = read_preferences(DATA / "scored.jsonl")
    assert scored.report.ties == 21
    for row, items, strengths in zip(lines("scored.jsonl"), scored.completions, scored.strengths, strict=True):
        scores = {one["response"]: one["overall_score"] for one in row["completions"]}
        values = np.array([scores[item] for item in items])
        assert (np.diff(values) <= 0).all(), "best first"
        expected = values[:, None] - values
        np.testing.assert_array_equal(strengths, np.where(np.eye(5, dtype=bool), np.nan, expected))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no preferences in {DATA}; set COLLAPSE_DATA_DIR")
def test_a_graded_file_has_its_sign_the_right_way_round():
    import csv

    with (DATA / "graded.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = read_preferences(DATA / "graded.csv")
    assert found.report.ties == 3
    for row, items, wins, strengths in zip(rows, found.completions, found.wins, found.strengths, strict=True):
        first, second = items.index(row["response_1"]), items.index(row["response_2"])
        # -3 is "the first is much better".
        grade = -int(row["preference_strength"])
        assert strengths[first, second] == -strengths[second, first] == grade
        assert wins[first, second] == (1.0 if grade > 0 else 0.0 if grade < 0 else 0.5)
        assert wins[first, second] + wins[second, first] == 1.0


# Conventions.

DIALOGUE = f"{HUMAN}Hi{ASSISTANT} Yes?{HUMAN}Why{ASSISTANT}"
ASKED = [user("Hi"), assistant("Yes?"), user("Why")]
ROWS = {
    "pairs": ({"prompt": "p", "chosen": "a", "rejected": "b"}, "p", over(("a", "b", 1.0))),
    "dialogues of several turns": (
        {"chosen": f"{DIALOGUE} Because.", "rejected": f"{DIALOGUE} Be off."},
        DIALOGUE,
        over((" Because.", " Be off.", 1.0)),
    ),
    "messages, of which the first ones are the prompt": (
        {"chosen": [*ASKED, assistant("So")], "rejected": [*ASKED, assistant("No")]},
        "user: Hi\n\nassistant: Yes?\n\nuser: Why",
        over(("So", "No", 1.0)),
    ),
    "messages that repeat the prompt": (
        {"prompt": "Hi", "chosen": [user("Hi"), assistant("a")], "rejected": [user("Hi"), assistant("b")]},
        "Hi",
        over(("a", "b", 1.0)),
    ),
    "messages of a prompt with an answer that is a text": (
        {"prompt": [user("Hi")], "chosen": "a", "rejected": "b"},
        "Hi",
        over(("a", "b", 1.0)),
    ),
    "one dialogue goes on": (
        {"chosen": [user("Hi"), assistant("a")], "rejected": [user("Hi"), assistant("b"), user("c"), assistant("d")]},
        "Hi",
        over(("a", "assistant: b\n\nuser: c\n\nassistant: d", 1.0)),
    ),
    "people's names of another kind": (
        {
            "chosen": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "a"}],
            "rejected": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "b"}],
        },
        "Hi",
        over(("a", "b", 1.0)),
    ),
    "graded pairs": (
        {"context": "p", "response1": "a", "response2": "b", "overall_preference": 2},
        "p",
        over(("b", "a", 1.0)),
    ),
    "graded messages": (
        {"context": [user("p")], "response1": "a", "response2": "b", "overall_preference": -1},
        "p",
        over(("a", "b", 1.0)),
    ),
    "an arena": (
        {
            "conversation_a": [user("Hi"), assistant("a")],
            "conversation_b": [user("Hi"), assistant("b")],
            "winner": "model_b",
        },
        "Hi",
        over(("b", "a", 1.0)),
    ),
    "numbered answers": (
        {"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 1},
        "p",
        over(("b", "a", 1.0)),
    ),
    "numbered answers with scores": (
        {"question": "p", "answer_0": "a", "answer_1": "b", "score_0": -1, "score_1": 1},
        "p",
        over(("b", "a", 1.0)),
    ),
    "lettered answers with numbered scores": (
        {"question": "p", "answer_a": "a", "answer_b": "b", "score_1": 1, "score_2": 0},
        "p",
        over(("a", "b", 1.0)),
    ),
    "answers in arrays, as those of a frame read from Parquet": (
        {"prompt": "p", "completions": np.array([{"text": "a", "score": 1}, {"text": "b", "score": 2}])},
        "p",
        over(("b", "a", 1.0)),
    ),
    "answers with ranks": (
        {"prompt": "p", "answers": [{"answer": "a", "rank": 2.0}, {"answer": "b", "rank": 1.0}]},
        "p",
        over(("b", "a", 1.0)),
    ),
    "a list of scores": ({"query": "p", "responses": ["a", "b"], "scores": ["2", 3]}, "p", over(("b", "a", 1.0))),
}


@pytest.mark.parametrize("name", ROWS)
def test_conventions_are_recognised(name):
    row, prompt, expected = ROWS[name]
    assert said(read_preferences([row])) == {prompt: expected}


NAMED = {
    "question, response_j better than response_k": (
        [{"question": "p", "response_j": "a", "response_k": "b"}],
        {"chosen": "response_j", "rejected": "response_k"},
        over(("a", "b", 1.0)),
    ),
    "a label that is 1 where the first is better": (
        [{"history": "p", "human_ref_A": "a", "human_ref_B": "b", "labels": 0}],
        {"response_1": "human_ref_A", "response_2": "human_ref_B", "probability": "labels"},
        over(("b", "a", 1.0)),
    ),
    "a label that is the number of the better one": (
        [{"prompt": "p", "left": "a", "right": "b", "best": 0.0}],
        {"response_1": "left", "response_2": "right", "winner": "best"},
        over(("a", "b", 1.0)),
    ),
    "a winner by name, or a tie": (
        [
            {"prompt": "p", "model_a_says": "a", "model_b_says": "b", "won": "tie (bothbad)"},
            {"prompt": "q", "model_a_says": "a", "model_b_says": "b", "won": "model_a_says"},
        ],
        {"response_1": "model_a_says", "response_2": "model_b_says", "winner": "won"},
        over(("a", "b", 0.5)),
    ),
    "a probability": (
        [{"prompt": "p", "response_a": "a", "response_b": "b", "share_for_a": 0.75}],
        {"probability": "share_for_a"},
        over(("a", "b", 0.75)),
    ),
    "a probability that the chosen one is better": (
        [{"prompt": "p", "chosen": "a", "rejected": "b", "sure": 0.25}],
        {"probability": "sure"},
        over(("b", "a", 0.75)),
    ),
    "a strength of the first": (
        [{"prompt": "p", "answer_1": "a", "answer_2": "b", "lead": "-1.5"}],
        {"strength": "lead"},
        over(("b", "a", 1.0)),
    ),
    "other keys inside": (
        [{"ask": {"text": "p"}, "generations": [{"out": "a", "r": {"mean": 1}}, {"out": "b", "r": {"mean": 2}}]}],
        {"prompt": "ask.text", "answers": "generations.out", "scores": "generations.r.mean"},
        over(("b", "a", 1.0)),
    ),
    "a mapping of lists": (
        [{"prompt": "p", "candidates": {"text": ["a", "b"], "score": [2, 2]}}],
        {"answers": "candidates.text", "scores": "candidates.score"},
        over(("a", "b", 0.5)),
    ),
    "the best first, whatever else is there": (
        [{"prompt": "p", "completions": [{"text": "a", "score": 1}, {"text": "b", "score": 2}]}],
        {"answers": "completions.text", "scores": None},
        over(("a", "b", 1.0)),
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_columns_name_any_other_convention(name):
    rows, columns, expected = NAMED[name]
    found = read_preferences(rows, columns={"prompt": next(iter(rows[0])), **columns})
    assert said(found)["p"] == expected


def test_the_sign_of_scores_and_margins_is_that_of_the_better_answer():
    found = read_preferences(
        [
            {"prompt": "p", "response_a": "a", "response_b": "b", "score_a": 1, "score_b": 3, "margin": 0.5},
            {"prompt": "t", "response_a": "a", "response_b": "b", "score_a": 3, "score_b": 3, "margin": 0.5},
            {"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": 3, "margin": 2},
        ]
    )
    assert not found.margins.pop(1).any(), "a tie has no margin"
    assert found.completions.pop(1) == ["a", "b"]
    del found.strengths[1], found.wins[1]
    assert found.completions == [["b", "a"], ["a", "b"]]
    np.testing.assert_array_equal(found.strengths[0], [[np.nan, 2], [-2, np.nan]])
    np.testing.assert_array_equal(found.margins[0], [[0, 0.5], [0, 0]])
    # The label stays, though scores say otherwise.
    np.testing.assert_array_equal(found.wins[1], [[0, 1], [0, 0]])
    np.testing.assert_array_equal(found.strengths[1], [[np.nan, -2], [2, np.nan]])
    np.testing.assert_array_equal(found.margins[1], [[0, 2], [0, 0]])
    plain = read_preferences([{"prompt": "p", "chosen": "a", "rejected": "b"}])
    assert plain.strengths is plain.margins is None


def test_types_are_those_of_a_column_of_a_function_or_none():
    rows = [
        {"prompt": p, "chosen": "a", "rejected": "b", "type": t, "kind": k}
        for p, t, k in [("p", 2, "x"), ("q", 1, "y")]
    ]

    def typed(rows, **options):
        found = read_preferences(rows, **options)
        return [found.type_names[kind] for kind in found.types]

    assert typed(rows) == ["2", "1"]
    assert typed(rows, types="kind") == ["x", "y"]
    assert typed(rows, types=str.upper) == ["P", "Q"]
    assert typed(rows, columns={"type": None}) == ["all", "all"]
    del rows[0]["type"]
    assert typed(rows) == ["untyped", "1"]
    found = read_preferences([rows[1], {**rows[1], "type": 3}])
    assert found.type_names == ("1",)
    assert found.report.other_type == 1


class Table:
    """What a data set of another library is like: it has a length, and gives its rows anew."""

    def __len__(self):
        return 2

    def __iter__(self):
        return iter(
            [{"prompt": "p", "chosen": [assistant("a")], "rejected": [assistant("b")], "id": i} for i in range(2)]
        )


def test_any_iterable_of_mappings_is_read():
    for rows in (Table(), iter(Table()), tuple(Table()), [MappingProxyType(row) for row in Table()]):
        found = read_preferences(rows)
        assert said(found) == {"p": over(("a", "b", 1.0))}
        assert (found.report.rows, found.report.repeated) == (2, 1)


# Putting rows together.


def pair(prompt, chosen, rejected, **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def test_rows_of_one_prompt_are_put_together():
    found = read_preferences(
        [
            pair(" caf\u00e9\n", "a", "b", margin=1),
            pair("q", "x", "y", margin=0),
            pair("cafe\u0301", "b ", "a", margin=2),
            pair("caf\u00e9", "a", "b", margin=3),
            pair("caf\u00e9", "b", "c", margin=None),
        ]
    )
    assert found.prompts == found.titles == [" caf\u00e9\n", "q"], "texts stay as they are"
    assert found.completions[0] == ["b", "a", "c"], "b wins 1 1/3 and loses 2/3, a wins 2/3 and loses 1/3"
    assert said(found)[" caf\u00e9\n"] == pytest.approx(over(("a", "b", 2 / 3), ("b", "c", 1.0)))
    # For a: (1 - 2 + 3) / 3.
    np.testing.assert_allclose(found.margins[0], [[0, 0, 0], [2 / 3, 0, 0], [0, 0, 0]])
    report = found.report
    assert (report.rows, report.used, report.prompts, report.pairs) == (5, 5, 2, 3)
    assert (report.contradicting, report.repeated, report.cycles) == (1, 2, 0)
    # Of 5 decisions one is against the majority.
    assert report.most_accuracy == pytest.approx(4 / 5)
    assert found.width == 3


def test_rows_that_say_nothing_are_left_out_by_reason():
    found = read_preferences(
        [
            pair("p", "a", "b"),
            pair("p", "a", " "),
            pair("p", "a", None),
            pair("p", "a", "a "),
            pair(" ", "a", "b"),
            {"prompt": "p", "responses": ["a"]},
            {"prompt": "p", "completions": None},
            {"prompt": "p", "responses": ["a", "", "c"]},
            {"prompt": "q", "responses": ["a", "b"], "scores": [1, None]},
            {"prompt": "q", "responses": ["a", "b"], "scores": None},
            {"prompt": "q", "response_1": "a", "response_2": "b", "winner": None},
        ]
    )
    expected = {
        "empty answers": 2,
        "identical answers": 1,
        "no prompt": 1,
        "fewer than two answers": 2,
        "no scores": 2,
        "no verdict": 1,
    }
    assert found.report.left_out == expected
    assert said(found) == {"p": over(("a", "b", 1.0), ("a", "c", 1.0))}
    assert all(f"{n} {why}" in str(found.report) for why, n in expected.items())


def test_an_answer_twice_in_a_row_is_one_that_wins_and_loses():
    found = read_preferences([{"prompt": "p", "responses": ["a", "b", "a"]}])
    assert said(found) == {"p": over(("a", "b", 0.5))}
    assert found.report.pairs == 1


def test_strengths_of_a_pair_that_rows_have_in_both_orders_are_averaged():
    rows = [
        {"prompt": "p", "answers": ["a", "b"], "scores": [3, 1]},
        {"prompt": "p", "answers": ["b", "a"], "scores": [2, 5]},
    ]
    (strengths,) = read_preferences(rows).strengths
    np.testing.assert_array_equal(strengths, [[np.nan, 2.5], [-2.5, np.nan]])


def test_the_report_is_one_line_and_logged_once(caplog):
    rows = [
        pair("p", "a", "b", margin=1, type="x"),
        pair("q", "a", "b", margin=1, type="y"),
        pair("q", "", "b", margin=1, type="y"),
    ]
    with caplog.at_level(logging.INFO, "collapse_jax"):
        found = read_preferences(rows)
    assert str(found.report) == (
        "3 rows read as prompt, chosen, rejected, margin, type; 2 prompts in 2 rows; 2 answers each; types: 1 x, 1 y; "
        "2 pairs: 0 ties, 0 graded, 2 with a margin, 0 contradicting; 0 rows repeated; 0 prompts with a cycle; "
        "the best reward is right on 100.0% of decisions; rows left out: 1 empty answers"
    )
    assert [record.getMessage() for record in caplog.records] == [str(found.report)]


def test_the_report_tells_of_ties_alone_and_of_strengths_that_say_the_reverse():
    tie = {"prompt": "p", "response_1": "a", "response_2": "b", "winner": "tie"}
    assert "; nothing is decided; " in str(read_preferences([tie]).report)
    sure = [pair("p", "a", "b", score_chosen=2, score_rejected=1), pair("p", "b", "d", strength=0)]
    assert read_preferences(sure).report.against == 0
    assert "against" not in str(read_preferences(sure).report)
    # By the scores the rejected ones are better, whether they come first or not.
    reverse = [pair("p", "a", "b", score_chosen=1, score_rejected=2), pair("p", "c", "b", strength=-1)]
    assert read_preferences([*sure[1:], *reverse]).report.against == 2
    assert "0 contradicting, 2 won against their strength; " in str(read_preferences(reverse).report)


def test_texts_of_all_scripts_come_through_whole():
    texts = [
        "東京は何県ですか",
        "ทำไม",
        "e\u0301 \ufb01 \u00e9",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "a\u2028b\u0085c\x00d",
        "\u200f\u05d0",
        "  kept  ",
    ]
    for text in texts:
        found = read_preferences([pair(text, text + "1", text + "2")])
        assert (found.prompts, found.completions) == ([text], [[text + "1", text + "2"]])


@pytest.mark.parametrize("seed", range(8))
def test_cycles_and_the_most_accuracy_are_those_of_all_orders(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (5, 5)) * (rng.random((5, 5)) < 0.6)
    np.fill_diagonal(counts, 0)
    orders = [np.ix_(order, order) for order in map(list, itertools.permutations(range(5)))]
    found = agreement(counts)
    assert found.most == max(np.triu(counts[order]).sum() for order in orders)
    majority = counts > counts.T
    assert found.cycle == (not any((np.tril(majority[order]) == 0).all() for order in orders))
    assert found.exact


def test_a_large_knot_has_a_bound():
    """A cycle of 13 loses one of its 13 majorities: the bound is right, and is called a bound."""
    ring = np.roll(np.eye(13, dtype=int), 1, axis=1)
    assert agreement(ring) == (True, 12, False)
    rows = [{"prompt": "p", "chosen": str(i), "rejected": str((i + 1) % 3)} for i in range(3)]
    report = read_preferences(rows).report
    assert (report.cycles, report.is_exact) == (1, True)
    assert report.most_accuracy == pytest.approx(2 / 3)


# A million rows.


def hashes(prompts, seed):
    digest = {p: hashlib.blake2b(f"{seed}\0keep\0{p}".encode(), digest_size=8).digest() for p in prompts}
    return sorted(prompts, key=digest.get)


def test_prompts_are_chosen_by_their_hash_with_all_of_their_rows():
    rng = np.random.default_rng(0)
    rows = [pair(f"p{i % 20}", f"a{i}", f"b{i}") for i in range(60)]
    whole = said(read_preferences(rows))
    few = said(read_preferences(rows, prompts=7, seed=3))
    assert few == {p: whole[p] for p in hashes(whole, 3)[:7]}
    rows = [rows[i] for i in rng.permutation(len(rows))]
    assert said(read_preferences(iter(rows), prompts=7, seed=3)) == few
    assert {*said(read_preferences(rows, prompts=7))} != {*few}
    assert len(said(read_preferences(rows, prompts=99))) == 20


def test_the_text_held_has_a_bound_that_kept_prompts_stay_below(monkeypatch):
    monkeypatch.setattr(preferences, "MOST_TEXT", 10_000)
    rows = [pair(f"p{i}", "a" * 300, "b" * 300) for i in range(100)]
    with pytest.raises(ValueError, match=r"row 11 of path_or_rows: .* more than 10000 characters.*prompts="):
        read_preferences(rows)
    assert len(read_preferences(rows, prompts=5).prompts) == 5


# Without the tests' type checker, which looks at every call. The system's own peak is that of this process, too.
MILLION = """
import time
import psutil
from collapse_jax.data import read_preferences

def held():
    return psutil.Process().memory_info().rss / 2**20

peak = 0.0

def rows():
    global peak
    for i in range(10**6):
        if i % 1000 == 0:
            peak = max(peak, held())
        yield {
            "prompt": f"Tell me about number {i % 500_000}, please",
            "chosen": f"A long answer, {i} " * 12,
            "rejected": f"short {i} " * 8,
        }

read_preferences([{"prompt": "p", "chosen": "a", "rejected": "b"}])
before, start = held(), time.perf_counter()
found = read_preferences(rows(), prompts=1000)
seconds, peak = time.perf_counter() - start, max(peak, held())
print(len(found.prompts), found.report.rows, found.report.used, peak - before, seconds)
"""


@pytest.mark.slow
def test_a_million_rows_take_the_memory_of_those_kept():
    done = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    prompts, rows, used, mebibytes, seconds = map(float, done.stdout.split())
    print(f"{mebibytes:.1f} MiB, {seconds:.0f} s")
    assert (prompts, rows, used) == (1000, 10**6, 2000)
    # The texts are some 360 MB, of which the prompts kept have 1/500.
    assert mebibytes < 50


# Splits.


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_split_is_by_prompt_and_keeps_the_width(share):
    # One prompt has more answers than all others: the side that it isn't on must be as wide.
    rows = [
        {"prompt": f"p{i}", "responses": [f"a{k}" for k in range(2 + i % 3 if i else 6)], "type": "xy"[i % 2]}
        for i in range(60)
    ]
    whole = read_preferences(rows)
    train, test = split_prompts(whole, share)
    assert not {*train.prompts} & {*test.prompts}
    assert len(test.prompts) == round(60 * share)
    assert train.width == test.width == 6
    assert train.type_names == test.type_names == ("x", "y")
    assert said(train) | said(test) == said(whole)
    for part in (train, test):
        assert [part.type_names[kind] for kind in part.types] == ["xy"[int(p[1:]) % 2] for p in part.prompts]
        assert part.prompts == sorted(part.prompts, key=lambda p: int(p[1:])), "in the order given"
    again = split_prompts(read_preferences(rows[::-1]), share)[1]
    assert {*again.prompts} == {*test.prompts}
    assert {*split_prompts(whole, share, seed=1)[1].prompts} != {*test.prompts}
    tokenizer = cj.data.byte_tokenizer()
    for part in (train, test):
        features, mask = cj.data.featurize(part)
        assert mask.shape == features.shape[:2] == (len(part.prompts), 6)
        assert cj.data.tokenize(part, tokenizer, 9)[1].shape == mask.shape


def test_a_split_of_ranked_prompts_is_by_title_and_by_prompt():
    titles = [f"t{i // 2}" for i in range(20)]
    # Titles 0 and 1 share a prompt, as do 1 and 2.
    prompts = ["same", "p1", "same ", "other", "other", *(f"p{i}" for i in range(5, 20))]
    ranked = RankedPrompts(titles, prompts, np.zeros(20, np.int64), [["a", "b"]] * 20, ("all",))
    for seed in range(5):
        train, test = split_prompts(ranked, 0.4, seed=seed)
        assert isinstance(train, RankedPrompts)
        assert not {*train.titles} & {*test.titles}
        assert len({"t0", "t1", "t2"} & {*test.titles}) in (0, 3)
        assert len(train.prompts) + len(test.prompts) == 20


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test_share": 0.0}, r"test_share = 0.0 is outside \(0, 1\)"),
        ({"test_share": 0.99}, "test_share is 0.99, which leaves none of 2 prompts to train on"),
        ({"seed": -1}, "seed is -1"),
        ({"preferences": [1]}, r"preferences is \[1\]; it must be RankedPrompts or Preferences"),
        ({"preferences": read_preferences([pair("p", "a", "b")])}, "1 prompt under one title; a split needs two"),
    ],
)
def test_bad_splits_are_refused(given, message):
    preferences = read_preferences([pair("p", "a", "b"), pair("q", "a", "b")])
    with pytest.raises(ValueError, match=message):
        split_prompts(**{"preferences": preferences, **given})


# Bad rows.

GOOD = pair("p", "a", "b")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "path_or_rows has no rows"),
        (5, {}, "path_or_rows is 5; read_preferences needs a string or a path or a sequence, such as a list$"),
        ([1], {}, "row 0 of path_or_rows is 1; it must be a mapping"),
        ([GOOD, "x"], {}, "row 1 of path_or_rows is 'x'"),
        ({"train": [GOOD]}, {}, "path_or_rows is a mapping of 'train'; it must be rows"),
        ([{1: "a"}], {}, "row 0 of path_or_rows has the column 1; names of columns must be strings"),
        (
            [{"prompt": "p", "chosn": "a", "rejected": "b"}],
            {},
            "row 0.*'chosen' among.*'chosn'.*did you mean 'chosen'",
        ),
        (
            [{"promt": "p", "chosen": "a", "rejected": "b"}],
            {},
            "no column for the prompt among 'promt'.*did you mean 'prompt'",
        ),
        (
            [GOOD],
            {"columns": {"prompt": "promt"}},
            r"columns\['prompt'\] is 'promt', which is no column \(did you mean 'prompt'",
        ),
        (
            [GOOD, {"prompt": "p", "chosen": "a"}],
            {},
            "row 1 of path_or_rows: no column for 'rejected' among the columns 'prompt', 'chosen'; known",
        ),
        (
            [{"prompt": "p", "left": "a", "right": "b", "points": 1}],
            {"columns": {"response_1": "left", "response_2": "right", "score_1": "points"}},
            "columns names 'score_1' and not 'score_2'",
        ),
        (
            [{"out": [{"text": "a", "mark": 1}]}],
            {"columns": {"answers": "out.text", "scores": "out.marks"}},
            r"'out.marks', read as 'scores', is not in every entry \(did you mean 'mark'\?\); there are 'text', 'mark'",
        ),
        ([GOOD], {"columns": {"choosen": "chosen"}}, r"columns has the role 'choosen' \(did you mean 'chosen'\?\)"),
        ([GOOD], {"columns": {"scores": "prompt"}}, "no column for 'answers'"),
        (
            [GOOD],
            {"columns": {"chosen": "chosen", "winner": "prompt"}},
            "columns names 'winner', which says nothing of chosen",
        ),
        ([GOOD], {"types": "kind"}, r"columns\['type'\] is 'kind', which is no column"),
        ([GOOD], {"types": len}, "types returns 1 for the prompt 'p'; it must return a string"),
        ([GOOD], {"prompts": 0}, "prompts is 0"),
        ([GOOD], {"seed": -1}, "seed is -1"),
        ([pair("p", 3, "b")], {}, "row 0 of path_or_rows: chosen is 3; it must be a text, or a list of messages"),
        ([pair(3, "a", "b")], {}, "row 0 of path_or_rows: prompt is 3; it must be a text"),
        ([pair("p", "\ud83d", "b")], {}, "chosen has '.ud83d', half of a surrogate pair"),
        ([pair("p", "a", "b", margin=-1)], {}, "margin is -1; a margin must be 0 or more"),
        ([pair("p", "a", "b", margin="big")], {}, "margin is 'big'; it must be a finite number"),
        ([pair("p", "a", "b", strength=float("nan"))], {}, "strength is nan; it must be a finite number"),
        ([{"prompt": "p", "responses": ["a", "b"], "scores": [1, math.inf]}], {}, "scores is inf; it must be a finite"),
        ([{"prompt": "p", "responses": ["a", "b"], "scores": [1, True]}], {}, "scores is True; it must be a finite"),
        ([{"prompt": "p", "responses": ["a", "b"], "scores": [1]}], {}, "a list of 2 numbers, one for each answer"),
        ([{"prompt": "p", "responses": "ab"}], {}, "responses is 'ab'; it must be a list of answers"),
        (
            [{"prompt": "p", "responses": ["a"] * (MOST_ANSWERS + 1)}],
            {},
            "responses has 1025 answers; a prompt may have 1024",
        ),
        (
            [{"prompt": "p", "completions": [{"a": 1}]}],
            {},
            "completions has entries of 'a', none of which is known as the text",
        ),
        (
            [{"prompt": "p", "completions": [{"text": "a", "mark": 1}]}],
            {},
            "none of which is known as the score; name it",
        ),
        (
            [{"prompt": "p", "completions": [{"text": "a", "score": 1}, {"text": "b"}]}],
            {},
            "'completions.score', read as 'scores', is not in every entry; there are 'text'",
        ),
        (
            [{"prompt": "p", "response_1": "a", "response_2": "b"}],
            {},
            "nothing says which of 'response_1' and 'response_2'",
        ),
        (
            [{"prompt": "p", "response_1": "a", "response_2": "b", "winner": "me"}],
            {},
            "winner is 'me'; it must be 'response_1' or 'response_2', or end as these do, '1' or '2', or be a tie",
        ),
        (
            [{"prompt": "p", "response_1": "a", "response_2": "b", "probability": 1.5}],
            {},
            r"probability is 1.5; a probability must be in \[0, 1\]",
        ),
        ([pair("p", "a", "b", margin=np.ones(2))], {}, r"margin is array.*; it must be a finite number"),
        ([pair("p", "a", "b", type=[1])], {}, r"type is \[1\]; a type must be a text or a whole number"),
        (
            [{"prompt": "p", "responses": ["a"]}] * 3,
            {},
            "has 3 rows, none of which compares two answers: 3 with fewer than two answers",
        ),
        ([{"chosen": "ab", "rejected": "ac"}], {}, "there is no column for the prompt among 'chosen', 'rejected'"),
    ],
)
def test_bad_rows_are_refused_by_place_and_name(rows, options, message):
    with pytest.raises(ValueError, match=message):
        read_preferences(rows, **options)


def test_a_prompt_of_too_many_answers_is_refused(monkeypatch):
    monkeypatch.setattr(merging, "MOST_ANSWERS", 3)
    with pytest.raises(ValueError, match="row 1 of path_or_rows: the prompt 'p' has more than 3 answers"):
        read_preferences([pair("p", "a", "b"), pair("p", "c", "d")])
