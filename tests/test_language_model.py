"""Language models against sums over every row there is: three tokens, three places, 27 rows."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.checkpoint import Store
from collapse_jax.generative.text.reading import make_reader
from collapse_jax.generative.text.writing import Rules, begin, note, probabilities, read_next
from collapse_jax.nets.transformer import make_transformer

TINY = cj.nets.Architecture(layers=1, width=8, heads=2)
V, LENGTH, END, DRAWS = 3, 3, 2, 19_968
ROWS = jnp.asarray(list(itertools.product(range(V), repeat=LENGTH)))
FAMILY = cj.families.language_model(V, LENGTH, end=END, architecture=TINY)


def noisy(family):
    """Return parameters far from their start, so that no probability is near uniform."""
    params = family.init(jax.random.key(0), ROWS, jnp.ones(len(ROWS)))
    leaves, tree = jax.tree.flatten(params.weights)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.25 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    return params._replace(weights=jax.tree.unflatten(tree, moved))


PARAMS = noisy(FAMILY)
STEPS = np.asarray(FAMILY.tokens.log_prob(PARAMS, ROWS), np.float64)


def next_scores(row, place):
    """Return log-probabilities of the token at a place, given those before it, from the uncached model."""
    at = [
        next(i for i, r in enumerate(np.asarray(ROWS)) if (r[:place] == row[:place]).all() and r[place] == v)
        for v in range(V)
    ]
    return STEPS[at, place]


def ruled(scores, seen, repetition_penalty=1.0, temperature=1.0, top_k=V, top_p=1.0):
    """Return the probabilities of the next token under the rules, one after the other."""
    scores = np.array([s / repetition_penalty if s > 0 else s * repetition_penalty for s in scores]) * np.isin(
        range(V), seen
    ) + scores * ~np.isin(range(V), seen)
    p = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
    order = np.argsort(-p)
    p[order[int(top_k) :]] = 0
    p /= p.sum()
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= top_p]] = 0
    return p / p.sum()


def table(rules, given=0):
    """Return the probability of each row, the first `given` tokens aside."""
    return np.array(
        [
            np.prod([ruled(next_scores(row, i), row[:i], **rules)[row[i]] for i in range(given, LENGTH)])
            for row in np.asarray(ROWS)
        ]
    )


def frequencies(rows):
    return np.bincount(np.asarray(rows) @ V ** np.arange(LENGTH)[::-1], minlength=len(ROWS))


def test_probabilities_of_all_rows_sum_to_one():
    assert np.exp(STEPS.sum(axis=1)).sum() == pytest.approx(1.0, abs=1e-5)
    assert np.exp(STEPS.sum(axis=1)).max() > 0.15
    np.testing.assert_allclose(FAMILY.log_prob(PARAMS, ROWS), STEPS.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"temperature": 0.5, "top_k": 2},
        {"top_p": 0.7},
    ],
)
def test_rows_are_written_with_their_probability_under_the_rules(rules):
    params = PARAMS
    for name, value in rules.items():
        params = FAMILY.decodings[name].apply(params, value)
    written = jax.jit(FAMILY.sample, static_argnums=2)(jax.random.key(2), params, DRAWS)
    p = table(rules)
    z = (frequencies(written) - DRAWS * p) / np.sqrt(DRAWS * p * (1 - p) + 1e-12)
    assert (frequencies(written)[p == 0] == 0).all()
    assert np.abs(z[p > 0]).max() < 4


def test_prompts_are_kept_and_continued_with_their_probability():
    family = cj.families.language_model(V, LENGTH, end=END, prompt=1, architecture=TINY)
    prompts = jnp.repeat(ROWS, 960, axis=0)
    written = jax.jit(family.respond)(jax.random.key(3), PARAMS, prompts)
    np.testing.assert_array_equal(written[:, 0], prompts[:, 0])
    p = table({}, given=1)
    due = 8640 * p
    assert np.abs((frequencies(written) - due) / np.sqrt(due * (1 - p))).max() < 4


@pytest.mark.parametrize("penalty", [1.0, 3.0])
def test_the_penalty_falls_on_tokens_that_the_row_has(penalty):
    scores = jnp.array([[1.0, -1.0, 0.5], [1.0, -1.0, 0.5]])
    seen = jnp.array([[True, True, False], [False, False, False]])
    p = probabilities(scores, Rules(repetition_penalty=penalty), seen)
    expected = np.array([[1.0 / penalty, -penalty, 0.5], [1.0, -1.0, 0.5]])
    np.testing.assert_allclose(p, np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_strong_penalty_writes_more_different_tokens():
    params = FAMILY.decodings["repetition_penalty"].apply(PARAMS, 1e6)
    different = [
        np.mean([len(set(row)) for row in np.asarray(FAMILY.sample(jax.random.key(4), one, 200)).tolist()])
        for one in (PARAMS, params)
    ]
    # A positive logit divided by a million still has its share; negative ones have none left.
    assert different[1] > different[0] + 0.3


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [None, 2.0])
def test_enough_beams_find_the_best_row(penalty):
    family = cj.families.language_model(V, LENGTH, end=END, prompt=1, beams=V, architecture=TINY)
    params = PARAMS if penalty is None else family.decodings["repetition_penalty"].apply(PARAMS, penalty)
    prompts = jnp.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    found = np.asarray(family.respond(jax.random.key(5), params, prompts))
    for prompt, row in zip(range(V), found, strict=True):
        candidates = [r for r in np.asarray(ROWS) if r[0] == prompt]

        def score(r):
            steps = [next_scores(r, i)[r[i]] * (penalty or 1.0) ** (r[i] in r[:i]) for i in (1, 2)]
            return sum(steps)

        assert row.tolist() == max(candidates, key=score).tolist()
    assert set(family.decodings) == {"repetition_penalty"}
    drawn = family.sample(jax.random.key(6), params, 50)
    assert {tuple(row) for row in np.asarray(drawn).tolist()} <= {tuple(row) for row in found.tolist()}


@pytest.mark.slow
def test_packed_documents_do_not_see_each_other():
    family = cj.families.language_model(V, 6, end=END, architecture=TINY)
    params = noisy(family)
    packed = jnp.array([[0, 1, END, 1, 0, END]])
    alone = jnp.array([[0, 1, END, -1, -1, -1], [1, 0, END, -1, -1, -1]])
    steps = family.tokens.log_prob(params, jnp.concatenate([packed, alone]))
    np.testing.assert_allclose(steps[0], jnp.concatenate([steps[1, :3], steps[2, :3]]), atol=1e-5)
    assert (np.asarray(steps[1:, 3:]) == 0).all()


@pytest.mark.parametrize("given", [0, 3])
def test_logits_with_a_cache_are_those_without(given):
    transformer = make_transformer(TINY, vocabulary=V, length=7)
    reader = make_reader(transformer, vocabulary=V, start=END)
    weights = noisy(cj.families.language_model(V, 7, end=END, architecture=TINY)).weights
    # Documents end at every place, in what is given and in what is written.
    rows = jax.random.randint(jax.random.key(11), (16, 7), 0, V)

    @jax.jit
    def cached(weights, rows):
        progress = begin(transformer, reader, weights, rows[:, :given], 7, remember=False)
        logits = []
        for place in range(given, 7):
            scores, progress = read_next(transformer, reader, weights, progress, jnp.int32(place))
            progress = note(reader, progress, rows[:, place], jnp.int32(place))
            logits.append(scores)
        return jnp.stack(logits, axis=1)

    whole = reader.logits(weights, reader.hidden(weights, rows))
    assert np.ptp(np.asarray(whole)) > 1
    np.testing.assert_allclose(cached(weights, rows), whole[:, given:], atol=1e-5)


def test_padding_does_not_train_and_a_weight_is_a_number_of_examples():
    family = cj.families.language_model(
        V, LENGTH, end=END, architecture=TINY, fitting=cj.generative.Fitting(steps=3, batch_size=4)
    )
    fit = jax.jit(family.fit)
    rows = ROWS[:6]
    weights = jnp.array([2.0, 1.0, 0.0, 1.0, 0.0, 2.0])
    repeated = jnp.repeat(rows, jnp.array([2, 1, 0, 1, 0, 2]), axis=0)
    jax.tree.map(
        np.testing.assert_array_equal,
        fit(jax.random.key(7), PARAMS, rows, weights),
        fit(jax.random.key(7), PARAMS, repeated, jnp.ones(6)),
    )


@pytest.mark.slow
def test_a_batch_in_parts_is_a_mean_over_its_tokens_too():
    # The first row is longer: were it a mean of means, a token of another row would weigh more.
    rows = ROWS[:4].at[1:, 1:].set(-1)
    whole, parts = (
        cj.families.language_model(
            V,
            LENGTH,
            end=END,
            architecture=TINY,
            fitting=cj.generative.Fitting(steps=1, batch_size=4, clip=1e-6, accumulate=accumulate),
        ).fit(jax.random.key(7), PARAMS, rows, jnp.ones(4))
        for accumulate in (1, 4)
    )
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), whole, parts)


@pytest.mark.slow
def test_it_learns_what_it_reads():
    family = cj.families.language_model(
        V,
        LENGTH,
        end=END,
        architecture=TINY,
        fitting=cj.generative.Fitting(steps=300, batch_size=16, learning_rate=0.02),
    )
    rows = jnp.array([[0, 1, 0], [1, 1, END]])
    fitted = jax.jit(family.fit)(
        jax.random.key(8), family.init(jax.random.key(9), rows, jnp.ones(2)), rows, jnp.array([3.0, 1.0])
    )
    np.testing.assert_allclose(np.exp(family.log_prob(fitted, rows)), [0.75, 0.25], atol=0.02)


def test_pretrained_weights_are_where_it_starts():
    family = cj.families.language_model(V, LENGTH, end=END, architecture=TINY, pretrained=PARAMS.weights)
    started = family.init(jax.random.key(10), ROWS, jnp.ones(len(ROWS)))
    jax.tree.map(np.testing.assert_array_equal, started, PARAMS)


@pytest.mark.slow
def test_embeddings_ignore_padding():
    row, padded = jnp.array([[0, 1, 1]]), jnp.array([[0, 1, -1]])
    embedded = FAMILY.embed(PARAMS, jnp.concatenate([row, padded]))
    assert embedded.shape == (2, TINY.width)
    short = cj.families.language_model(V, 2, end=END, architecture=TINY)
    np.testing.assert_allclose(embedded[1], short.embed(PARAMS, padded[:, :2])[0], atol=1e-5)


AXES = {
    "regime": ["replace", "accumulate", "accumulate_subsample"],
    "temperature": [0.5, 1.0],
    "steps": [2, 4],
    "learning_rate": [0.01],
    "seed": [0],
}


def population():
    fitting = cj.generative.Fitting(steps=4, batch_size=4)
    family = cj.families.language_model(V, LENGTH, end=END, prompt=1, architecture=TINY, fitting=fitting)
    regimes = [cj.REGIMES[name] for name in ("replace", "accumulate", "accumulate_subsample")]
    return cj.make_recursion(
        family,
        cj.make_plan(regimes, 3, 8),
        cj.resample(ROWS),
        decoding=["temperature"],
        respond=True,
        warm_start=True,
        measure=lambda key, params: {"risk": -family.log_prob(params, ROWS).mean()},
        inspect=lambda key, examples, weights: {"row": examples[:2]},
        dims={"row": ("sample", "token")},
    )


@pytest.fixture(scope="module")
def whole():
    return cj.sweep(population(), AXES, progress=False)


def test_a_population_of_language_models_is_one_program(whole):
    assert json.loads(whole.attrs["provenance"])["programs_compiled"] == 2
    assert whole["row"].shape == (3, 2, 2, 1, 1, 3, 2, LENGTH)
    assert np.isfinite(whole["risk"]).all()
    # The real prompts come first in what is emitted, in every generation.
    assert (whole["row"][..., 0] == whole["row"][..., :1, :, 0]).all()
    assert len(np.unique(whole["risk"].isel(generation=-1))) > 6


@pytest.mark.slow
def test_a_stop_in_the_middle_of_a_generation_loses_that_generation_alone(whole, tmp_path, monkeypatch):
    save, saved = Store.save, []

    def stopped(self, position, *rest):
        # Nothing of the second generation has reached the disk when the first stop comes.
        if position == 2 and 2 not in saved:
            saved.append(2)
            raise KeyboardInterrupt
        saved.append(position)
        save(self, position, *rest)

    monkeypatch.setattr(Store, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        cj.sweep(population(), AXES, directory=tmp_path, segment=1, progress=False)
    resumed = cj.sweep(population(), AXES, directory=tmp_path, segment=1, progress=False)
    assert saved[:3] == [1, 2, 2]
    for name in whole.data_vars:
        np.testing.assert_array_equal(resumed[name], whole[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": 0}, "vocabulary is 0"),
        ({"end": 5}, "end is 5; it must be a token below the vocabulary, 3, or None"),
        ({"length": 0}, "length is 0; it must be a whole number from 1 on"),
        ({"prompt": 3}, "prompt is 3; with 1 beams it must be a whole number from 0 to 2"),
        ({"beams": 2}, "prompt is 0; with 2 beams it must be a whole number from 1 to 2"),
        ({"beams": 4, "prompt": 1}, "beams is 4; it must be a whole number from 1 to the vocabulary, 3"),
        ({"pretrained": "gpt2"}, "pretrained is 'gpt2'; it must be weights of this architecture, .* takes no names"),
        ({"pretrained": {"tok": np.ones(3)}}, r"pretrained is \(3,\) at \['tok'\]; it must be weights|None at "),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cj.families.language_model(**{"vocabulary": V, "length": LENGTH, **arguments})


LANGUAGE = cj.families.language_model(V, LENGTH, end=END, architecture=TINY)
NGRAM = cj.families.ngram(4, 2, length=LENGTH)
CATEGORICAL = cj.families.categorical(5)


@pytest.mark.parametrize(
    ("family", "row", "message"),
    [
        (LANGUAGE, [[0, V, -1]], r"has the token 3; the vocabulary is 3, tokens 0 to 2, and -1 for padding"),
        (NGRAM, [[0, 1, 7]], "has the token 7; the vocabulary is 4, tokens 0 to 3, without padding"),
        (NGRAM, [[0, 1, -1]], "has the token -1; the vocabulary is 4"),
        (CATEGORICAL, [5], "has the token 5; the vocabulary is 5"),
        (cj.families.token_edited(CATEGORICAL), [5], "has the token 5; the vocabulary is 5"),
        (CATEGORICAL, [0.5], "has numbers of type float32; tokens are whole numbers"),
    ],
)
def test_tokens_outside_the_vocabulary_are_refused_where_they_enter(family, row, message):
    rows = jnp.concatenate([jnp.zeros((20, *np.shape(row)[1:]), jnp.asarray(row).dtype), jnp.asarray(row)])
    plan = cj.make_plan(cj.REGIMES["replace"], 2, 8)
    for truth in (cj.resample(rows), lambda key, n: jnp.tile(rows, (n, 1) if rows.ndim > 1 else n)[:n]):
        with pytest.raises(ValueError, match=f"truth {message}"):
            cj.make_recursion(family, plan, truth)
        with pytest.raises(ValueError, match=f"initial {message}"):
            cj.make_recursion(family, plan, cj.resample(jnp.zeros(rows.shape, jnp.int32)), initial=truth)


def test_parameters_over_another_vocabulary_are_no_truth():
    with pytest.raises(ValueError, match=r"truth has the shapes \(8,\), which family 'categorical' can't sample from"):
        cj.make_recursion(CATEGORICAL, cj.make_plan(cj.REGIMES["replace"], 2, 8), np.full(8, 0.125), by="examples")
