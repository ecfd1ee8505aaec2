"""What a recursion refuses, and what its switches do; its laws are in test_recursion_oracles.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from collapse_jax.generative import families, selections

REPLACE = cj.REGIMES["replace"]


def sweep(process, axes=None, seeds=4):
    return cj.sweep(process, {**(axes or {}), "seed": range(seeds)}, progress=False)


def counting():
    """Return a family that counts its fits: the parameter is how often, and how large the training sets were."""

    def fit(key, params, examples, weights):
        return params + jnp.array([1.0, 0.0]) + jnp.array([0.0, 1.0]) * weights.sum()

    return cj.generative.Family(
        "counting",
        init=lambda key, examples, weights: jnp.zeros(2),
        fit=fit,
        sample=lambda key, params, n: jnp.zeros((n, 1)),
    )


def fits(**options):
    plan = cj.make_plan(cj.REGIMES["accumulate"], 4, samples=5)
    process = cj.make_recursion(
        counting(),
        plan,
        lambda key, n: jnp.zeros((n, 1)),
        measure=lambda key, p: {"fits": p[0], "size": p[1]},
        **options,
    )
    return sweep(process, seeds=1).squeeze()


def test_a_start_from_scratch_forgets_and_a_warm_one_goes_on():
    assert fits()["fits"].to_numpy().tolist() == [1, 1, 1, 1]
    assert fits()["size"].to_numpy().tolist() == [5, 10, 15, 20]
    assert fits(warm_start=True)["fits"].to_numpy().tolist() == [1, 2, 3, 4]


def test_growing_compute_repeats_the_fit_in_proportion_to_the_examples():
    assert fits(growing_compute=True)["fits"].to_numpy().tolist() == [1, 2, 3, 4]


@pytest.mark.slow
def test_warm_expectation_maximisation_goes_on_where_it_was():
    plan = cj.make_plan(cj.REGIMES["real_fraction_replayed"], 8, samples=200, ratios=1.0)
    family = families.mixture(2, 1, steps=1)
    risk = {}
    for warm in (False, True):
        process = cj.make_recursion(
            family, plan, warm_start=warm, measure=lambda key, p: {"x": p.covariances[:, 0, 0].mean()}
        )
        risk[warm] = sweep(process, seeds=8)["x"].squeeze()
    # One step from scratch leaves components as wide as all data; eight on the same data come down to their own width.
    assert float(risk[False].isel(generation=-1).mean()) > 1.5
    assert abs(float(risk[True].isel(generation=-1).mean()) - 1.0) < 0.35


def test_real_data_given_as_an_array_are_resampled_without_replacement():
    data = np.arange(10.0, dtype=np.float32)[:, None]
    plan = cj.make_plan(REPLACE, 1, samples=10)
    found = sweep(cj.make_recursion(families.gaussian(1), plan, cj.resample(data)))
    assert np.allclose(found["mean"], data.mean())
    assert np.allclose(found["variance"], data.var(), rtol=1e-5)


def test_a_biased_start_is_only_where_it_starts():
    plan = cj.make_plan(cj.REGIMES["real_fraction_fresh"], 2, samples=4000, ratios=0.5)
    start = families.gaussian(1).truth._replace(mean=jnp.array([8.0]))
    for by in ("examples", "statistics"):
        found = (
            sweep(cj.make_recursion(families.gaussian(1), plan, by=by, initial=start))["mean"]
            .squeeze()
            .mean("seed")
            .to_numpy()
        )
        # Half of 8, then half of that.
        assert np.allclose(found, [4.0, 2.0], atol=0.2)


def test_a_padded_member_runs_beside_a_larger_one():
    wide = cj.make_plan(REPLACE, 3, samples=[5, 9])
    alone = cj.make_plan(REPLACE, 3, samples=5)
    large = sweep(cj.make_recursion(families.gaussian(1), wide), {"samples": 5}).squeeze("samples")
    small = sweep(cj.make_recursion(families.gaussian(1), alone))
    # Random numbers are drawn for the padded shape: the law is the same, and with it the spread of generation 1.
    assert large["variance"].shape == small["variance"].shape
    assert not large["diverged"].any()


def test_a_recursion_runs_all_that_its_plan_lists_unless_the_call_chooses(tmp_path):
    plan = cj.make_plan([REPLACE, cj.REGIMES["accumulate"]], generations=3, samples=[10, 100])
    process = cj.make_recursion(families.gaussian(1), plan)
    whole = cj.sweep(process, {"seed": range(2)}, directory=tmp_path, segment=1, progress=False)
    assert whole["mean"].dims == ("regime", "samples", "seed", "generation", "dim")
    assert whole["regime"].to_numpy().tolist() == ["replace", "accumulate"]
    assert whole["samples"].to_numpy().tolist() == [10, 100]
    assert len(np.unique(whole["mean"].isel(generation=-1))) == 8
    by_axes = {"regime": plan.axes["regime"], "samples": [10, 100], "seed": range(2)}
    xr.testing.assert_identical(
        whole.drop_attrs(), cj.sweep(process, by_axes, directory=tmp_path, segment=1, progress=False).drop_attrs()
    )
    chosen = cj.sweep(process, {"regime": ["accumulate"], "samples": 10, "seed": range(2)}, progress=False)
    xr.testing.assert_identical(chosen.drop_attrs(), whole.sel(regime=["accumulate"], samples=[10]).drop_attrs())
    statistics = cj.sweep(cj.make_recursion(families.gaussian(1), plan, by="statistics"), {"seed": 0}, progress=False)
    assert statistics["mean"].dims == whole["mean"].dims
    with pytest.raises(ValueError, match="axis 'samples' has no label 50; this process has 10, 100"):
        cj.sweep(process, {"samples": [50]}, progress=False)


def test_one_trace_for_all_regimes_sizes_and_ratios():
    traces = []
    family = families.gaussian(1)

    def fit(*args):
        traces.append(1)
        return family.fit(*args)

    plan = cj.make_plan([r for r in cj.REGIMES.values() if r.models == 1], 3, samples=[4, 6], ratios=[0.25, 0.5])
    process = cj.make_recursion(family._replace(fit=fit), plan)
    sweep(process, plan.axes, seeds=2)
    assert len(traces) == 1


def test_several_models_have_an_axis():
    plan = cj.make_plan(cj.generative.ecosystem(3), 2, samples=4)
    found = sweep(cj.make_recursion(families.categorical(5), plan))
    assert found["mean"].dims == ("seed", "generation", "model", "dim")
    assert found["variance"].sizes["model"] == 3


def test_nothing_left_is_flagged_and_the_others_go_on():
    plan = cj.make_plan([REPLACE, cj.REGIMES["accumulate"]], 3, samples=6)
    nothing = selections.verified(lambda x: jnp.zeros(len(x), bool))
    process = cj.make_recursion(families.gaussian(1), plan, curate=nothing)
    with pytest.warns(UserWarning, match="no longer finite"):
        found = sweep(process, {"regime": plan.axes["regime"], "wrong": [0.0]})
    assert found["diverged"].sel(regime="replace").isel(generation=slice(1, None)).all()
    assert not found["diverged"].sel(regime="accumulate").any()


PLAN = cj.make_plan(REPLACE, 2, samples=5)
BARE = counting()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cj.make_recursion(BARE, PLAN), "truth is missing: family 'counting'"),
        (lambda: cj.make_recursion(BARE, PLAN, lambda key, n: jnp.zeros((n, 1))), "measure is missing"),
        (lambda: cj.make_recursion(families.gaussian(), PLAN, decoding=["top_k"]), "no decoding 'top_k'; it has bias"),
        (lambda: cj.make_recursion(families.gaussian(), PLAN, decoding=["bias", "bias"]), "names 'bias' twice"),
        (lambda: cj.make_recursion(families.gaussian(), PLAN, respond=True), "respond needs a family"),
        (
            lambda: cj.make_recursion(
                families.regression(), cj.make_plan(cj.generative.ecosystem(2), 2, samples=20), respond=True
            ),
            "respond is for one model; this plan has 2",
        ),
        (
            lambda: cj.make_recursion(families.gaussian(), PLAN, reweigh=selections.best_of(lambda x: x[:, 0], 2)),
            "reweigh takes a selection that draws nothing",
        ),
        (
            lambda: cj.make_recursion(
                families.gaussian(),
                PLAN,
                curate=selections.verified(lambda x: x[:, 0] > 0),
                reweigh=selections.verified(lambda x: x[:, 0] > 0),
            ),
            "parameter 'right' of selection 'verified' clashes",
        ),
        (lambda: cj.make_recursion(families.gaussian(), PLAN, measure=lambda key, p: {}), "measure must return"),
        (
            lambda: cj.make_recursion(families.gaussian(), PLAN, cj.resample(np.zeros((3, 1), np.float32))),
            "asks for 5 real examples at once; there are 3",
        ),
        (lambda: cj.resample(np.array([[np.nan]], np.float32)), "non-finite"),
        (lambda: cj.resample({"x": np.zeros((3, 1)), "y": np.zeros(2)}), "lengths \\[2, 3\\]"),
        (lambda: cj.make_recursion(families.mixture(), PLAN, by="statistics"), "family 'mixture' has no `statistics`"),
        (
            lambda: cj.make_recursion(families.gaussian(), PLAN, lambda key, n: jnp.zeros((n, 1)), by="statistics"),
            "truth is .*; statistics are drawn from parameters of family",
        ),
        (
            lambda: cj.make_recursion(
                families.gaussian(), cj.make_plan(cj.REGIMES["accumulate_subsample"], 3, samples=5), by="statistics"
            ),
            "draws a subset of the pool",
        ),
        (
            lambda: cj.make_recursion(
                families.gaussian(),
                cj.make_plan(cj.REGIMES["real_fraction_replayed"], 3, samples=8, ratios=0.5),
                by="statistics",
            ),
            "in generation 2 is trained on 4 of the 8 examples of source 0",
        ),
        (
            lambda: cj.make_recursion(
                families.gaussian(), cj.make_plan(cj.generative.ecosystem(2), 2, samples=5), by="statistics"
            ),
            "statistics are for one model; this plan has 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


NEED_EXAMPLES = {
    "curate": selections.verified(lambda x: x[:, 0] > 0),
    "reweigh": selections.verified(lambda x: x[:, 0] > 0),
    "respond": True,
    "warm_start": True,
    "growing_compute": True,
    "inspect": lambda key, x, weights: {"sum": x.sum()},
}


@pytest.mark.parametrize("name", NEED_EXAMPLES)
def test_what_needs_examples_takes_them_and_is_refused_by_statistics(name):
    family = families.regression() if name == "respond" else families.gaussian()
    plan = cj.make_plan(REPLACE, 2, samples=2000)
    measure = lambda key, params: {"one": jnp.ones(())}  # noqa: E731
    options = {"measure": measure, name: NEED_EXAMPLES[name]}
    assert runs_on(cj.make_recursion(family, plan, **options)) == "examples"
    with pytest.raises(ValueError, match=f"by is 'statistics', which can't run this: {name} needs examples"):
        cj.make_recursion(family, plan, by="statistics", **options)


def runs_on(process):
    """Return what a recursion keeps of its sources."""
    state = jax.eval_shape(process.init, jax.eval_shape(lambda: jax.random.key(0)), process.hyper)
    return next(name for name in ("examples", "statistics") if hasattr(state, name))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"samples": 1999}, "examples"),
        ({"samples": 2000}, "statistics"),
        ({"samples": [10, 2000]}, "statistics"),
        ({"samples": 7999, "family": families.categorical(1000)}, "examples"),
        ({"samples": 8000, "family": families.categorical(1000)}, "statistics"),
        ({"samples": 10, "by": "statistics"}, "statistics"),
        ({"samples": 2000, "by": "examples"}, "examples"),
        ({"samples": 2000, "regime": "accumulate_subsample"}, "examples"),
        ({"samples": 2000, "family": families.kde()}, "examples"),
        ({"samples": 2000, "truth": lambda key, n: jax.random.normal(key, (n, 1))}, "examples"),
        ({"samples": 2000, "initial": lambda key, n: jax.random.normal(key, (n, 1))}, "examples"),
    ],
)
def test_statistics_are_taken_where_they_are_faster(options, expected):
    options = dict(options)
    plan = cj.make_plan(cj.REGIMES[options.pop("regime", "replace")], 2, samples=options.pop("samples"))
    assert runs_on(cj.make_recursion(options.pop("family", families.gaussian()), plan, **options)) == expected


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"bias": [-0.5]}, "axis 'bias' has the value -0.5; it must lie in \\[0, inf\\]"),
        ({"samples": [100]}, "axis 'samples' has no label 100; this process has 5"),
        ({"temprature": [1.0]}, "unknown axis 'temprature'"),
    ],
)
def test_axes_out_of_range_are_refused_before_anything_runs(axes, message):
    process = cj.make_recursion(families.gaussian(), PLAN, decoding=["bias"])
    with pytest.raises(ValueError, match=message):
        sweep(process, axes)


def test_equal_seeds_share_their_real_data():
    plan = cj.make_plan([REPLACE, cj.REGIMES["accumulate"]], 2, samples=5)
    found = sweep(cj.make_recursion(families.gaussian(1), plan), {"regime": plan.axes["regime"]})
    first = found["variance"].isel(generation=0)
    assert np.array_equal(first.sel(regime="replace"), first.sel(regime="accumulate"))
    assert len(np.unique(first.sel(regime="replace"))) == 4


def test_a_recursion_alone_is_its_row_in_a_population():
    plan = cj.make_plan([REPLACE, cj.REGIMES["augment"]], 3, samples=5)
    process = cj.make_recursion(families.gaussian(2), plan)
    together = sweep(process, {"regime": plan.axes["regime"]})
    alone = cj.sweep(
        process, {"regime": cj.engine.Axis(np.array([1], np.int32), ["augment"]), "seed": [2]}, progress=False
    )
    for name in ("mean", "variance"):
        assert np.array_equal(alone[name].squeeze(), together[name].sel(regime="augment", seed=2))


def test_key_is_not_reused_in_any_option():
    # The checker raises on reuse; selections, decoding, subsampling and repeated fits all take keys.
    plan = cj.make_plan(cj.REGIMES["accumulate_subsample"], 2, samples=6)
    process = cj.make_recursion(
        families.mixture(2, 1, steps=1),
        plan,
        decoding=["bias"],
        curate=selections.curated(lambda x: x[:, 0]),
        reweigh=selections.verified(lambda x: x[:, 0] > -9),
        growing_compute=True,
    )
    assert not sweep(process)["diverged"].any()
    assert jax.config.jax_debug_key_reuse


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"inspect": lambda key, x, weights: {"mean": x.mean()}}, "inspect and measure both record mean"),
        ({}, {"inspect": lambda key, x, weights: x}, "inspect must return a dict of named arrays"),
        (
            {"hyper": {"ratio": 1.0}, "fit": lambda *_, ratio: 0.0},
            {},
            "parameter 'ratio' of family 'gaussian' clashes with another axis",
        ),
    ],
)
def test_names_that_clash_are_refused(change, options, message):
    plan = cj.make_plan(cj.REGIMES["replace"], 2, 4)
    with pytest.raises(ValueError, match=message):
        cj.make_recursion(cj.families.gaussian()._replace(**change), plan, **options)


RESAMPLED = cj.REGIMES["real_fraction_resampled"]


@pytest.mark.slow
def test_a_share_of_the_real_set_is_drawn_anew_in_every_generation():
    data = np.arange(10.0, dtype=np.float32)[:, None]
    plan = cj.make_plan([RESAMPLED, cj.REGIMES["accumulate"]], 40, samples=[5, 10], ratios=0.4)

    def real_ones(key, params):
        # The real set is 0 to 9, and what is emitted lies far away.
        inside = (params.points[:, 0] < 50) & (params.weights > 0)
        return {"real": jnp.zeros(10).at[params.points[:, 0].astype(int)].add(inside, mode="drop")}

    near = families.ecdf()
    far = near._replace(sample=lambda key, params, n: 100.0 + near.sample(key, params, n), matching=None)
    process = cj.make_recursion(far, plan, cj.resample(data), measure=real_ones, dims={"real": ("value",)})
    found = cj.sweep(process, {"seed": range(50)}, progress=False)["real"]
    for size, share in ((5, 2), (10, 4)):
        real = found.sel(regime=RESAMPLED.name, samples=size)
        assert (real.isel(generation=0).sum("value") == size).all()
        later, known = real.isel(generation=slice(1, None)), real.isel(generation=0)
        assert (later.sum("value") == share).all()
        # Each is drawn without replacement, and only of the lineage's own real set.
        assert (later <= known).all()
        often = later.sum("generation").where(known > 0) / 39
        assert abs(float(often.mean()) - share / size) < 1e-6
        # Not the same ones always: each real example comes about as often as any other.
        assert float(often.min()) > 0.05
        assert float(often.std("seed").mean()) < 0.15
