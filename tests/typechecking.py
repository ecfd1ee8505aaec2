"""The run-time type checker of the tests, which jaxtyping puts on every function of the package, private ones too.

Users must meet the same checks as the tests do, so this one comes after the call: what a function refuses, by `checked`
or by itself, ends as it does for users, and what it takes must be what its annotations say. Arguments are held to the
contract of `checked`, except that arrays may be empty, as helpers may get what no user may give. What is returned is
held to its annotation literally, library and precision as well, since that is what users build on.
"""

import functools
import inspect
from typing import Any

from beartype import BeartypeConf
from beartype.door import die_if_unbearable

# An int is a float, as in PEP 484.
_CONFIG = BeartypeConf(is_pep484_tower=True)


def checked(function):
    # Only now: the hook must be there before the package is imported.
    from collapse_jax.checks.annotations import entries
    from collapse_jax.checks.hints import problem

    signature = inspect.signature(function)
    # jaxtyping calls a stand-in before the function, which returns nothing, and one after it, which returns the same.
    if signature.return_annotation in (Any, inspect.Signature.empty):
        return function

    @functools.wraps(function)
    def call_and_check(*args, **kwargs):
        result = function(*args, **kwargs)
        for argument, value in signature.bind(*args, **kwargs).arguments.items():
            parameter = signature.parameters[argument]
            for name, one in entries(argument, value, parameter.kind):
                if needed := problem(one, parameter.annotation, may_be_empty=True):
                    raise TypeError(f"{name} is {one!r:.200}; it must be {needed}")
        die_if_unbearable(result, signature.return_annotation, conf=_CONFIG)
        return result

    return call_and_check
