"""The limit law of any utility: the one distribution that all prompts' rewards collapse to as items grow many."""

import math

import numpy as np

from collapse_jax.checks.annotations import checked
from collapse_jax.reward.calculus import on_host
from collapse_jax.reward.laws import closed_forms
from collapse_jax.reward.laws.closed_forms import LimitLaw, atomic, uniform
from collapse_jax.reward.laws.limit_solver import growth, solve
from collapse_jax.reward.utilities import Choice, Utility, as_choice


@checked
def limit_law(utility: Utility | Choice, *, closed_form: bool = True, **params: float) -> LimitLaw:
    """Return the law on [0, 1] that the rewards of n ranked items follow at the optimum as n -> ∞.

    `params` are those of `choose`, `offset` and `min_gap` included; a `Choice` has them already. Known closed forms are
    used unless `closed_form` is False. Otherwise

    - a concave utility is solved numerically, in about half a second. The energy of the law is below the best by at
      most its `gap`: about 1e-13 for a smooth U with a bounded slope, 1e-11 to 1e-7 for a singular or very steep one,
      up to 1e-5 where kinks or corners carry structure to more places than are followed. Distribution functions agree
      with the closed forms to 1e-6, atoms to 1e-9;
    - a convex one leads to half of the rewards at 0 and half at 1, exactly: U(t) ≤ (1-t) U(0) + t U(1), and no law
      beats that one for the right-hand side; the certificate is for concave utilities alone, so the gap is nan;
    - one that falls to -inf at gap 0 so fast that its integral diverges leads to the uniform law, with value -inf and
      gap nan.

    >>> from collapse_jax.reward.utilities import UTILITIES
    >>> limit_law(UTILITIES["log_sigmoid"], scale=1.0).weights.round(6)
    array([0.383394, 0.383394])

    Raises ValueError as `choose` does: for unknown params, or a U that is not increasing and concave or convex.
    """
    choice = as_choice(utility, params)
    offset, min_gap = choice.params["offset"], choice.params["min_gap"]
    if closed_form and (law := closed_forms.closed_form(choice)) is not None:
        return law
    function, shape = on_host(choice.fn, offset, min_gap), choice.shape
    if shape.convex:
        top = float(function.value(np.array(1.0)))
        law = atomic(np.array([0.0, 1.0]), np.array([0.5, 0.5]), (shape.value_at_zero + top) / 2)
        return law if shape.concave else law._replace(gap=math.nan)
    # Like -1/t, up to what rounding makes of that exponent.
    if growth(function, shape) < -1 + 1e-6:
        return uniform()
    return solve(function, shape, min_gap)
