"""Prompts whose answers are text, curated by a reward model in the loop: the neural testbed of curated_loop."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from experiments.shared.language_models import Language, LanguageConfig, make_family
from experiments.testbeds.loop_curation import TYPES, Curation, by_type, curate, recursion

# Sizes of the embeddings by hashed n-grams that the reward model and the measures of text see.
_SEEN, _MEASURED = 64, 256
_SECTIONS = 4
_CALIBRATING = 1024


def answer_texts(
    config: LanguageConfig, language: Language, answers: int, curation: Curation, schemes: cj.reward.Schemes
) -> cj.engine.Process:
    """Return the recursion over rows of a marker, a prompt of real text and an answer.

    The true quality is the mean log-probability of the answer under the pretrained model, in standard deviations of its
    own answers from their median: open-ended prompts take that number itself, closed-ended ones whether it is above 0.
    The reward model is trained on rankings of `answers` by the pretrained model to each prompt, by this quality and
    noise. It reads the pretrained model's embedding of the row, the log-probability of each quarter of the answer,
    hashed n-grams, and the type of the prompt. Raises ValueError for a prompt of fewer than 2 tokens, and for answers
    that can't be cut into quarters.
    """
    if config.prompt < 2 or config.length <= config.prompt or (config.length - config.prompt) % _SECTIONS:
        raise ValueError(
            f"prompt is {config.prompt} and length {config.length}; a prompt needs 2 tokens or more, and what remains "
            f"for an answer must be a multiple of {_SECTIONS}"
        )
    reader, rows = _make_reader(config, language)

    def noisy_quality(key: Array, rows: Array) -> Array:
        return _text_quality(reader, rows) + curation.noise * jax.random.normal(key, (len(rows),))

    def rank(key: Array, real: Array) -> cj.reward.RankingData:
        write_key, quality_key = jax.random.split(key)
        rows = _write(reader, write_key, jnp.repeat(real, answers, axis=0))
        return cj.loop.rank_answers(*_read(reader, rows), noisy_quality(quality_key, rows), answers)

    def draw(key: Array, n: int) -> Array:
        # Types alternate, so that there are as many of each.
        drawn = jnp.asarray(rows)[jax.random.randint(key, (n,), 0, len(rows))]
        return drawn.at[:, 0].set(jnp.asarray(reader.markers)[jnp.arange(n) % len(TYPES)])

    plan = cj.make_plan(cj.REGIMES["replace"], config.generations, config.samples)
    selection = curate(curation, schemes, rank, partial(_read, reader), noisy_quality, "soft", answers)
    measure, inspect = _make_text_records(reader, jnp.asarray(language.held_out))
    dims = {**dict.fromkeys(("distinct_2", "vendi", "drift", "quality"), ("type",)), "row": ("sample", "token")}
    return recursion(
        *(reader.family, plan, draw, selection),
        measure=measure,
        inspect=inspect,
        dims=dims,
        warm_start=config.start == "warm",
    )


class _Reader(NamedTuple):
    """The pretrained model, which writes the answers that are ranked, and by which answers are read and graded.

    `middle` and `spread` are the median and the standard deviation of the mean log-probabilities of its own answers.
    """

    family: cj.generative.Family
    pretrained: cj.families.LanguageModel
    end: int
    prompt: int
    markers: tuple[int, int]
    middle: float = 0.0
    spread: float = 1.0


def _make_reader(config: LanguageConfig, language: Language) -> tuple[_Reader, np.ndarray]:
    """Return the reader, and the rows of real text whose first tokens are the prompts."""
    rows, markers = marked(language)
    reader = _Reader(
        make_family(config, language),
        cj.families.LanguageModel(language.pretrained),
        language.tokenizer.end,
        config.prompt,
        markers,
    )

    @jax.jit
    def own_likelihood(key: Array, rows: Array) -> Array:
        return _likelihood(reader, _write(reader, key, rows)).mean(axis=1)

    own = np.asarray(own_likelihood(jax.random.key(2025), jnp.asarray(rows[:_CALIBRATING])))
    return reader._replace(middle=float(np.median(own)), spread=float(own.std())), rows


def _write(reader: _Reader, key: Array, rows: Array) -> Array:
    """Return the rows with answers by the pretrained model to their prompts."""
    assert reader.family.respond is not None
    written: Array = reader.family.respond(key, reader.pretrained, rows)
    return written


def _types_of(reader: _Reader, rows: Array) -> Array:
    return (rows[:, 0] == reader.markers[1]).astype(jnp.int32)


def _plain(reader: _Reader, rows: Array) -> Array:
    """Return the rows without their markers, which the pretrained model has never seen."""
    return rows.at[:, 0].set(reader.end)


def _likelihood(reader: _Reader, rows: Array) -> Array:
    """Return the log-probability of each token of the answers under the pretrained model."""
    assert reader.family.tokens is not None
    log_p: Array = reader.family.tokens.log_prob(reader.pretrained, _plain(reader, rows))
    return log_p[:, reader.prompt :]


def _text_quality(reader: _Reader, rows: Array) -> Array:
    graded = (_likelihood(reader, rows).mean(axis=1) - reader.middle) / reader.spread
    return jnp.where(_types_of(reader, rows) == 0, graded, graded > 0.0)


def _read(reader: _Reader, rows: Array) -> tuple[Array, Array]:
    """Return what the reward model sees of each row, and the type of its prompt."""
    assert reader.family.embed is not None
    types = _types_of(reader, rows)
    ngrams = cj.metrics.hashed_ngram_embedding(rows[:, reader.prompt :], size=_SEEN, orders=(1, 2))
    sections = _likelihood(reader, rows).reshape(len(rows), _SECTIONS, -1).mean(axis=2)
    # Each coordinate is of the order of 1, as those of the model's embedding are.
    parts = [
        reader.family.embed(reader.pretrained, _plain(reader, rows)),
        (sections - reader.middle) / reader.spread,
        ngrams * _SEEN**0.5,
        jax.nn.one_hot(types, len(TYPES)),
    ]
    return jnp.concatenate(parts, axis=1), types


def _make_text_records(
    reader: _Reader, held_out: Array
) -> tuple[Callable[..., dict[str, Array]], Callable[..., dict[str, Array]]]:
    """Return what is recorded of models, and of the answers that they write, against held-out rows of real text."""
    tokens, prompt = reader.family.tokens, reader.prompt
    assert tokens is not None
    either = jnp.concatenate([held_out.at[:, 0].set(marker) for marker in reader.markers])
    real_embedding = cj.metrics.hashed_ngram_embedding(held_out[:, prompt:], size=_MEASURED)

    def measure(key: Array, params: Any) -> dict[str, Array]:
        return {"risk": -tokens.log_prob(params, either)[:, 1:].mean()}

    def inspect(key: Array, rows: Array, weights: Array) -> dict[str, Array]:
        written = rows[:, prompt:]
        embedding = cj.metrics.hashed_ngram_embedding(written, size=_MEASURED)
        alike, true = cj.metrics.cosine_similarities(embedding), _text_quality(reader, rows)

        def of(where: Array) -> dict[str, Array]:
            return {
                "distinct_2": cj.metrics.distinct_n(written, n=2, where=where),
                "vendi": cj.metrics.vendi_score(alike, where=where),
                "drift": cj.metrics.semantic_drift(real_embedding, embedding, generated_where=where).distance,
                "quality": jnp.mean(true, where=where),
            }

        described: dict[str, Array] = by_type(of, _types_of(reader, rows))
        return {**described, "row": rows[:2]}

    return measure, inspect


def marked(language: Language) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the rows of a single document, and two tokens that the text never uses, to mark the types of prompts.

    Raises ValueError where there are none.
    """
    rows = language.train[(language.train != language.tokenizer.end).all(axis=1) & (language.train >= 0).all(axis=1)]
    unused = np.setdiff1d(np.arange(language.tokenizer.size), [*language.train.ravel(), language.tokenizer.end])
    if not len(rows) or len(unused) < 2:
        raise ValueError(
            f"the text has {len(rows)} rows of a single document and leaves {len(unused)} tokens unused; curated_loop "
            "needs one row at least, and two tokens to mark the types of prompts"
        )
    return rows, (int(unused[0]), int(unused[1]))
