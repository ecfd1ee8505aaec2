"""The laws of labels that say more than an order, against closed forms, other solvers and trained rewards."""

import itertools

import numpy as np
import pytest
import scipy
from scipy.special import expit

import collapse_jax as cj
from collapse_jax import plotting
from collapse_jax.reward.laws.weighted_program import PlackettLuceProgram, WeightedProgram
from collapse_jax.reward.two_sided import on_both_sides

RNG = np.random.default_rng(7)
LOG_SIGMOID = cj.choose(cj.UTILITIES["log_sigmoid"])
EIGHT = np.linspace(1.0, -1.0, 8)


def slow(*params):
    return pytest.param(*params, marks=pytest.mark.slow)


def probabilities(strengths):
    """Return the wins of Bradley and Terry's model."""
    strengths = np.asarray(strengths)
    wins = expit(strengths[:, None] - strengths)
    return wins * ~np.eye(len(strengths), dtype=bool)


def random_wins(n, compared=0.7):
    chance = RNG.uniform(size=(n, n))
    wins = np.triu(chance, 1) + np.tril(1 - chance.T, -1)
    there = np.triu(RNG.uniform(size=(n, n)) < compared, 1)
    there[np.arange(n - 1), np.arange(1, n)] = True
    return wins * (there | there.T)


def by_loops(fn, rewards, weights, margins=None, centring=0.0, centre=0.5):
    total = 0.0
    for i, j in itertools.permutations(range(len(rewards)), 2):
        gap = rewards[i] - rewards[j] - (0 if margins is None else margins[i, j])
        total += weights[i, j] * (fn(gap) - centring * (rewards[i] + rewards[j] - 2 * centre) ** 2)
    return total / weights.sum()


def log_sigmoid(scale):
    return lambda gap: -np.logaddexp(0.0, -gap / scale)


def test_rewards_follow_strengths_within_reach_and_not_the_tangents_steps():
    law = cj.finite_law(LOG_SIGMOID, 8, weights=probabilities(EIGHT))
    np.testing.assert_allclose(-np.diff(law.rewards), 0.25 * 2 / 7, atol=1e-12)
    assert law.rewards.mean() == pytest.approx(0.5, abs=1e-12)
    assert 0 <= law.gap < 1e-12
    # With a tangent below gap 0 the steps would be .104.
    tangent = lambda gap: np.where(gap > 0, log_sigmoid(0.25)(gap), -np.log(2) + 2 * gap)  # noqa: E731
    steps = scipy.optimize.minimize_scalar(
        lambda step: -by_loops(tangent, 0.5 + np.arange(3.5, -4, -1) * step, probabilities(EIGHT)), (0.05, 0.1)
    )
    assert steps.x == pytest.approx(0.104, abs=5e-4)


@pytest.mark.parametrize("strengths", [[0.7, 0.4, -0.3, -1.0], [2.0, 2.0, -2.0], [0.0, 0.0]])
def test_any_strengths_within_reach_are_followed_and_ties_are_ties(strengths):
    law = cj.finite_law(LOG_SIGMOID, len(strengths), weights=probabilities(strengths))
    want = 0.25 * np.array(strengths)
    want += np.clip(0.5 - want.mean(), -want.min(), 1 - want.max())
    np.testing.assert_allclose(law.rewards, want, atol=1e-12)


def test_strengths_out_of_reach_are_clipped_and_wide_ones_tend_to_the_law_of_orders():
    orders = cj.finite_law(LOG_SIGMOID, 8).rewards
    distances = []
    for spread in (4, 8, 16, 32):
        law = cj.finite_law(LOG_SIGMOID, 8, weights=probabilities(spread * EIGHT))
        assert (law.rewards[0], law.rewards[-1]) == (1.0, 0.0)
        assert 0 <= law.gap < 1e-12
        distances.append(np.abs(law.rewards - orders).max())
    assert (np.diff(distances) < 0).all()
    assert distances[-1] < 1e-5 < distances[0]


@pytest.mark.parametrize(
    "name",
    ["log_sigmoid", "linear", *(slow(one) for one in ("exponential", "quadratic", "smoothed_log_sigmoid"))],
)
def test_steps_are_bounded_by_slope_and_curvature(name):
    choice = cj.choose(cj.UTILITIES[name])
    function = on_both_sides(choice)
    grid = np.linspace(-1, 1, 2001)
    most, least = function.slope(grid).max(), (-function.curvature(grid)).min()
    strengths = np.sort(RNG.uniform(-0.3, 0.3, size=6))[::-1]
    law = cj.finite_law(choice, 6, weights=probabilities(strengths))
    assert law.gap < 1e-12
    bound = np.inf if least == 0 else most / (2 * least)
    for i, j in itertools.combinations(range(6), 2):
        assert 0 <= law.rewards[i] - law.rewards[j] <= bound * (strengths[i] - strengths[j]) + 1e-9


@pytest.mark.parametrize("centring", [0.0, 0.4])
@pytest.mark.parametrize("margins", [False, True])
@pytest.mark.parametrize("n", [3, slow(6)])
def test_the_law_is_what_another_solver_finds(n, margins, centring):
    for scale in (0.1, 0.5):
        weights = random_wins(n)
        margin = RNG.uniform(0, 0.5, size=(n, n)) if margins else None
        law = cj.finite_law(
            cj.UTILITIES["log_sigmoid"], n, weights=weights, margins=margin, centring=centring, scale=scale
        )
        found = scipy.optimize.minimize(
            lambda r, w=weights, m=margin, s=scale: -by_loops(log_sigmoid(s), r, w, m, centring),
            np.full(n, 0.5),
            method="SLSQP",
            bounds=[(0, 1)] * n,
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert law.value == pytest.approx(by_loops(log_sigmoid(scale), law.rewards, weights, margin, centring))
        assert 0 <= law.gap < 1e-12
        assert -found.fun <= law.value + 1e-12
        assert law.value + found.fun < 1e-7
        shift = 0.0 if centring else (law.rewards - found.x).mean()
        if np.abs(found.x - 0.5).max() < 0.5:  # else the shift isn't free
            np.testing.assert_allclose(law.rewards - shift, found.x, atol=2e-4)


def test_margins_one_way_take_the_tangent_below_gap_zero_as_they_are_trained():
    weights, margins = np.triu(np.ones((3, 3)), 1), np.full((3, 3), 0.8)
    law = cj.finite_law(LOG_SIGMOID, 3, weights=weights, margins=margins)
    fn = lambda gap: np.where(gap > 0, log_sigmoid(0.25)(gap), -np.log(2) + 2 * gap)  # noqa: E731
    for middle in np.linspace(0, 1, 21):
        assert by_loops(fn, np.array([1.0, middle, 0.0]), weights, margins) <= law.value + 1e-12
    assert law.value == pytest.approx(by_loops(fn, law.rewards, weights, margins), abs=1e-12)
    alone = cj.finite_law(LOG_SIGMOID, 3, margins=margins)
    np.testing.assert_array_equal(alone.rewards, law.rewards)


@pytest.mark.parametrize("centring", [0.0, 0.5])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("log_sigmoid", {}),
        slow("inverse_power", {"offset": 0.1}),
        slow("exponential", {"scale": 0.1}),
        slow("log", {"min_gap": 0.05}),
        slow("quadratic", {"b": 2.5}),
    ],
)
def test_the_weights_of_orders_have_the_law_of_orders(name, params, centring):
    for n in (2, 5, 8):
        orders = cj.finite_law(cj.UTILITIES[name], n, centring=centring, **params)
        law = cj.finite_law(cj.UTILITIES[name], n, centring=centring, weights=np.triu(np.ones((n, n)), 1), **params)
        np.testing.assert_allclose(law.rewards, orders.rewards, atol=1e-9)
        assert law.value == pytest.approx(orders.value, abs=1e-12)


def test_of_many_optima_the_law_is_the_nearest_to_a_half():
    # Items 0 and 1 are compared with each other alone, item 4 with none; 2 beats 3 as often as the reverse.
    weights = np.zeros((5, 5))
    weights[0, 1], weights[1, 0] = 0.8, 0.2
    weights[2, 3] = weights[3, 2] = 0.5
    law = cj.finite_law(LOG_SIGMOID, 5, weights=weights)
    half = 0.125 * np.log(4)
    np.testing.assert_allclose(law.rewards, [0.5 + half, 0.5 - half, 0.5, 0.5, 0.5], atol=1e-12)
    linear = cj.finite_law(cj.UTILITIES["linear"], 5, weights=weights)
    np.testing.assert_allclose(linear.rewards, [1.0, 0.0, 0.5, 0.5, 0.5], atol=1e-12)


def test_plackett_luce_has_one_skewed_law():
    law = cj.finite_law(LOG_SIGMOID, 8, pairs="plackett_luce")
    np.testing.assert_allclose(law.rewards, [1, 1, 0.8443, 0.6454, 0.4465, 0.2477, 0.0488, 0], atol=5e-5)
    formula = [r / 0.25 - scipy.special.logsumexp(law.rewards[k:] / 0.25) for k, r in enumerate(law.rewards)]
    assert law.value == pytest.approx(np.sum(formula) / 7, abs=1e-12)
    assert 0 <= law.gap < 1e-12
    two = cj.finite_law(LOG_SIGMOID, 2, pairs="plackett_luce")
    assert two.value == pytest.approx(cj.finite_law(LOG_SIGMOID, 2).value)
    for rewards in RNG.uniform(size=(20, 8)):
        value = cj.reward.objective(LOG_SIGMOID, rewards, pairs="plackett_luce")
        bound = cj.reward.certified_gap(LOG_SIGMOID, rewards, pairs="plackett_luce")
        assert 0 <= law.value - value <= bound


@pytest.mark.slow
def test_plackett_luce_of_another_utility_is_what_another_solver_finds():
    def value(r):
        odds = [np.expm1(np.exp(-(a - r[k + 1 :]) / 0.5)) for k, a in enumerate(r[:-1])]
        penalty = np.mean([(a + b - 1) ** 2 for a, b in itertools.combinations(r, 2)])
        return -np.mean([np.log1p(one.sum()) for one in odds]) - 0.2 * penalty

    law = cj.finite_law(cj.UTILITIES["exponential"], 5, pairs="plackett_luce", centring=0.2, scale=0.5)
    found = scipy.optimize.minimize(
        lambda r: -value(r), np.linspace(0.8, 0.2, 5), method="SLSQP", bounds=[(0, 1)] * 5, options={"ftol": 1e-13}
    )
    assert law.value == pytest.approx(value(law.rewards), abs=1e-12)
    assert 0 <= law.value + found.fun < 1e-8
    np.testing.assert_allclose(law.rewards, found.x, atol=1e-4)


@pytest.mark.parametrize("centring", [0.0, 0.3])
def test_gradients_and_hessians_are_differences(centring):
    function = on_both_sides(LOG_SIGMOID)
    weights = random_wins(5)
    rewards, step = RNG.uniform(size=5), 1e-6 * np.eye(5)
    for program in (
        WeightedProgram(function, weights / weights.sum(), RNG.uniform(size=(5, 5)), centring, 0.5),
        PlackettLuceProgram(function, 5, centring, 0.0),
    ):
        slope = [(program.value(rewards + d) - program.value(rewards - d)) / 2e-6 for d in step]
        bend = [(program.gradient(rewards + d) - program.gradient(rewards - d)) / 2e-6 for d in step]
        np.testing.assert_allclose(program.gradient(rewards), slope, atol=1e-8)
        np.testing.assert_allclose(program.hessian(rewards), -np.array(bend), atol=1e-7)


def test_graded_logits_are_the_strengths_however_wide():
    strengths = np.array([9.0, 3.0, 2.5, -4.0, -10.5])
    law = cj.finite_law(cj.UTILITIES["log_sigmoid"], 5, weights=probabilities(strengths), bounded=False, scale=1.0)
    np.testing.assert_allclose(law.rewards, strengths, atol=1e-6)
    assert 0 <= law.gap < 1e-12


@pytest.mark.parametrize("scale", [0.3, slow(0.6)])
def test_logits_with_centring_are_the_law_of_the_box_where_that_does_not_bind(scale):
    box = cj.finite_law(cj.UTILITIES["log_sigmoid"], 6, scale=scale, centring=4.0)
    assert 0 < box.rewards[-1] < box.rewards[0] < 1
    logits = cj.finite_law(cj.UTILITIES["log_sigmoid"], 6, scale=1.0, centring=4.0 * scale**2, bounded=False)
    np.testing.assert_allclose(0.5 + scale * logits.rewards, box.rewards, atol=1e-9)
    assert logits.value == pytest.approx(box.value, abs=1e-12)
    assert 0 <= logits.gap < 1e-12
    smoothed = cj.finite_law(cj.UTILITIES["smoothed_log_sigmoid"], 6, bounded=False)
    graded = 0.9 * np.triu(np.ones((6, 6)), 1) + 0.1 * np.tril(np.ones((6, 6)), -1)
    same = cj.finite_law(cj.UTILITIES["log_sigmoid"], 6, weights=graded, bounded=False, scale=1.0)
    np.testing.assert_allclose(smoothed.rewards, same.rewards, atol=1e-9)


PAIR = np.array([[0.0, 1.0], [0.0, 0.0]])
SPLIT = np.kron(np.eye(2), np.array([[0.0, 0.7], [0.3, 0.0]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_items": 4}, "orders alone drive logits to infinity: give centring > 0, graded labels .* or bounded=True"),
        ({"n_items": 2, "weights": PAIR}, "orders alone drive logits to infinity"),
        ({"n_items": 2, "centring": 1.0}, "centring holds the sum of a pair and not its gap"),
        ({"n_items": 4, "pairs": "star", "centring": 1.0}, "centring holds the sum of a pair and not its gap"),
        ({"n_items": 4, "pairs": "plackett_luce"}, "orders of more than two items need centring > 0"),
        ({"n_items": 4, "utility": cj.choose(cj.UTILITIES["linear"])}, "its slope is above 0 at any gap"),
    ],
)
def test_logits_without_an_optimum_are_refused_with_what_to_give(options, message):
    with pytest.raises(ValueError, match=f"logits have no optimum under .*: {message}"):
        cj.finite_law(**{"utility": LOG_SIGMOID, "bounded": False, **options})


def test_logits_have_an_optimum_where_wins_lead_round_or_centring_binds():
    ring = np.roll(np.eye(3), 1, axis=1)
    np.testing.assert_allclose(cj.finite_law(LOG_SIGMOID, 3, weights=ring, bounded=False).rewards, 0, atol=1e-9)
    two = cj.finite_law(LOG_SIGMOID, 4, weights=SPLIT, bounded=False)
    np.testing.assert_allclose(two.rewards, np.tile([1, -1], 2) * 0.125 * np.log(7 / 3), atol=1e-9)
    linear = cj.finite_law(cj.UTILITIES["linear"], 3, centring=1.0, bounded=False)
    np.testing.assert_allclose(linear.rewards, [1, 0, -1], atol=1e-9)
    plackett_luce = cj.finite_law(LOG_SIGMOID, 3, pairs="plackett_luce", centring=1.0, bounded=False)
    assert np.isnan(plackett_luce.gap)
    centred = cj.finite_law(LOG_SIGMOID, 2, weights=SPLIT[:2, :2], centring=1.0, bounded=False)
    np.testing.assert_allclose(centred.rewards, [0.125 * np.log(7 / 3), -0.125 * np.log(7 / 3)], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "params", "weights", "message"),
    [
        ("log", {"offset": 0.1}, SPLIT, r"log\(offset=0.1\) is for gaps above 0 alone"),
        ("log", {}, np.triu(np.ones((4, 4)), 1), "log has an infinite slope at gap 0"),
        ("hinge", {}, SPLIT, "hinge has a kink at gap 0.5"),
        ("power", {"gamma": 2.0}, SPLIT, r"power\(gamma=2\) is convex"),
        ("log_sigmoid", {"min_gap": 0.1}, SPLIT, "min_gap is 0.1; it must be 0 here"),
        ("log_sigmoid", {}, SPLIT[:3, :3], r"weights have the shape \(3, 3\) beside n_items = 4"),
        ("log_sigmoid", {}, -SPLIT, "weights have -0.7; they must be finite numbers >= 0"),
        ("log_sigmoid", {}, np.eye(4), "weights have 1 on the diagonal, of an item over itself; it must be 0"),
    ],
)
def test_weights_that_have_no_law_are_refused_by_name(name, params, weights, message):
    with pytest.raises(ValueError, match=message):
        cj.finite_law(cj.UTILITIES[name], 4, weights=weights, **params)


TYPES = ("open", "closed")
STRENGTHS = np.array([[0.6, 0.2, -0.8], [3.0, 0.0, -3.0], [0.5, -0.5, 0.0]])
MASK = np.array([[True] * 3, [True] * 3, [True, True, False]])


def labelled(prompts=slice(None), **labels):
    features = np.eye(9, dtype=np.float32).reshape(3, 3, 9)[prompts]
    return cj.make_rankings(features, MASK[prompts], np.array([0, 1, 0])[prompts], TYPES, **labels)


WINS = np.stack([probabilities(one) for one in STRENGTHS]) * MASK[:, :, None] * MASK[:, None]
SCHEMES = cj.make_schemes({"one": LOG_SIGMOID, "two": cj.choose(cj.UTILITIES["quadratic"])}, TYPES)
PLAN = cj.reward.Training(steps=1500, records=3)
FREE = {**cj.reward.ADAMW_HYPER, "learning_rate": 0.1, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def graded():
    process = cj.make_training(labelled(wins=WINS), cj.mlp(()), SCHEMES, training=PLAN, hyper=FREE)
    return cj.sweep(process, {"seed": [0, 1]}, progress=False), cj.reward.predict_labelled(labelled(wins=WINS), SCHEMES)


def test_trained_rewards_follow_each_prompts_own_law(graded):
    dataset, laws = graded
    assert dataset["trained_labels"] == "graded"
    last = dataset.isel(step=-1)
    shift = (last["rewards"] - laws["rewards"]).mean("item").clip(laws["shift_low"], laws["shift_high"])
    assert float(abs(last["rewards"] - laws["rewards"] - shift).max()) < 0.02
    assert float(abs(shift).sel(utility="one").max()) > 0.05  # nothing draws them to the middle
    assert ((last["objective"] <= laws["value"] + 1e-5) & (last["objective"] >= laws["value"] - 5e-3)).all()
    assert (laws["value"] - last["objective"] <= last["gap"] + 1e-5).all()
    assert np.isnan(laws["rewards"][:, 2, 2]).all()
    found = cj.reward.summarize_labelled(dataset, laws).isel(step=-1).sel(split="train")
    assert float(found["law_distance"].max()) < 0.01
    np.testing.assert_allclose(
        found["prompt_spread"], found["law_prompt_spread"].broadcast_like(found["prompt_spread"]), atol=0.01
    )
    right = [(WINS[p] * (STRENGTHS[p][:, None] > STRENGTHS[p])).sum() / WINS[p].sum() for p in range(3)]
    np.testing.assert_allclose(found["accuracy"], np.mean(right), atol=1e-6)


def test_items_that_no_comparison_leads_between_are_shifted_by_themselves():
    wins = np.zeros((1, 4, 4))
    for i, j in ((0, 2), (1, 3)):  # two pairs of other answers to one prompt
        wins[0, i, j], wins[0, j, i] = 0.7, 0.3
    rankings = cj.make_rankings(np.eye(4)[None], np.ones((1, 4), bool), np.zeros(1, int), wins=wins)
    schemes = cj.make_schemes({"one": cj.choose(cj.UTILITIES["log_sigmoid"], scale=0.25)})
    laws = cj.reward.predict_labelled(rankings, schemes)
    process = cj.make_training(rankings, cj.mlp(()), schemes, training=cj.reward.Training(steps=2, records=1))
    trained = cj.sweep(process, {"seed": [0]}, progress=False)
    law = laws["rewards"].to_numpy()[0, 0]
    assert laws["group"].to_numpy().tolist() == [[0, 1, 0, 1]]
    # An optimum, of which the second pair lies higher than it can: by 0.5, where the box ends at less.
    at = np.array([0.1, 0.5, 0.1, 0.5])
    most = np.array([0.1, 1 - law[1], 0.1, 1 - law[1]])
    for moved, left in ((most, 0.0), (at, float(np.abs(at - most).mean()))):
        found = cj.reward.summarize_labelled(trained.assign(rewards=0 * trained["rewards"] + law + moved), laws)
        np.testing.assert_allclose(found["law_distance"], left, atol=1e-6)
    centred = cj.reward.predict_labelled(rankings, schemes, centring=0.1)
    assert not centred["shift_low"].any()
    assert not centred["shift_high"].any()


def test_laws_of_labels_and_of_orders_are_not_taken_for_each_other(graded):
    dataset, laws = graded
    orders = cj.predict_rewards(SCHEMES, [2, 3])
    message = "predicted is for orders labels; the sweep was trained on graded labels, by which each prompt has a law"
    with pytest.raises(ValueError, match=message):
        cj.summarize_rewards(dataset, orders)
    with pytest.raises(ValueError, match=message):
        plotting.reward_curves(dataset, orders)
    for take in (cj.summarize_rewards, plotting.reward_curves):
        with pytest.raises(ValueError, match="predicted has each prompt's own law"):
            take(dataset, laws)
    plain = dataset.drop_vars("trained_labels")
    with pytest.raises(ValueError, match="laws is for graded labels; the sweep was trained on orders labels"):
        cj.reward.summarize_labelled(plain, laws)
    with pytest.raises(ValueError, match="laws are for other prompts than those of the sweep"):
        cj.reward.summarize_labelled(dataset, laws.isel(prompt=[0, 1]))
    logits = cj.reward.predict_labelled(labelled(wins=WINS), SCHEMES, bounded=False)
    with pytest.raises(ValueError, match=r"laws has bounded = False; the sweep is of rewards in \[0, 1\]"):
        cj.reward.summarize_labelled(dataset, logits)
    with pytest.raises(ValueError, match="the sweep is of raw logits: give predict_labelled bounded=False"):
        cj.reward.summarize_labelled(dataset.assign_coords(trained_bounded=False), laws)
    other = cj.reward.predict_labelled(labelled(wins=WINS), SCHEMES, scale=0.5)
    with pytest.raises(ValueError, match=r"with scale = 0\.5 in 'one'"):
        cj.reward.summarize_labelled(dataset, other)


def test_predicted_prompts_have_their_own_numbers_splits_and_parameters():
    train, test = labelled(slice(2), wins=WINS[:2]), labelled(slice(2, 3))
    laws = cj.reward.predict_labelled(train, SCHEMES, test=test, centring=[0.0, 1.0], scale=0.5)
    assert laws["prompt_split"].to_numpy().tolist() == ["train", "train", "test"]
    assert laws["prompt_items"].to_numpy().tolist() == [3, 3, 2]
    for centring in (0.0, 1.0):
        want = cj.finite_law(cj.UTILITIES["log_sigmoid"], 3, weights=WINS[1], centring=centring, scale=0.5)
        got = laws["rewards"].sel(centring=centring, utility="one").isel(prompt=1)
        np.testing.assert_allclose(got, want.rewards, atol=1e-12)
    one = cj.make_schemes({"it": {"open": LOG_SIGMOID, "closed": cj.choose(cj.UTILITIES["log"], offset=0.1)}})
    with pytest.raises(ValueError, match=r"prompt 1: .*log.* is for gaps above 0 alone"):
        cj.reward.predict_labelled(labelled(wins=WINS), one)
    with pytest.raises(ValueError, match="rankings have memberships, whose laws are predict_mixed's"):
        cj.reward.predict_labelled(labelled(memberships=np.full((3, 2), 0.5)), SCHEMES)
    with pytest.raises(ValueError, match="rankings have the types"):
        cj.reward.predict_labelled(labelled(), cj.make_schemes({"it": LOG_SIGMOID}))


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["all", "plackett_luce"])
def test_trained_orders_end_on_the_laws_of_stages_and_of_centred_logits(pairs):
    rankings = cj.make_rankings(np.eye(4, dtype=np.float32)[None], np.ones((1, 4), bool), np.zeros(1, int))
    schemes = cj.make_schemes({"it": cj.choose(cj.UTILITIES["log_sigmoid"], scale=0.5)})
    plan = cj.reward.Training(steps=3000, records=3, pairs=pairs)
    for bounded in (True, False):
        model = cj.mlp(()) if bounded else cj.mlp((), link=None)
        process = cj.make_training(rankings, model, schemes, training=plan, hyper=FREE)
        last = cj.sweep(process, {"seed": [0], "centring": [0.5]}, progress=False).isel(step=-1)
        law = cj.finite_law(schemes.choices["it"][0], 4, pairs=pairs, centring=0.5, bounded=bounded)
        np.testing.assert_allclose(np.squeeze(last["rewards"]), law.rewards, atol=5e-3)
        assert float(last["objective"].squeeze()) == pytest.approx(law.value, abs=5e-4)
        assert ("trained_bounded" in last.coords) == (not bounded)
        gap = float(last["gap"].squeeze())
        assert (
            np.isnan(gap)
            if not bounded
            else -1e-6 <= law.value - float(last["objective"].squeeze()) + 1e-6 <= gap + 2e-6
        )
