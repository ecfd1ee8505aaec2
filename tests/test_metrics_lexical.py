"""Lexical diversity, against sacreBLEU and counting in Python."""

from collections import Counter
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sacrebleu
import scipy.stats

from collapse_jax.metrics import (
    distinct_n,
    ngram_entropy,
    ngram_frequencies,
    repetition,
    self_bleu,
    type_token_ratio,
    zipf_slope,
)
from collapse_jax.metrics.ngrams import ngram_codes

RNG = np.random.default_rng(0)
SHAPE = (12, 24)  # one for all, so that each metric is compiled once


def ragged(vocabulary, shortest, longest):
    """Return Zipf-like sequences, right-padded to their common length."""
    lengths = RNG.integers(shortest, longest + 1, size=(SHAPE[0], 1))
    return np.where(np.arange(SHAPE[1])[None] < lengths, RNG.zipf(1.5, size=SHAPE) % vocabulary, -1)


def padded(rows):
    """Return a few sequences among padding."""
    tokens = np.full(SHAPE, -1)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return tokens


def evaluate(metric, tokens, **options):
    return np.asarray(COMPILED[metric](jnp.array(tokens, jnp.int32), **options))


COMPILED = {
    **{metric: jax.jit(metric, static_argnames="n") for metric in (repetition, self_bleu)},
    **{
        metric: jax.jit(metric, static_argnames=("n", "budget"))
        for metric in (distinct_n, ngram_entropy, ngram_frequencies)
    },
}
CODES = jax.jit(ngram_codes, static_argnames="n")

# Padding at the end, padding inside, ids that no product of vocabularies would hold, and an empty sequence.
TOKENS = ragged(6, 1, 20)
TOKENS[2, 3] = TOKENS[5, 0] = TOKENS[7] = -1
LARGE = np.where(TOKENS >= 0, 2**31 - 1 - TOKENS, -7)
SETS = {"small ids": TOKENS, "large ids": LARGE, "all the same": np.ones(SHAPE, int), "one": padded([[3, 1, 3, 1, 3]])}


def ngrams(row, n):
    """Return the n-grams of a sequence that don't touch padding."""
    windows = (tuple(row[i : i + n]) for i in range(len(row) - n + 1))
    return [window for window in windows if min(window) >= 0]


def all_ngrams(tokens, n):
    return list(chain.from_iterable(ngrams(row, n) for row in tokens.tolist()))


@pytest.mark.parametrize("name", SETS)
def test_codes_tell_ngrams_apart_without_gaps(name):
    tokens = SETS[name]
    for n, codes in enumerate(CODES(jnp.array(tokens, jnp.int32), n=3), start=1):
        codes = np.asarray(codes)
        pairs = set(zip(codes[codes >= 0].tolist(), all_ngrams(tokens, n), strict=True))
        kinds = len({kind for _, kind in pairs})
        assert sorted(code for code, _ in pairs) == list(range(kinds))


@pytest.mark.parametrize("name", SETS)
def test_diversity_counts_ngrams(name):
    n = 2
    tokens = SETS[name]
    found = all_ngrams(tokens, n)
    counts = np.array(list(Counter(found).values()))
    assert evaluate(distinct_n, tokens, n=n) == pytest.approx(len(set(found)) / len(found), rel=1e-6)
    assert evaluate(ngram_entropy, tokens, n=n) == pytest.approx(scipy.stats.entropy(counts), rel=1e-5, abs=1e-6)
    shares = evaluate(ngram_frequencies, tokens, n=n)
    np.testing.assert_allclose(np.sort(shares[shares > 0]), np.sort(counts / counts.sum()), rtol=1e-6)
    rows = [ngrams(row, n) for row in tokens.tolist()]
    repeated = np.mean([1 - len(set(row)) / len(row) for row in rows if row])
    assert evaluate(repetition, tokens, n=n) == pytest.approx(repeated, abs=1e-6)


def test_a_set_of_different_ngrams_is_all_distinct():
    tokens = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    assert evaluate(distinct_n, tokens, n=2) == 1.0
    assert evaluate(repetition, tokens, n=2) == 0.0
    assert float(type_token_ratio(jnp.array([[1, 2, 1, -1]]))) == pytest.approx(2 / 3)


def test_a_budget_takes_the_first_tokens_that_are_not_padding():
    total = int((TOKENS >= 0).sum())
    for budget in (17, total):
        rest, kept = budget, []
        for row in TOKENS.tolist():
            # A token outside the budget breaks n-grams as padding does.
            take = [token >= 0 and sum(t >= 0 for t in row[: i + 1]) <= rest for i, token in enumerate(row)]
            kept.append([token if taken else -1 for token, taken in zip(row, take, strict=True)])
            rest -= sum(take)
        found = all_ngrams(np.array(kept), 2)
        assert evaluate(distinct_n, TOKENS, n=2, budget=budget) == pytest.approx(len(set(found)) / len(found))
    assert np.isnan(evaluate(distinct_n, TOKENS, n=2, budget=total + 1))
    assert np.isnan(evaluate(ngram_frequencies, TOKENS, n=2, budget=total + 1)).all()


def test_zipf_slope_is_that_of_the_frequencies():
    counts = np.array([60, 30, 20, 15, 12])  # 60 / rank
    tokens = np.full(SHAPE, -1)
    tokens.flat[:137] = RNG.permutation(np.repeat([901, 7, 33, 5, 12], counts))
    shares = jnp.array(evaluate(ngram_frequencies, tokens, n=1))
    assert float(zipf_slope(shares)) == pytest.approx(-1.0, abs=1e-5)


def scores(tokens, n):
    """Return sacreBLEU's sentence-BLEU of each sequence that has tokens, against all the others."""
    lines = [" ".join(str(token) for token in row if token >= 0) for row in tokens.tolist()]
    lines = [line for line in lines if line]
    bleu = sacrebleu.BLEU(tokenize="none", effective_order=True, max_ngram_order=n)
    return [bleu.sentence_score(line, lines[:i] + lines[i + 1 :]).score / 100 for i, line in enumerate(lines)]


BLEU_SETS = {
    "few tokens": (ragged(4, 1, 24), 4),
    "many tokens": (ragged(60, 2, 12), 4),
    "long": (ragged(30, 20, 24), 4),
    "bigrams": (ragged(20, 1, 10), 2),
    "a pair": (padded([[1, 2, 3, 4, 5], [1, 2, 3, 9]]), 4),
    "one twice": (padded([[1, 2, 3, 4, 5, 6]] * 2 + [[1, 1, 7, 7]]), 4),
    "an empty one": (padded([[1, 2, 3, 4], [], [1, 2, 2]]), 4),
    "equally near lengths": (padded([[1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4, 5]]), 4),
    "all the same": (np.ones(SHAPE, int), 4),
    "all different": (np.arange(np.prod(SHAPE)).reshape(SHAPE), 4),
}


@pytest.mark.parametrize("name", BLEU_SETS)
def test_self_bleu_is_sacrebleus(name):
    tokens, n = BLEU_SETS[name]
    assert evaluate(self_bleu, tokens, n=n) == pytest.approx(np.mean(scores(tokens, n)), rel=1e-5, abs=1e-6)


def test_what_has_nothing_to_count_is_not_a_number():
    for tokens in (padded([]), padded([[1], [2]])):
        for metric in (distinct_n, ngram_entropy, repetition):
            assert np.isnan(evaluate(metric, tokens, n=2))
    assert np.isnan(evaluate(self_bleu, padded([[4, 5, 6, 7, 8]]), n=4))  # nothing to compare with
    assert evaluate(self_bleu, padded([[1], [1]]), n=4) == 1.0


@pytest.mark.parametrize("metric", [distinct_n, ngram_entropy, repetition, self_bleu])
@pytest.mark.parametrize("n", [0, 4])
def test_orders_beyond_the_sequences_are_refused(metric, n):
    with pytest.raises(ValueError, match=f"n={n} must be at least 1 and at most the length of the sequences, 3"):
        metric(jnp.zeros((2, 3), int), n=n)


@pytest.mark.parametrize("budget", [0, 7])
def test_budgets_beyond_the_tokens_are_refused(budget):
    with pytest.raises(ValueError, match=f"budget={budget} must be at least 1 and at most the number of tokens, 6"):
        type_token_ratio(jnp.zeros((2, 3), int), budget=budget)
