"""Populations of reward models: perceptrons on features, transformers that read each completion or each prompt once."""

import numpy as np

import collapse_jax as cj
from experiments.benchmark.roofline import Resources, adam, dense, moved, transformer, weights_of
from experiments.benchmark.workloads import Workload, torch_loop

ITEMS = 8
PAIRS = ITEMS * (ITEMS - 1) // 2
_PERCEPTRON_PROMPTS, _TEXT_PROMPTS = 32, 8
_VOCABULARY, _LENGTH = 512, 192


def perceptrons(members: int, *, steps: int, features: int = 128, hidden: int = 128) -> Workload:
    """Return training of perceptrons, one hidden layer, on 8 completions of each of 32 prompts a step, in pairs.

    A member takes `steps` steps, and a forward pass for its record.
    """
    process = perceptron_training(steps=steps, prompts=_PERCEPTRON_PROMPTS, features=features, hidden=hidden)
    rows, pairs, sizes = _PERCEPTRON_PROMPTS * ITEMS, _PERCEPTRON_PROMPTS * PAIRS, (features, hidden, 1)
    parameters = hidden * (features + 2) + 1
    step = Resources(
        operations=rows * dense(sizes, train=True),
        transcendentals=rows * (hidden + 1) + pairs,  # activations, link, utility
        bytes=moved(4.0 * rows * features, 4.0 * rows * features),
    ).plus(adam(parameters, members))
    rest = Resources(  # the record, and the first weights
        operations=rows * dense(sizes), transcendentals=rows * (hidden + 1) + pairs, normals=parameters
    )
    loop_steps = min(200, steps)
    data = perceptron_features(features)
    return Workload(
        f"reward perceptrons, P = {members}",
        "pairs",
        process,
        members,
        steps * pairs,
        step.times(steps).plus(rest).times(1 / (steps * pairs)),
        torch_loop("train_reward_perceptron", loop_steps * pairs, data, hidden, loop_steps),
        _PERCEPTRONS_HELD_BACK if members > 1 else _PERCEPTRON_HELD_BACK,
    )


def perceptron_training(
    *, steps: int, prompts: int, items: int = ITEMS, features: int = 128, hidden: int = 128, records: int = 1
) -> cj.engine.Process:
    """Return the training of a reward perceptron on random features, all prompts a step."""
    given = perceptron_features(features, prompts, items)
    return _training(given, cj.mlp((hidden,)), prompts, items, steps, records)


def perceptron_features(features: int, prompts: int = _PERCEPTRON_PROMPTS, items: int = ITEMS) -> np.ndarray:
    """Return random features of completions (prompt, item, feature)."""
    return np.random.default_rng(0).normal(size=(prompts, items, features)).astype(np.float32)


def text_encoders(architecture: cj.nets.Architecture, *, members: int, steps: int) -> list[Workload]:
    """Return training of text reward models on 8 completions of each of 8 prompts a step, in pairs.

    Completions are prefixes of texts of 192 tokens, the shortest an eighth of it: encoded each once, or each prompt
    once by `prefix_encoder`.
    """
    text = np.random.default_rng(0).integers(_VOCABULARY, size=(_TEXT_PROMPTS, _LENGTH)).astype(np.int32)
    last = np.tile(np.arange(ITEMS, 0, -1) * (_LENGTH // ITEMS) - 1, (_TEXT_PROMPTS, 1)).astype(np.int32)
    tokens = np.where(np.arange(_LENGTH) <= last[:, :, None], text[:, None], -1).astype(np.int32)
    prefixes = cj.reward.Prefixes(text, np.zeros(_TEXT_PROMPTS, np.int32), last)
    loop_steps = max(steps // 4, 1)
    pairs = _TEXT_PROMPTS * PAIRS
    found = []
    for name, model, features, rows, many, holds_back in (
        (
            "each completion",
            cj.reward.text_encoder,
            tokens,
            _TEXT_PROMPTS * ITEMS,
            max(steps // ITEMS, 1),
            _EACH_HELD_BACK,
        ),
        ("each prompt", cj.reward.prefix_encoder, prefixes, _TEXT_PROMPTS, steps, _PROMPT_HELD_BACK),
    ):
        process = _training(features, model(_VOCABULARY, architecture=architecture), _TEXT_PROMPTS, ITEMS, many)
        forward = transformer(architecture, _LENGTH).times(rows * _LENGTH)
        # A step goes forward and back, the record forward: 3 + 1 / steps passes of products, 1 + 1 / steps of the rest.
        one = forward._replace(operations=3.0 * forward.operations).plus(forward.times(1 / many))
        one = one.plus(adam(weights_of(architecture, _VOCABULARY), members))
        one = one.plus(Resources(normals=weights_of(architecture, _VOCABULARY) / many))
        found.append(
            Workload(
                f"reward text encoders, {name}, P = {members}",
                "pairs",
                process,
                members,
                many * pairs,
                one.times(1 / pairs),
                torch_loop(
                    "train_reward_model",
                    loop_steps * pairs,
                    *(architecture, _VOCABULARY, tokens, loop_steps, _TEXT_PROMPTS),
                ),
                holds_back,
            )
        )
    return found


def _training(
    features: object, model: cj.reward.Model, prompts: int, items: int, steps: int, records: int = 1
) -> cj.engine.Process:
    rankings = cj.make_rankings(features, np.ones((prompts, items), bool), np.zeros(prompts, np.int32))  # type: ignore[arg-type]
    schemes = cj.make_schemes({"log": cj.choose(cj.UTILITIES["log"], offset=0.1)})
    return cj.make_training(rankings, model, schemes, training=cj.reward.Training(steps, records, prompts))


_PERCEPTRON_HELD_BACK = "One member runs on one device: of two cores, half of the limit is out of reach."
_PERCEPTRONS_HELD_BACK = (
    "Reasoned: activations, pairs and Adam are passes of their own beside products of 256 rows; at few steps a member "
    "also the first weights and the record."
)
_EACH_HELD_BACK = (
    "Reasoned: softmax, norms and activations are passes over memory between the products. Padding counts as work."
)
_PROMPT_HELD_BACK = "Reasoned: as for each completion, with an eighth of the rows in each product."
