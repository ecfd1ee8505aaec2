"""Reward models that score: the rewards of training, numbers of ensembles by NumPy, any form and number of texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data.readers import ngram_reader, prefix_reader, token_reader
from collapse_jax.data.tokenizers import byte_tokenizer
from collapse_jax.reward import Model, Training, make_reward_model, scoring

PROMPTS = ["tell me a tale", "how much is it", "why"]
ANSWERS = [
    ["once upon a time", "once upon", "once"],
    ["three", "two and", "one or none"],
    ["because of it", "no", "yes"],
]
READER = ngram_reader(4, 8)
MODEL = cj.mlp((5,))


@pytest.fixture(scope="module")
def trained():
    features, mask = READER.read(PROMPTS, ANSWERS, 3)
    rankings = cj.make_rankings(features, mask, np.zeros(3, int))
    choices = {name: cj.choose(cj.UTILITIES[name], offset=0.1) for name in ("linear", "log")}
    schemes = cj.make_schemes(choices, ("all",))
    process = cj.make_training(rankings, MODEL, schemes, training=Training(steps=6, records=2))
    return cj.engine.train(process, {"seed": range(3)}, progress=False)


@pytest.fixture(scope="module")
def ensemble(trained):
    return make_reward_model(MODEL, trained.members, READER)


def by_numpy(members, pairs):
    """Return the rewards by every member, computed from its parameters: features, one GELU layer, a sigmoid."""
    features = READER.read([prompt for prompt, _ in pairs], [[answer] for _, answer in pairs], 1)[0][:, 0]
    rows = []
    for member in members:
        first, head = (member.learned["params"][name] for name in ("Dense_0", "head"))
        x = features @ first["kernel"] + first["bias"]
        x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        rows.append(1 / (1 + np.exp(-(x @ head["kernel"] + head["bias"])[:, 0])))
    return np.array(rows)


def test_scores_are_the_rewards_of_the_last_record(trained, ensemble):
    last = trained.records["rewards"].isel(step=-1).to_numpy()
    found = ensemble.ensemble(PROMPTS, ANSWERS)
    np.testing.assert_allclose(found.by_member, last.reshape(6, 9), rtol=1e-6)
    assert ensemble.labels[4] == {"utility": "log", "seed": 1}
    one = make_reward_model(MODEL, trained.members.sel(utility="log", seed=1), READER)
    np.testing.assert_allclose(np.array(one.score(PROMPTS, ANSWERS)), last[1, 1], rtol=1e-6)
    assert (len(ensemble), len(one), one.labels) == (6, 1, ({"utility": "log", "seed": 1},))


def test_an_ensemble_has_mean_spread_and_lower_bound(trained, ensemble):
    pairs = [(PROMPTS[0], answer) for answer in ANSWERS[0]]
    expected = by_numpy(trained.members, pairs)
    found = ensemble.ensemble(PROMPTS[0], ANSWERS[0])
    np.testing.assert_allclose(found.by_member, expected, rtol=1e-5)
    mean = sum(expected) / 6
    spread = np.sqrt(sum((row - mean) ** 2 for row in expected) / 6)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-3)
    np.testing.assert_allclose(found.lower(2.5), mean - 2.5 * spread, rtol=1e-4)
    np.testing.assert_array_equal(found.mean, ensemble.score(PROMPTS[0], ANSWERS[0]))
    with pytest.raises(ValueError, match="k is -1; it must be a finite number from 0 on"):
        found.lower(-1)


def test_rewards_have_the_form_of_the_answers(ensemble):
    prompt, (good, bad, _) = PROMPTS[0], ANSWERS[0]
    number = ensemble.score(prompt, good)
    assert isinstance(number, float)
    several = ensemble.score(prompt, [good, bad])
    assert several.shape == (2,)
    np.testing.assert_allclose(several[0], number, rtol=1e-6)
    pairs = ensemble.score([prompt, PROMPTS[1]], [good, "three"])
    assert pairs.shape == (2,)
    ragged = ensemble.ensemble([prompt, PROMPTS[1]], [[good, bad], ["three"]])
    assert [part.shape for part in ragged.mean] == [part.shape for part in ragged.lower()] == [(2,), (1,)]
    np.testing.assert_allclose([ragged.mean[0][0], ragged.mean[1][0]], pairs, rtol=1e-6)
    np.testing.assert_allclose(ensemble.score([good, bad]), ensemble.score("", [good, bad]))
    assert ensemble.score(good) == ensemble.score("", good)


def test_any_number_of_texts_is_read_in_few_widths(trained, ensemble, monkeypatch):
    texts = [f"answer {number}" for number in range(150)]
    whole = ensemble.ensemble("a prompt", texts).by_member
    expected = by_numpy(trained.members, [("a prompt", text) for text in texts])
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    for count in (1, 7, 20, 129):
        np.testing.assert_allclose(ensemble.ensemble("a prompt", texts[:count]).by_member, whole[:, :count], rtol=1e-6)
    assert set(ensemble._programs) <= set(scoring._WIDTHS)
    # Where memory is small, batches are.
    monkeypatch.setattr(scoring, "_MOST_BYTES", 1)
    small = make_reward_model(MODEL, trained.members, READER)
    np.testing.assert_allclose(small.ensemble("a prompt", texts[:20]).by_member, whole[:, :20], rtol=1e-6)
    assert set(small._programs) == {8}


BAD = {
    "a number among answers": (("why", ["because", 3]), r"answers\[1\] is 3; it must be a text"),
    "fewer answers": ((["why", "how"], ["so"]), "answers is 1 entries; 2 prompts need an answer"),
    "one answer for several": ((["why", "how"], "so"), "answers is 'so'; 2 prompts need an answer"),
    "no answers": (("why", []), "answers is empty"),
    "an empty list among lists": ((["why", "how"], [["so"], []]), r"answers\[1\] is empty"),
    "texts and lists": ((["why", "how"], ["so", ["so"]]), r"answers\[1\] is \['so'\]; it must be a text"),
    "a number": ((7,), "prompts is 7; it must be a list of texts"),
    "nothing": (([],), "prompts is empty"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_are_no_texts_is_named(ensemble, bad):
    arguments, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        ensemble.score(*arguments)


def made(model, reader, seed=0):
    """Return a model whose parameters are random: initialising a transformer takes longer than all that is tested."""
    rng = np.random.default_rng(seed)
    shapes = scoring.expected_params(model, reader)
    return make_reward_model(
        model, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes), reader
    )


SIZES = cj.nets.Architecture(layers=1, width=8, heads=2, positions="learned")


@pytest.fixture(scope="module")
def by_tokens():
    return made(cj.reward.text_encoder(257, architecture=SIZES), token_reader(byte_tokenizer(), 16))


def test_a_text_that_is_too_long_is_named_by_its_number(by_tokens):
    texts = ["short"] * 9 + ["much too long a text for it"]
    with pytest.raises(ValueError, match=r"text 9, 'much too long a text for it', can't be read: .*length is 16"):
        by_tokens.score("p", texts)
    assert by_tokens.score("p", texts[:9]).shape == (9,)


def test_tokens_outside_the_vocabulary_are_refused():
    model = cj.reward.text_encoder(200, architecture=SIZES)
    with pytest.raises(ValueError, match="what the reader reads has the token 256; the vocabulary is 200"):
        made(model, token_reader(byte_tokenizer(), 16))


def test_answers_to_one_prompt_are_read_apart_by_a_model_of_prefixes():
    one = made(cj.reward.prefix_encoder(257, architecture=SIZES), prefix_reader(byte_tokenizer(), 24))
    together, _ = one.reader.read(["tell me"], [["once upon", "once"]], 2)
    expected = one.model.apply(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), one.params), together)[0]
    np.testing.assert_allclose(one.score("tell me", ["once upon", "once"]), expected, rtol=1e-5)
    assert one.score("tell me", ["no prefix", "of another"]).shape == (2,)


def test_parameters_of_another_model_are_refused(trained):
    with pytest.raises(ValueError, match=r"members have \(5,\) at .*'bias'\]; this model has \(6,\) there"):
        make_reward_model(cj.mlp((6,)), trained.members, READER)
    with pytest.raises(
        ValueError, match=r"have \(12, 5\) .*; this model has \(8, 5\) there for what the reader 'ngrams'"
    ):
        make_reward_model(MODEL, trained.members, ngram_reader(4, 4))


def test_a_model_of_ones_own_scores():
    own = Model(lambda key, features: {"slope": jnp.ones(2)}, lambda p, f: f[..., 4:6] @ p["slope"])
    found = make_reward_model(own, {"slope": np.array([1.0, 0.0], np.float32)}, ngram_reader(4, 2, (1,)))
    counts = [found.reader.read(["p"], [[text]], 1)[0][0, 0, 4] for text in ("a b c", "d")]
    np.testing.assert_allclose(found.score("p", ["a b c", "d"]), counts)
    assert repr(found) == "<RewardModel: a model of one's own, 1 member, reads ngrams>"
