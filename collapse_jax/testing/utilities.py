"""A utility of one's own, checked."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks.annotations import checked
from collapse_jax.engine.process import Process
from collapse_jax.reward.calculus import extend
from collapse_jax.reward.laws.closed_forms import closed_form
from collapse_jax.reward.laws.finite_law import finite_law
from collapse_jax.reward.laws.limit_law import limit_law
from collapse_jax.reward.models import Model
from collapse_jax.reward.rankings import make_rankings
from collapse_jax.reward.schemes import make_schemes
from collapse_jax.reward.training import Training, make_training
from collapse_jax.reward.two_sided import require_two_sided
from collapse_jax.reward.utilities import Choice, Utility, as_choice
from collapse_jax.testing.claims import claim, counted, runs_in_one_program

_ITEMS = 5
_LEVELS = np.linspace(0.02, 0.98, 41)


@checked
def check_utility(utility: Utility | Choice, **params: float) -> None:
    """Check a utility: its shape, its gradients, its laws against each other, and a training with it.

    Its function is examined as `choose` does. The exact optimum for a few items must be certified where U is concave. A
    closed form that it declares must be the law that the solver finds. Where its slope at gap 0 is finite, gradients
    must be finite at all gaps from -1 to 1, and a population must train in one program; else `min_gap` above 0 lets it.
    One that is declared to be two-sided must be finite, increasing and concave on [-1, 1] by itself.

    Raises ValueError as `choose` does, and AssertionError for what does not hold.
    """
    choice = as_choice(utility, params)
    exact = finite_law(choice, _ITEMS)
    if choice.shape.concave:
        claim(
            exact.gap <= 1e-6 * (1 + abs(exact.value)),
            f"the exact optimum of {choice.label} for {_ITEMS} items is certified to {exact.gap:g} only",
        )
    _check_closed_form(choice)
    if choice.utility.two_sided and not choice.params["min_gap"]:
        require_two_sided(choice, "a two-sided utility is taken as it is on [-1, 1]")
    if choice.shape.bounded:
        _check_gradients(choice)
        _check_training(choice)


def _check_closed_form(choice: Choice) -> None:
    declared = closed_form(choice)
    if declared is None:
        return
    solved = limit_law(choice, closed_form=False)
    off = np.abs(declared.quantile(_LEVELS) - solved.quantile(_LEVELS))
    # A level at the edge of an atom belongs to one side or the other: the masses left of each decide.
    mass = np.abs(declared.cdf(_LEVELS) - solved.cdf(_LEVELS))
    near_atom = (np.abs(_LEVELS[:, None] - declared.atoms) < 1e-6).any(axis=1)
    at = int(np.where(near_atom, 0.0, mass).argmax())
    claim(
        np.where(near_atom, 0.0, mass).max() < 1e-4 or off.max() < 1e-4,
        f"the law that {choice.label} declares has the mass {declared.cdf(_LEVELS)[at]:g} up to the reward "
        f"{_LEVELS[at]:g}; the solver finds {solved.cdf(_LEVELS)[at]:g}",
    )
    if np.isfinite(solved.value) and solved.certified:
        claim(
            abs(declared.value - solved.value) <= solved.gap + 1e-5 * (1 + abs(solved.value)),
            f"the law that {choice.label} declares has the value {declared.value:g}; the solver finds {solved.value:g}",
        )


def _check_gradients(choice: Choice) -> None:
    extended = extend(choice.fn, choice.params["offset"], choice.params["min_gap"])
    gaps = jnp.linspace(-1.0, 1.0, 401)
    for what, found in zip(("value", "slope"), jax.vmap(jax.value_and_grad(extended))(gaps), strict=True):
        bad = np.flatnonzero(~np.isfinite(np.asarray(found)))
        claim(
            not bad.size,
            f"the {what} of {choice.label} is not finite in float32 at gap {float(gaps[bad[0]]) if bad.size else 0:g}; "
            "write it so that neither the value nor its derivative overflows there",
        )


def _check_training(choice: Choice) -> None:
    rankings = make_rankings(
        np.ones((4, _ITEMS, 1), np.float32), np.ones((4, _ITEMS), bool), np.zeros(4, int), ("any",)
    )

    def make(calls: list[int]) -> Process:
        noted = choice._replace(utility=choice.utility._replace(fn=counted(choice.utility.fn, calls)))
        model = Model(
            lambda key, features: jax.random.uniform(key, (_ITEMS,)),
            lambda params, features: jnp.broadcast_to(jax.nn.sigmoid(params), features.shape[:-1]),
        )
        schemes = make_schemes({"own": noted}, ("any",))
        return make_training(rankings, model, schemes, training=Training(steps=20, records=2, batch_size=2))

    result = runs_in_one_program(f"utility {choice.utility.name!r}", make)
    objective = result["objective"].mean("prompt")
    claim(
        np.isfinite(result["rewards"]).all()
        and (objective[:, -1] >= objective[:, 0] - 1e-3 * abs(objective[:, 0])).all(),
        f"training on {choice.label} makes its own objective worse",
    )
