"""What curated_loop runs: prompts with answers as single tokens, and as text, curated by a reward model in the loop."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import collapse_jax as cj
from experiments.shared.language_population import Language, LanguageConfig, make_family

TYPES = ("open", "closed")
# Of the hashed n-grams that the reward model and the measures of text see.
_SEEN, _MEASURED = 64, 256
_SECTIONS = 4
_CALIBRATING = 1024
Way = Literal["soft", "best", "top"]


class Curation(NamedTuple):
    """The choice of one of `choose_from` candidates, and how the reward model that makes it is trained."""

    choose_from: int
    model: cj.reward.Model
    training: cj.reward.Training
    refit_steps: int
    noise: float


def answer_tokens(
    prompts: int,
    answers: int,
    curation: Curation,
    schemes: cj.reward.Schemes,
    plan: cj.generative.Plan,
    way: Way = "soft",
) -> cj.engine.Process:
    """Return the recursion over rows (prompt, answer), all answers equally likely at first.

    The reward model is trained on a ranking of all answers to each prompt, by their true quality and noise. Raises
    ValueError for fewer than two prompts.
    """
    if prompts < 2:
        raise ValueError(f"prompts is {prompts}; it must be at least 2, one of each type")
    quality = token_quality(prompts, answers)
    types = jnp.asarray(np.arange(prompts) >= prompts // 2, jnp.int32)
    size = max(prompts, answers)
    family = cj.families.ngram(size, 2, length=2, prompt=1)
    following = np.broadcast_to(np.where(np.arange(size) < answers, 1.0 / answers, 0.0), (size, size))
    first = np.where(np.arange(size) < prompts, 1.0 / prompts, 0.0)
    uniform = family.truth._replace(  # type: ignore[union-attr]
        first=jnp.asarray(first, jnp.float32), following=jnp.asarray(following, jnp.float32)
    )

    def read(rows: Array) -> tuple[Array, Array]:
        # Of size 8 and not 1: Adam then moves rewards eight times as fast, near enough to their law.
        return 8.0 * jax.nn.one_hot(rows[:, 0] * answers + rows[:, 1], prompts * answers), types[rows[:, 0]]

    def noisy_quality(key: Array, rows: Array) -> Array:
        true = jnp.asarray(quality, jnp.float32)[rows[:, 0], rows[:, 1]]
        return true + curation.noise * jax.random.normal(key, true.shape)

    def rank(key: Array, real: Array) -> cj.reward.RankingData:
        rows = jnp.stack([jnp.repeat(jnp.arange(prompts), answers), jnp.tile(jnp.arange(answers), prompts)], axis=1)
        return cj.loop.rank_answers(*read(rows), noisy_quality(key, rows), answers)

    def measure(key: Array, params: Any) -> dict[str, Array]:
        p, right = params.following[:prompts, :answers], jnp.asarray(quality > 0.5)
        among = jnp.where(right, p, 0.0)
        among = among / among.sum(axis=1, keepdims=True)
        recorded = {
            "diversity": 1.0 - (p**2).sum(axis=1),
            "diversity_right": 1.0 - (among**2).sum(axis=1),
            "quality": (p * jnp.asarray(quality, p.dtype)).sum(axis=1),
            "drift": 0.5 * jnp.abs(p - 1.0 / answers).sum(axis=1),
        }

        def of(where: Array) -> dict[str, Array]:
            means = {name: jnp.mean(values, where=where) for name, values in recorded.items()}
            return {**means, "share": params.first[:prompts].sum(where=where)}

        measured: dict[str, Array] = _by_type(of, types)
        return measured

    selection = _curate(curation, schemes, rank, read, noisy_quality, way)
    dims = dict.fromkeys(("diversity", "diversity_right", "quality", "drift", "share"), ("type",))
    return _recursion(family, plan, uniform, selection, measure=measure, dims=dims)


def token_quality(prompts: int, answers: int) -> np.ndarray:
    """Return the true quality (prompt, answer): graded for the first half of prompts, then right (1) or wrong (0)."""
    graded = np.linspace(1.0, 0.0, answers)
    return np.where((np.arange(prompts) < prompts // 2)[:, None], graded[None], (graded > 0.5)[None])


def answer_texts(
    config: LanguageConfig, language: Language, answers: int, curation: Curation, schemes: cj.reward.Schemes
) -> cj.engine.Process:
    """Return the recursion over rows of a marker, a prompt of real text and an answer.

    The true quality is the mean log-probability of the answer under the pretrained model, in standard deviations of its
    own answers from their median: as it is for open-ended prompts, whether it is above 0 for closed-ended ones. The
    reward model is trained on rankings of `answers` by the pretrained model to each prompt, by this quality and noise.
    It reads the mean of what that model computed of the row, the log-probability of each quarter of the answer, hashed
    n-grams, and the type of the prompt. Raises ValueError for a prompt without text, and for answers without quarters.
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
    selection = _curate(curation, schemes, rank, partial(_read, reader), noisy_quality, "soft", answers)
    measure, inspect = _make_text_records(reader, jnp.asarray(language.held_out))
    dims = {**dict.fromkeys(("distinct_2", "vendi", "drift", "quality"), ("type",)), "row": ("sample", "token")}
    return _recursion(
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
    # Each coordinate of the order of 1, as those of the model's own.
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

        described: dict[str, Array] = _by_type(of, _types_of(reader, rows))
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


def _curate(
    curation: Curation,
    schemes: cj.reward.Schemes,
    rank: Callable[..., cj.reward.RankingData],
    read: Callable[[Array], tuple[Array, Array]],
    quality: Callable[[Array, Array], Array],
    way: Way,
    levels: int = 8,
) -> cj.Selection:
    """Return the selection, recording by type `judged`, `offered` and as many quantiles of the `rewards` offered."""
    reward = cj.loop.learned_reward(
        curation.model,
        schemes,
        rank,
        read,
        answers=curation.choose_from,
        quality=quality,
        training=curation.training,
        refit_steps=curation.refit_steps,
    )
    choices = {"soft": cj.selections.curated, "best": cj.selections.best_of, "top": cj.selections.top_share}

    def inspect(key: Array, candidates: Any, pool: Any, memory: Any, **_: Any) -> dict[str, Array]:
        score, types = reward.score(memory, candidates.examples), read(candidates.examples)[1]
        # The best first, at (i - ½) / levels, as a law of so many items has them.
        places = (jnp.arange(levels, 0, -1) - 0.5) / levels

        def of(where: Array) -> dict[str, Array]:
            return {
                "judged": jnp.mean(score, where=where & (candidates.weights > 0)),
                "offered": jnp.mean(score, where=where),
                "rewards": jnp.nanquantile(jnp.where(where, score, jnp.nan), places, method="nearest"),
            }

        described: dict[str, Array] = _by_type(of, types)
        return described

    return choices[way](reward, curation.choose_from)._replace(inspect=inspect)


def _by_type(metric: Callable[[Array], Any], types: Array) -> Any:
    return cj.metrics.by_group(metric, types, groups=len(TYPES))


def _recursion(
    family: cj.generative.Family,
    plan: cj.generative.Plan,
    truth: Any,
    selection: cj.Selection,
    *,
    dims: dict[str, Any],
    **options: Any,
) -> cj.engine.Process:
    dims = {**dims, "judged": ("type",), "offered": ("type",), "rewards": ("type", "item")}
    return cj.make_recursion(
        family, plan, truth, curate=selection, respond=True, dims=dims, coords={"type": list(TYPES)}, **options
    )
