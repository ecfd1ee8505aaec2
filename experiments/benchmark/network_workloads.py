"""Networks that generate: language models, variational autoencoders and flows, fitted and sampled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from experiments.benchmark.roofline import Resources, adam, dense, moved, transformer, weights_of
from experiments.benchmark.workloads import Workload, process_of, torch_loop

VOCABULARY, LENGTH = 512, 64
SHAPE, CLASSES, HIDDEN, LATENT = (8, 8, 1), 10, (128, 128), 8
_ROWS_BATCH, _IMAGES_BATCH, _INTEGRATION = 32, 64, 12
_PIXELS, _FREQUENCIES = 64, 32


def language_models(
    architecture: cj.nets.Architecture,
    *,
    members: int,
    steps: int,
    rows: int,
    vocabulary: int = VOCABULARY,
    length: int = LENGTH,
    batch: int = _ROWS_BATCH,
) -> list[Workload]:
    """Return training, `batch` rows a step, and writing of language models, in tokens; `length` tokens in a row."""
    family = cj.families.language_model(
        vocabulary, length, architecture=architecture, fitting=cj.generative.Fitting(steps, batch, 1e-3)
    )
    data = np.random.default_rng(0).integers(vocabulary, size=(512, length)).astype(np.int32)
    # A token's logits: a product with the table, and a softmax over it.
    logits = Resources(operations=2.0 * vocabulary * architecture.width, transcendentals=vocabulary)
    forward = transformer(architecture, length).plus(logits)
    parameters = weights_of(architecture, vocabulary)
    trained = forward._replace(operations=3.0 * forward.operations)
    trained = trained.plus(adam(parameters, members).times(1 / (batch * length)))
    trained = trained.plus(Resources(normals=parameters / (steps * batch * length), words=1 / length))
    # A token reads the keys and values of its row; those of all rows lie in memory at once, on a CPU those of 64 rows a
    # device.
    kept = 2.0 * architecture.layers * length * architecture.width * jnp.dtype(architecture.dtype).itemsize
    held = kept * (64 * len(jax.devices()) if jax.default_backend() == "cpu" else rows * members)
    written = forward.plus(Resources(words=1.0, bytes=moved(kept, held), normals=parameters / (rows * length)))
    # All weights are read for each place of the rows, as one token follows another.
    weights = float(parameters * jnp.dtype(architecture.dtype).itemsize)
    together = len(jax.devices()) if jax.default_backend() == "cpu" else members
    written = written.plus(Resources(bytes=moved(weights / rows, weights * together)))
    train, write = fit_and_sample(family, data, rows)
    tokens = steps * batch * length
    return [
        Workload(
            f"language model, training, P = {members}",
            "tokens",
            process_of(train, family.hyper),
            members,
            tokens,
            trained,
            torch_loop("train_language_model", tokens, architecture, vocabulary, data, steps, batch),
            _TRAINING_HELD_BACK,
        ),
        Workload(
            f"language model, writing, P = {members}",
            "tokens",
            process_of(write),
            members,
            rows * length,
            written,
            torch_loop("sample_language_model", rows * length, architecture, vocabulary, rows, length),
            _WRITING_HELD_BACK,
        ),
    ]


def image_models(*, members: int, steps: int, rows: int) -> list[Workload]:
    """Return training and sampling of a variational autoencoder and of a flow, in images of 8 x 8 pixels."""
    fitting = cj.generative.Fitting(steps, _IMAGES_BATCH, 1e-3)
    vae = cj.families.vae(SHAPE, CLASSES, hidden=HIDDEN, latent=LATENT, fitting=fitting)
    flow = cj.families.flow(SHAPE, CLASSES, hidden=HIDDEN, integration_steps=_INTEGRATION, fitting=fitting)
    return [
        *_image_model("VAE", vae, _vae_costs(), members, steps, rows * 16),
        *_image_model("flow", flow, _flow_costs(), members, steps, rows),
    ]


class _Costs(NamedTuple):
    """What an image takes of an image model in training and in sampling, and the model's sizes."""

    trained: Resources
    sampled: Resources
    parameters: float
    drawn: float
    """Parameters that start at random numbers; the others start at zero."""


def _vae_costs() -> _Costs:
    encoder = (_PIXELS + CLASSES, *HIDDEN, 2 * LATENT)
    decoder = (LATENT + CLASSES, *reversed(HIDDEN), _PIXELS)
    parameters = (dense(encoder) + dense(decoder)) / 2
    # Link of the pixels, two exponentials a latent dimension.
    trained = Resources(
        operations=dense(encoder, train=True) + dense(decoder, train=True, known_input=False),
        transcendentals=2 * sum(HIDDEN) + _PIXELS + 2 * LATENT,
        normals=LATENT,
        words=1.0,
    )
    sampled = Resources(
        operations=dense(decoder),
        transcendentals=sum(HIDDEN) + _PIXELS + 2 * CLASSES,
        normals=LATENT,
        words=CLASSES,
    )
    return _Costs(trained, sampled, parameters, parameters)


def _flow_costs() -> _Costs:
    width = HIDDEN[0]
    known = (_FREQUENCIES + CLASSES, width)
    # A block: two products onto its size, of the state and of what is known, and one back.
    velocity = sum(dense(sizes) for sizes in (known, (_PIXELS, width), (width, _PIXELS)))
    velocity += sum(2 * dense((width, size)) + dense((size, width)) for size in HIDDEN)
    field = Resources(operations=velocity, transcendentals=_FREQUENCIES + width + sum(HIDDEN))
    # What leads back to the state and to the velocity starts at zero.
    zero = sum(dense((size, width)) for size in HIDDEN) + dense((width, _PIXELS))
    trained = field._replace(
        operations=3.0 * velocity - dense(known) - dense((_PIXELS, width)), normals=_PIXELS, words=3.0
    )
    # Heun's method evaluates the field twice a step.
    sampled = field.times(2 * _INTEGRATION).plus(Resources(normals=_PIXELS, words=CLASSES, transcendentals=2 * CLASSES))
    return _Costs(trained, sampled, velocity / 2, (velocity - zero) / 2)


def _image_model(
    name: str, family: cj.generative.Family, costs: _Costs, members: int, steps: int, emitted: int
) -> list[Workload]:
    """Return training and sampling of one family; a model emits `emitted` images."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(512, *SHAPE)).astype(np.float32)
    labels = rng.integers(CLASSES, size=512).astype(np.int32)
    data = cj.families.LabelledImages(jnp.asarray(images), jnp.asarray(labels))
    train, sample = fit_and_sample(family, data, emitted)
    fitted, first, sizes = steps * _IMAGES_BATCH, Resources(normals=costs.drawn), (CLASSES, HIDDEN, LATENT)
    trained = costs.trained.plus(adam(costs.parameters, members).times(1 / _IMAGES_BATCH)).plus(first.times(1 / fitted))
    train_loop, sample_loop = f"train_{name.lower()}", f"sample_{name.lower()}"
    return [
        Workload(
            f"{name}, training, P = {members}",
            "images",
            process_of(train, family.hyper),
            members,
            fitted,
            trained,
            torch_loop(train_loop, fitted, images, labels, *sizes, steps, _IMAGES_BATCH, module="torch_images"),
            _IMAGES_TRAINING_HELD_BACK,
        ),
        Workload(
            f"{name}, sampling, P = {members}",
            "images",
            process_of(sample),
            members,
            emitted,
            costs.sampled.plus(first.times(1 / emitted)),
            torch_loop(sample_loop, emitted, images, *sizes, emitted, module="torch_images"),
            _IMAGES_SAMPLING_HELD_BACK,
        ),
    ]


def fit_and_sample(family: cj.generative.Family, data: Any, rows: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the functions of a key that fit a fresh model to the data, and that sample from a fresh model.

    The fit's settings are arguments, as in a recursion, where each member has its own: a loop of known length would be
    another program.
    """
    data = jax.tree.map(jnp.asarray, data)
    ones = jnp.ones(len(jax.tree.leaves(data)[0]))

    def train(key: Array, **hyper: Any) -> Any:
        init_key, fit_key = jax.random.split(key)
        return family.fit(fit_key, family.init(init_key, data, ones), data, ones, **hyper)

    def sample(key: Array) -> Any:
        init_key, sample_key = jax.random.split(key)
        return family.sample(sample_key, family.init(init_key, data, ones), rows)

    return train, sample


_TRAINING_HELD_BACK = "Reasoned: softmax, norms and activations are passes between products that are narrow, 64 wide."
_WRITING_HELD_BACK = (
    "Reasoned: a token at a time makes thin products, and each token reads the weights and the whole cache of its row."
)
_IMAGES_TRAINING_HELD_BACK = (
    "Reasoned: products of 64 rows take microseconds; Adam, activations and the order of visits take as long."
)
_IMAGES_SAMPLING_HELD_BACK = "Reasoned: activations are passes between products 64 to 128 wide."
