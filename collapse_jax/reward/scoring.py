"""Trained reward models that score texts: one member or an ensemble of them, with the reader of their texts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from collapse_jax.checks import numbers
from collapse_jax.checks.annotations import checked
from collapse_jax.data.readers import Reader
from collapse_jax.engine.members import Members
from collapse_jax.io.tensors import named_tensors
from collapse_jax.reward.models import Model
from collapse_jax.reward.rankings import Prefixes

Rewards: TypeAlias = float | Float[np.ndarray, " answer"] | list[Float[np.ndarray, " answer"]]
"""Rewards in the form of the answers: a number, an array, or an array a prompt."""

# Texts read at once: a program for each of these numbers, and what is left is filled up to the least that holds it.
_WIDTHS = (8, 32, 128)
_MOST_BYTES = 2**30


class EnsembleRewards(NamedTuple):
    """The rewards of every answer by every member of an ensemble.

    `by_member` has them in the order of the answers, those to the first prompt first. What the methods return has the
    form of the answers, as that of `RewardModel.score`.
    """

    by_member: Float[np.ndarray, "member answer"]
    form: Callable[[Float[np.ndarray, " answer"]], Rewards]

    @property
    def mean(self) -> Rewards:
        """The mean over members."""
        return self.form(self.by_member.mean(0))

    @property
    def spread(self) -> Rewards:
        """The standard deviation over members (their number in the denominator), the ensemble's disagreement."""
        return self.form(self.by_member.std(0))

    def lower(self, k: float = 1.0) -> Rewards:
        """Return the lower confidence bound, mean minus k times the spread: the pessimistic reward to optimise.

        An answer that members disagree on is worth less, as in conservative RLHF (Coste et al., arXiv 2310.02743, who
        take the variance). Raises ValueError for a k that is not finite or below 0.
        """
        if not numbers.is_finite(k) or k < 0:
            raise ValueError(f"k is {k!r}; it must be a finite number from 0 on")
        return self.form(self.by_member.mean(0) - k * self.by_member.std(0))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RewardModel:
    """A trained reward model, or an ensemble of them: a model, its members' parameters, and the reader of its texts.

    `params` are those of the model with a leading axis of members; `labels` names each member. `make_reward_model`
    makes one of what `cj.engine.train` returns, and `load_reward_model` of a folder.
    """

    model: Model
    params: PyTree
    reader: Reader
    labels: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = (self.model.config or {}).get("kind", "a model of one's own")
        return f"<RewardModel: {kind}, {len(self)} member{'s' * (len(self) > 1)}, reads {self.reader.name}>"

    def score(
        self, prompts: str | Sequence[str], answers: str | Sequence[str] | Sequence[Sequence[str]] | None = None
    ) -> Rewards:
        """Return the rewards of answers to prompts; of an ensemble, the means over its members.

        One prompt and one answer give a number; one prompt and a list of answers an array (answer,); a list of prompts
        with an answer each an array (prompt,); a list of prompts with a list of answers each a list of such arrays.
        Texts alone, `score(["...", "..."])`, are answers to an empty prompt. Any number of texts is read in batches of
        bounded memory; equal batches share a program.

        Raises ValueError for what are no texts, for lists of different lengths, and, naming it, for a text that the
        reader refuses, such as one longer than it takes.
        """
        return self.ensemble(prompts, answers).mean

    def ensemble(
        self, prompts: str | Sequence[str], answers: str | Sequence[str] | Sequence[Sequence[str]] | None = None
    ) -> EnsembleRewards:
        """Return the rewards by each member, their mean, spread and lower bound; arguments are those of `score`."""
        pairs, form = _pairs(prompts, answers)
        found, at = [], 0
        while at < len(pairs):
            width = self._width(len(pairs) - at)
            batch = pairs[at : at + width]
            features = _read(self.reader, self.model, batch, at)
            found.append(self._rewards(_filled(features, width))[:, : len(batch)])
            at += width
        return EnsembleRewards(np.concatenate(found, axis=1), form)

    @cached_property
    def _programs(self) -> dict[int, Callable[[PyTree, PyTree], Array]]:
        return {}

    @cached_property
    def _placed(self) -> PyTree:
        return jax.tree.map(jnp.asarray, self.params)

    @cached_property
    def _most(self) -> int:
        """The largest batch that stays within the bound of memory, by what the smallest takes."""
        memory = self._compiled(_WIDTHS[0]).memory_analysis()
        taken = 0 if memory is None else memory.temp_size_in_bytes
        fitting = [width for width in _WIDTHS if width // _WIDTHS[0] * taken <= _MOST_BYTES]
        return max(fitting, default=_WIDTHS[0])

    def _width(self, texts: int) -> int:
        """Return the size of the next batch, of so many texts that are left."""
        enough = next((width for width in _WIDTHS if width >= texts), _WIDTHS[-1])
        return enough if enough == _WIDTHS[0] else min(enough, self._most)

    def _compiled(self, width: int) -> Any:
        if width not in self._programs:

            def apply(params: PyTree, features: PyTree) -> Float[Array, "member text"]:
                return jax.vmap(lambda own: self.model.apply(own, features)[:, 0])(params)

            features = _filled(_read(self.reader, self.model, [("a", "a")], 0), width)
            self._programs[width] = jax.jit(apply).lower(self._placed, features).compile()
        return self._programs[width]

    def _rewards(self, features: PyTree) -> Float[np.ndarray, "member text"]:
        width = jax.tree.leaves(features)[0].shape[0]
        return np.asarray(self._compiled(width)(self._placed, features))


@checked
def make_reward_model(model: Model, members: Members | PyTree, reader: Reader) -> RewardModel:
    """Return the reward model of trained members, of `cj.engine.train`, or of the parameters of a single one.

    Several members are an ensemble. `reader` is the one that read the rankings they were trained on. Raises ValueError
    if the parameters are not those of the model for what the reader reads.
    """
    if isinstance(members, Members):
        labels = tuple(dict(one.labels) for one in members)
        axes = len(members.axes)
        params = jax.tree.map(lambda leaf: leaf.reshape((len(labels), *leaf.shape[axes:])), members.learned)
    else:
        labels, params = ({},), jax.tree.map(lambda leaf: np.asarray(leaf)[None], members)
    made = RewardModel(model, params, reader, labels)
    _require_fitting(made)
    return made


def expected_params(model: Model, reader: Reader) -> PyTree:
    """Return the shapes of a single member's parameters, in the tree that the model makes of what the reader reads."""
    features = _read(reader, model, [("a", "a")], 0)
    return jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)), features)


def _require_fitting(made: RewardModel) -> None:
    named_tensors("members", made.params)
    expected = expected_params(made.model, made.reader)
    shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(expected)}
    found = {jax.tree_util.keystr(path): np.shape(leaf)[1:] for path, leaf in jax.tree.leaves_with_path(made.params)}
    if wrong := [name for name in {**shapes, **found} if shapes.get(name) != found.get(name)]:
        raise ValueError(
            f"members have {found.get(wrong[0], 'nothing')} at {wrong[0] or 'their top'}; this model has "
            f"{shapes.get(wrong[0], 'nothing')} there for what the reader {made.reader.name!r} reads: give the model "
            "and the reader that the members were trained with"
        )


def _pairs(prompts: Any, answers: Any) -> tuple[list[tuple[str, str]], Callable[[np.ndarray], Rewards]]:
    """Return every answer with its prompt, and the function that gives rewards of all of them the answers' form."""
    if answers is None:
        alone = isinstance(prompts, str)
        prompts, answers = "", prompts if alone else _texts("prompts", prompts)
    if isinstance(answers, str) and isinstance(prompts, str):
        return [(prompts, answers)], lambda rewards: float(rewards[0])
    if isinstance(prompts, str):
        return [(prompts, one) for one in _texts("answers", answers)], lambda rewards: rewards
    prompts = _texts("prompts", prompts)
    if isinstance(answers, str) or not isinstance(answers, Sequence | np.ndarray) or len(answers) != len(prompts):
        shown = (
            repr(answers) if isinstance(answers, str) or not hasattr(answers, "__len__") else f"{len(answers)} entries"
        )
        raise ValueError(f"answers is {shown:.80}; {len(prompts)} prompts need an answer, or a list of answers, each")
    if any(isinstance(one, str) for one in answers):
        return list(zip(prompts, _texts("answers", answers), strict=True)), lambda rewards: rewards
    lists = [_texts(f"answers[{number}]", one) for number, one in enumerate(answers)]
    ends = np.cumsum([len(one) for one in lists])[:-1]
    pairs = [(prompt, answer) for prompt, own in zip(prompts, lists, strict=True) for answer in own]
    return pairs, lambda rewards: np.split(rewards, ends)


def _texts(name: str, given: Any) -> list[str]:
    """Return texts as a list; raises ValueError, naming the first that is none."""
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise ValueError(f"{name} is {given!r:.80}; it must be a list of texts")
    if not len(given):
        raise ValueError(f"{name} is empty; it needs at least one text")
    for number, one in enumerate(given):
        if not isinstance(one, str):
            raise ValueError(f"{name}[{number}] is {one!r:.80}; it must be a text")
    return [str(one) for one in given]


def _read(reader: Reader, model: Model, pairs: Sequence[tuple[str, str]], first: int) -> PyTree:
    """Return what a model reads of prompts with one answer each; an error names the text, numbered from `first` on."""
    try:
        features, _ = reader.read([prompt for prompt, _ in pairs], [[answer] for _, answer in pairs], 1)
    except ValueError as error:
        if len(pairs) == 1:
            raise ValueError(f"text {first}, {pairs[0][1]!r:.60}, can't be read: {error}") from error
        for number, pair in enumerate(pairs):
            _read(reader, model, [pair], first + number)
        raise
    if model.vocabulary is not None:
        tokens = features.tokens if isinstance(features, Prefixes) else features
        numbers.tokens("what the reader reads", np.asarray(tokens), model.vocabulary, padding=True)
    return features


def _filled(features: PyTree, width: int) -> PyTree:
    """Return features of `width` texts, the last one repeated."""
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], width - len(leaf), axis=0)]), features)
