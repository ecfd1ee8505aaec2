"""Rewriting: what is asked, kept and learned against lists in plain Python, and a language model against its sums."""

import importlib
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.families import rewriting
from collapse_jax.generative.family import Family
from collapse_jax.generative.selection import Candidates
from collapse_jax.generative.selections import compose, novel, well_formed

# The package exports a function under the module's name.
module = importlib.import_module("collapse_jax.generative.families.rewriting")

END, STOP, LENGTH = 0, 9, 5
# As (before the slot, after it, deepens): the last broadening one has the writer stop at once.
TEMPLATES = [
    ([11, 12], [], True),
    ([], [13], True),
    ([14, 15, 16], [17], True),
    ([18], [19, 20], False),
    ([21], [22], False),
    ([], [23, STOP], False),
]


def padded(rows, width=None):
    width = max(map(len, rows)) if width is None else width
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], np.int32).reshape(len(rows), width)


def tokens_of(templates):
    before, after, deepens = zip(*templates, strict=True)
    return padded(before), padded(after), np.array(deepens)


def mirror(length, prompt, end):
    """Return a family that writes its prompt backwards, `end` for STOP, and whose model is what it was fitted to."""

    def respond(key, params, examples):
        written = examples[:, :prompt][:, ::-1][:, : length - prompt]
        return jnp.concatenate([examples[:, :prompt], jnp.where(written == STOP, end, written)], axis=1)

    return Family(
        "mirror",
        lambda key, examples, weights: {"rows": examples, "weights": weights},
        lambda key, params, examples, weights: {"rows": examples, "weights": weights},
        lambda key, params, n: params["rows"],
        respond=respond,
    )


def family_of(templates, **options):
    return rewriting(mirror, *tokens_of(templates), length=LENGTH, end=END, **options)


def rewritten(template, instruction):
    """Return the row that the mirror makes of an instruction, a list of tokens."""
    before, after, _ = template
    written = [END if token == STOP else token for token in (before + instruction + after)[::-1]] + [END] * LENGTH
    written = written[:LENGTH]
    new = (instruction if not after else []) + written[: written.index(END) if END in written else LENGTH]
    row = ([*new, END] if new and END in written else new)[:LENGTH]
    return row + [-1] * (LENGTH - len(row))


INSTRUCTIONS = [[], [1], [1, 2], [3, 4, 5], [6, 7, 8, 1], [2, 3, 4, 5, 6]]
ROWS = jnp.asarray(padded([[*one, END][:LENGTH] if one else [] for one in INSTRUCTIONS]))
WEIGHTS = jnp.array([0.0, 1.0, 2.0, 0.0, 3.0, 2.0])


def fitted(family):
    return family.fit(jax.random.key(0), family.init(jax.random.key(1), ROWS, WEIGHTS), ROWS, WEIGHTS)


def z_of(counts, p, n):
    p = np.asarray(p, float)
    assert (np.asarray(counts)[p == 0] == 0).all()
    return (np.asarray(counts) - n * p)[p > 0] / np.sqrt(n * p * (1 - p) + 1e-9)[p > 0]


@pytest.mark.parametrize("deeper", TEMPLATES[:3])
@pytest.mark.parametrize("broader", TEMPLATES[3:])
def test_prompts_and_results_are_those_of_plain_lists(deeper, broader):
    family = family_of([broader, deeper])
    for chance, template in ((1.0, deeper), (0.0, broader)):
        params = family.decodings["deepening"].apply(fitted(family), chance)
        got = family.respond(jax.random.key(2), params, ROWS)
        assert got.tolist() == [rewritten(template, one) for one in INSTRUCTIONS]


def test_templates_are_drawn_by_the_chance_to_deepen_and_then_alike():
    family, n = family_of(TEMPLATES, deepening=0.3), 6000
    instruction = INSTRUCTIONS[2]
    rows = jnp.tile(ROWS[2][None], (n, 1))
    got = np.asarray(jax.jit(family.respond)(jax.random.key(3), fitted(family), rows))
    expected = np.array([rewritten(one, instruction) for one in TEMPLATES])
    same = (got[:, None] == expected[None]).all(axis=2)
    assert (same.sum(axis=1) == 1).all()
    assert np.abs(z_of(same.sum(axis=0), [0.1] * 3 + [0.7 / 3] * 3, n)).max() < 4


def test_members_are_drawn_by_their_weights():
    family, n = family_of([TEMPLATES[4], TEMPLATES[0]], deepening=0.0), 6000
    got = np.asarray(jax.jit(family.sample, static_argnums=2)(jax.random.key(4), fitted(family), n))
    expected = np.array([rewritten(TEMPLATES[4], one) for one in INSTRUCTIONS])
    counts = (got[:, None] == expected[None]).all(axis=2).sum(axis=0)
    assert counts.sum() == n
    assert np.abs(z_of(counts, np.asarray(WEIGHTS) / 8, n)).max() < 4


def test_the_writer_learns_lists_of_one_or_two():
    family, n = family_of(TEMPLATES[2:5]), 400
    rows, weights = jnp.tile(ROWS, (n, 1)), jnp.tile(WEIGHTS, n)
    params = family.fit(jax.random.key(5), family.init(jax.random.key(6), rows, weights), rows, weights)
    np.testing.assert_array_equal(params.writer["weights"], weights)
    learned = np.asarray(params.writer["rows"])
    outcomes = {}
    for t, (before, after, _) in enumerate(TEMPLATES[3:5]):
        for other, share in ((None, 0.5), *zip(range(6), np.asarray(WEIGHTS) / 16, strict=True)):
            first = before + ([] if other is None else INSTRUCTIONS[other] + after)
            outcomes[t, other] = first, share / 2
    found = dict.fromkeys(outcomes, 0)
    for row, instruction in zip(learned.tolist(), ROWS.tolist() * n, strict=True):
        kept = [token for token in instruction if token >= 0]
        (which,) = [
            one for one, (first, _) in outcomes.items() if padded([first + kept], learned.shape[1])[0].tolist() == row
        ]
        found[which] += 1
    shares = [share for _, share in outcomes.values()]
    assert np.abs(z_of(list(found.values()), shares, len(rows))).max() < 4


# With a language model

V, TINY = 4, cj.nets.Architecture(layers=1, width=8, heads=2)
WRITER = partial(cj.families.language_model, V, architecture=TINY, fitting=cj.generative.Fitting(steps=3, batch_size=4))
SMALL = [([1], [2], False), ([], [3, 1], False), ([2], [], True)]
SEEDS = jnp.asarray(padded([[1, 2, END], [3, END], [2, 2, 1], [1, END], [2, 3, END], [3, 3, END]]))


def small_family(length=3):
    return rewriting(WRITER, *tokens_of(SMALL), length=length, end=END)


@pytest.fixture(scope="module")
def noisy():
    """Parameters far from their start, by which a token seen or not changes the next one's probability by 0.05."""
    params = small_family().init(jax.random.key(0), SEEDS, jnp.ones(len(SEEDS)))
    leaves, tree = jax.tree.flatten(params.writer.weights)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    moved = [x + 0.7 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    return params._replace(writer=params.writer._replace(weights=jax.tree.unflatten(tree, moved)))


@pytest.mark.slow
def test_what_is_written_has_its_probability_after_the_prompt_alone(noisy):
    """The filling on the left is unseen: the model's probabilities of the same tokens in a row without it agree."""
    family, n = small_family(), 8000
    params = family.decodings["deepening"].apply(noisy, 1.0)
    prompt, kept = [2, 1], [1]
    endings = [list(one) for one in itertools.product(range(V), repeat=3)]
    plain = WRITER(length=9, end=END)
    log_p = plain.tokens.log_prob(params.writer, jnp.array([prompt + one for one in endings]))[:, 2:].sum(axis=1)
    due = {}
    for one, p in zip(endings, np.exp(log_p), strict=True):
        new = kept + one[: one.index(END) + 1 if END in one else 3]
        row = tuple((new + [-1] * 3)[:3])
        due[row] = due.get(row, 0.0) + float(p)
    assert max(due.values()) < 0.8
    written = jax.jit(family.respond)(jax.random.key(7), params, jnp.tile(SEEDS[3:4], (n, 1)))
    rows, counts = np.unique(np.asarray(written), axis=0, return_counts=True)
    assert {tuple(row) for row in rows.tolist()} <= set(due)
    found = {tuple(row): count for row, count in zip(rows.tolist(), counts, strict=True)}
    assert np.abs(z_of([found.get(row, 0) for row in due], np.minimum(list(due.values()), 1), n)).max() < 4


@pytest.mark.slow
def test_probabilities_are_those_after_the_first_prefix_that_broadens(noisy):
    family, plain = small_family(), WRITER(length=9, end=END)
    headed = jnp.concatenate([jnp.ones((len(SEEDS), 1), jnp.int32), SEEDS], axis=1)
    steps = family.tokens.log_prob(noisy, SEEDS)
    np.testing.assert_allclose(steps, plain.tokens.log_prob(noisy.writer, headed)[:, 1:], atol=1e-5)
    np.testing.assert_allclose(family.log_prob(noisy, SEEDS), steps.sum(axis=1), atol=1e-5)
    chosen = np.take_along_axis(
        np.asarray(family.tokens.probabilities(noisy, SEEDS)), np.maximum(SEEDS, 0)[..., None], -1
    )
    np.testing.assert_allclose(np.where(SEEDS < 0, 1.0, chosen[..., 0]), np.exp(steps), atol=1e-5)
    np.testing.assert_allclose(family.embed(noisy, SEEDS), plain.embed(noisy.writer, headed), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("respond", [False, True])
def test_pools_grow_by_what_is_well_formed_and_new(respond):
    samples, times = 6, 3
    family = rewriting(WRITER if respond else mirror, *tokens_of(SMALL), length=LENGTH, end=END)
    seeds = jnp.pad(SEEDS, ((0, 0), (0, LENGTH - SEEDS.shape[1])), constant_values=-1)
    process = cj.make_recursion(
        family,
        cj.make_plan(cj.REGIMES["accumulate"], times, samples),
        cj.resample(seeds),
        respond=respond,
        decoding=["deepening"],
        curate=compose(well_formed(END, least=2), novel(lambda x, y: (x != y).any().astype(float))),
        measure=lambda key, params: {"shares": params.shares, "members": params.members},
        inspect=lambda key, examples, weights: {"row": examples, "kept": weights},
        dims={
            "row": ("sample", "token"),
            "kept": ("sample",),
            "shares": ("member",),
            "members": ("member", "token"),
        },
    )
    found = cj.sweep(process, {"deepening": [0.2, 0.9], "seed": range(4)}, progress=False)
    assert np.isfinite(found.shares).all()
    number = 0
    lineages = found.stack(lineage=("deepening", "seed")).transpose("lineage", ...)
    arrays = (lineages[name].values for name in ("row", "kept", "shares", "members"))
    for rows, kept, shares, members in zip(*arrays, strict=True):
        known = {tuple(row) for row in seeds.tolist()}
        for t in range(times):
            alive = [tuple(row) for row in rows[t][kept[t] > 0].tolist()]
            assert len(set(alive)) == len(alive)
            assert not set(alive) & known
            assert all(END in row and row.index(END) >= 2 for row in alive)
            if t + 1 < times:
                known |= set(alive)
                assert {tuple(row) for row in members[t + 1][shares[t + 1] > 0].tolist()} == known
            number += len(alive)
    assert number > 10


def test_templates_in_words_make_a_family():
    tokenizer = cj.data.byte_tokenizer()
    templates = cj.data.tokenize_templates(tokenizer)
    writer = partial(cj.families.language_model, tokenizer.size, architecture=TINY)
    family = rewriting(writer, *templates, length=40, end=tokenizer.end)
    rows = jnp.asarray(cj.data.pad(tokenizer, [one.instruction for one in cj.data.seed_instructions()], 40))

    def written(key):
        init_key, fit_key, key = jax.random.split(key, 3)
        params = family.fit(fit_key, family.init(init_key, rows, jnp.ones(60)), rows, jnp.ones(60))
        return family.sample(key, params, 7), family.log_prob(params, rows)

    sampled, log_p = jax.eval_shape(written, jax.random.key(0))
    assert (sampled.shape, sampled.dtype, log_p.shape) == ((7, 40), rows.dtype, (60,))
    assert {"deepening", "temperature", "top_p"} <= set(family.decodings)
    assert set(family.hyper) == {"learning_rate", "steps"}


# Elimination


@pytest.mark.parametrize(("least", "most", "kept"), [(1, None, [1, 2, 3, 4]), (2, 3, [2, 3]), (4, 4, [4])])
def test_what_is_empty_cut_too_short_or_too_long_is_dropped(least, most, kept):
    rows = padded(
        [[], [5, END], [5, 5, END], [5, 5, 5, END], [5, 5, 5, 5, END], [5, 5, 5, 5, 5], [END], [5, 5]], LENGTH
    )
    rows = jnp.asarray([*rows, [5, -1, END, -1, -1]])
    n = len(rows)
    candidates = Candidates(rows, jnp.full(n, 2.0), jnp.ones(n, int), jnp.zeros(n, int))
    weights = well_formed(END, least=least, most=most).weigh(jax.random.key(0), candidates, candidates, ())
    np.testing.assert_array_equal(weights, 2.0 * np.isin(range(n), kept))


def no_respond(length, prompt, end):
    return mirror(length, prompt, end)._replace(respond=None)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: family_of(TEMPLATES, deepening=1.5), "deepening is 1.5; it must be a probability"),
        (
            lambda: family_of(TEMPLATES[:3]),
            r"deepens is \[True, True, True\]; at least one template must deepen, and one",
        ),
        (lambda: family_of(TEMPLATES[3:]), r"deepens is \[False, False, False\]"),
        (lambda: family_of([*TEMPLATES, ([5], [], False)]), r"templates \[6\] broaden with nothing behind their slot"),
        (
            # Of the function itself the checks of shapes would say it first.
            lambda: module._require_templates(*tokens_of(TEMPLATES)[:2], np.array([True, False])),
            "are of 6, 6 and 2 templates; they must be of the same",
        ),
        (lambda: rewriting(mirror, *tokens_of(TEMPLATES), length=0, end=END), "length is 0"),
        (lambda: rewriting(mirror, *tokens_of(TEMPLATES), length=3, end=-1), "end is -1; it must be a token"),
        (
            lambda: rewriting(no_respond, *tokens_of(TEMPLATES), length=3, end=END),
            "make_writer returns 'mirror'; it must",
        ),
        (lambda: well_formed(-1), "end is -1"),
        (lambda: well_formed(END, least=0), "least is 0"),
        (lambda: well_formed(END, least=3, most=2), "most is 2; it must be a whole number from 3 on"),
        (lambda: well_formed(END, oversample=0), "oversample is 0"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
