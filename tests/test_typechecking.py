"""The tests' own type checker takes what users may give, refuses what they may not, and leaves refusals as they are."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, jaxtyped

from collapse_jax.checks import numbers
from tests.typechecking import checked


@jaxtyped(typechecker=checked)
def scaled(x: Float[Array, " n"], by: float, times: int = 1) -> Float[Array, " n"]:
    numbers.whole("times", times, 1)
    return jnp.asarray(x[: len(x) - (times > 5)] * by) if times < 9 else x


def test_users_and_tests_meet_one_contract():
    assert scaled(np.ones(2), np.float32(2.0), np.int64(3)).tolist() == [2.0, 2.0]
    assert scaled(np.zeros(0), 1).size == 0
    with pytest.raises(ValueError, match="times is True; it must be a whole number from 1 on"):
        scaled(np.ones(2), 1.0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(2, bool), 1.0), "x is array"),
        ((np.ones(2), True), "by is True; it must be a number"),
        # Another length, and another library, than what is announced.
        ((np.ones(2), 1.0, 6), "violates type hint"),
        ((np.ones(2), 1.0, 9), "violates type hint"),
    ],
)
def test_what_is_taken_and_returned_is_what_annotations_say(arguments, message):
    with pytest.raises(TypeError) as raised:
        scaled(*arguments)
    assert message in str(raised.value.__cause__)
