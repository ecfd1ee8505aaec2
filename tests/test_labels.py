"""What labels say beyond an order: wins, margins and Plackett-Luce, in rankings, objectives and training."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.reward.calculus import extend
from collapse_jax.reward.loss import by_prompt, ranking_loss
from collapse_jax.reward.metrics import ranking_accuracy
from collapse_jax.reward.prompt_objective import make_objective, value_and_gap
from collapse_jax.reward.rankings import labels_of, order_wins
from collapse_jax.reward.schemes import apply_utility
from collapse_jax.reward.training import on_device
from collapse_jax.reward.two_sided import require_for_labels

RNG = np.random.default_rng(17)
LOG_SIGMOID = cj.choose(cj.UTILITIES["log_sigmoid"])
PROMPTS, ITEMS = 3, 4
MASK = np.array([[True] * 4, [True] * 3 + [False], [True] * 4])


def some_wins():
    """Probabilities both ways, a tie, a pair that was not compared, and nothing of an item that is not there."""
    chance = RNG.uniform(size=(PROMPTS, ITEMS, ITEMS))
    wins = np.triu(chance, 1) + np.tril(1 - chance.swapaxes(1, 2), -1)
    wins[0, 0, 1] = wins[0, 1, 0] = 0.5
    wins[2, 1, 3] = wins[2, 3, 1] = 0.0
    return wins * MASK[:, :, None] * MASK[:, None]


WINS = some_wins()
MARGINS = RNG.uniform(size=(PROMPTS, ITEMS, ITEMS))


def rankings(mask=MASK, **labels):
    features = np.eye(PROMPTS * ITEMS, dtype=np.float32).reshape(PROMPTS, ITEMS, -1)
    return cj.make_rankings(features, mask, np.zeros(PROMPTS, int), **labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"wins": WINS[:2]}, r"wins are float64\(2, 4, 4\); expected floats .* \(3, 4, 4\)"),
        ({"wins": WINS + 1}, r"wins of prompt 0 have 1.5 at \[0, 1\]: weights are in \[0, 1\]"),
        ({"wins": np.where(WINS > 0, 0.9, 0)}, r"prompt 0 have 0.9 at \[0, 1\]: with that of the other side"),
        ({"wins": WINS + np.eye(4) * 0.1}, r"prompt 0 have 0.1 at \[0, 0\]: an item of the mask is compared"),
        ({"wins": np.triu(np.ones((3, 4, 4)), 1)}, r"prompt 1 have 1 at \[0, 3\]: an item of the mask is compared"),
        ({"wins": WINS * np.array([1, 1, 0])[:, None, None]}, "wins of prompt 2 are all 0"),
        ({"wins": np.full((3, 4, 4), np.nan)}, "they must be finite"),
        ({"margins": -MARGINS}, "margins are 0 or more"),
        ({"margins": np.full((3, 4, 4), np.inf)}, "they must be finite"),
    ],
)
def test_labels_that_can_not_be_are_refused_with_their_place(labels, message):
    with pytest.raises(ValueError, match=message):
        rankings(**labels)


def test_labels_are_orders_weighted_or_graded():
    orders = order_wins(MASK)
    one_way = orders.copy()
    one_way[0, 0, 2] = 0
    for labels, want in [
        ({}, "orders"),
        ({"wins": orders}, "orders"),
        ({"margins": 0 * MARGINS}, "orders"),
        ({"wins": one_way}, "weighted"),
        ({"margins": MARGINS}, "weighted"),
        ({"wins": WINS}, "graded"),
    ]:
        assert labels_of(rankings(**labels)) == want


@pytest.mark.parametrize("margins", [None, MARGINS])
@pytest.mark.parametrize("bounded", [True, False])
def test_the_weighted_objective_is_the_mean_over_both_sides_of_pairs(margins, bounded):
    rewards = RNG.uniform(size=(PROMPTS, ITEMS))
    for prompt in range(PROMPTS):
        total = 0.0
        for i, j in itertools.permutations(range(ITEMS), 2):
            gap = rewards[prompt, i] - rewards[prompt, j] - (0 if margins is None else margins[prompt, i, j])
            centre = rewards[prompt, i] + rewards[prompt, j] - bounded
            total += WINS[prompt, i, j] * (-np.log1p(np.exp(-4 * gap)) - 0.3 * centre**2)
        objective = make_objective(
            lambda gap: jax.nn.log_sigmoid(4 * gap),
            jnp.asarray(MASK[prompt]),
            wins=jnp.asarray(WINS[prompt]),
            margins=None if margins is None else jnp.asarray(margins[prompt]),
            centring=0.3,
            bounded=bounded,
        )
        missing = jnp.where(MASK[prompt], rewards[prompt], jnp.nan)
        assert float(objective(missing)) == pytest.approx(total / WINS[prompt].sum(), rel=1e-5)
        assert np.isfinite(jax.grad(objective)(missing)).all()


def test_plackett_luce_is_its_formula_and_the_utility_itself_for_two_items():
    def formula(rewards, scale):
        return np.mean([r / scale - np.log(np.exp(rewards[k:] / scale).sum()) for k, r in enumerate(rewards[:-1])])

    for scale in (0.02, 0.25, 3.0):  # the smallest has likelihoods beyond any float32
        utility = lambda gap, scale=scale: jax.nn.log_sigmoid(gap / scale)  # noqa: E731
        for present in (4, 3, 2):
            rewards = RNG.uniform(size=4)
            options = {"pairs": "plackett_luce", "centring": 0.5}
            objective = make_objective(utility, jnp.arange(4) < present, **options)
            pairs = list(itertools.combinations(rewards[:present], 2))
            want = formula(rewards[:present], scale) - 0.5 * np.mean([(a + b - 1) ** 2 for a, b in pairs])
            assert float(objective(jnp.asarray(rewards))) == pytest.approx(want, rel=2e-5)
            assert np.isfinite(jax.grad(objective)(jnp.asarray(rewards))).all()
    both = make_objective(lambda gap: -jnp.exp(-gap), jnp.ones(2, bool), pairs="plackett_luce")
    assert float(both(jnp.array([0.9, 0.2]))) == pytest.approx(-np.exp(-0.7), rel=1e-6)


def test_the_certificate_of_weighted_labels_bounds_what_any_rewards_in_the_box_gain():
    utility = lambda gap: jax.nn.log_sigmoid(4 * gap)  # noqa: E731
    objectives = [
        make_objective(utility, jnp.ones(4, bool), wins=jnp.asarray(WINS[0])),
        make_objective(utility, jnp.ones(4, bool), pairs="plackett_luce"),
    ]
    rewards = jnp.asarray(np.concatenate([RNG.uniform(size=(200, 4)), RNG.integers(0, 2, size=(200, 4))]))
    for objective in objectives:
        value, gap = jax.vmap(partial(value_and_gap, objective, ordered=False))(rewards)
        assert (value + gap >= value.max() - 1e-6).all()
    # At the best corner that the gradient points to, the bound of a linear objective is exact.
    value, gap = value_and_gap(lambda r: 2 * r[0] - r[1], jnp.array([0.25, 0.5, jnp.nan]), ordered=False)
    assert (float(value), float(gap)) == (0.0, 2.0)


def test_accuracy_is_the_share_of_wins_that_go_to_the_larger_reward():
    for prompt, mask in enumerate(MASK):
        rewards = jnp.where(mask, jnp.array([0.2, 0.9, 0.2, 0.6]), jnp.nan)
        by_order = ranking_accuracy(rewards, jnp.asarray(mask))
        assert float(ranking_accuracy(rewards, mask, order_wins(MASK)[prompt])) == pytest.approx(float(by_order))
    wins = np.zeros((3, 3))
    wins[0, 1], wins[1, 0], wins[1, 2], wins[2, 1] = 0.75, 0.25, 0.5, 0.5
    assert float(ranking_accuracy(jnp.array([0.9, 0.1, 0.1]), jnp.ones(3, bool), wins)) == pytest.approx(1.25 / 2)


def by_hand(branches, row, data):
    """The loss of orders as it was before labels could say more: what labels cost where there are none is nothing."""

    def at(kind, mask, rewards):
        utility = partial(apply_utility, branches, jnp.asarray(row.branch)[kind], jnp.asarray(row.params)[kind])
        valid = jnp.triu(mask[:, None] & mask[None], 1)
        rewards = jnp.where(mask, rewards, 0.0)
        above, below = rewards[:, None], rewards[None]
        gap = jnp.where(valid, above - below, 1.0)
        terms = utility(gap) - 0.1 * (above + below - 1.0) ** 2
        return jnp.where(valid, terms, 0.0).sum() / valid.sum()

    return lambda params, apply: -jax.vmap(at)(data.types, data.mask, apply(params, data.features)).mean()


def test_orders_have_the_same_program_as_before_labels_could_say_more():
    schemes = cj.make_schemes({"a": LOG_SIGMOID, "b": cj.choose(cj.UTILITIES["log"], offset=0.1)})
    row = jax.tree.map(lambda leaf: leaf[0], schemes.axis.values)
    data, model = on_device(rankings(wins=order_wins(MASK))), cj.mlp((3,))
    params = model.init(jax.random.key(0), data.features)

    def text(loss):
        return jax.jit(jax.value_and_grad(loss)).lower(params).as_text()

    was = by_hand(schemes.branches, row, data)
    assert text(lambda p: was(p, model.apply)) == text(
        lambda p: ranking_loss(model, p, schemes.branches, row, data, centring=0.1)
    )


def test_graded_labels_take_the_utility_itself_on_both_sides_and_orders_its_tangent():
    schemes = cj.make_schemes({"a": LOG_SIGMOID})
    row = jax.tree.map(lambda leaf: leaf[0], schemes.axis.values)
    data = on_device(rankings(wins=WINS), labels="graded")
    rewards = jnp.asarray(RNG.uniform(size=(PROMPTS, ITEMS)), jnp.float32)
    for both_sides, bounded, utility in [
        (True, True, LOG_SIGMOID.fn),
        (False, False, LOG_SIGMOID.fn),
        (False, True, extend(LOG_SIGMOID.fn)),
    ]:
        options = {"pairs": "all", "both_sides": both_sides, "bounded": bounded}
        got = by_prompt(schemes.branches, row, data, **options)(lambda objective, r: objective(r), rewards)
        for prompt in range(PROMPTS):
            want = make_objective(utility, data.mask[prompt], wins=data.wins[prompt])(rewards[prompt])
            assert float(got[prompt]) == pytest.approx(float(want), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "log",
            {"offset": 0.1},
            r"log\(offset=0.1\) is for gaps above 0 alone: choose one that is two-sided \(linear, ",
        ),
        ("inverse_power", {"offset": 2.0}, "inverse_power.* is for gaps above 0 alone"),
        ("power", {"offset": 0.1}, "power.* is for gaps above 0 alone"),
        ("sine", {}, "sine is for gaps above 0 alone"),
        ("log_sigmoid", {"min_gap": 0.1}, "min_gap is 0.1; it must be 0 here"),
    ],
)
def test_utilities_for_one_side_are_refused_for_graded_labels_by_name(name, params, message):
    schemes = cj.make_schemes({"it": cj.choose(cj.UTILITIES[name], **params)})
    with pytest.raises(ValueError, match=f"graded labels weigh both sides of a pair, and .*{message}"):
        cj.make_training(rankings(wins=WINS), cj.mlp(()), schemes)
    cj.make_training(rankings(wins=order_wins(MASK)), cj.mlp(()), schemes)


def test_a_utility_is_examined_on_both_sides_with_its_own_parameters_and_margins():
    shifted = cj.reward.Utility("shifted", lambda t, *, by=1.5: jnp.log(t + by), {"by": 1.5}, two_sided=True)
    bent = cj.reward.Utility("bent", lambda t: jnp.sin(t), two_sided=True)
    jump = cj.reward.Utility("jump", lambda t: t - jnp.where(t < -0.3, 1.0, 0.0), two_sided=True)
    require_for_labels([cj.choose(shifted)], "graded", "all")
    for utility, params, deepest, message in [
        (shifted, {}, 0.7, "is not finite at gap -1.7"),
        (shifted, {"by": 0.9}, 0.0, "is not finite at gap -1"),
        (bent, {}, 0.0, "is not concave and differentiable"),
        (jump, {}, 0.0, r"is not concave and differentiable on \[-1, 1\]: at gap -0.3"),
    ]:
        with pytest.raises(ValueError, match=message):
            require_for_labels([cj.choose(utility, **params)], "graded", "all", deepest)
    for name, own in cj.UTILITIES.items():
        if own.two_sided:
            require_for_labels([cj.choose(own)], "graded", "all", 1.0 if name != "hinge" else 0.0)


def test_a_parameter_that_is_swept_is_examined_on_both_sides_too():
    schemes = cj.make_schemes({"it": LOG_SIGMOID})
    process = cj.make_training(rankings(wins=WINS), cj.mlp(()), schemes)
    with pytest.raises(ValueError, match=r"min_gap is 0.2; it must be 0 here"):
        cj.sweep(process, {"min_gap": [0.0, 0.2]}, progress=False)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (cj.choose(cj.UTILITIES["linear"]), r"linear is .* > 0 at gap"),
        (cj.choose(cj.UTILITIES["log"], offset=0.01), "for gaps above 0 alone"),
        (cj.choose(cj.UTILITIES["linear"], offset=-1.01), "log-odds of .* are not concave"),
    ],
)
def test_plackett_luce_needs_logarithms_of_probabilities_and_orders(choice, message):
    training = cj.reward.Training(pairs="plackett_luce")
    with pytest.raises(ValueError, match=f"Plackett-Luce takes U as the logarithm of a probability.*{message}"):
        cj.make_training(rankings(), cj.mlp(()), cj.make_schemes({"it": choice}), training=training)
    for pairs, labels in itertools.product(("plackett_luce", "chain"), ({"wins": WINS}, {"margins": MARGINS})):
        training = cj.reward.Training(pairs=pairs)
        with pytest.raises(ValueError, match=f"pairs is '{pairs}', which is for complete orders"):
            cj.make_training(rankings(**labels), cj.mlp(()), cj.make_schemes({"it": LOG_SIGMOID}), training=training)


CHOSEN, REJECTED = RNG.normal(size=(2, 6))
MARGIN = RNG.uniform(size=6)


@pytest.mark.parametrize("margins", [None, MARGIN])
@pytest.mark.parametrize("coefficient", [0.0, 0.01])
def test_the_losses_of_pairs_of_trl_are_reproduced(margins, coefficient):
    # Its RewardTrainer: -logsigmoid(chosen - rejected [- margin]).mean() + coefficient * ((chosen + rejected)²).mean().
    gap = CHOSEN - REJECTED - (0 if margins is None else margins)
    want = np.mean(np.log1p(np.exp(-gap))) + coefficient * np.mean((CHOSEN + REJECTED) ** 2)
    labels = np.zeros((6, 2, 2))
    labels[:, 0, 1] = 0 if margins is None else margins
    data = cj.make_rankings(
        np.stack([CHOSEN, REJECTED], 1)[:, :, None].astype(np.float32),
        np.ones((6, 2), bool),
        np.zeros(6, int),
        margins=labels,
    )
    model = cj.mlp((), link=None)
    params = {"params": {"head": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}}
    schemes = cj.make_schemes({"it": cj.choose(cj.UTILITIES["log_sigmoid"], scale=1.0)})
    row = jax.tree.map(lambda leaf: leaf[0], schemes.axis.values)
    got = ranking_loss(
        model, params, schemes.branches, row, on_device(data, labels=labels_of(data)), centring=coefficient
    )
    assert float(got) == pytest.approx(want, abs=1e-6)


def test_models_without_a_link_give_raw_logits_that_are_not_certified():
    for model in (cj.mlp(()), cj.reward.text_encoder(5), cj.reward.prefix_encoder(5)):
        assert model.bounded
    for model in (cj.reward.text_encoder(5, link=None), cj.reward.prefix_encoder(5, link=None)):
        assert not model.bounded
    linked, raw = cj.mlp((3,)), cj.mlp((3,), link=None)
    features = jnp.asarray(rankings().features)
    params = linked.init(jax.random.key(0), features)
    np.testing.assert_allclose(linked.apply(params, features), jax.nn.sigmoid(raw.apply(params, features)), rtol=1e-6)
