"""Reward models that read text: what they see, and that they fit wherever the perceptron fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data import RankedPrompts, byte_tokenizer, tokenize, tokenize_prefixes

TINY = cj.nets.Architecture(layers=1, width=8, heads=2, positions="learned")
TOKENIZER = byte_tokenizer()
WORDS = "one two three four"
RANKED = RankedPrompts(
    titles=["a", "b"],
    prompts=["open?", "closed?"],
    types=np.array([0, 1]),
    completions=[[WORDS, "one two three", "one two"], ["three four", "three"]],
)
LENGTH = 28


def noisy(params):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [x + 0.3 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    )


def prefixes():
    *fields, mask = tokenize_prefixes(RANKED, TOKENIZER, LENGTH)
    return cj.reward.Prefixes(*map(jnp.asarray, fields)), mask


def test_prefixes_are_the_prompt_an_end_and_the_longest_completion():
    features, mask = prefixes()
    assert TOKENIZER.decode(features.tokens[0]) == "open?" + WORDS
    assert int(features.tokens[0, 5]) == TOKENIZER.end
    assert features.start.tolist() == [6, 8]
    for prompt, items in enumerate(RANKED.completions):
        for item, text in enumerate(items):
            read = features.tokens[prompt, : int(features.last[prompt, item]) + 1]
            assert TOKENIZER.decode(read) == RANKED.prompts[prompt] + text
    np.testing.assert_array_equal(mask, [[True, True, True], [True, True, False]])


@pytest.mark.slow
def test_a_prefix_is_rewarded_as_if_it_were_read_alone():
    model = cj.reward.prefix_encoder(TOKENIZER.size, architecture=TINY)
    features, mask = prefixes()
    params = noisy(model.init(jax.random.key(0), features))
    apply = jax.jit(model.apply)
    rewards = apply(params, features)
    assert rewards.shape == mask.shape
    assert np.ptp(np.asarray(rewards)[mask]) > 0.05
    for prompt, item in zip(*np.nonzero(mask), strict=True):
        last = int(features.last[prompt, item])
        # Nothing after the completion's last token, and other completions elsewhere.
        alone = jnp.where(jnp.arange(LENGTH) <= last, features.tokens[prompt], -1)
        start = jnp.full(2, features.start[prompt])
        alone = cj.reward.Prefixes(jnp.stack([alone, alone]), start, jnp.full((2, 3), last))
        np.testing.assert_allclose(apply(params, alone)[0], jnp.full(3, rewards[prompt, item]), atol=1e-6)


@pytest.mark.slow
def test_places_are_counted_from_where_completions_begin():
    model = cj.reward.prefix_encoder(TOKENIZER.size, architecture=TINY)
    features, mask = prefixes()
    params = noisy(model.init(jax.random.key(0), features))
    # After the shorter prompt 22 places are left, padding included: none beyond is asked for.
    places = params["transformer"]["positions"].at[LENGTH - 6 :].set(jnp.nan)
    rewards = model.apply({**params, "transformer": {**params["transformer"], "positions": places}}, features)
    np.testing.assert_allclose(rewards, model.apply(params, features))
    moved = model.apply(params, features._replace(start=jnp.zeros_like(features.start)))
    assert np.abs(np.asarray(moved - rewards))[mask].min() > 1e-5


@pytest.mark.slow
def test_an_encoder_reads_all_tokens_and_no_padding():
    tokens, mask = tokenize(RANKED, TOKENIZER, LENGTH)
    model = cj.reward.text_encoder(TOKENIZER.size, architecture=TINY)
    params = noisy(model.init(jax.random.key(0), jnp.asarray(tokens)))
    apply = jax.jit(model.apply)
    rewards = np.asarray(apply(params, jnp.asarray(tokens)))
    assert rewards.shape == mask.shape
    assert ((rewards > 0) & (rewards < 1)).all()
    assert len(np.unique(rewards[mask])) == mask.sum()
    # A row of padding more changes nothing; the first and the last token do.
    longer = np.concatenate([tokens, np.full((2, 3, 2), -1, np.int32)], axis=2)
    wider = noisy(model.init(jax.random.key(0), jnp.asarray(longer)))
    grown = {
        **params,
        "transformer": {
            **params["transformer"],
            "positions": wider["transformer"]["positions"].at[:LENGTH].set(params["transformer"]["positions"]),
        },
    }
    np.testing.assert_allclose(np.asarray(model.apply(grown, jnp.asarray(longer)))[mask], rewards[mask], atol=1e-6)
    for place in (0, int((tokens[0, 0] >= 0).sum()) - 1):
        changed = tokens.copy()
        changed[0, 0, place] = 65
        moved = np.abs(np.asarray(apply(params, jnp.asarray(changed))) - rewards)
        assert moved[0, 0] > 1e-4
        assert moved[0, 1:].max() == moved[1].max() == 0


def test_a_token_outside_the_vocabulary_gives_nan():
    model = cj.reward.prefix_encoder(100, architecture=TINY)
    features, _ = prefixes()
    rewards = model.apply(model.init(jax.random.key(0), features), features)
    assert np.isnan(rewards).all()


@pytest.mark.parametrize("kind", ["text_encoder", "prefix_encoder"])
def test_training_refuses_a_token_outside_the_vocabulary(kind):
    if kind == "text_encoder":
        tokens, mask = tokenize(RANKED, TOKENIZER, LENGTH)
        rankings = cj.make_rankings(tokens, mask, RANKED.types, RANKED.type_names)
    else:
        *fields, mask = tokenize_prefixes(RANKED, TOKENIZER, LENGTH)
        rankings = cj.make_rankings(cj.reward.Prefixes(*fields), mask, RANKED.types, RANKED.type_names)
    model = getattr(cj.reward, kind)(TOKENIZER.size - 1, architecture=TINY)
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])}, RANKED.type_names)
    for use in (
        lambda: cj.make_training(rankings, model, schemes),
        lambda: cj.loop.learned_reward(model, schemes, rankings, lambda rows: (rows, rows[:, 0]), answers=2),
    ):
        with pytest.raises(ValueError, match=r"features of the rankings has the token 256; the vocabulary is 256, tok"):
            use()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text_encoder", "prefix_encoder"])
def test_training_takes_an_encoder_in_the_place_of_the_perceptron(kind):
    if kind == "text_encoder":
        tokens, mask = tokenize(RANKED, TOKENIZER, LENGTH)
        rankings = cj.make_rankings(tokens, mask, RANKED.types, RANKED.type_names)
    else:
        *fields, mask = tokenize_prefixes(RANKED, TOKENIZER, LENGTH)
        rankings = cj.make_rankings(cj.reward.Prefixes(*fields), mask, RANKED.types, RANKED.type_names)
    model = getattr(cj.reward, kind)(TOKENIZER.size, architecture=TINY)
    schemes = cj.make_schemes({"linear": cj.choose(cj.UTILITIES["linear"])}, RANKED.type_names)
    process = cj.make_training(
        rankings, model, schemes, training=cj.reward.Training(steps=60, records=2, batch_size=2), test=rankings
    )
    dataset = cj.sweep(process, {"utility": schemes.axis, "seed": [0], "learning_rate": [0.02]}, progress=False)
    final = dataset["objective"].isel(step=-1)
    # The best there is: 2/3 of three items' pairs at distance 1, all of two items'.
    np.testing.assert_allclose(final.squeeze(), [2 / 3, 1, 2 / 3, 1], atol=0.08)
    assert np.isnan(dataset["rewards"].sel(item=3)).squeeze()[-1].to_numpy().tolist() == [False, True, False, True]


def ranked(prompts=("p",), completions=(("a b", "a"),)):
    return RankedPrompts(
        ["t"] * len(prompts), list(prompts), np.zeros(len(prompts), int), [list(c) for c in completions]
    )


@pytest.mark.parametrize(
    ("texts", "length", "message"),
    [
        (ranked(completions=(("a b", "b"),)), 9, "completion 1 of prompt 0, 'p', is not a prefix of the longest one"),
        (ranked(completions=(("a b", ""),)), 9, "completion 1 of prompt 0, 'p', is empty"),
        (ranked(), 4, "prompt 0, 'p', has 5 tokens with its longest completion; length is 4"),
        (ranked((), ()), 4, "there is no prompt to tokenize"),
        (ranked(completions=((),)), 4, "prompt 0 has no completion"),
    ],
)
def test_what_is_no_prefix_is_refused(texts, length, message):
    with pytest.raises(ValueError, match=message):
        tokenize_prefixes(texts, TOKENIZER, length)


GOOD = cj.reward.Prefixes(np.zeros((2, 4), np.int32), np.ones(2, np.int32), np.ones((2, 3), np.int32))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            GOOD._replace(last=np.full((2, 3), 4, np.int32)),
            "features of prompt 0 have last 4 for item 0; places .* 0 to 3",
        ),
        (
            GOOD._replace(tokens=np.zeros((3, 4), np.int32)),
            "features have tokens of 3 prompts, start of 2 and last of 2",
        ),
    ],
)
def test_bad_prefixes_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        cj.make_rankings(features, np.ones((2, 3), bool), np.zeros(2, np.int32))


@pytest.mark.parametrize("kind", ["text_encoder", "prefix_encoder"])
def test_a_bad_vocabulary_is_refused(kind):
    with pytest.raises(ValueError, match="vocabulary is 0; it must be a whole number from 1 on"):
        getattr(cj.reward, kind)(0)
