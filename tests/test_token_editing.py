"""Token editing: the law of single tokens, probabilities that agree with what families say elsewhere, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj

REAL = np.array([0.4, 0.3, 0.2, 0.1])
MODEL = np.array([0.05, 0.5, 0.0, 0.45])


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.48, 0.9])
def test_edited_tokens_follow_the_law(threshold):
    family = cj.families.token_edited(cj.families.categorical(4))
    n = 40_000
    tokens = jnp.asarray(np.repeat(np.arange(4), (REAL * n).astype(int)), jnp.int32)
    params = family.decodings["threshold"].apply(jnp.asarray(MODEL, jnp.float32), threshold)
    edited = np.asarray(jax.jit(family.respond)(jax.random.key(3), params, tokens))
    law = cj.generative.laws.token_edited(REAL, MODEL, threshold)
    assert law.sum() == pytest.approx(1.0)
    # Only the tokens at or above the threshold are drawn; the others are as they were.
    drawn = n * REAL[threshold <= MODEL].sum() * MODEL * (1.0 - MODEL)
    gap = np.bincount(edited, minlength=4) - n * law
    assert np.all(np.abs(gap) <= 4 * np.sqrt(drawn) + 1e-9), gap
    kept = np.isin(np.asarray(tokens), np.flatnonzero(threshold > MODEL))
    np.testing.assert_array_equal(edited[kept], np.asarray(tokens)[kept])
    # What the model gives no chance is never written.
    assert not np.isin(edited[~kept], 2).any()


def test_without_a_decoding_the_default_threshold_holds():
    family = cj.families.token_edited(cj.families.categorical(4), threshold=0.48)
    tokens = jnp.tile(jnp.arange(4, dtype=jnp.int32), 500)
    plain = jnp.asarray(MODEL, jnp.float32)
    chosen = family.decodings["threshold"].apply(plain, 0.48)
    first, second = (family.respond(jax.random.key(0), params, tokens) for params in (plain, chosen))
    np.testing.assert_array_equal(first, second)
    assert (first != tokens).any()


def test_other_decodings_act_on_the_model_that_edits():
    family = cj.families.token_edited(cj.families.categorical(4))
    params = family.decodings["threshold"].apply(jnp.asarray(MODEL, jnp.float32), 0.4)
    cold = family.decodings["temperature"].apply(params, 1e-3)
    edited = np.asarray(family.respond(jax.random.key(0), cold, jnp.tile(jnp.arange(4, dtype=jnp.int32), 100)))
    # All of the mass is on token 1 now: it alone is likely enough, and it is written for itself.
    np.testing.assert_array_equal(edited, np.tile(np.arange(4), 100))
    assert np.asarray(family.sample(jax.random.key(1), cold, 50)).tolist() == [1] * 50


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_of_ngrams_are_those_of_their_sequences(order):
    family = cj.families.ngram(4, order, length=6)
    rows = family.sample(jax.random.key(0), family.truth, 20)
    p = np.asarray(family.tokens.probabilities(family.truth, rows))
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-5)
    chosen = np.take_along_axis(p, np.asarray(rows)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(np.log(chosen).sum(axis=1), family.log_prob(family.truth, rows), rtol=1e-4)
    np.testing.assert_allclose(family.tokens.log_prob(family.truth, rows), np.log(chosen), rtol=1e-5)


def language():
    architecture = cj.nets.Architecture(layers=1, width=16, heads=2)
    return cj.families.language_model(7, 8, end=0, architecture=architecture)


@pytest.mark.slow
def test_probabilities_of_a_language_model_are_those_of_its_tokens_and_padding_stays():
    family = language()
    rows = jax.random.randint(jax.random.key(0), (6, 8), 0, 7).at[2, 5:].set(-1)
    params = family.init(jax.random.key(1), rows, jnp.ones(6))
    p = np.asarray(family.tokens.probabilities(params, rows))
    chosen = np.take_along_axis(p, np.maximum(np.asarray(rows), 0)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(
        np.where(np.asarray(rows) >= 0, np.log(chosen), 0.0), family.tokens.log_prob(params, rows), atol=1e-5
    )
    edited = cj.families.token_edited(family, threshold=0.0).respond(jax.random.key(2), params, rows)
    np.testing.assert_array_equal(np.asarray(edited) < 0, np.asarray(rows) < 0)
    assert (edited != rows).any()


def test_edited_recursions_train_on_the_real_set_alone():
    family = cj.families.token_edited(cj.families.categorical(4))
    plan = cj.make_plan(cj.REGIMES["replace"], 5, 50)
    process = cj.make_recursion(
        family, plan, jnp.asarray(REAL, jnp.float32), decoding=["threshold"], respond=True,
        measure=lambda key, p: {"p": p}, dims={"p": ("token",)},
    )  # fmt: skip
    found = cj.sweep(process, {"threshold": [0.0, 1.0], "seed": range(2)}, progress=False)["p"]
    # Nothing is as likely as 1: the same real set trains every generation.
    kept = found.sel(threshold=1.0)
    np.testing.assert_array_equal(kept, kept.isel(generation=[0] * 5))
    assert (found.sel(threshold=0.0).isel(generation=-1) != kept.isel(generation=-1)).any()


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match=r"family 'gaussian' has no `tokens` with `probabilities`"):
        cj.families.token_edited(cj.families.gaussian(1))
    with pytest.raises(ValueError, match=r"threshold is 1.5; it must be a probability in \[0, 1\]"):
        cj.families.token_edited(cj.families.categorical(3), threshold=1.5)
    twice = cj.families.token_edited(cj.families.categorical(3))
    with pytest.raises(ValueError, match="has a decoding 'threshold' already"):
        cj.families.token_edited(twice)
    with pytest.raises(ValueError, match="real has 2 tokens, model 3"):
        cj.generative.laws.token_edited.__wrapped__(np.array([0.5, 0.5]), np.array([0.5, 0.25, 0.25]), 0.5)
