"""Minorities: laws of survival and shares against processes simulated example by example; measures by brute force."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import collapse_jax as cj
from collapse_jax import metrics
from collapse_jax.generative import laws, selections
from experiments.testbeds import minority_samples
from experiments.testbeds import minority_testbeds as testbeds

REPLICAS, M, T = 20_000, 6, 4
SHARES = np.array([0.1, 0.45])


def drawn(rng, pool, size):
    """Return `size` of each row of the pool, without replacement."""
    order = rng.permuted(np.tile(np.arange(pool.shape[1]), (len(pool), 1)), axis=1)[:, :size]
    return np.take_along_axis(pool, order, axis=1)


def emitted(rng, training, size=M):
    """Return as many examples of a model fitted to each row: each is one of the row's, with replacement."""
    return np.take_along_axis(training, rng.integers(training.shape[1], size=(len(training), size)), axis=1)


def simulate(rng, share, training):
    """Return the training sets (replica, generation, example) of `training(t, real, fresh, emitted so far)`.

    An example is true if it is of the group.
    """
    real, written, sets = rng.random((REPLICAS, M)) < share, [], []
    for t in range(1, T + 1):
        fresh = rng.random((REPLICAS, M)) < share
        sets.append(training(rng, t, real, fresh, written))
        written.append(emitted(rng, sets[-1]))
    return sets


def mixed(real_share, first):
    """Return a regime of a real share: what `first` says of it, then the newest emitted."""
    k = round(real_share * M)

    def training(rng, t, real, fresh, written):
        if t == 1:
            return real
        some = {"replayed": real[:, :k], "fresh": fresh[:, :k], "resampled": drawn(rng, real, k)}[first]
        return np.concatenate([some, written[-1][:, : M - k]], axis=1)

    return training


REGIMES = {
    "replace": (lambda p: laws.fresh_share_survival(p, 0.0, M, T), mixed(0.0, "fresh")),
    "fresh": (lambda p: laws.fresh_share_survival(p, 0.34, M, T), mixed(0.34, "fresh")),
    "control": (lambda p: laws.fresh_share_survival(p, 1.0, M, T), mixed(1.0, "fresh")),
    "replayed": (lambda p: laws.replayed_share_survival(p, 0.34, M, T), mixed(0.34, "replayed")),
    "resampled": (lambda p: laws.resampled_share_survival(p, 0.34, M, T), mixed(0.34, "resampled")),
    "importance": (
        lambda p: laws.importance_survival(p, 0.34, M, T),
        lambda rng, t, real, fresh, written: real if t == 1 else fresh[:, :2],
    ),
    "accumulate": (
        lambda p: laws.accumulate_survival(p, M, T),
        lambda rng, t, real, fresh, written: np.concatenate([real, *written], axis=1),
    ),
    "subsample": (
        lambda p: laws.subsample_survival(p, M, T),
        lambda rng, t, real, fresh, written: drawn(rng, np.concatenate([real, *written], axis=1), M),
    ),
}


def z_of_chance(hits, law):
    """Return z-scores of frequencies over the first axis by the law's own variance, or by that of one hit in all."""
    return (hits.mean(axis=0) - law) / np.sqrt(np.maximum(law * (1 - law), 1 / len(hits)) / len(hits))


def z_of(samples, want):
    """Return z-scores of the means over the first axis; where nothing varies the mean must be exact."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    gap = samples.mean(axis=0) - want
    return np.where(error > 0, gap / np.where(error > 0, error, 1.0), np.where(np.abs(gap) < 1e-9, 0.0, np.inf))


@pytest.mark.parametrize("name", REGIMES)
def test_survival_is_that_of_a_simulation_example_by_example(name):
    law_of, training = REGIMES[name]
    law, rng = law_of(SHARES), np.random.default_rng(0)
    for i, share in enumerate(SHARES):
        alive = np.stack([one.any(axis=1) for one in simulate(rng, share, training)], axis=1)
        unbroken = np.logical_and.accumulate(alive, axis=1)
        assert np.abs(z_of(alive, law.alive[:, i])).max() < 4
        assert np.abs(z_of(unbroken, law.unbroken[:, i])).max() < 4
        times = 1 + unbroken.sum(axis=1)
        time = laws.disappearance_time(law.unbroken)
        assert abs(z_of(times, time.mean[i])) < 4
        assert abs(z_of((times - times.mean()) ** 2, time.variance[i])) < 4


@pytest.mark.parametrize("models", [1, 3])
def test_an_ecosystem_is_that_of_a_simulation_example_by_example(models):
    rng = np.random.default_rng(1)
    alive_law = laws.ecosystem_survival(SHARES, models, M, T)
    spread_law = laws.ecosystem_share_variance(SHARES, models, M, T)
    for i, share in enumerate(SHARES):
        pool = rng.random((REPLICAS, models * M)) < share
        for t in range(T):
            trained = [drawn(rng, pool, M) for _ in range(models)]
            together = np.stack([one.mean(axis=1) for one in trained], axis=1).mean(axis=1)
            assert abs(z_of(together > 0, alive_law.alive[t, i])) < 4
            assert abs(z_of((together - share) ** 2, spread_law[t, i])) < 4
            pool = np.concatenate([emitted(rng, one) for one in trained], axis=1)
    np.testing.assert_array_equal(alive_law.alive, alive_law.unbroken)


def test_chains_agree_where_regimes_do():
    p, sizes = np.array([0.01, 0.2, 0.7]), [30] * 6
    replaced = laws.survival_probability(p, sizes)
    for law in (
        laws.fresh_share_survival(p, 0.0, 30, 6),
        laws.replayed_share_survival(p, 0.0, 30, 6),
        laws.ecosystem_survival(p, 1, 30, 6),
    ):
        np.testing.assert_allclose(law.alive, replaced, atol=1e-13)
        np.testing.assert_allclose(law.unbroken, replaced, atol=1e-13)
    same = laws.two_groups(0.2, lambda q: q, 30, 6)
    np.testing.assert_allclose(same.share, 0.2, atol=1e-13)
    np.testing.assert_allclose(same.alive, replaced[:, 1], atol=1e-13)
    drift = 0.16 * (1 - (1 - 1 / 30) ** np.arange(1, 7))
    np.testing.assert_allclose(same.variance, drift, atol=1e-13)
    np.testing.assert_allclose(laws.ecosystem_share_variance(np.array([0.2]), 1, 30, 6)[:, 0], drift, atol=1e-13)


def test_a_selection_by_group_is_that_of_a_simulation_with_its_minorities():
    rng, shares = np.random.default_rng(2), np.array([0.6, 0.3, 0.1])
    law = laws.two_groups(0.4, lambda q: np.array([1 - laws.curated_pair(1 - x, 0.8) for x in q]), M, T)
    training = rng.choice(3, p=shares, size=(REPLICAS, M))
    for t in range(T):
        rest = (training > 0).mean(axis=1)
        assert abs(z_of(rest, law.share[t])) < 4
        assert abs(z_of((rest - rest.mean()) ** 2, law.variance[t])) < 4
        assert abs(z_of(rest > 0, law.alive[t])) < 4
        # A part of what is selected alike keeps its proportion in expectation.
        assert abs(z_of((training == 2).mean(axis=1), law.share[t] / 4)) < 4
        pairs = np.take_along_axis(training, rng.integers(M, size=(REPLICAS, 2 * M)), axis=1).reshape(REPLICAS, M, 2)
        first = rng.random((REPLICAS, M)) < 1 / (1 + np.exp(-0.8 * ((pairs[..., 0] == 0) * 1.0 - (pairs[..., 1] == 0))))
        training = np.where(first, pairs[..., 0], pairs[..., 1])


@pytest.mark.slow
def test_mitigations_of_a_categorical_model_follow_their_laws():
    seeds, truth = 400, np.array([0.55, 0.35, 0.1])
    family = cj.families.categorical(3, exponent=0.0)
    fresh = cj.with_share(cj.REGIMES["real_fraction_fresh"], 0.34, "fresh")
    detector = selections.importance_resampled(selections.empirical_detector())
    curated = selections.curated(lambda tokens: (tokens == 0).astype(float))
    mitigations = {
        "replayed": cj.Mitigation(cj.with_share(cj.REGIMES["real_fraction_replayed"], 0.34, "replayed")),
        "fresh": cj.Mitigation(fresh),
        "subsample": cj.Mitigation(cj.REGIMES["accumulate_subsample"]),
        "importance": cj.Mitigation(fresh, reweigh=detector),
        "curated": cj.Mitigation(curate=curated._replace(defaults={"strength": 0.8})),
    }
    options = {"truth": jnp.asarray(truth, jnp.float32)}
    found = cj.compare_mitigations(
        family, mitigations, generations=3, samples=M, seeds=range(seeds), progress=False, **options
    )
    p = found["mean"].transpose("mitigation", "seed", "generation", "dim")
    survival = {name: REGIMES[name][0](truth) for name in mitigations if name != "curated"}
    plan = cj.make_plan(cj.generative.ecosystem(2), 3, M)
    together = cj.sweep(cj.make_recursion(family, plan, **options), {"seed": range(seeds)}, progress=False)
    scores = []
    for name, law in survival.items():
        here = p.sel(mitigation=name).to_numpy()
        scores += [z_of_chance(here > 0, law.alive[:3]), z_of(here, truth)]
    both = together["mean"].mean("model").transpose("seed", "generation", "dim").to_numpy()
    scores += [z_of_chance(both > 0, laws.ecosystem_survival(truth, 2, M, 3).alive), z_of(both, truth)]
    rest = laws.two_groups(0.45, lambda q: np.array([1 - laws.curated_pair(1 - x, 0.8) for x in q]), M, 3)
    here = p.sel(mitigation="curated").to_numpy()
    scores += [z_of(1 - here[..., 0], rest.share), z_of(here[..., 2], rest.share / 4.5)]
    assert max(np.abs(one).max() for one in scores) < 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: laws.accumulate_survival(np.array([1.2]), 5, 2), "share = 1.2 is outside"),
        (lambda: laws.fresh_share_survival(SHARES, 1.5, 5, 2), "real_share = 1.5 is outside"),
        (lambda: laws.replayed_share_survival(SHARES, -0.1, 5, 2), "real_share = -0.1 is outside"),
        (lambda: laws.importance_survival(SHARES, 0.5, 0, 2), "samples = 0 is not a whole number from 1"),
        (lambda: laws.resampled_share_survival(SHARES, 1.5, 5, 2), "real_share = 1.5 is outside"),
        (lambda: laws.fresh_share_survival(SHARES, 0.005, 100, 2), "real_share is 0.005, which rounds to none of 100"),
        (lambda: laws.importance_survival(SHARES, 0.95, 5, 2), "real_share is 0.95, which rounds to all of 5 examples"),
        (lambda: laws.subsample_survival(SHARES, 5, 0), "generations = 0 is not a whole number from 1"),
        (lambda: laws.ecosystem_survival(SHARES, 0, 5, 2), "models = 0 is not a whole number from 1"),
        (lambda: laws.ecosystem_share_variance(np.array([0.0]), 2, 5, 2), "share = 0.0 is outside"),
        (lambda: laws.two_groups(0.5, lambda q: 2 * q, 5, 2), "is not a share in .0, 1. for each of 6"),
        (lambda: metrics.ball_coverage(jnp.zeros((4, 1)), jnp.zeros((2, 1)), k=4), "k=4 must be at least 1 and below"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"shares": (0.9, 0.095, 0.005)},
            "group 3 with share 0.005 has less than one example of samples = 100",
        ),
        ({"shares": (0.5, 0.4)}, "they must be two or more above 0 that add up to 1"),
        ({"shares": (0.4, 0.6)}, "the first group is the majority"),
        ({"shares": (0.5, 0.5), "real": 0.001}, "real is 0.001; it must be a share of one"),
    ],
)
def test_groups_that_are_extinct_from_the_start_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        testbeds.require_groups("tokens", testbeds.Minorities(**settings), 100)


def test_the_distance_of_a_group_ignores_its_share_and_needs_it_alive():
    truth, groups = jnp.array([0.3, 0.3, 0.1, 0.3]), jnp.array([0, 0, 1, 1])
    p = jnp.array([0.1, 0.1, 0.6, 0.2])
    found = metrics.by_group(lambda where: metrics.group_distance(p, truth, where), groups, groups=2)
    np.testing.assert_allclose(found, [0.0, 0.5], atol=1e-6)
    dead = metrics.by_group(
        lambda where: metrics.group_distance(jnp.array([0.5, 0.5, 0.0, 0.0]), truth, where), groups, groups=2
    )
    np.testing.assert_array_equal(np.isnan(dead), [False, True])


def test_misses_and_coverage_of_groups_are_those_of_brute_force():
    rng = np.random.default_rng(3)
    real, groups = rng.normal(size=(40, 3)).astype("f4"), rng.integers(3, size=40)
    generated, labels = rng.normal(0.8, 0.4, size=(30, 3)).astype("f4"), rng.integers(2, size=30)
    told = KNeighborsClassifier(1).fit(generated, labels).predict(real) != groups

    def measure(where):
        args = jnp.asarray(real), jnp.asarray(generated)
        misses = metrics.group_misses(args[0], jnp.asarray(groups), args[1], jnp.asarray(labels), where=where)
        return misses, metrics.ball_coverage(*args, k=2, where=where), metrics.ball_coverage(*args, k=20, where=where)

    misses, coverage, few = metrics.by_group(measure, jnp.asarray(groups), groups=3)
    # Nothing of group 2 is generated: no error is measured, but what is generated of others may reach it.
    np.testing.assert_allclose(misses, [told[groups == 0].mean(), told[groups == 1].mean(), np.nan], rtol=1e-6)
    for group in range(3):
        own = real[groups == group]
        radius = NearestNeighbors(n_neighbors=3).fit(own).kneighbors(own)[0][:, -1]
        nearest = NearestNeighbors(n_neighbors=1).fit(generated).kneighbors(own)[0][:, 0]
        np.testing.assert_allclose(coverage[group], (nearest < radius).mean(), rtol=1e-6)
    assert 0 < float(coverage.min()) < float(coverage.max()) < 1
    assert np.isnan(np.asarray(few)).all()
    whole = metrics.group_misses(*(jnp.asarray(one) for one in (real, groups, generated, labels)))
    np.testing.assert_allclose(whole, told.mean(), rtol=1e-6)
    assert np.isnan(metrics.ball_coverage(jnp.asarray(real).at[0, 0].set(jnp.nan), jnp.asarray(generated)))


@pytest.mark.slow
@pytest.mark.parametrize("make", [minority_samples.make_points, minority_samples.make_images])
def test_a_testbed_measures_dead_groups_and_living_ones(make, monkeypatch, tmp_path):
    """Each with few mitigations: what it records must be in range, and NaN where a group is dead."""
    kept = ("replace", "fresh") if make is minority_samples.make_points else ("replace",)

    def make_few(config, is_majority):
        return {name: one for name, one in testbeds.make_mitigations(config, is_majority).items() if name in kept}

    monkeypatch.setattr(minority_samples, "make_mitigations", make_few)
    config = testbeds.Minorities(
        progress=False,
        shares=(0.8, 0.1, 0.1),
        points=testbeds.PointsConfig(samples=10, generations=8, seeds=6, drawn=60, held_out=5),
        images=testbeds.ImagesConfig(samples=60, exponent=1.0, generations=6, seeds=2, steps=2),
    )
    found = make(config, tmp_path).sel(mitigation="replace")
    np.testing.assert_allclose(found["share"].sum("group"), 1.0, atol=1e-5)
    np.testing.assert_allclose(found["real_share"].sum(), 1.0)
    alive = found["alive"] > 0
    assert 0.0 < float(alive.mean()) < 1.0
    # A class that a model would emit may be missing from the few images that it did.
    assert bool(found["error"].isnull().where(~alive, True).all())
    assert float(found["error"].isnull().where(alive, False).mean()) < 0.1
    assert float(found["coverage"].min()) >= 0.0
    assert float(found["coverage"].max()) <= 1.0
    first = np.where(alive.all("generation"), 1 + alive.sizes["generation"], 1 + (~alive).argmax("generation"))
    np.testing.assert_array_equal(found["time"], first)
    assert found["share_law"].isel(generation=-1).to_numpy() == pytest.approx(found["real_share"].to_numpy())


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_samples_and_lattices_cover_themselves(k):
    rng = np.random.default_rng(0)
    lattice = rng.integers(0, 3, (500, 2)).astype(np.float32)
    repeated = rng.normal(size=(100, 2)).astype(np.float32)
    repeated[:30] = repeated[0]
    for x in (lattice, repeated):
        assert metrics.ball_coverage(jnp.asarray(x), jnp.asarray(x), k=k) == 1
        # As precision and recall say of the same samples.
        assert metrics.precision_recall(jnp.asarray(x), jnp.asarray(x), k=k).recall == 1
