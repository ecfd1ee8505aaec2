"""Arguments are checked by their annotations, with errors that name them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool, Float, Int, Key

import collapse_jax as cj
from collapse_jax.checks.annotations import check_fields, checked, require_numbers
from collapse_jax.checks.hints import MADE_BY
from collapse_jax.checks.user_functions import call, require_examples, require_like


@checked
def function(
    p: Float[Array, " n"],
    q: Float[Array, " n"],
    *labels: Int[Array, "..."],
    count: int = 1,
    number: float | Float[Array, ""] = 1.0,
    where: Bool[Array, " n"] | None = None,
    sizes: Sequence[int] = (1,),
    pair: tuple[float, float] = (0.0, 1.0),
    named: tuple[str, float] = ("a", 0.0),
    names: Iterable[str] = (),
    next_row: Float[Array, "n+1 n"] | None = None,
    at: Int[Array, ""] = 0,
    by_name: Mapping[str, float] | None = None,
    by_label: Mapping[str, float] = {},
    kernel: Callable[[Array], Array] | None = None,
    word: Literal["all", "chain"] = "all",
    text: str = "",
    key: Key[Array, ""] | None = None,
    regime: cj.generative.Regime | None = None,
    **params: float,
) -> float:
    return 1.0


P = np.ones(3)
RIGHT = {
    "count": np.int64(3),
    "number": jnp.float32(2.0),
    "where": np.ones(3, bool),
    "sizes": np.arange(3),
    "next_row": np.ones((4, 3), np.float16),
    "at": np.int8(1),
    "pair": [0, 1],
    "named": ("b", 2.0),
    "names": ["a", "b"],
    "by_name": {"a": 1},
    "kernel": jnp.exp,
    "word": "chain",
    "text": "x",
    "key": jax.random.key(0),
    "regime": cj.REGIMES["replace"],
    "more": 1.5,
}


def test_what_is_right_passes_whatever_its_library_and_precision():
    assert function(P, jnp.ones(3, jnp.bfloat16), np.arange(2), **RIGHT) == 1.0
    assert function(P, P, **dict.fromkeys(("where", "by_name", "kernel", "key", "regime"))) == 1.0
    assert function(np.arange(3), P.astype(np.longdouble), sizes=jnp.arange(3), at=jnp.int32(2), names=iter("ab")) == 1
    assert jax.jit(jax.vmap(checked(lambda p: p.sum())))(jnp.ones((2, 3))).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("q", np.ones(4), r"q is an array of shape \(4,\); function needs an array \(n\) of numbers.*: p has \(3,\)"),
        ("q", np.ones((3, 1)), r"q is an array of shape \(3, 1\)"),
        ("q", np.zeros(0), r"q is an array of shape \(0,\)"),
        ("q", np.array(["a"] * 3), "q is an array of <U1 of shape"),
        ("q", [1.0] * 3, r"q is \[1.0, 1.0, 1.0\]; function needs an array"),
        ("q", P + 1j, "q is an array of complex128"),
        ("q", P > 0, r"q is an array of bool of shape \(3,\); function needs an array \(n\) of numbers"),
        ("q", jnp.ones(3, bool), "q is an array of bool"),
        ("number", np.bool_(True), "number is np.True_; function needs a number"),
        ("number", jnp.array(True), "number is an array of bool"),
        ("count", 1.5, "count is 1.5; function needs a whole number"),
        ("count", True, "count is True; function needs a whole number"),
        ("count", 2**63, "needs a whole number"),
        ("number", -(10**30), "needs a number"),
        ("number", "1", "number is '1'; function needs a number"),
        ("number", np.ones(2), "function needs a number"),
        ("where", np.ones(3), r"where is an array of shape \(3,\); function needs an array \(n\) of True and False"),
        (
            "sizes",
            "12",
            r"sizes is '12'; function needs a sequence, such as a list or range\(20\), each a whole number",
        ),
        ("sizes", [1, 0.5], r"sizes is \[1, 0.5\]; function needs a sequence"),
        ("pair", (1.0,), r"pair is \(1.0,\); function needs a sequence"),
        (
            "named",
            ("a", "b"),
            r"named is \('a', 'b'\); function needs a sequence, such as a list, of a string, a number",
        ),
        ("next_row", np.ones((3, 3)), r"next_row is an array of shape \(3, 3\); function needs an array \(n\+1 n\)"),
        ("at", 1.5, "at is 1.5; function needs a whole number"),
        ("at", True, "at is True; function needs a whole number"),
        ("names", "bias", "names is 'bias'; function needs a sequence"),
        ("names", ["a"] * 999 + [1], "function needs a sequence, such as a list, each a string"),
        ("sizes", [1] * 999 + ["2"], r"function needs a sequence, such as a list or range\(20\), each a whole number"),
        ("by_name", {"a": "b"}, r"by_name\['a'\] is 'b'; function needs a number"),
        ("by_label", {"a": 1, "b": {"c": "d"}}, r"by_label\['b'\] is {'c': 'd'}; function needs a number"),
        ("kernel", "exp", "kernel is 'exp'; function needs a function of 1 arguments or None"),
        ("kernel", lambda x, y: x, "function needs a function of 1 arguments"),
        ("word", "star", "word is 'star'; function needs one of all, chain"),
        ("text", 3, "text is 3; function needs a string"),
        (
            "key",
            np.zeros(2),
            r"key is an array of shape \(2,\); function needs a key of jax.random or None",
        ),
        ("regime", "replace", "regime is 'replace'; function needs a record of type Regime, such as cj.REG.* or None"),
        ("regime", cj.REGIMES["replace"]._replace(models="1"), "regime.models is '1'; Regime needs a whole number"),
        (
            "regime",
            cj.generative.Regime("mine", lambda t: t),
            "regime.counts is .*; Regime needs a function of 4 arguments",
        ),
        ("more", None, "more is None; function needs a number"),
    ],
)
def test_what_is_wrong_is_named(argument, value, message):
    with pytest.raises(ValueError, match=message):
        function(**{"p": P, "q": P, argument: value})


def test_labels_are_checked_one_by_one_and_missing_arguments_named():
    with pytest.raises(ValueError, match="labels is 'a'; function needs"):
        function(P, P, np.arange(3), "a")
    with pytest.raises(TypeError, match="function: missing a required argument: 'q'"):
        function(P)
    with pytest.raises(ValueError, match=r"plan.steps is '3'; Plan needs a whole number"):
        check_fields("plan", Plan(steps="3"))
    with pytest.raises(ValueError, match="what it returns is 'x'; it must be numbers of shape"):
        require_numbers("what it returns", "x", (3,))


@dataclasses.dataclass(frozen=True)
class Plan:
    steps: int = 3


class Mine(NamedTuple):
    p: Float[np.ndarray, " n"]


LOG = cj.UTILITIES["log"]
REFUSED = {
    r"schemes\['a'\] is Utility\(.*; make_schemes needs a record of type Choice, such as cj.choose\(": lambda: (
        cj.make_schemes({"a": LOG})
    ),
    r"schemes\['a'\]\['open'\] is Utility\(.*; make_schemes needs a record of type Choice, such": lambda: (
        cj.make_schemes({"a": {"open": LOG}})
    ),
    r"schemes\['a'\] is 3; make_schemes needs .*cj.UTILITIES\[\"linear\"\]\) or a mapping to such$": lambda: (
        cj.make_schemes({"a": 3})
    ),
    r"schemes\['a'\] is 'log'; make_schemes needs a record of type Choice, such as cj.choose\(": lambda: (
        cj.make_schemes({"a": "log"})
    ),
    r"utility is 'log'; finite_law needs a record of type Utility, such as cj.UTILITIES\[\"log\"\] or": lambda: (
        cj.finite_law("log", 4)
    ),
    r"family is 'gaussian'; make_recursion needs a record of type Family, such as cj.FAMILIES\[": lambda: (
        cj.make_recursion("gaussian", cj.make_plan(cj.REGIMES["replace"], 2, 3))
    ),
    r"regimes is 'replace'; make_plan needs .*Regime, such as cj.REGIMES\[": lambda: cj.make_plan("replace", 2, 3),
    r"mitigations\['a'\] is 'replace'; .* such as cj.Mitigation\(": lambda: cj.compare_mitigations(
        cj.families.gaussian(1), {"a": "replace"}, generations=2, samples=3, seeds=range(2)
    ),
    r"model is 'mlp'; make_training needs a record of type Model, such as cj.mlp\(\)": lambda: cj.make_training(
        RANKINGS, "mlp", cj.make_schemes({"a": cj.choose(cj.UTILITIES["linear"])}, ("all",))
    ),
    r"texts is 'hello'; pack needs a sequence, such as a list, each a string": lambda: cj.data.pack(
        cj.data.byte_tokenizer(), "hello", 8
    ),
    r"ranked.completions is \['best', 'worst'\]; RankedPrompts needs a list, each a list, each a string": lambda: (
        cj.data.featurize(RANKED)
    ),
    r"source is <object.*; corpus needs a record of type Source, such as cj.data.python_docs": lambda: cj.data.corpus(
        object()
    ),
    r"mesh is 'all'; sweep needs a Mesh or None": lambda: cj.sweep(
        cj.make_recursion(cj.families.gaussian(1), cj.make_plan(cj.REGIMES["replace"], 1, 3)), {}, mesh="all"
    ),
    r"tokenizer is 'gpt2'; pack needs a record of type Tokenizer, such as cj.data.byte_tokenizer\(\)": lambda: (
        cj.data.pack("gpt2", ["hello"], 4)
    ),
}
RANKED = cj.data.RankedPrompts(["t"], ["ask"], np.zeros(1, int), ["best", "worst"])
RANKINGS = cj.make_rankings(np.eye(3, dtype=np.float32)[None], np.ones((1, 3), bool), np.zeros(1, np.int32), ("all",))


@pytest.mark.parametrize("message", REFUSED)
def test_who_writes_a_name_is_told_what_to_write_in_its_place(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


@pytest.mark.parametrize("name", MADE_BY)
def test_what_is_told_to_be_a_record_is_one(name):
    for code in MADE_BY[name].split(" or "):
        if "..." in code:
            assert callable(eval(code.split("(")[0], {"cj": cj}))
        elif not code.startswith(("cj.data.ranking_sets", "cj.data.read_preferences", "cj.limit_law")):
            # These write or read files, or take seconds.
            assert type(eval(code, {"cj": cj})).__name__ == name


def test_records_of_others_are_their_own_business():
    @checked
    def take(record: Mine) -> bool:
        return True

    assert take(Mine(np.ones((2, 2))))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1.0, "fit of mine can't be called with 1 arguments: too many positional"),
        # Python's own words, which 3.12 made more exact.
        (lambda a, *, b: a, "can't be called with 1 arguments: missing a required (keyword-only )?argument: 'b'"),
        (lambda a: "x", "fit of mine returns 'x'; it must return arrays of numbers"),
        (lambda a: {"a": object()}, "fit of mine returns <object"),
        (lambda a: None, "fit of mine returns None; it must return arrays of numbers"),
        (lambda a: np.array(["x"]), "fit of mine returns array"),
    ],
)
def test_a_function_of_the_users_is_named(function, message):
    with pytest.raises(ValueError, match=message):
        call("fit of mine", function, 1.0)


def test_what_it_returns_has_the_form_of_something_else():
    assert call("f", lambda a: {"a": a}, jnp.ones(2))["a"].shape == (2,)
    require_like("f", {"a": 1.0}, {"a": jnp.zeros(())}, "the parameters")
    with pytest.raises(ValueError, match=r"f returns the structure .*; it must be that of the parameters"):
        require_like("f", {"b": 1.0}, {"a": 1.0}, "the parameters")
    with pytest.raises(ValueError, match=r"f returns the shapes \[\(2,\)\]; they must be those of the parameters"):
        require_like("f", np.ones(2), 1.0, "the parameters")
    with pytest.raises(ValueError, match=r"truth returns arrays of the shapes \[\(2,\)\]; it must return 3 examples"):
        require_examples("truth", np.ones(2), 3)
