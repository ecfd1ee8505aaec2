"""Data evolution: operators against their matrices, pools against the linear law, elimination and novelty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.families.evolved import Pool, evolved
from collapse_jax.generative.families.instructions import instruction_space
from collapse_jax.generative.recursion.plan import make_plan
from collapse_jax.generative.recursion.recurse import make_recursion
from collapse_jax.generative.recursion.regimes import REGIMES
from collapse_jax.generative.selections import novel, verified

SPACE = instruction_space(topics=3, depths=2, failure=0.2, exponent=1.0, decay=0.5)
WIDE = instruction_space(topics=7, depths=3, failure=0.3, reach=2)
CELLS = len(SPACE.truth)


def family_of(space, **options):
    return evolved(space.deepen, space.broaden, truth=space.draw, **options)


def z_of(samples, want):
    """Return the z-scores of means over the first axis; where nothing varies the mean must be exact."""
    samples = np.asarray(samples, float)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    gap = samples.mean(axis=0) - want
    return np.where(error > 0, gap / np.where(error > 0, error, 1.0), np.where(np.abs(gap) < 1e-6, 0.0, np.inf))


@pytest.mark.parametrize("space", [SPACE, WIDE, instruction_space(2, 1)], ids=["small", "wide", "smallest"])
@pytest.mark.parametrize("operator", ["deepen", "broaden"])
def test_operators_follow_their_matrices(space, operator):
    matrix = {"deepen": space.deepening, "broaden": space.broadening}[operator]
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)
    cells, draws = len(space.truth), 2000
    keys = jax.random.split(jax.random.key(0), (cells, draws))
    apply = jax.vmap(jax.vmap(getattr(space, operator), (0, None)))
    there = np.asarray(jax.jit(apply)(keys, jnp.arange(cells)))
    for cell in range(cells):
        assert np.abs(z_of(there[cell][:, None] == np.arange(cells), matrix[cell])).max() < 4, cell


def test_the_truth_is_zipf_times_geometric_and_knows_nothing_broken():
    table = SPACE.truth[:-1].reshape(3, 2)
    np.testing.assert_allclose(table[:, 0] / table[0, 0], 1.0 / np.arange(1, 4))
    np.testing.assert_allclose(table[:, 1] / table[:, 0], 0.5)
    assert SPACE.truth.sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(SPACE.correct(jnp.arange(CELLS)), np.arange(CELLS) < CELLS - 1)
    assert SPACE.truth[-1] == 0
    seeds = np.asarray(SPACE.draw(jax.random.key(1), 8000))
    assert np.abs(z_of(seeds[:, None] == np.arange(CELLS), SPACE.truth)).max() < 4


TIMES, SAMPLES, DEEPENING = 4, 6, 0.3
PLAN = make_plan(
    [REGIMES[name] for name in ("replace", "accumulate", "real_fraction_replayed", "augment")], TIMES, SAMPLES, 0.5
)


@pytest.fixture(scope="module")
def compositions():
    """The compositions of 2000 pools for every regime, without evolution and with much of it."""
    process = make_recursion(
        family_of(SPACE),
        PLAN,
        decoding=["evolution", "deepening"],
        measure=lambda key, pool: {"composition": SPACE.composition(pool)},
        dims={"composition": ("cell",)},
    )
    axes = {"regime": PLAN.axes["regime"], "evolution": [0.0, 0.8], "deepening": [DEEPENING], "seed": range(2000)}
    return cj.sweep(process, axes, progress=False).composition.isel(deepening=0)


@pytest.mark.parametrize("evolution", [0.0, 0.8])
@pytest.mark.parametrize("regime", [one.name for one in PLAN.regimes])
def test_pools_follow_the_linear_law_at_any_size(compositions, regime, evolution):
    """A pool of composition p emits p K on average; a pool is the mean of its sources, so expectations are exact."""
    got = compositions.sel(regime=regime, evolution=evolution).values
    counts = PLAN.rows(regime).counts[:, 1:]
    sources, matrix = [SPACE.truth], SPACE.transition(evolution, DEEPENING)
    for t in range(TIMES):
        pool = counts[t, : t + 1] / counts[t].sum() @ np.array(sources)
        assert np.abs(z_of(got[:, t], pool)).max() < 4, t
        sources.append(pool @ matrix)


def test_without_evolution_a_pool_is_resampled(compositions):
    """E H_t = H_0 (1 - 1/M)^t for the heterozygosity H = 1 - Σp² of the pool, where the last generation is replaced."""
    p = compositions.sel(regime="replace", evolution=0.0).values.astype(float)
    want = (1 - SPACE.truth @ SPACE.truth) * (1 - 1 / SAMPLES) ** np.arange(1, TIMES + 1)
    assert np.abs(z_of(1 - (p**2).sum(-1), want)).max() < 4


def test_the_measure_is_its_definition():
    members = np.array([0, 0, 1, 5, CELLS - 1, 3])
    shares = np.array([0.1, 0.2, 0.3, 0.15, 0.25, 0.0])
    pool = Pool(jnp.array(members), jnp.array(shares, jnp.float32), jnp.float32(1), jnp.float32(0.5))
    got = {name: float(value) for name, value in SPACE.measure(jax.random.key(0), pool).items()}
    p = np.bincount(members, shares, CELLS)
    want = {
        "coverage": SPACE.truth[[0, 1, 5]].sum(),
        "broken": 0.25,
        "depth": (0.3 + 0.15) / 0.75,  # cells 1 and 5 are one deep
        "distance": 0.5 * np.abs(p - SPACE.truth).sum(),
    }
    assert got == pytest.approx(want, abs=1e-6)


def test_only_members_of_the_pool_are_rewritten():
    add = lambda key, example: {"value": example["value"] + 1, "steps": example["steps"].at[0].add(1)}  # noqa: E731
    move = lambda key, example: {"value": example["value"], "steps": example["steps"].at[1].add(1)}  # noqa: E731
    family = evolved(add, move, evolution=0.6, deepening=0.25)
    examples = {"value": jnp.arange(0, 50, 10), "steps": jnp.zeros((5, 2))}
    weights = jnp.array([0.0, 1.0, 2.0, 0.0, 1.0])
    params = family.init(jax.random.key(0), examples, weights)
    params = family.fit(jax.random.key(1), params, examples, weights)
    emitted = jax.tree.map(np.asarray, family.sample(jax.random.key(2), params, 8000))
    parents = emitted["value"] // 10
    assert np.abs(z_of(parents[:, None] == np.arange(5), np.array([0, 0.25, 0.5, 0, 0.25]))).max() < 4
    # Deepened, broadened, neither; never both.
    assert np.abs(z_of(emitted["steps"], [0.15, 0.45])).max() < 4
    np.testing.assert_array_equal(emitted["value"] % 10, emitted["steps"][:, 0])
    assert emitted["steps"].sum(axis=1).max() == 1


@pytest.mark.slow
def test_elimination_keeps_the_broken_out_and_evolution_covers_more_than_resampling():
    space = instruction_space(topics=12, depths=4, failure=0.3)
    plan = make_plan([REGIMES["accumulate"], REGIMES["replace"]], 4, 16)
    options = {"decoding": ["evolution"], "measure": space.measure}
    axes = {"regime": plan.axes["regime"], "evolution": [0.0, 1.0], "seed": range(50)}
    raw = cj.sweep(make_recursion(family_of(space), plan, **options), axes, progress=False)
    chosen = make_recursion(family_of(space), plan, curate=verified(space.correct, oversample=4), **options)
    clean = cj.sweep(chosen, axes, progress=False)
    assert (clean.broken == 0).all()
    assert (raw.broken.sel(evolution=1.0).isel(generation=-1).mean("seed") > 0.1).all()
    for dataset in (raw, clean):
        pairs = dataset.sel(regime="accumulate").isel(generation=-1)
        gain = pairs.coverage.sel(evolution=1.0) - pairs.coverage.sel(evolution=0.0)
        assert float(gain.mean()) > 4 * float(gain.std()) / np.sqrt(50)
        # Resampling adds nothing to what the seeds cover; it can only lose.
        still = dataset.sel(evolution=0.0)
        np.testing.assert_allclose(still.coverage.sel(regime="accumulate").diff("generation"), 0.0, atol=1e-6)
        assert (still.coverage.sel(regime="replace").diff("generation") <= 1e-6).all()
    assert (clean.depth.sel(evolution=1.0).diff("generation").mean("seed") > 0).all()


def test_with_a_novelty_filter_nothing_enters_the_pool_twice():
    """Seeds that repeat stay; of what is emitted each cell comes once, and none that the pool held."""
    samples = 10

    def held(key, pool):
        return {"members": pool.members, "shares": pool.shares}

    rule = novel(lambda x, y: (x != y).astype(float))
    plan = make_plan(REGIMES["accumulate"], 4, samples)
    process = make_recursion(
        family_of(WIDE), plan, curate=rule, measure=held, dims={"members": ("member",), "shares": ("member",)}
    )
    dataset = cj.sweep(process, {"seed": range(20)}, progress=False)
    for members, shares in zip(dataset.members.values[:, -1], dataset.shares.values[:, -1], strict=True):
        seeds, grown = members[:samples], members[samples:][shares[samples:] > 0]
        assert len(set(grown)) == len(grown) > 0
        assert not set(grown) & set(seeds)


def test_what_a_novelty_filter_lets_in_is_all_that_is_new():
    """From seeds that are one cell each operator has few outcomes: with many draws all enter, and only once."""
    space = instruction_space(topics=5, depths=3, failure=0.5)
    process = make_recursion(
        family_of(space),
        make_plan(REGIMES["accumulate"], 2, 200),
        truth=lambda key, n: jnp.full(n, 6, jnp.int32),
        curate=novel(lambda x, y: (x != y).astype(float)),
        measure=lambda key, pool: {"composition": space.composition(pool)},
        dims={"composition": ("cell",)},
    )
    got = cj.sweep(process, {"seed": [0, 1]}, progress=False).composition.values[:, 1]
    # Topic 2, depth 0 leads to depth 1, to the topics 1 and 3, and to the broken cell.
    want = np.bincount([7, 3, 9, 15], minlength=16) + 200 * np.bincount([6], minlength=16)
    np.testing.assert_allclose(got, np.tile(want / 204, (2, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: family_of(SPACE, evolution=1.5), "evolution is 1.5"),
        (lambda: family_of(SPACE, deepening=-0.1), "deepening is -0.1"),
        (lambda: instruction_space(topics=1), "topics is 1"),
        (lambda: instruction_space(depths=0), "depths is 0"),
        (lambda: instruction_space(reach=0), "reach is 0"),
        (lambda: instruction_space(topics=5, reach=3), "reach is 3"),
        (lambda: instruction_space(exponent=-1.0), "exponent is -1"),
        (lambda: instruction_space(decay=0.0), "decay is 0"),
        (lambda: instruction_space(failure=2.0), "failure is 2"),
    ],
)
def test_bad_arguments_are_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_chance_out_of_range_and_a_missing_measure_are_refused():
    plan = make_plan(REGIMES["replace"], 2, 4)
    with pytest.raises(ValueError, match="measure"):
        make_recursion(family_of(SPACE), plan)
    process = make_recursion(family_of(SPACE), plan, decoding=["deepening"], measure=SPACE.measure)
    with pytest.raises(ValueError, match="deepening"):
        cj.sweep(process, {"deepening": [1.5], "seed": [0]}, progress=False)
