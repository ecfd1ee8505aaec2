"""Data evolution by a model that writes: instructions of the pool are put into prompts, and what it writes is emitted.

Self-Instruct (Wang et al., arXiv 2212.10560) broadens and Evol-Instruct (Xu et al., arXiv 2304.12244) deepens, each by
prompt templates, which are data here; what they eliminate is for selections to drop.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from collapse_jax.generative.decoding import Decoding
from collapse_jax.generative.families.categorical import draw_tokens
from collapse_jax.generative.family import Examples, Family, Params
from collapse_jax.nets.transformer import require_whole


class Rewriter(NamedTuple):
    """A model that writes, the instructions that it was trained on with their shares, and the chance to deepen.

    That is one number, or one for each place in what is written.
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
    truth: Params | Callable[..., Examples] | None = None,
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
    require_whole(length=length)
    if isinstance(end, bool) or not isinstance(end, int) or end < 0:
        raise ValueError(f"end is {end!r}; it must be a token, a whole number from 0 on")
    if not 0.0 <= deepening <= 1.0:
        raise ValueError(f"deepening is {deepening}; it must be a probability in [0, 1]")
    _require_templates(prefixes, suffixes, deepens)
    sizes = (prefixes >= 0).sum(axis=1) + (suffixes >= 0).sum(axis=1)
    prompt, listed = int(sizes.max()) + length, int(sizes[~deepens].max()) + 2 * length
    writer = make_writer(length=prompt + length, prompt=prompt, end=end)
    if writer.respond is None:
        raise ValueError(f"make_writer returns {writer.name!r}; it must be a family with `respond`")
    answer = writer.respond
    before, after = jnp.asarray(prefixes), jnp.asarray(suffixes)
    deeper, broader = jnp.asarray(np.flatnonzero(deepens)), jnp.asarray(np.flatnonzero(~deepens))
    continues = jnp.asarray((suffixes < 0).all(axis=1))
    first = prefixes[np.flatnonzero(~deepens)[0]]
    header = first[first >= 0]

    def init(key: Key[Array, ""], examples: Int[Array, "n length"], weights: Float[Array, " n"]) -> Rewriter:
        rows = jnp.full((len(weights), listed), -1, examples.dtype)
        return Rewriter(
            writer.init(key, rows, weights),
            jnp.full_like(examples, -1),
            jnp.full(weights.shape, 1.0 / len(weights)),
            jnp.asarray(deepening, float),
        )

    def fit(
        key: Key[Array, ""],
        params: Rewriter,
        examples: Int[Array, "n length"],
        weights: Float[Array, " n"],
        **hyper: Array,
    ) -> Rewriter:
        list_key, fit_key = jax.random.split(key)
        shares = weights / weights.sum()
        fitted = writer.fit(fit_key, params.writer, lists(list_key, examples, shares), weights, **hyper)
        return params._replace(writer=fitted, members=examples, shares=shares)

    def lists(
        key: Key[Array, ""], examples: Int[Array, "n length"], shares: Float[Array, " n"]
    ) -> Int[Array, "n listed"]:
        """Return what the writer is trained on: a prefix, in half of the rows another member and a suffix, a member."""
        template_key, other_key, alone_key = jax.random.split(key, 3)
        n = len(examples)
        template = broader[jax.random.randint(template_key, (n,), 0, len(broader))]
        others = until(end, examples)[draw_tokens(other_key, shares, n)]
        alone = jax.random.bernoulli(alone_key, 0.5, (n, 1))
        others, suffix = jnp.where(alone, -1, others), jnp.where(alone, -1, after[template])
        return left_aligned(before[template], others, suffix, examples)[:, :listed]

    def rewrite(key: Key[Array, ""], params: Rewriter, examples: Int[Array, "n length"]) -> Int[Array, "n length"]:
        fate_key, deeper_key, broader_key, write_key = jax.random.split(key, 4)
        n, parents = len(examples), until(end, examples)
        template = jnp.where(
            jax.random.uniform(fate_key, (n,)) < params.deepening,
            deeper[jax.random.randint(deeper_key, (n,), 0, len(deeper))],
            broader[jax.random.randint(broader_key, (n,), 0, len(broader))],
        )
        prompts = right_aligned(before[template], parents, after[template])[:, -prompt:]
        prompts = jnp.where(prompts < 0, end, prompts)
        rows = jnp.pad(prompts, ((0, 0), (0, length)), constant_values=end)
        written = answer(write_key, params.writer, rows)[:, prompt:]
        new = until(end, written)
        is_ended, is_empty = (written == end).any(axis=1), (new < 0).all(axis=1)
        kept = jnp.where(continues[template][:, None], parents, -1)
        closing = jnp.where(is_ended & ~(is_empty & (kept < 0).all(axis=1)), end, -1)
        return left_aligned(kept, new, closing[:, None])[:, :length].astype(examples.dtype)

    def sample(key: Key[Array, ""], params: Rewriter, n: int) -> Int[Array, "n length"]:
        pick_key, key = jax.random.split(key)
        return rewrite(key, params, params.members[draw_tokens(pick_key, params.shares, n)])

    def headed(examples: Int[Array, "n length"]) -> Int[Array, "n headed"]:
        return jnp.concatenate([jnp.tile(jnp.asarray(header)[None], (len(examples), 1)), examples], axis=1)

    def on_headed(read: Callable[..., Array] | None, start: int) -> Callable[..., Array] | None:
        return None if read is None else lambda params, examples: read(params.writer, headed(examples))[:, start:]

    token_log_prob = on_headed(writer.token_log_prob, len(header))

    def of_writer(decoding: Decoding) -> Decoding:
        return decoding._replace(
            apply=lambda params, value: params._replace(writer=decoding.apply(params.writer, value))
        )

    deepening_map = Decoding(lambda params, value: params._replace(deepening=value), deepening, 0.0, 1.0)
    return Family(
        "rewriting",
        init,
        fit,
        sample,
        None if token_log_prob is None else lambda params, examples: token_log_prob(params, examples).sum(axis=1),
        respond=rewrite,
        decodings={**{name: of_writer(one) for name, one in writer.decodings.items()}, "deepening": deepening_map},
        truth=truth,
        hyper=writer.hyper,
        ranges=writer.ranges,
        token_log_prob=token_log_prob,
        token_probabilities=on_headed(writer.token_probabilities, len(header)),
        embed=on_headed(writer.embed, 0),
        source="Wang et al., arXiv 2212.10560; Xu et al., arXiv 2304.12244",
    )


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
