"""The image families: bounds and samples against closed forms, classes exactly, and both inside a recursion."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import multivariate_normal

import collapse_jax as cj
from collapse_jax.generative import families
from collapse_jax.generative.families.flow import integrate
from collapse_jax.generative.families.image_classes import LabelledImages
from collapse_jax.plotting import image_grids

CLASSES, SIDE = 3, 4
TINY = cj.generative.Fitting(steps=500, batch_size=16, learning_rate=1e-2)
EVERY = {
    "vae": families.vae((SIDE, SIDE, 1), CLASSES, hidden=(16,), latent=2, fitting=TINY),
    "convolutional": families.vae(
        (SIDE, SIDE, 1), CLASSES, kind="convolutional", hidden=(4, 8), latent=2, fitting=TINY
    ),
    "flow": families.flow((SIDE, SIDE, 1), CLASSES, hidden=(32,), integration_steps=4, drop=0.0, fitting=TINY),
}
# With every decoding that there is.
RECURRING = {
    "vae": EVERY["vae"],
    "flow": families.flow((SIDE, SIDE, 1), CLASSES, hidden=(32,), integration_steps=2, fitting=TINY),
}
named = pytest.mark.parametrize("name", EVERY)
trained = pytest.mark.parametrize("name", ["vae", "flow"])


def key(number):
    return jax.random.key(number)


def templates():
    """Return three images that a classifier of the nearest tells apart."""
    return np.random.default_rng(5).choice([0.15, 0.85], size=(CLASSES, SIDE, SIDE, 1)).astype(np.float32)


@partial(jax.jit, static_argnums=1)
def truth(key, n):
    label_key, noise_key = jax.random.split(key)
    labels = jax.random.randint(label_key, (n,), 0, CLASSES)
    noise = 0.1 * jax.random.normal(noise_key, (n, SIDE, SIDE, 1))
    return LabelledImages(jnp.clip(jnp.asarray(templates())[labels] + noise, 0.0, 1.0), labels)


def repeated(leaf):
    """Return each example twice, beside each other."""
    return jnp.repeat(leaf, 2, axis=0)


def of_normals(family, scale):
    """Return a model whose weights are all normal."""
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(family.init, jax.eval_shape(lambda: key(0)), truth(key(1), 1), jnp.ones(1))
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32), shapes)


def begin(family):
    """Return a model to start from; what examples there are doesn't matter."""
    return jax.jit(family.init)(key(2), truth(key(1), 1), jnp.ones(1))


@cache
def fitter(name):
    """Return the fit of a family as one program: examples and settings are all that changes."""
    fit = jax.jit(EVERY[name].fit)

    def run(key, params, examples, weights, steps=TINY.steps, learning_rate=TINY.learning_rate):
        return fit(key, params, examples, jnp.asarray(weights, jnp.float32), steps=steps, learning_rate=learning_rate)

    return run


@cache
def drawer(name):
    """Return 3000 images of a model, and 5 that answer the label 2."""

    def draw(sample_key, respond_key, params):
        asked = LabelledImages(jnp.zeros((5, SIDE, SIDE, 1)), jnp.full(5, 2))
        return EVERY[name].sample(sample_key, params, 3000), EVERY[name].respond(respond_key, params, asked)

    return jax.jit(draw)


@cache
def fitted(name):
    """Return a model of two hundred examples, and the examples."""
    examples = jax.tree.map(repeated, truth(key(1), 200))
    params = begin(EVERY[name])
    return fitter(name)(key(3), params, examples, jnp.tile(jnp.array([1.0, 0.0]), 200)), examples


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.mark.slow
@trained
def test_a_weight_of_two_is_an_example_twice_and_a_weight_of_none_is_none(name):
    _, examples = fitted(name)
    params = begin(EVERY[name])
    fit, first = fitter(name), np.arange(400) % 2 == 0
    heavy, light = np.where(np.arange(400) < 100, 2.0, 1.0), np.ones(400)
    twice = jnp.asarray(np.where(first, light, np.arange(400) < 100), jnp.float32)
    garbage = jax.tree.map(
        lambda leaf: jnp.where(jnp.asarray(first).reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf.dtype.type(10**9)),
        examples,
    )
    once = jnp.asarray(heavy * first, jnp.float32)
    want = fit(key(4), params, examples, twice, steps=20)
    assert same(fit(key(4), params, examples, once, steps=20).weights, want.weights)
    assert same(fit(key(4), params, garbage, once, steps=20), fit(key(4), params, examples, once, steps=20))
    np.testing.assert_allclose(fit(key(4), params, examples, once, steps=20).shares, want.shares, rtol=1e-6)
    assert not same(fit(key(4), params, examples, jnp.asarray(1.0 * first, jnp.float32), steps=20), want)


@trained
def test_a_fit_obeys_its_steps_and_learning_rate(name):
    _, examples = fitted(name)
    params, fit = begin(EVERY[name]), fitter(name)
    assert same(fit(key(4), params, examples, jnp.ones(400), steps=0).weights, params.weights)
    slow, fast = (fit(key(4), params, examples, jnp.ones(400), steps=1, learning_rate=rate) for rate in (1e-4, 1e-2))
    moved = [
        np.abs(jax.tree.leaves(one.weights)[-1] - jax.tree.leaves(params.weights)[-1]).max() for one in (slow, fast)
    ]
    # Adam's first step is the learning rate in each weight, but for the decay of the weights.
    assert moved[1] == pytest.approx(100 * moved[0], rel=0.02)


@pytest.mark.slow
@named
def test_images_are_of_their_class(name):
    params, _ = fitted(name)
    emitted, answered = drawer(name)(key(6), key(7), params)
    assert float(emitted.images.min()) >= 0.0
    assert float(emitted.images.max()) <= 1.0
    distance = ((np.asarray(emitted.images)[:, None] - templates()[None]) ** 2).sum((2, 3, 4))
    assert (distance.argmin(1) == np.asarray(emitted.labels)).mean() > 0.9
    assert answered.labels.tolist() == [2] * 5
    assert (((np.asarray(answered.images)[:, None] - templates()[None]) ** 2).sum((2, 3, 4)).argmin(1) == 2).all()


@trained
def test_shares_of_classes_are_those_of_the_weights_and_a_lost_class_stays_lost(name):
    _, examples = fitted(name)
    params = begin(EVERY[name])
    labels = np.asarray(examples.labels)
    weights = np.where(labels == 1, 0.0, np.random.default_rng(0).integers(0, 4, 400))
    found = fitter(name)(key(4), params, examples, jnp.asarray(weights, jnp.float32), steps=0)
    want = np.array([weights[labels == c].sum() for c in range(CLASSES)], np.float32) / np.float32(weights.sum())
    assert np.array_equal(found.shares, want)
    drawn = np.bincount(drawer(name)(key(8), key(9), found)[0].labels, minlength=CLASSES)
    assert drawn[1] == 0
    assert abs(drawn[0] - 3000 * want[0]) < 4 * np.sqrt(3000 * want[0] * want[2])
    if EVERY[name].log_prob is not None:
        scores = jax.jit(EVERY[name].log_prob)(found, examples)
        assert np.array_equal(np.isneginf(scores), labels == 1)


def linear(deviation=0.01, narrow=0.0):
    """Return a VAE so nearly linear that it is probabilistic PCA, with the exact posterior as its encoder.

    `narrow` is added to the logarithm of the encoder's variances, which then no longer are those of the posterior.
    """
    rng, d, k, classes = np.random.default_rng(0), 4, 2, 2
    family = families.vae((2, 2, 1), classes, hidden=(), latent=k, deviation=deviation)
    # Orthogonal loadings: the posterior is then independent across dimensions, as the encoder is.
    loadings = np.linalg.qr(rng.normal(size=(d, k)))[0] * np.array([0.02, 0.01])
    offsets = rng.normal(size=(classes, d))
    means = 1.0 / (1.0 + np.exp(-offsets))
    # A common slope of the link in all classes is needed: use classes of opposite offsets.
    offsets[1], means[1] = -offsets[0], 1.0 - means[0]
    slope = means[0] * (1.0 - means[0])
    variance = 1.0 / (1.0 + (loadings**2).sum(0) / deviation**2)
    gain = loadings * variance / deviation**2
    weights = {
        "encoder": {
            "mean": {"kernel": np.concatenate([gain, -(means - 0.5) @ gain]), "bias": np.zeros(k)},
            "log_variance": {"kernel": np.zeros((d + classes, k)), "bias": np.log(variance) + narrow},
        },
        "decoder": {"image": {"kernel": np.concatenate([(loadings / slope[:, None]).T, offsets]), "bias": np.zeros(d)}},
    }
    weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), weights)
    return family, families.VAE(weights, jnp.array([0.25, 0.75])), means, loadings


def test_the_bound_is_the_likelihood_under_the_exact_posterior_and_below_it_by_the_divergence():
    family, params, means, loadings = linear()
    labels = np.random.default_rng(1).integers(0, 2, 800)
    covariance = loadings @ loadings.T + 0.01**2 * np.eye(4)
    images = means[labels] + np.random.default_rng(2).multivariate_normal(np.zeros(4), covariance, 800)
    likelihood = np.log(np.array([0.25, 0.75])[labels]) + multivariate_normal(np.zeros(4), covariance).logpdf(
        images - means[labels]
    )
    examples = LabelledImages(jnp.asarray(images, jnp.float32).reshape(-1, 2, 2, 1), jnp.asarray(labels, jnp.int32))
    log_prob = jax.jit(family.log_prob)
    for narrow in (0.0, -1.0, 1.0):
        gap = likelihood - np.asarray(log_prob(linear(narrow=narrow)[1], examples))
        divergence = 2 * 0.5 * (np.exp(narrow) - 1.0 - narrow)
        # 800 x 32 draws of a quadratic form of sd 1 or so; the link's curvature costs less than .02.
        assert abs(gap.mean() - divergence) < 4 * gap.std() / np.sqrt(800) + 0.02, narrow
        assert gap.std() / np.sqrt(800) < 0.03
    np.testing.assert_allclose(family.embed(params, examples)[:, 0].var(), 1 - 1 / (1 + 4.0), rtol=0.2)


def test_bias_multiplies_the_variance_of_the_latent_prior():
    family, params, means, loadings = linear()

    @jax.jit
    def emit(bias):
        return family.sample(key(3), params, 4000), family.sample(
            key(3), family.decodings["bias"].apply(params, bias), 4000
        )

    for bias in (1.0, 0.0, 0.25, 4.0):
        plain, emitted = emit(bias)
        assert bias != 1.0 or same(plain, emitted)
        # What is emitted is the mean of the pixels: without their noise.
        along = (np.asarray(emitted.images).reshape(-1, 4) - means[np.asarray(emitted.labels)]) @ loadings
        # A sample variance of 4000 is known to 1/√2000 of itself; the link bends by a few hundredths at most.
        want = bias * (loadings**2).sum(0) ** 2
        np.testing.assert_allclose(along.var(0), want, rtol=4 / np.sqrt(2000) + 0.02, atol=1e-14)


def test_the_bound_of_a_network_is_its_integral():
    n, side, latent = 60, 2, 1
    family = families.vae((side, side, 1), 2, hidden=(5,), latent=latent, deviation=0.3)
    params, rng = of_normals(family, 1.0)._replace(shares=jnp.full(2, 0.5)), np.random.default_rng(4)
    x, y = rng.uniform(size=(n, 4)), rng.integers(0, 2, n)
    w = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params.weights)

    def dense(part, x):
        return x @ part["kernel"] + part["bias"]

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def log_normal(x, mean, deviation):
        return -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)

    hidden = gelu(dense(w["encoder"]["Dense_0"], np.concatenate([x - 0.5, np.eye(2)[y]], 1)))
    mean = dense(w["encoder"]["mean"], hidden)
    deviation = np.exp(0.5 * dense(w["encoder"]["log_variance"], hidden))
    nodes, shares = np.polynomial.hermite_e.hermegauss(60)
    bound = likelihood = np.zeros(n)
    for node, share in zip(nodes, shares / shares.sum(), strict=True):
        z = mean + deviation * node
        part = gelu(dense(w["decoder"]["Dense_0"], np.concatenate([z, np.eye(2)[y]], 1)))
        pixels = 1 / (1 + np.exp(-dense(w["decoder"]["image"], part)))
        joint = log_normal(x, pixels, 0.3).sum(1) + log_normal(z, 0.0, 1.0).sum(1)
        proposal = log_normal(z, mean, deviation).sum(1)
        bound = bound + share * (joint - proposal)
        likelihood = likelihood + share * np.exp(joint - proposal)
    found = np.asarray(jax.jit(family.log_prob)(params, as_examples(x, y)), np.float64) - np.log(0.5)
    assert (bound < np.log(likelihood) + 1e-6).all()
    scaled = found - bound
    assert abs(scaled.mean()) < 4 * scaled.std() / np.sqrt(n)
    assert scaled.std() / np.sqrt(n) < 0.05 * np.abs(bound).mean()


def as_examples(x, y):
    return LabelledImages(jnp.asarray(x, jnp.float32).reshape(-1, 2, 2, 1), jnp.asarray(y, jnp.int32))


def test_a_flow_is_integrated_to_the_order_of_its_method():
    # The velocity that carries N(0, 1) into N(mean, deviation²) along straight paths.
    mean, deviation = 0.7, 0.3

    def velocity(x, t):
        slope = (t * deviation**2 - (1 - t)) / ((1 - t) ** 2 + (t * deviation) ** 2)
        return mean + slope * (x - t * mean)

    x = jnp.linspace(-2.0, 2.0, 9)
    error = {
        (method, steps): float(jnp.abs(integrate(velocity, x, steps, method) - (mean + deviation * x)).max())
        for method in ("euler", "heun")
        for steps in (16, 32)
    }
    assert error["euler", 16] / error["euler", 32] == pytest.approx(2.0, rel=0.3)
    assert error["heun", 16] / error["heun", 32] == pytest.approx(4.0, rel=0.4)
    assert error["heun", 32] < 2e-3


@pytest.mark.slow
def test_a_flow_learns_a_normal_distribution_and_a_point_each_with_its_class():
    fitting = cj.generative.Fitting(steps=1500, batch_size=128, learning_rate=5e-3)
    family = families.flow((1, 1, 1), 2, hidden=(32,), integration_steps=32, fitting=fitting)
    labels = (jnp.arange(1000) % 5 == 0).astype(int)
    normal = 0.6 + 0.08 * jax.random.normal(key(0), (1000,))
    examples = LabelledImages(jnp.where(labels == 0, normal, 0.2).reshape(-1, 1, 1, 1), labels)

    def run(init_key, fit_key, key):
        params = family.init(init_key, examples, jnp.ones(1000))
        params = family.fit(fit_key, params, examples, jnp.ones(1000))
        # A label that is none: the velocity without a class.
        asked = jnp.tile(jnp.array([0, 1, -1]), 1000)
        return family.respond(key, params, LabelledImages(jnp.zeros((3000, 1, 1, 1)), asked)).images.reshape(1000, 3)

    found = np.asarray(jax.jit(run)(key(1), key(2), key(3)))
    assert found[:, 0].mean() == pytest.approx(0.6, abs=0.02)
    assert found[:, 0].std() == pytest.approx(0.08, rel=0.2)
    assert (np.abs(found[:, 1] - 0.2) < 0.05).mean() > 0.98
    assert (found[:, 2] < 0.3).mean() == pytest.approx(0.2, abs=0.08)


def test_guidance_extrapolates_from_the_velocity_without_a_class():
    family = families.flow((2, 1, 1), 2, hidden=(8,), integration_steps=1, method="euler")
    params = of_normals(family, 0.6)
    guide = family.decodings["guidance"]

    @jax.jit
    def emit(label, guidance):
        asked = LabelledImages(jnp.zeros((500, 2, 1, 1)), jnp.full(500, label))
        plain = family.respond(key(1), params, asked).images
        return plain, family.respond(key(1), guide.apply(params, guidance), asked).images

    free, _ = emit(-1, 0.0)
    for guidance in (0.0, 0.5, 3.0):
        plain, guided = (np.asarray(one) for one in emit(1, guidance))
        want = plain + guidance * (plain - np.asarray(free))
        inside = np.all([(one > 0.0) & (one < 1.0) for one in (plain, guided, free, want)], axis=0)
        assert inside.mean() > 0.1
        np.testing.assert_allclose(guided[inside], want[inside], atol=1e-5)
        assert guidance == 0.0 or np.abs(guided - plain)[inside].max() > 2e-3


@pytest.mark.slow
@trained
def test_a_population_recurs_in_one_trace(name):
    family, traces = RECURRING[name], []

    def fit(*arguments, **hyper):
        traces.append(1)
        return family.fit(*arguments, **hyper)

    plan = cj.make_plan([cj.REGIMES["replace"]], generations=2, samples=40)
    process = cj.make_recursion(
        family._replace(fit=fit),
        plan,
        truth,
        decoding=family.decodings,
        warm_start=name == "vae",
        measure=lambda key, params: {"shares": params.shares},
        inspect=lambda key, examples, weights: {"brightness": examples.images.mean()},
        dims={"shares": ("class",)},
    )
    result = cj.sweep(process, {"steps": [10], "learning_rate": [1e-3], "seed": [0, 1]}, progress=False)
    assert result.sizes == {"steps": 1, "learning_rate": 1, "seed": 2, "generation": 2, "class": CLASSES}
    assert not result["diverged"].any()
    np.testing.assert_allclose(result["shares"].sum("class"), 1.0, rtol=1e-6)
    assert (np.abs(result["brightness"].diff("seed")) > 1e-4).all()
    assert len(traces) == 1


def test_a_grid_puts_each_image_in_its_place_and_leaves_out_what_is_lost():
    values = np.random.default_rng(0).uniform(size=(2, 3, 4, 5, 6))
    values[1, 2, 3, 0, 0] = np.nan
    dims = ("regime", "class", "generation", "height", "width")
    coords = {"regime": ["replace", "fresh_real"], "class": list("abc"), "generation": [1, 2, 5, 9]}
    figure = image_grids(xr.DataArray(values, coords, dims), panel="regime", row="generation", column="class")
    first, second = figure.axes
    assert [ax.get_title() for ax in (first, second)] == ["replace", "fresh real"]
    assert [text.get_text() for text in first.get_yticklabels()] == ["1", "2", "5", "9"]
    shown = second.images[0].get_array()
    assert shown.shape == (4 * 6 - 1, 3 * 7 - 1)
    np.testing.assert_array_equal(shown[6:11, 14:20], values[1, 2, 1])
    assert shown[18:23, 14:20].mask.all()
    assert shown.mask.sum() == 30


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: families.vae((8, 8)), r"shape is \(8, 8\); it must be \(height, width, channel\)"),
        (lambda: families.vae((8, 0, 1)), r"shape is \(8, 0, 1\); it must be of whole numbers from 1 on"),
        (lambda: families.vae(shape=None), "shape is None; vae needs a sequence"),
        (lambda: families.vae(hidden=(8, 0)), r"hidden is \(8, 0\); it must be of whole numbers"),
        (lambda: families.vae(latent=0), "latent is 0; it must be of whole numbers from 1 on"),
        (lambda: families.vae(deviation=0.0), "deviation is 0.0; it must be finite and above 0"),
        (lambda: families.vae(kind="deep"), "kind is 'deep'; it must be 'mlp' or 'convolutional'"),
        (
            lambda: families.vae((6, 8, 1), kind="convolutional"),
            r"shape is \(6, 8, 1\); 2 convolutions need multiples of 4",
        ),
        (lambda: families.flow(classes=True), "classes is True; flow needs a whole number"),
        (lambda: families.flow(integration_steps=0), "integration_steps is 0; it must be"),
        (lambda: families.flow(hidden=()), r"hidden is \(\); it must have at least one width"),
        (lambda: families.flow(drop=1.0), r"drop is 1.0; it must be a probability in \[0, 1\)"),
        (lambda: families.flow(method="midpoint"), "method is 'midpoint'; it must be 'heun' or 'euler'"),
        (
            lambda: cj.make_recursion(
                families.flow(drop=0.0), cj.make_plan(cj.REGIMES["replace"], 2, 5), truth, decoding=["guidance"]
            ),
            "family 'flow' has no decoding 'guidance'; it has none",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
