import collections
import itertools

import numpy as np
import pytest
import tensorflow_datasets as tfds

from collapse_jax.data import RankedPrompts, featurize, hashed_ngrams, ranking_sets

tfds.disable_progress_bar()


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    return ranking_sets(data_dir=tmp_path_factory.mktemp("tfds"))


def ranked(prompts, completions):
    return RankedPrompts(["t"] * len(prompts), prompts, np.zeros(len(prompts), np.int64), completions)


def crc32(text):
    """CRC-32 bit by bit, as the standard defines it."""
    register = 0xFFFFFFFF
    for byte in text.encode():
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def naive(text, size, orders):
    counts = collections.Counter()
    words = text.lower().split()
    part = size // len(orders)
    for block, order in enumerate(orders):
        for gram in zip(*(words[start:] for start in range(order)), strict=False):
            counts[block * part + crc32(" ".join(gram)) % part] += 1
    return [counts[bucket] for bucket in range(size)]


def test_reference_crc32_has_the_published_check_value():
    assert crc32("123456789") == 0xCBF43926


@pytest.mark.parametrize(("size", "orders"), [(8, (1, 2)), (64, (1,)), (60, (3, 1, 2))])
@pytest.mark.parametrize("text", ["", "One", "to be or  not\nTo be — ’tis", "a a a A"])
def test_hashed_ngrams_match_a_naive_count(text, size, orders):
    counts = hashed_ngrams(text, size=size, orders=orders)
    assert counts.dtype == np.float32
    assert counts.tolist() == naive(text, size, orders)


def test_blocks_are_prompt_and_completion():
    prompt, completion = "Tell me this", "a tale of this"
    features, mask = featurize(ranked([prompt], [[completion]]), prompt_size=32, completion_size=64)
    row = features[0, 0]
    assert features.shape == (1, 1, 32 + 64)
    assert features.dtype == np.float32
    np.testing.assert_allclose(row[:32], np.array(naive(prompt, 32, (1, 2))) / 3**0.5, rtol=1e-6)
    assert row[32:].tolist() == [count / 8 for count in naive(completion, 64, (1, 2))]
    assert mask.tolist() == [[True]]


def test_counts_keep_the_completions_length(docs):
    features, mask = featurize(docs.test)
    assert mask.all()
    words = [[len(text.split()) for text in completions] for completions in docs.test.completions]
    np.testing.assert_array_equal(features[:, :, -512:-256].sum(-1) * 8, words)
    np.testing.assert_array_equal(features[:, :, -256:].sum(-1) * 8, np.array(words) - 1)


def test_ragged_completions_are_padded_with_zero_rows():
    features, mask = featurize(ranked(["p", "q"], [["long one", "short"], ["only"]]))
    assert mask.tolist() == [[True, True], [True, False]]
    assert not features[1, 1].any()
    whole, _ = featurize(ranked(["q"], [["only"]]))
    np.testing.assert_array_equal(features[1, :1], whole[0])


def test_linear_readout_generalises_to_unseen_titles(docs):
    """Both what a reward network must read off: the order of the completions, and the prompt's type."""
    (train, _), (test, _) = featurize(docs.train), featurize(docs.test)

    def fit(inputs, targets):  # Ridge regression.
        inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
        weights = np.linalg.solve(inputs.T @ inputs + 1e-2 * np.eye(inputs.shape[1]), inputs.T @ targets)
        return lambda x: x @ weights[:-1] + weights[-1]

    length = fit(train.reshape(-1, train.shape[-1]), np.tile(np.arange(8.0, 0, -1), len(train)))(test)
    right = [length[:, better] > length[:, worse] for better, worse in itertools.combinations(range(8), 2)]
    assert np.mean(right) > 0.995
    kind = fit(train[:, 0, :256], docs.train.types.astype(float))(test[:, 0, :256])
    np.testing.assert_array_equal(kind > 0.5, docs.test.types)


@pytest.mark.parametrize(
    ("size", "orders", "message"),
    [
        (8, (), r"orders are \(\)"),
        (8, (0, 1), r"orders are \(0, 1\); they must be distinct whole numbers, 1 or more"),
        (8, (2, 2), r"orders are \(2, 2\)"),
        (7, (1, 2), "size is 7; it must be a positive multiple of the 2 orders"),
        (0, (1,), "size is 0"),
    ],
)
def test_bad_sizes_and_orders(size, orders, message):
    with pytest.raises(ValueError, match=message):
        hashed_ngrams("text", size=size, orders=orders)


def test_nothing_to_featurize():
    with pytest.raises(ValueError, match="there is no prompt"):
        featurize(ranked([], []))
    with pytest.raises(ValueError, match="prompt 1 has no completion"):
        featurize(ranked(["p", "q"], [["a"], []]))
