"""The transformer against an independent one in NumPy, and its cache against reading everything at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from collapse_jax.nets.transformer import Architecture, attend, make_transformer

N, LENGTH, VOCABULARY = 3, 7, 11


def drawn(architecture):
    """Return a transformer, weights that are far from their start, tokens, places and a causal mask."""
    transformer = make_transformer(architecture, vocabulary=VOCABULARY, length=LENGTH)
    weights_key, noise_key, token_key = jax.random.split(jax.random.key(0), 3)
    weights = transformer.init(weights_key)
    leaves, tree = jax.tree.flatten(weights)
    keys = jax.random.split(noise_key, len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    tokens = jax.random.randint(token_key, (N, LENGTH), 0, VOCABULARY)
    places = jnp.repeat(jnp.arange(LENGTH)[None], N, axis=0)
    mask = jnp.repeat(jnp.tril(jnp.ones((LENGTH, LENGTH), bool))[None], N, axis=0)
    return transformer, jax.tree.unflatten(tree, noisy), tokens, places, mask


def norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def reference(weights, tokens, places, mask, architecture):
    """Return the hidden states in float64, written from the papers' formulas."""
    w = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights)
    x = w["embedding"]["embedding"][tokens] / 0.02
    if architecture.positions == "learned":
        x = x + w["positions"][places]
    half = architecture.width // architecture.heads // 2
    for layer in range(architecture.layers):
        block = w[f"block_{layer}"]
        q, k, v = np.einsum("nld,dthe->tnhle", norm(x, block["attention_norm"]["scale"]), block["qkv"]["kernel"])
        if architecture.positions == "rotary":
            turn = np.exp(1j * places[:, None, :, None] * 10_000.0 ** (-np.arange(half) / half))
            q, k = (
                np.concatenate([z.real, z.imag], -1)
                for z in ((y[..., :half] + 1j * y[..., half:]) * turn for y in (q, k))
            )
        scores = np.where(mask[:, None], q @ k.swapaxes(-1, -2) / np.sqrt(2 * half), -np.inf)
        x = x + np.einsum("nhle,hed->nld", scipy.special.softmax(scores, axis=-1) @ v, block["out"]["kernel"])
        hidden = norm(x, block["mlp_norm"]["scale"]) @ block["up"]["kernel"]
        gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        x = x + gelu @ block["down"]["kernel"]
    return norm(x, w["norm"]["scale"])


ARCHITECTURES = [
    Architecture(layers=2, width=8, heads=2),
    Architecture(layers=2, width=8, heads=2, positions="learned", remat=True),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_and_logits_are_those_of_the_formulas(architecture):
    transformer, weights, tokens, places, mask = drawn(architecture)
    hidden = jax.jit(transformer.encode)(weights, tokens, places, mask)
    expected = reference(weights, np.asarray(tokens), np.asarray(places), np.asarray(mask), architecture)
    np.testing.assert_allclose(hidden, expected, atol=2e-5)
    logits = transformer.logits(weights, hidden)
    np.testing.assert_allclose(logits, expected @ np.asarray(weights["embedding"]["embedding"]).T, atol=2e-5)
    np.testing.assert_allclose(transformer.logits(weights, hidden, 4), logits[..., :4], atol=1e-6)


def test_gradients_are_those_of_the_formulas():
    architecture = ARCHITECTURES[0]
    transformer, weights, tokens, places, mask = drawn(architecture)
    pull = np.random.default_rng(0).normal(size=(N, LENGTH, VOCABULARY))
    others = (np.asarray(tokens), np.asarray(places), np.asarray(mask), architecture)

    @jax.jit
    @jax.grad
    def slope(weights):
        return (transformer.logits(weights, transformer.encode(weights, tokens, places, mask)) * pull).sum()

    def value(weights):
        return (reference(weights, *others) @ weights["embedding"]["embedding"].T * pull).sum()

    weights, found = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (weights, slope(weights)))
    leaves, tree = jax.tree.flatten(weights)
    for number, leaf in enumerate(jax.tree.leaves(found)):
        way = np.random.default_rng(number).normal(size=leaf.shape)

        def moved(step, number=number, way=way):
            return value(
                jax.tree.unflatten(tree, [*leaves[:number], leaves[number] + step * way, *leaves[number + 1 :]])
            )

        np.testing.assert_allclose((leaf * way).sum(), (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-3, atol=1e-2)


def test_attention_averages_what_is_seen_and_everything_where_nothing_is():
    query, key, value = np.random.default_rng(1).normal(size=(3, 2, 3, 4, 5)).astype(np.float32)
    mask = np.array([[[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]] * 2, bool)
    query[..., 0], key[..., 0] = 15.0, 15.0
    found = attend(*map(jnp.asarray, (query, key, value, mask)))
    blind = ~mask.any(axis=-1)[:, None, :, None]
    scores = np.where(blind, 0.0, query @ key.swapaxes(-1, -2) / np.sqrt(5))
    # Beyond what float32 can exponentiate.
    assert scores.max() > 100
    shares = scipy.special.softmax(np.where(blind | mask[:, None], scores, -np.inf), axis=-1)
    np.testing.assert_allclose(found, shares @ value, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cache_gives_what_reading_at_once_gives(architecture):
    transformer, weights, tokens, places, mask = drawn(architecture)
    whole = transformer.encode(weights, tokens, places, mask)
    extend = jax.jit(transformer.extend)
    cache, parts = transformer.empty(N, LENGTH), []
    for at, end in ((0, 3), (3, 4), (4, 5), (5, 7)):
        part, cache = extend(weights, cache, tokens[:, at:end], places[:, at:end], mask[:, at:end], at)
        parts.append(part)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)


def test_rotary_positions_tell_distances_only():
    transformer, weights, tokens, places, mask = drawn(ARCHITECTURES[0])
    encode = jax.jit(transformer.encode)
    here, there = encode(weights, tokens, places, mask), encode(weights, tokens, places + 5, mask)
    np.testing.assert_allclose(here, there, atol=1e-5)
    assert np.abs(np.asarray(here - encode(weights, tokens, 2 * places, mask))).max() > 1e-3


def test_bfloat16_computes_in_half_precision_and_keeps_parameters_whole():
    transformer, weights, tokens, places, mask = drawn(ARCHITECTURES[0])
    half = make_transformer(
        Architecture(layers=2, width=8, heads=2, dtype="bfloat16"), vocabulary=VOCABULARY, length=LENGTH
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(half.init(jax.random.key(0)))} == {jnp.dtype("float32")}
    hidden = half.encode(weights, tokens, places, mask)
    assert hidden.dtype == jnp.float32
    error = np.abs(np.asarray(hidden - transformer.encode(weights, tokens, places, mask)))
    # Eight bits of a number of order 1, after two blocks; were it float32 it would be a thousand times less.
    assert 1e-4 < error.max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "layers is 0; it must be a whole number from 1 on"),
        ({"width": 10, "heads": 4}, "width is 10; it must be a multiple of heads, 4"),
        ({"width": 12, "heads": 4}, "width / heads is 3; rotary positions turn pairs"),
        ({"positions": "none"}, "architecture.positions is 'none'; Architecture needs one of rotary, learned"),
        ({"dtype": "float16"}, "architecture.dtype is 'float16'; Architecture needs one of float32, bfloat16"),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    architecture = Architecture()
    for name, value in arguments.items():
        # Around the tests' own type checker, which would speak first.
        object.__setattr__(architecture, name, value)
    with pytest.raises(ValueError, match=message):
        architecture.__post_init__()


@pytest.mark.parametrize("name", ["vocabulary", "length"])
def test_a_bad_vocabulary_or_length_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be a whole number from 1 on"):
        make_transformer(Architecture(), **{"vocabulary": 2, "length": 2, name: 0})
