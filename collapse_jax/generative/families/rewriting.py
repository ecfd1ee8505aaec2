"""Data evolution by a model that writes: instructions of the pool are put into prompts, and what it writes is emitted.

Self-Instruct (Wang et al., arXiv 2212.10560) broadens and Evol-Instruct (Xu et al., arXiv 2304.12244) deepens, each by
prompt templates, which are data here; what they eliminate is for selections to drop.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from collapse_jax.checks import numbers
from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.family import (
    Draw,
    Embed,
    Family,
    Params,
    Respond,
    TokenLogProb,
    TokenProbabilities,
    Tokens,
)

__all__ = ["Rewriter", "rewriting"]


class Rewriter(NamedTuple):
    """A model that writes, the instructions that it was trained on with their shares, and the chance to deepen.

    The chance is one number for all rows, or one for each row that is rewritten.
    """

    writer: Params
    members: Int[Array, "n length"]
    shares: Float[Array, " n"]
    deepening: Float[Array, "*n"]


def rewriting(
    make_writer: Callable[..., Family],
    prefixes: Int[np.ndarray, "template before"],
    suffixes: Int[np.ndarray, "template after"],
    deepens: Bool[np.ndarray, " template"],
    *,
    length: int,
    end: int,
    deepening: float = 0.5,
    truth: Params | Draw | None = None,
) -> Family:
    """Return the family that rewrites instructions; examples are rows (n, length) of tokens, `end`, and then -1.

    `make_writer(length=, prompt=, end=)` returns the family that writes: `language_model`, its other arguments bound by
    `functools.partial`. Its rows are a prompt as long as the longest may be, filled with `end` on the left, and
    `length` more tokens. The templates are those of `cj.data.tokenize_templates`, -1 to the right of each.

    `sample` draws members of the training set by their weights and rewrites them, `respond` rewrites the instructions
    given. One is deepened with probability `deepening`, in [0, 1], a decoding to be swept, else broadened, by one of
    the templates that do so, all alike. What the model writes up to `end` is the new instruction; after a template with
    nothing behind its slot it is added to the old one. What exceeds `length` is cut, its `end` too, and where nothing
    is written the row is -1 throughout: `well_formed` refuses both.

    `fit` trains the writer on lists as in the prompts that broaden: each instruction by itself after a prefix, or, one
    time in two, behind another member of the set, drawn by weight; such rows take the tokens of two instructions.
    Probabilities and embeddings are those of an instruction after the first prefix that broadens. The writer's
    decodings and the settings of its fit are this family's too.

    Raises ValueError for templates of different numbers, an operator without one, one that broadens with nothing behind
    its slot, and a `length`, `end` or `deepening` out of range.
    """
    numbers.whole("length", length, 1)
    if not numbers.is_whole(end) or end < 0:
        raise ValueError(f"end is {end!r}; it must be a token, a whole number from 0 on")
    if not 0.0 <= deepening <= 1.0:
        raise ValueError(f"deepening is {deepening}; it must be a probability in [0, 1]")
    _require_templates(prefixes, suffixes, deepens)
    templates = _Templates.of(prefixes, suffixes, deepens, length, end)
    writer = make_writer(length=templates.prompt + length, prompt=templates.prompt, end=end)
    if writer.respond is None:
        raise ValueError(f"make_writer returns {writer.name!r}; it must be a family with `respond`")
    rewrite = partial(_rewrite, templates, writer.respond)
    tokens = None if writer.tokens is None else _headed_tokens(templates, writer.tokens)
    own = Decoding(lambda params, value: params._replace(deepening=value), deepening, 0.0, 1.0)
    return Family(
        "rewriting",
        partial(_init, templates, writer, deepening),
        partial(_fit, templates, writer),
        partial(_sample, rewrite),
        None if tokens is None else lambda params, examples: tokens.log_prob(params, examples).sum(axis=1),
        respond=rewrite,
        decodings={**{name: _of_writer(one) for name, one in writer.decodings.items()}, "deepening": own},
        truth=truth,
        hyper=writer.hyper,
        ranges=writer.ranges,
        tokens=tokens,
        embed=None if writer.embed is None else _on_headed(templates, writer.embed, drop=False),
        source="Wang et al., arXiv 2212.10560; Xu et al., arXiv 2304.12244",
    )


class _Templates(NamedTuple):
    """Prompt templates by what they do, and the sizes of rows that follow from them.

    A prompt is `before`, the instruction, and `after`, each a row a template and -1 to its right. `deeper` and
    `broader` are the numbers of the templates that do either; after one that `continues` what is written is added to
    the instruction. `header` is the first prefix that broadens. A prompt is of `prompt` tokens, what the writer is
    trained on of `listed`, and an instruction of `length`, with the token `end` behind it.
    """

    before: Int[Array, "template before"]
    after: Int[Array, "template after"]
    deeper: Int[Array, " deeper"]
    broader: Int[Array, " broader"]
    continues: Bool[Array, " template"]
    header: Int[np.ndarray, " header"]
    prompt: int
    listed: int
    length: int
    end: int

    @classmethod
    def of(cls, prefixes: np.ndarray, suffixes: np.ndarray, deepens: np.ndarray, length: int, end: int) -> "_Templates":
        sizes = (prefixes >= 0).sum(axis=1) + (suffixes >= 0).sum(axis=1)
        deeper, broader = np.flatnonzero(deepens), np.flatnonzero(~deepens)
        first = prefixes[broader[0]]
        return cls(
            jnp.asarray(prefixes),
            jnp.asarray(suffixes),
            jnp.asarray(deeper),
            jnp.asarray(broader),
            jnp.asarray((suffixes < 0).all(axis=1)),
            first[first >= 0],
            prompt=int(sizes.max()) + length,
            listed=int(sizes[~deepens].max()) + 2 * length,
            length=length,
            end=end,
        )


def _init(
    templates: _Templates,
    writer: Family,
    deepening: float,
    key: Key[Array, ""],
    examples: Int[Array, "n length"],
    weights: Float[Array, " n"],
) -> Rewriter:
    rows = jnp.full((len(weights), templates.listed), -1, examples.dtype)
    return Rewriter(
        writer.init(key, rows, weights),
        jnp.full_like(examples, -1),
        jnp.full(weights.shape, 1.0 / len(weights)),
        jnp.asarray(deepening, float),
    )


def _fit(
    templates: _Templates,
    writer: Family,
    key: Key[Array, ""],
    params: Rewriter,
    examples: Int[Array, "n length"],
    weights: Float[Array, " n"],
    **hyper: Array,
) -> Rewriter:
    list_key, fit_key = jax.random.split(key)
    shares = weights / weights.sum()
    rows = _lists(templates, list_key, examples, shares)
    fitted = writer.fit(fit_key, params.writer, rows, weights, **hyper)
    return params._replace(writer=fitted, members=examples, shares=shares)


def _lists(
    templates: _Templates, key: Key[Array, ""], examples: Int[Array, "n length"], shares: Float[Array, " n"]
) -> Int[Array, "n listed"]:
    """Return what the writer is trained on: a prefix, in half of the rows another member and a suffix, a member."""
    template_key, other_key, alone_key = jax.random.split(key, 3)
    n, broader = len(examples), templates.broader
    template = broader[jax.random.randint(template_key, (n,), 0, len(broader))]
    others = until(templates.end, examples)[draw_tokens(other_key, shares, n)]
    alone = jax.random.bernoulli(alone_key, 0.5, (n, 1))
    others, suffix = jnp.where(alone, -1, others), jnp.where(alone, -1, templates.after[template])
    return left_aligned(templates.before[template], others, suffix, examples)[:, : templates.listed]


def _rewrite(
    templates: _Templates,
    answer: Respond,
    key: Key[Array, ""],
    params: Rewriter,
    examples: Int[Array, "n length"],
) -> Int[Array, "n length"]:
    """Return the instructions rewritten: each put into a template, which the writer's `answer` goes on from."""
    fate_key, deeper_key, broader_key, write_key = jax.random.split(key, 4)
    prompt, length, end = templates.prompt, templates.length, templates.end
    n, parents = len(examples), until(end, examples)
    template = jnp.where(
        jax.random.uniform(fate_key, (n,)) < params.deepening,
        templates.deeper[jax.random.randint(deeper_key, (n,), 0, len(templates.deeper))],
        templates.broader[jax.random.randint(broader_key, (n,), 0, len(templates.broader))],
    )
    prompts = right_aligned(templates.before[template], parents, templates.after[template])[:, -prompt:]
    prompts = jnp.where(prompts < 0, end, prompts)
    rows = jnp.pad(prompts, ((0, 0), (0, length)), constant_values=end)
    written = answer(write_key, params.writer, rows)[:, prompt:]
    new = until(end, written)
    is_ended, is_empty = (written == end).any(axis=1), (new < 0).all(axis=1)
    kept = jnp.where(templates.continues[template][:, None], parents, -1)
    closing = jnp.where(is_ended & ~(is_empty & (kept < 0).all(axis=1)), end, -1)
    return left_aligned(kept, new, closing[:, None])[:, :length].astype(examples.dtype)


def _sample(rewrite: Respond, key: Key[Array, ""], params: Rewriter, n: int) -> Int[Array, "n length"]:
    pick_key, key = jax.random.split(key)
    rows: Array = rewrite(key, params, params.members[draw_tokens(pick_key, params.shares, n)])
    return rows


def _on_headed(
    templates: _Templates, read: TokenLogProb | TokenProbabilities | Embed, *, drop: bool
) -> Callable[[Rewriter, Array], Array]:
    """Return how the writer reads instructions that stand after the header; if `drop`, without the header's places."""
    header, start = jnp.asarray(templates.header)[None], len(templates.header) if drop else 0

    def read_headed(params: Rewriter, examples: Int[Array, "n length"]) -> Array:
        rows = jnp.concatenate([jnp.tile(header, (len(examples), 1)), examples], axis=1)
        return read(params.writer, rows)[:, start:]

    return read_headed


def _headed_tokens(templates: _Templates, tokens: Tokens) -> Tokens:
    probabilities = tokens.probabilities
    return Tokens(
        _on_headed(templates, tokens.log_prob, drop=True),
        None if probabilities is None else _on_headed(templates, probabilities, drop=True),
        tokens.vocabulary,
    )


def _of_writer(decoding: Decoding) -> Decoding:
    return decoding._replace(apply=lambda params, value: params._replace(writer=decoding.apply(params.writer, value)))


def until(end: int, rows: Int[Array, "n length"]) -> Int[Array, "n length"]:
    """Return rows with -1 from the first `end` or padding on."""
    closed = jax.lax.cummax(((rows == end) | (rows < 0)).astype(jnp.int32), axis=1)
    return jnp.where(closed == 1, -1, rows)


def left_aligned(*parts: Int[Array, "n _"]) -> Int[Array, "n whole"]:
    """Return the tokens of the parts of each row, one after the other, and then -1."""
    rows = jnp.concatenate(parts, axis=1)
    return jnp.take_along_axis(rows, jnp.argsort(rows < 0, axis=1, stable=True), axis=1)


def right_aligned(*parts: Int[Array, "n _"]) -> Int[Array, "n whole"]:
    """Return -1, and then the tokens of the parts of each row, one after the other."""
    rows = jnp.concatenate(parts, axis=1)
    return jnp.take_along_axis(rows, jnp.argsort(rows >= 0, axis=1, stable=True), axis=1)


def _require_templates(prefixes: np.ndarray, suffixes: np.ndarray, deepens: np.ndarray) -> None:
    if not len(prefixes) == len(suffixes) == len(deepens):
        raise ValueError(
            f"prefixes, suffixes and deepens are of {len(prefixes)}, {len(suffixes)} and {len(deepens)} templates; "
            "they must be of the same"
        )
    if not deepens.any() or deepens.all():
        raise ValueError(f"deepens is {deepens.tolist()}; at least one template must deepen, and one broaden")
    if empty := np.flatnonzero(~deepens & (suffixes < 0).all(axis=1)).tolist():
        raise ValueError(f"templates {empty} broaden with nothing behind their slot; only one that deepens may")
