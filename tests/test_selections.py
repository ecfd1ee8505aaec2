"""Selections against enumeration, brute force and the maps they imply, alone and in recursions."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import collapse_jax as cj
from collapse_jax.checks import numbers
from collapse_jax.generative import selections as sel
from collapse_jax.generative.families.categorical import categorical
from collapse_jax.generative.families.gaussian import gaussian
from collapse_jax.generative.recursion.plan import make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import REGIMES
from collapse_jax.generative.recursion.selecting import keep
from collapse_jax.generative.selection import Candidates, Selection

P = np.array([0.5, 0.3, 0.2])
REWARD = np.array([0.2, -0.5, 1.0])


def reward(examples):
    return jnp.array(REWARD, jnp.float32)[examples]


def candidates_of(examples, weights=None, generation=1):
    n = len(jax.tree.leaves(examples)[0])
    weights = jnp.ones(n) if weights is None else jnp.asarray(weights, float)
    return Candidates(
        examples, weights, jnp.broadcast_to(jnp.asarray(generation, jnp.int32), (n,)), jnp.zeros(n, jnp.int32)
    )


def survivors(selection, size, replicas, p=P, pool=None, **hyper):
    """Return what survives, and its weights, of tokens drawn from p."""
    hyper = {**selection.defaults, **hyper}

    def one(key):
        draw_key, keep_key = jax.random.split(key)
        tokens = jax.random.choice(draw_key, len(p), (size * selection.oversample,), p=jnp.array(p, jnp.float32))
        candidates = candidates_of(tokens)
        nothing = candidates._replace(weights=jnp.zeros_like(candidates.weights))
        return keep(keep_key, selection, candidates, pool or nothing, (), hyper, size)[:2]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), replicas)))


def weigh(selection, candidates, pool=None, key=0, **params):
    """Return the new weights."""
    params = {**selection.defaults, **params}
    return np.asarray(selection.weigh(jax.random.key(key), candidates, pool or candidates, (), **params))


def z_of(samples, want):
    """Return the z-scores of means over the first axis; where nothing varies the mean must be exact."""
    samples = np.asarray(samples, float)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    gap = samples.mean(axis=0) - want
    return np.where(error > 0, gap / np.where(error > 0, error, 1.0), np.where(np.abs(gap) < 1e-9, 0.0, np.inf))


def shares(examples, size=3):
    return np.stack([(examples == token).mean(axis=-1) for token in range(size)], axis=-1)


# Choice


def chosen_law(groups, probabilities):
    """Return the law of the one chosen of a group, `probabilities(group)` being those of its members."""
    law = np.zeros(3)
    for group in itertools.product(range(3), repeat=groups):
        for member, chance in zip(group, probabilities(list(group)), strict=True):
            law[member] += math.prod(P[list(group)]) * chance
    return law


@pytest.mark.parametrize(("choose_from", "strength"), [(2, 1.0), (3, 0.0), (3, 5.0)])
def test_curation_chooses_by_the_softmax_of_the_reward(choose_from, strength):
    def softmax(group):
        odds = np.exp(strength * REWARD[group])
        return odds / odds.sum()

    examples, kept = survivors(sel.curated(reward, choose_from), 8, 5000, strength=strength)
    assert (kept == 1).all()
    assert np.abs(z_of(shares(examples), chosen_law(choose_from, softmax))).max() < 4


def test_exactly_one_of_each_group_survives():
    candidates = candidates_of(jax.random.randint(jax.random.key(2), (60,), 0, 3))
    for selection in (sel.curated(reward, 4), sel.best_of(reward, 4)):
        assert (weigh(selection, candidates).reshape(-1, 4).sum(1) == 1).all()


def test_the_dead_are_not_chosen_and_the_chosen_keep_their_weight():
    candidates = candidates_of(jnp.array([2, 0, 1, 2, 2, 2]), [0.0, 0.5, 2.0, 0.0, 0.0, 0.0])
    for selection, params in ((sel.best_of(reward, 3), {}), (sel.curated(reward, 3), {"strength": 100.0})):
        np.testing.assert_array_equal(weigh(selection, candidates, **params), [0, 0.5, 0, 0, 0, 0])


def test_the_best_of_k_raises_the_distribution_function_to_the_kth_power():
    choose_from = 4
    examples, _ = survivors(sel.best_of(reward, choose_from), 8, 5000)
    order = np.argsort(REWARD)
    below = np.cumsum(P[order]) ** choose_from
    assert np.abs(z_of(shares(examples)[:, order].cumsum(axis=1)[:, :2], below[:2])).max() < 4


@pytest.mark.parametrize(
    "make", [lambda r: sel.curated(r, 3), lambda r: sel.best_of(r, 3), lambda r: sel.top_share(r, 3)]
)
def test_a_reward_that_is_not_a_number_never_chooses(make):
    candidates = candidates_of(jnp.arange(6))
    assert not weigh(make(lambda x: jnp.full(6, jnp.nan)), candidates).any()
    # One number in either group: it is chosen, however low.
    some = jnp.array([jnp.nan, -9.0, jnp.nan, jnp.nan, jnp.nan, -jnp.inf])
    chosen = weigh(make(lambda x: some), candidates)
    assert chosen[[0, 2, 3, 4]].tolist() == [0, 0, 0, 0]
    assert chosen[1] == 1

    def broken(x):
        return jnp.full(len(x), jnp.nan)

    process = make_recursion(gaussian(1), make_plan(REGIMES["replace"], 2, 6), curate=make(broken))
    with pytest.warns(UserWarning, match="no longer finite"):
        assert cj.sweep(process, {"seed": range(2)}, progress=False)["diverged"].isel(generation=-1).all()


def test_of_equal_rewards_the_first_is_best():
    same = candidates_of(jnp.array([0, 1, 2, 2, 1, 2]))
    np.testing.assert_array_equal(weigh(sel.best_of(lambda x: jnp.zeros(6), 3), same), [1, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(weigh(sel.top_share(lambda x: jnp.zeros(6), 3), same), [1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("oversample", [2, 3])
def test_the_top_share_is_the_front_of_a_sorted_list(oversample):
    rng = np.random.default_rng(3)
    scores = np.round(rng.normal(size=24), 1).astype(np.float32)
    scores[5] = -np.inf
    weights = rng.choice([0.0, 1.0, 0.5], size=24)
    living = sorted(np.flatnonzero(weights), key=lambda i: (-scores[i], i))
    want = np.zeros(24)
    front = living[: -(-len(living) // oversample)]
    want[front] = weights[front]
    got = weigh(sel.top_share(lambda x: x, oversample), candidates_of(jnp.array(scores), weights))
    np.testing.assert_array_equal(got, want)


def test_groups_must_fit():
    with pytest.raises(ValueError, match="7 candidates"):
        weigh(sel.best_of(reward, 2), candidates_of(jnp.zeros(7, jnp.int32)))


# Verification


@pytest.mark.parametrize(("right", "wrong"), [(1.0, 0.0), (0.2, 0.9)])
def test_verification_with_refill_weighs_right_and_wrong_by_their_chances(right, wrong):
    selection = sel.verified(lambda token: token == 0, oversample=4)
    examples, kept = survivors(selection, 5, 8000, right=right, wrong=wrong)
    accepted = P * np.array([right, wrong, wrong])
    # Given how many are accepted, each of them follows this law: look at the first.
    first = examples[kept[:, 0] > 0, :1]
    assert np.abs(z_of(shares(first), accepted / accepted.sum())).max() < 4


def test_verification_without_refill_loses_what_it_refuses():
    _, kept = survivors(sel.verified(lambda token: token == 0), 5, 8000, right=0.8, wrong=0.3)
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert np.abs(z_of(kept, 0.5 * 0.8 + 0.5 * 0.3)).max() < 4


def test_a_soft_verifier_shrinks_a_gaussian_to_its_centre():
    """With acceptance exp(-(x-c)²/2ρ²): 1/σ_t² grows by 1/ρ² a generation, and the precision-weighted mean follows."""
    c, rho, times, samples, seeds = 0.8, 1.5, 3, 2000, 40
    verifier = sel.accepted(lambda x: jnp.exp(-0.5 * (x[:, 0] - c) ** 2 / rho**2), oversample=3)
    plan = make_plan(REGIMES["replace"], times, samples)
    dataset = cj.sweep(make_recursion(gaussian(), plan, curate=verifier), {"seed": range(seeds)}, progress=False)
    t = np.arange(times)
    precision = 1.0 + t / rho**2
    # The bias, of order t/M, is a fiftieth of the standard error, of order (t/M)^(1/2) / 40^(1/2).
    assert np.abs(z_of(dataset.variance.values, 1.0 / precision)).max() < 4
    assert np.abs(z_of(dataset["mean"].values[..., 0], t / rho**2 * c / precision)).max() < 4


def test_where_nothing_is_verified_the_member_is_flagged_and_the_others_are_untouched():
    plan = make_plan([REGIMES["replace"], REGIMES["accumulate_subsample"]], 4, 10)
    process = make_recursion(categorical(10), plan, curate=sel.verified(lambda token: token < 5, oversample=2))
    axes = {"regime": plan.axes["regime"], "seed": range(3)}
    alone = cj.sweep(process, {**axes, "right": [1.0]}, progress=False)
    with pytest.warns(UserWarning, match="right"):
        both = cj.sweep(process, {**axes, "right": [0.0, 1.0]}, progress=False)
    nothing = both.diverged.sel(right=0.0).transpose("regime", "seed", "generation")
    np.testing.assert_array_equal(nothing[0], np.tile([False, True, True, True], (3, 1)))
    # Where the real set remains there is something to train on.
    assert not nothing[1].any()
    assert not both.diverged.sel(right=1.0).any()
    np.testing.assert_array_equal(both["mean"].sel(right=[1.0]), alone["mean"])


# Detection


def mixed(seed, n=400):
    """Return half real, half machine-made numbers, with weights, some of them 0."""
    rng = np.random.default_rng(seed)
    generation = rng.choice([-1, 0, 1, 4], size=n)
    values = rng.normal(np.where(generation > 0, 1.0, 0.0), np.where(generation > 0, 0.7, 1.0))
    weights = rng.choice([0.0, 0.5, 1.0], size=n)
    return candidates_of(jnp.array(values, jnp.float32), weights, generation)


def test_the_empirical_detector_takes_the_share_among_equals():
    rng = np.random.default_rng(4)
    examples = {"topic": rng.integers(3, size=30), "pair": rng.integers(2, size=(30, 2))}
    generation, weights = rng.integers(-1, 3, size=30), rng.choice([0.0, 1.0, 2.0], size=30)
    candidates = candidates_of(jax.tree.map(jnp.array, examples), weights, generation)
    got = sel.empirical_detector()(jax.random.key(0), candidates)
    rows = [(a, *b) for a, b in zip(examples["topic"], examples["pair"], strict=True)]
    for i, row in enumerate(rows):
        same = [j for j in range(30) if rows[j] == row]
        total = weights[same].sum()
        want = weights[same] @ (generation[same] > 0) / total if total else 0.0
        assert float(got[i]) == pytest.approx(want, abs=1e-6)


def test_a_calibrated_detector_is_bayes_rule():
    candidates = mixed(5)
    log_ratio = lambda x: -0.5 * ((x - 1.0) / 0.7) ** 2 - math.log(0.7) + 0.5 * x**2  # noqa: E731
    got = sel.calibrated_detector(log_ratio)(jax.random.key(0), candidates)
    x, w = np.asarray(candidates.examples, float), np.asarray(candidates.weights)
    machine = w @ (np.asarray(candidates.generation) > 0) / w.sum()
    real = (1 - machine) * np.exp(-0.5 * x**2)
    made = machine * np.exp(-0.5 * ((x - 1) / 0.7) ** 2) / 0.7
    np.testing.assert_allclose(got, made / (made + real), rtol=1e-4)


def test_the_learned_detector_is_the_penalised_maximum_of_the_likelihood():
    candidates, ridge = mixed(6), 0.1
    got = sel.learned_detector(lambda x: jnp.stack([x, x**2], axis=1), ridge=ridge)(jax.random.key(0), candidates)
    x, w = np.asarray(candidates.examples, float), np.asarray(candidates.weights, float)
    w, y = w / w.sum(), np.asarray(candidates.generation) > 0
    features = np.stack([x, x**2], axis=1)
    scaled = (features - w @ features) / np.sqrt(w @ (features - w @ features) ** 2)

    def loss(beta):
        logit = scaled @ beta[:2] + beta[2]
        return w @ (np.logaddexp(0, logit) - y * logit) + ridge / 2 * (beta[:2] @ beta[:2])

    beta = minimize(loss, np.zeros(3), tol=1e-12).x
    # BFGS stops at a gradient of about 1e-6, and the fit is in float32.
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-(scaled @ beta[:2] + beta[2]))), atol=2e-4)


@pytest.mark.parametrize("generation", [-1, 0, 2])
def test_the_learned_detector_survives_candidates_of_one_kind_and_constant_features(generation):
    candidates = candidates_of(jnp.arange(20.0), generation=generation)
    detector = sel.learned_detector(lambda x: jnp.stack([x, jnp.ones(20)], axis=1))
    got = np.asarray(detector(jax.random.key(0), candidates))
    assert (got > 0.99).all() if generation > 0 else (got < 0.01).all()


DETECTORS = {
    "calibrated": sel.calibrated_detector(
        lambda x: -0.5 * ((x - 1.0) / 0.7) ** 2 - jnp.log(0.7) + 0.5 * x**2,
    ),
    # The log ratio is a quadratic in x; a penalty of 1e-5 moves it by far less than sampling does.
    "learned": sel.learned_detector(lambda x: jnp.stack([x, x**2], axis=1), ridge=1e-5),
}


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS)
def test_weights_of_a_calibrated_detector_restore_the_moments_of_the_truth(detector):
    selection, moments = sel.importance_resampled(detector), []
    apply = jax.jit(lambda candidates: selection.weigh(jax.random.key(0), candidates, candidates, (), 1.0))
    for seed in range(50):
        candidates = mixed(seed, 4000)
        a = np.asarray(apply(candidates), float)
        x = np.asarray(candidates.examples, float)
        moments.append([a @ x / a.sum(), a @ x**2 / a.sum()])
    # The ratio of sums has a bias of order 1/n = 1/4000, a tenth of the standard error of order (50 n)^(-1/2).
    assert np.abs(z_of(moments, [0.0, 1.0])).max() < 4


def test_with_exact_posteriors_a_recursion_stays_at_the_truth():
    """At exponent 1 each model is fitted to its fresh real examples alone, whatever the machine makes of the rest."""
    samples, seeds = 20, 1000
    plan = make_plan(REGIMES["real_fraction_fresh"], 3, samples, 0.5)
    selection = sel.importance_resampled(sel.empirical_detector())
    process = make_recursion(categorical(3), plan, P, decoding=["temperature"], reweigh=selection)
    dataset = cj.sweep(process, {"temperature": [0.5], "seed": range(seeds)}, progress=False)
    got = dataset["mean"].isel(temperature=0).values.astype(float)
    assert np.abs(z_of(got, P)).max() < 4
    # Real examples: all M in generation 1, a half from then on.
    real = np.array([20, 10, 10])[:, None]
    assert np.abs(z_of((got - P) ** 2, P * (1 - P) / real)).max() < 4


def test_the_exponent_is_a_power_of_the_chance_of_being_real():
    candidates = mixed(11)
    p = np.asarray(DETECTORS["calibrated"](jax.random.key(0), candidates), float)
    for exponent in (0.0, 0.5, 2.0):
        got = weigh(sel.importance_resampled(DETECTORS["calibrated"]), candidates, exponent=exponent)
        np.testing.assert_allclose(got, np.asarray(candidates.weights) * (1 - p) ** exponent, rtol=1e-4, atol=1e-7)


# Novelty and correction


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0, 100.0])
def test_the_novelty_filter_is_a_greedy_loop(threshold):
    rng = np.random.default_rng(7)
    x, known = rng.normal(size=(40, 2)), rng.normal(size=(15, 2))
    weights, pool_weights = rng.choice([0.0, 0.5, 1.0], size=40), rng.choice([0.0, 1.0], size=15)
    want = np.zeros(40)
    kept = [y for y, w in zip(known, pool_weights, strict=True) if w > 0]
    for i in range(40):
        if weights[i] > 0 and all(np.hypot(*(x[i] - y)) >= threshold for y in kept):
            want[i] = weights[i]
            kept.append(x[i])
    selection = sel.novel(lambda a, b: jnp.sqrt(((a["x"] - b["x"]) ** 2).sum()))
    candidates = candidates_of({"x": jnp.array(x, jnp.float32)}, weights)
    pool = candidates_of({"x": jnp.array(known, jnp.float32)}, pool_weights)
    np.testing.assert_array_equal(weigh(selection, candidates, pool, threshold=threshold), want)


def test_a_selection_sees_what_may_train_the_next_generation_and_nothing_else():
    """Slots that are not yet written, and what smaller members don't use, are not part of the pool."""
    seen = []

    def spy(key, candidates, pool, memory, mark):
        jax.debug.callback(lambda *values: seen.append(jax.tree.map(np.asarray, values)), mark, candidates, pool)
        return candidates.weights

    selection = Selection("spy", spy, defaults={"mark": 0.0})
    plan = make_plan([REGIMES["accumulate"], REGIMES["replace"]], 4, [2, 5])
    process = make_recursion(
        categorical(9), plan, truth=lambda key, n: jnp.full(n, 8, jnp.int32), curate=selection, measure=mean_token
    )
    axes = {"regime": plan.axes["regime"], "samples": plan.axes["samples"], "seed": [0]}
    cj.sweep(process, axes, progress=False)
    jax.effects_barrier()
    assert len(seen) == 16
    sizes = []
    for _, candidates, pool in seen:
        counted = pool.weights > 0
        assert (pool.examples[counted] == 8).all()
        now = candidates.generation[0]
        assert (pool.generation[counted] < now).all()
        sizes.append((int(now), int(counted.sum())))
    # Accumulate: M from each source before; replace: none of what came before.
    for now in (1, 2, 3):
        assert sorted(size for t, size in sizes if t == now) == [0, 0, 2 * now, 5 * now]


def mean_token(key, p):
    return {"mean": p @ jnp.arange(9.0)}


@pytest.mark.parametrize("correction", [0.0, 0.25, 1.0])
def test_correction_moves_towards_the_nearest_centre(correction):
    rng = np.random.default_rng(8)
    x, centres = rng.normal(size=(30, 3)).astype("f4"), rng.normal(size=(4, 3)).astype("f4")
    want = [a + correction * (min(centres, key=lambda c: np.linalg.norm(a - c)) - a) for a in x]
    selection = sel.self_correcting(centres)
    candidates = candidates_of(jnp.array(x), rng.uniform(size=30))
    got = selection.correct(candidates.examples, candidates, correction=correction)
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_array_equal(weigh(selection, candidates), candidates.weights)


def test_correction_towards_zero_shrinks_a_gaussian_by_its_square():
    """With one centre at 0 each generation emits (1-γ)x, so that E σ_t² = (1-γ)^(2(t-1)) (1-1/M)^t."""
    plan = make_plan(REGIMES["replace"], 3, 6)
    process = make_recursion(gaussian(), plan, curate=sel.self_correcting(np.zeros((1, 1))))
    dataset = cj.sweep(process, {"correction": [0.3], "seed": range(3000)}, progress=False)
    t = np.arange(1, 4)
    want = 0.7 ** (2 * (t - 1)) * (1 - 1 / 6) ** t
    assert np.abs(z_of(dataset.variance.isel(correction=0).values, want)).max() < 4


def test_found_centres_are_the_means_of_their_clusters():
    rng = np.random.default_rng(9)
    x = np.concatenate([rng.normal(size=(50, 2)), rng.normal(20.0, 1.0, size=(70, 2))]).astype("f4")
    for number in (1, 2, 5):
        centres = np.asarray(sel.find_centres(jax.random.key(3), jnp.array(x), number))
        nearest = np.argmin(((x[:, None] - centres[None]) ** 2).sum(-1), axis=1)
        for k in range(number):
            np.testing.assert_allclose(centres[k], x[nearest == k].mean(axis=0), rtol=1e-4, atol=1e-4)


# Composition


def test_a_composition_keeps_the_best_of_the_right_ones():
    selection = sel.compose(sel.verified(lambda token: token < 2), sel.best_of(reward, 3))
    assert selection.oversample == 3
    examples, kept = survivors(selection, 6, 5000)
    law = chosen_law(3, lambda group: [1.0 if i == best(group) else 0.0 for i in range(3)])
    wrong = P[2] ** 3
    count = np.stack([((examples == token) & (kept > 0)).sum(axis=1) for token in range(3)], axis=1)
    assert np.abs(z_of(count, 6 * law)).max() < 4
    assert law.sum() == pytest.approx(1 - wrong)


def best(group):
    right = [i for i, token in enumerate(group) if token < 2]
    return max(right, key=lambda i: (REWARD[group[i]], -i)) if right else -1


def test_a_composition_merges_parameters_and_corrects_in_order():
    double = Selection("double", lambda key, c, pool, memory: 2 * c.weights, correct=lambda x, pool: 2 * x)
    both = sel.compose(sel.self_correcting(np.zeros((1, 1))), double, sel.verified(lambda x: x[:, 0] > 0))
    assert dict(both.defaults) == {"correction": 0.5, "right": 1.0, "wrong": 0.0}
    assert set(both.ranges) == {"correction", "right", "wrong"}
    candidates = candidates_of(jnp.array([[1.0], [-3.0]]))
    corrected = both.correct(candidates.examples, candidates, **{**both.defaults, "correction": 0.25})
    np.testing.assert_allclose(corrected, [[1.5], [-4.5]])
    np.testing.assert_array_equal(weigh(both, candidates), [2.0, 0.0])
    assert sel.compose(double, sel.verified(lambda x: x)).correct is not None
    assert sel.compose(sel.verified(lambda x: x)).correct is None


# In recursions


def test_curation_in_a_recursion_has_the_expected_share_at_any_size():
    """From generation 1 to 2: E p₂ = p + p(1-p)(1-1/M) tanh(Δ/2), for every size of one plan."""
    sizes, p = [5, 20], np.array([0.7, 0.3])
    plan = make_plan(REGIMES["replace"], 2, sizes)
    preference = sel.curated(lambda token: token.astype(float))
    process = make_recursion(categorical(2), plan, p, curate=preference)
    axes = {"samples": plan.axes["samples"], "strength": [2.0], "seed": range(3000)}
    dataset = cj.sweep(process, axes, progress=False)
    for size in sizes:
        got = dataset["mean"].sel(samples=size, strength=2.0).isel(generation=1, dim=1).values
        assert np.abs(z_of(got, 0.3 + 0.21 * (1 - 1 / size) * np.tanh(1.0))) < 4, size


def test_the_best_of_k_again_and_again():
    times, choose_from, samples = 3, 2, 2000
    process = make_recursion(
        categorical(3), make_plan(REGIMES["replace"], times, samples), P, curate=sel.best_of(reward, choose_from)
    )
    got = cj.sweep(process, {"seed": range(30)}, progress=False)["mean"].values
    order = np.argsort(REWARD)
    below = np.cumsum(got[..., order], axis=-1)[..., :2]
    powers = choose_from ** np.arange(times)
    # The bias, of order K^(2t)/M, is a tenth of the standard error.
    assert np.abs(z_of(below, np.cumsum(P[order])[None, :2] ** powers[:, None])).max() < 4


def test_curation_beside_real_data_settles_at_the_fixed_point():
    eta, gap, q, samples = 0.5, 2.0, 0.3, 2000
    plan = make_plan(REGIMES["real_fraction_fresh"], 20, samples, 1 - eta)
    process = make_recursion(
        categorical(2), plan, np.array([1 - q, q]), curate=sel.curated(lambda token: gap * token.astype(float))
    )
    got = cj.sweep(process, {"seed": range(30)}, progress=False)["mean"].isel(generation=-1, dim=1).values
    s = np.tanh(gap / 2)
    root = np.sqrt((eta * s - 1 + eta) ** 2 + 4 * eta * s * (1 - eta) * q)
    # The bias, of order 1/M, is a hundredth of the standard error.
    assert np.abs(z_of(got, (eta * s - (1 - eta) + root) / (2 * eta * s))) < 4


def test_a_selection_of_ones_own():
    """Keep even tokens, with a chance of one's own."""
    rule = Selection(
        "even",
        lambda key, candidates, pool, memory, odd: (
            jnp.where(candidates.examples % 2 == 0, 1.0, odd) * candidates.weights
        ),
        defaults={"odd": 0.0},
        ranges={"odd": (0.0, 1.0)},
    )
    process = make_recursion(categorical(6), make_plan(REGIMES["replace"], 3, 20), curate=rule)
    dataset = cj.sweep(process, {"odd": [0.0, 1.0], "seed": range(4)}, progress=False)
    assert (dataset["mean"].sel(odd=0.0).isel(generation=slice(1, None), dim=[1, 3, 5]) == 0).all()
    assert (dataset["mean"].sel(odd=1.0).isel(dim=[1, 3, 5]).sum("dim") > 0).any()
    with pytest.raises(ValueError, match="odd"):
        cj.sweep(process, {"odd": [1.5], "seed": [0]}, progress=False)


def plain_selection(**fields):
    """A selection with functions of every kind that a user may write: a function, a lambda, a partial, a method."""

    def weigh(key, candidates, pool, memory, strength):
        return candidates.weights + strength * memory

    class Learner:
        def learn(self, key, candidates, pool, memory, strength):
            return memory + 1.0

    return Selection(
        **{
            "name": "plain",
            "weigh": weigh,
            "defaults": {"strength": 1.0},
            "correct": lambda examples, pool, strength: examples,
            "start": lambda key, real, **_: jnp.float32(0.0),
            "learn": Learner().learn,
            "inspect": partial(lambda scale, *given, **_: {"memory": scale * given[3]}, 2.0),
            **fields,
        }
    )


def recursion_of(selection):
    return make_recursion(categorical(6), make_plan(REGIMES["replace"], 3, 20), curate=selection)


@pytest.mark.parametrize("around", [lambda one: one, lambda one: sel.compose(one, sel.verified(lambda x: x >= 0))])
def test_plain_functions_make_a_selection(around):
    found = cj.sweep(recursion_of(around(plain_selection())), {}, progress=False)
    np.testing.assert_array_equal(found["memory"], [0.0, 2.0, 4.0])


def test_without_a_start_the_memory_is_an_empty_tuple():
    memories = []

    def weigh(key, candidates, pool, memory):
        memories.append(memory)
        return candidates.weights

    alone = Selection("alone", weigh)
    for one in (alone, sel.compose(alone), sel.alternatives({"it": alone}), sel.compose(alone, judged())):
        memories.clear()
        cj.sweep(recursion_of(one), {}, progress=False)
        assert memories
        assert set(memories) == {()}


def judged():
    """A selection with a memory that oversamples nothing."""
    return plain_selection(name="judged")


@pytest.mark.parametrize("field", ["weigh", "correct", "start", "learn", "inspect"])
def test_what_is_no_function_is_refused_by_the_name_of_its_field(field):
    with pytest.raises(ValueError, match=rf"curate\.{field} is 3; Selection needs .*a function"):
        recursion_of(plain_selection(**{field: 3}))


def test_a_selection_that_takes_no_memory_is_refused_by_name():
    three = Selection("three", lambda key, candidates, pool: candidates.weights)
    for use in (recursion_of, sel.compose, lambda one: sel.alternatives({"it": one})):
        with pytest.raises(
            ValueError, match="weigh of selection 'three' can't be called with key, candidates, pool, mem"
        ):
            use(three)


def test_a_parameter_that_a_selection_does_not_name_is_missed_at_the_door():
    with pytest.raises(ValueError, match=r"with key, candidates, pool, memory, slope: .*'strength'"):
        recursion_of(
            Selection("mine", lambda key, candidates, pool, memory, strength: candidates.weights, {"slope": 1.0})
        )


@pytest.mark.parametrize("argument", ["measure", "inspect"])
def test_a_function_of_other_arguments_is_refused_by_name(argument):
    with pytest.raises(ValueError, match=rf"{argument} is .*lambda.*; make_recursion needs a function of . arguments"):
        make_recursion(categorical(6), make_plan(REGIMES["replace"], 3, 20), **{argument: lambda one: {}})


# Refusals

REFUSED = {
    "choose_from is 1": lambda: sel.curated(reward, 1),
    "reward is 'mean'": lambda: numbers.function("reward", "mean"),
    "choose_from is 2.0": lambda: numbers.whole("choose_from", 2.0, 2),
    "choose_from is True": lambda: sel.best_of(reward, True),
    "oversample is 1": lambda: sel.top_share(reward, 1),
    "oversample is 0": lambda: sel.verified(lambda x: x, oversample=0),
    "ranges name": lambda: sel.accepted(lambda x: x, ranges={"slope": (0.0, 1.0)}),
    "threshold is -1": lambda: sel.novel(lambda x, y: x, threshold=-1.0),
    "threshold is nan": lambda: sel.novel(lambda x, y: x, threshold=math.nan),
    "steps is 0": lambda: sel.learned_detector(lambda x: x, steps=0),
    "ridge is 0": lambda: sel.learned_detector(lambda x: x, ridge=0.0),
    r"centres have shape \(3,\)": lambda: sel.self_correcting(np.zeros(3)),
    "finite": lambda: sel.self_correcting(np.array([[np.nan]])),
    "number is 4": lambda: sel.find_centres(jax.random.key(0), jnp.zeros((3, 1)), 4),
    "at least one": lambda: sel.compose(),
    "share the parameters right, wrong": lambda: sel.compose(sel.verified(reward), sel.verified(reward)),
    "all oversample": lambda: sel.compose(sel.curated(reward), sel.best_of(reward, 3)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_arguments_are_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


@pytest.mark.parametrize(
    ("selection", "name", "value"),
    [
        (sel.curated(reward), "strength", -1.0),
        (sel.verified(lambda x: x > 0), "right", 1.5),
        (sel.verified(lambda x: x > 0), "wrong", -0.1),
        (sel.novel(lambda x, y: jnp.abs(x - y).astype(float)), "threshold", -1.0),
    ],
)
def test_sweeps_out_of_range_are_refused(selection, name, value):
    process = make_recursion(categorical(3), make_plan(REGIMES["replace"], 2, 4), curate=selection)
    with pytest.raises(ValueError, match=name):
        cj.sweep(process, {name: [value], "seed": [0]}, progress=False)
