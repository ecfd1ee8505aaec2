"""Readers and rankings of preferences: what a model reads, how wide it is, and what is said of pairs."""

import json

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import (
    Preferences,
    RankedPrompts,
    Reader,
    Tokenizer,
    byte_tokenizer,
    featurize,
    load_reader,
    ngram_reader,
    prefix_reader,
    read_preferences,
    split_prompts,
    token_reader,
    tokenize,
    tokenize_prefixes,
    train_bpe,
)
from collapse_jax.reward import Prefixes, as_rankings

RANKED = RankedPrompts(
    ["s", "t"], ["say it", "tell"], np.array([1, 0]), [["one two three", "one two"], ["one", "on", "o"]], ("x", "y")
)
BYTES, BPE = byte_tokenizer(), train_bpe(["one two three"] * 9, size=262)
# By name, a reader, and what it must make of RANKED.
READERS = {
    "ngrams": (
        ngram_reader(8, 12, (1, 2)),
        lambda: featurize(RANKED, prompt_size=8, completion_size=12, orders=(1, 2)),
    ),
    "tokens": (token_reader(BYTES, 24), lambda: tokenize(RANKED, BYTES, 24)),
    "tokens of a BPE": (token_reader(BPE, 24), lambda: tokenize(RANKED, BPE, 24)),
    "prefixes": (prefix_reader(BYTES, 24), lambda: tokenize_prefixes(RANKED, BYTES, 24)),
}


def leaves(read):
    features, mask = read
    return [*(features if isinstance(features, Prefixes) else [features]), mask]


@pytest.mark.parametrize("name", READERS)
def test_a_reader_makes_what_the_functions_make_and_comes_back_from_json(name):
    reader, make = READERS[name]
    for one in (reader, load_reader(json.loads(json.dumps(reader.config)))):
        assert one.name == reader.config["kind"]
        for found, expected in zip(leaves(one.read(RANKED.prompts, RANKED.completions, 3)), make(), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


@pytest.mark.parametrize("name", READERS)
def test_rows_are_as_wide_as_asked(name):
    reader = READERS[name][0]
    narrow, wide = (leaves(reader.read(RANKED.prompts, RANKED.completions, width)) for width in (3, 5))
    assert wide[-1].tolist() == [[True, True, False, False, False], [True, True, True, False, False]]
    for one, other in zip(narrow, wide, strict=True):
        if one.shape != other.shape:
            np.testing.assert_array_equal(other[:, :3], one)
            assert (other[:, 3:] == (-1 if name.startswith("tokens") and other.ndim == 3 else 0)).all()
    with pytest.raises(ValueError, match="width is 2, and prompt 1 has 3 completions"):
        reader.read(RANKED.prompts, RANKED.completions, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ngram_reader(7, 8), "prompt_size is 7; it must be a positive multiple of the 2 orders"),
        (lambda: ngram_reader(8, 0), "completion_size is 0"),
        (lambda: ngram_reader(8, 8, (1, 1)), r"orders are \(1, 1\)"),
        (lambda: token_reader(BYTES, 0), "length is 0"),
        (
            lambda: load_reader({"kind": "images"}),
            "config has the kind 'images'; known kinds are ngrams, tokens, prefixes",
        ),
        (lambda: load_reader({"kind": ["ngrams"]}), r"config has the kind \['ngrams'\]"),
        (
            lambda: load_reader({"kind": "tokens", "length": 3}),
            "config of tokens has length; it must have tokenizer, length",
        ),
        (
            lambda: load_reader({"kind": "tokens", "length": 3, "tokenizer": {"name": np.ones(2)}}),
            "tokenizer is {'name': a",
        ),
        (
            lambda: load_reader({"kind": "tokens", "length": 3, "tokenizer": {"name": "mine"}}),
            "tokenizer is {'name': 'mine'}; it must be bytes, by name, or a BPE",
        ),
        (
            lambda: load_reader({"kind": "tokens", "length": 3, "tokenizer": {"content": "{}", "end": "x"}}),
            "the tokenizer's content: not a tokenizer.json",
        ),
        (
            lambda: token_reader(BYTES, 12).read(["say it"], [["one two"]], 1),
            "length is 12, and 15 would do for all prompts",
        ),
        (lambda: prefix_reader(BYTES, 12).read(["say it"], [["one two"]], 1), "length is 12, and 14 would do for all"),
        (
            lambda: prefix_reader(BYTES, 99).read(["p"], [["one", "two"]], 2),
            "completion 1 of prompt 0, 'p', is not a prefix",
        ),
        (lambda: ngram_reader().read([], [], 2), "there is no prompt to read"),
        (lambda: ngram_reader().read(["p", "q"], [["a"]], 2), "there are 2 prompts, and completions of 1"),
    ],
)
def test_bad_readers_and_texts_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_tokenizer_of_ones_own_reads_and_its_reader_says_that_it_cant_be_loaded():
    own = Tokenizer(BYTES.encode, BYTES.decode, BYTES.size, BYTES.end, "mine")
    reader = token_reader(own, 24)
    assert reader.read(RANKED.prompts, RANKED.completions, 3)[1].sum() == 5
    with pytest.raises(ValueError, match="make a reader with the tokenizer instead"):
        load_reader(reader.config)


# Rankings.

ROWS = [
    {"prompt": "p", "answers": ["a", "b b", "c c c"], "scores": [2, 0.5, 0.5]},
    {"prompt": "q", "answers": ["a", "b"], "scores": [1, 4]},
    {"prompt": "r", "chosen": "a", "rejected": "b", "margin": 2},
]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_labels_become_weights_and_margins():
    texts = read_preferences(ROWS)
    rankings = as_rankings(texts, ngram_reader(8, 8))
    features, mask = featurize(texts, prompt_size=8, completion_size=8)
    np.testing.assert_array_equal(rankings.features, features)
    np.testing.assert_array_equal(rankings.mask, mask)
    np.testing.assert_array_equal(rankings.mask, [[1, 1, 1], [1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(
        rankings.wins,
        [
            [[0, 1, 1], [0, 0, 0.5], [0, 0.5, 0]],
            [[0, 1, 0], [0, 0, 0], [0, 0, 0]],
            [[0, 1, 0], [0, 0, 0], [0, 0, 0]],
        ],
    )
    assert rankings.margins is None
    graded = as_rankings(texts, ngram_reader(8, 8), strength=0.4, margin=0.1)
    lead = sigmoid(0.4 * 1.5)
    np.testing.assert_allclose(
        graded.wins,
        [
            [[0, lead, lead], [1 - lead, 0, 0.5], [1 - lead, 0.5, 0]],
            # The last prompt has no strength, and keeps what the file says.
            [[0, sigmoid(0.4 * 3), 0], [1 - sigmoid(0.4 * 3), 0, 0], [0, 0, 0]],
            [[0, 1, 0], [0, 0, 0], [0, 0, 0]],
        ],
        rtol=1e-12,
    )
    np.testing.assert_allclose(graded.margins[2], [[0, 0.2, 0], [0, 0, 0], [0, 0, 0]])
    assert not graded.margins[:2].any()
    huge = as_rankings(texts, ngram_reader(8, 8), strength=1e6)
    assert huge.wins[1].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_orders_alone_leave_no_weights():
    whole = [{"prompt": p, "responses": [*"abcd"[: 2 + i]]} for i, p in enumerate("pqr")]
    texts = read_preferences(whole)
    assert as_rankings(texts, ngram_reader(8, 8)).wins is None
    assert as_rankings(RANKED, ngram_reader(8, 8)).wins is None
    # The pair of a and c was not compared: no order of all.
    missing = [{"prompt": "p", "chosen": a, "rejected": b} for a, b in ("ab", "bc")]
    found = as_rankings(read_preferences([*whole[1:], *missing]), ngram_reader(8, 8)).wins
    assert found[2].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_both_sides_of_a_split_are_trained_on_and_tested_on_together():
    rows = [{"prompt": f"p{i}", "responses": [f"a{k}" for k in range(2 + i % 3)]} for i in range(12)]
    parts = split_prompts(read_preferences(rows), 0.25)
    train, test = (as_rankings(part, ngram_reader(8, 8)) for part in parts)
    assert train.mask.shape == (9, 4)
    assert test.mask.shape == (3, 4)
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])})
    training = cj.reward.Training(steps=2, records=1, batch_size=2)
    found = cj.sweep(
        cj.make_training(train, cj.mlp(), schemes, training=training, test=test), {"seed": [0]}, progress=False
    )
    assert found["rewards"].sizes["prompt"] == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strength": 0.0}, "strength is 0.0; it must be a number above 0"),
        ({"margin": float("inf")}, "margin is inf; it must be a number above 0"),
        ({"strength": 1.0, "texts": RANKED}, "strength is 1.0, and texts have no strengths; leave it out"),
        ({"margin": 1.0, "texts": read_preferences(ROWS[:2])}, "margin is 1.0, and texts have no margins"),
        ({"texts": ROWS}, "texts is .*; as_rankings needs a record of type RankedPrompts.* or .*Preferences"),
        (
            {"reader": featurize},
            "reader is .*; as_rankings needs a record of type Reader, such as cj.data.ngram_reader",
        ),
    ],
)
def test_bad_rankings_of_texts_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        as_rankings(**{"texts": read_preferences(ROWS), "reader": ngram_reader(8, 8), **given})


def test_a_reader_is_a_record_of_ones_own_too():
    def read(prompts, completions, width):
        lengths = np.zeros((len(prompts), width, 1), np.float32)
        for prompt, items in enumerate(completions):
            lengths[prompt, : len(items), 0] = [len(one) for one in items]
        return lengths, lengths[:, :, 0] > 0

    texts = read_preferences(ROWS)
    assert isinstance(texts, Preferences)
    found = as_rankings(texts, Reader("lengths", read, {"kind": "lengths"}))
    assert found.features[0, :, 0].tolist() == [1, 3, 5]
