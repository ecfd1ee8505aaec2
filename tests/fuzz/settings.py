"""Settings with one bad argument: plans, recursions, families, selections, schemes, rankings, training, data."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import collapse_jax as cj
from collapse_jax.data import Passage, Source
from collapse_jax.generative import families, selections
from tests.fuzz import laws
from tests.fuzz.arguments import derived
from tests.fuzz.probes import Probe, of
from tests.fuzz.values import STRANGE

_FEATURES = np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(4, 3, 2)
_MASK, _TYPES = np.ones((4, 3), bool), np.array([0, 1, 0, 1])
_WINS = np.array([[[0.0, 0.7], [0.3, 0.0]], [[0.0, 0.5], [0.5, 0.0]]])


def _regime(models: int, name: str) -> cj.generative.Regime:
    return cj.regime(models=models, name=name, overwrite=True)(cj.REGIMES["replace"].counts)


def generative() -> Sequence[Probe]:
    """Return the probes of plans, recursions, families and selections."""
    # Records that only this library makes: another thing in their place, not another inside.
    whole = dict.fromkeys(("plan", "family", "process"), st.sampled_from(STRANGE))
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["accumulate"]], 3, [4, 6], [0.0, 0.5])
    family = cj.families.categorical(5)
    gaussian = cj.FAMILIES["gaussian"]
    recursion = {"family": family, "plan": plan, "truth": np.full(5, 0.2, np.float32)}
    options = {
        **{"initial": np.full(5, 0.2, np.float32), "decoding": ("temperature",), "respond": False, "warm_start": False},
        **{"growing_compute": False, "measure": lambda key, params: {"p": params}, "dims": {"p": ("token",)}},
        **{"inspect": lambda key, examples, weights: {"kept": weights.sum()}, "coords": {"token": np.arange(5)}},
        "curate": selections.verified(lambda x: x > 1),
        "reweigh": selections.verified(lambda x: x > 2)._replace(
            defaults={}, weigh=lambda key, c, pool, memory: c.weights
        ),
    }
    by_selection = dict.fromkeys(("curate", "reweigh"), ("selection",))
    by_statistics = {name: options[name] for name in ("initial", "decoding", "measure", "dims", "coords")}
    by_statistics["by"] = "statistics"
    process = cj.engine.Process(lambda key, hyper: hyper["a"], lambda state, hyper, index: (state, {}), 2, {"a": 1.0})
    by_hand = [
        of(
            cj.make_plan,
            regimes=[cj.REGIMES["accumulate"], cj.REGIMES["replace"]],
            generations=3,
            samples=[4, 8],
            ratios=[0.5],
        )._replace(words={"regimes": ["regime"], "samples": ["regime"], "ratios": ["ratio"]}),
        of(
            cj.generative.make_generator,
            family=families.categorical(3),
            members=np.array([0.5, 0.3, 0.2], np.float32),
        )._replace(words={"members": ["family"]}, strategies={"family": st.sampled_from(STRANGE)}),
        Probe("plan.rows", plan.rows, {"regime": "replace", "samples": 4, "ratio": 0.5}),
        Probe("regime", _regime, {"models": 1, "name": "fuzzed"}),
        of(cj.loop.data_spent, mitigation=cj.Mitigation(), generations=3, samples=10)._replace(
            words={"mitigation": ["regime"]}
        ),
        of(cj.make_recursion, **recursion, **options)._replace(
            strategies=whole,
            words={"initial": ["init", "truth"], "dims": ["dims", "record"], **by_selection},
        ),
        Probe("make_recursion by statistics", cj.make_recursion, {**recursion, **by_statistics}, strategies=whole),
        of(cj.resample, examples=np.arange(6.0)),
        of(families.ngram, vocabulary=4, order=2, length=5, exponent=1.0, prompt=2),
        of(families.token_edited, family=families.ngram(4, 2, length=5), threshold=0.9)._replace(strategies=whole),
        of(
            selections.accepted, probability=lambda x: x, oversample=1, defaults={"a": 1.0}, ranges={"a": (0.0, 1.0)}
        )._replace(words={"defaults": ["ranges"]}),
        of(selections.well_formed, end=3, least=1, most=4, oversample=1)._replace(words={"least": ["most"]}),
        of(
            selections.find_centres, key=jax.random.key(0), examples=jnp.arange(8.0).reshape(4, 2), number=2, steps=1
        )._replace(fixed=("key",)),
        of(selections.alternatives, selections={"a": None, "b": selections.verified(lambda x: x > 0)}, name="which"),
        Probe("compose", lambda selection: selections.compose(selection), {"selection": options["curate"]}),
        Probe(
            "Decoding",
            lambda record: cj.make_recursion(gaussian._replace(decodings={"wider": record}), plan, decoding=["wider"]),
            {"record": cj.generative.Decoding(lambda params, value: params, 1.0, 0.0, 2.0)},
            words={"record": ["decoding"]},
        ),
        of(cj.engine.with_arms, process=process, arms={"plain": {}, "other": {"a": 2.0}}, name="arm")._replace(
            strategies=whole, words={"arms": ["arm"]}
        ),
        of(
            cj.generative.Fitting,
            steps=3,
            batch_size=4,
            learning_rate=0.1,
            warmup=0.1,
            weight_decay=0.0,
            clip=1.0,
            accumulate=2,
        ),
    ]
    namespaces = (cj.generative, families, selections, cj.engine, cj.loop)
    known = [*by_hand, *laws.probes(), *_learned()]
    return [*by_hand, *_learned(), *(probe for namespace in namespaces for probe in derived(namespace, known))]


def reward() -> Sequence[Probe]:
    """Return the probes of utilities, schemes, rankings, training and reward models."""
    log = cj.UTILITIES["log"]
    choice = cj.choose(cj.UTILITIES["log_sigmoid"])
    schemes = cj.make_schemes({"a": choice, "aware": {"open": choice, "closed": cj.choose(cj.UTILITIES["linear"])}})
    rankings = cj.make_rankings(_FEATURES, _MASK, _TYPES, schemes.type_names)
    whole = dict.fromkeys(("rankings", "schemes", "test", "model"), st.sampled_from(STRANGE))
    prefixes = cj.reward.Prefixes(np.ones((4, 6), np.int32), np.ones(4, np.int32), np.tile([5, 4, 3], (4, 1)))
    sizes: dict[str, Any] = {
        "layers": 1,
        "width": 8,
        "heads": 2,
        "expansion": 2,
        "positions": "rotary",
        "dtype": "float32",
    }
    reader = cj.data.ngram_reader(2, 2, (1,))
    mean = cj.reward.Model(lambda key, features: {"weight": jnp.ones(2)}, lambda p, x: x[..., :2] @ p["weight"])
    scorer = cj.reward.make_reward_model(mean, {"weight": np.ones(2, np.float32)}, reader)
    by_hand = [
        of(cj.choose, utility=log, offset=0.1, min_gap=0.01),
        of(cj.make_schemes, schemes={"a": choice}, type_names=("open", "closed"))._replace(
            words={"schemes": ["scheme"], "type_names": ["types"]},
            strategies={"schemes": st.sampled_from([*STRANGE, *({"a": one} for one in STRANGE)])},
        ),
        of(cj.make_rankings, features=_FEATURES, mask=_MASK, types=_TYPES, type_names=("open", "closed"))._replace(
            words={"features": ["mask", "prompt"], "mask": ["prompt"], "types": ["prompt"], "type_names": ["types"]}
        ),
        of(cj.make_rankings, features=prefixes, mask=_MASK, types=_TYPES, type_names=("open", "closed"))._replace(
            words={"features": ["mask", "types"], "mask": ["prompt"], "types": ["prompt"]}
        ),
        of(
            cj.make_rankings,
            features=_FEATURES,
            mask=_MASK,
            types=_TYPES,
            type_names=("open", "closed"),
            wins=np.tile(np.triu(np.ones((3, 3)), 1), (4, 1, 1)),
            margins=np.full((4, 3, 3), 0.1),
        )._replace(
            words={
                "features": ["mask", "prompt"],
                "mask": ["prompt"],
                "types": ["prompt"],
                "type_names": ["types"],
                "wins": ["weights"],
            }
        ),
        of(
            cj.reward.predict_labelled,
            rankings=rankings,
            schemes=schemes,
            test=rankings,
            centring=0.5,
            bounded=True,
        )._replace(strategies=dict.fromkeys(("rankings", "schemes", "test"), st.sampled_from(STRANGE))),
        of(
            cj.make_training,
            rankings=rankings,
            model=cj.mlp((2,)),
            schemes=schemes,
            training=cj.reward.Training(steps=2, records=1, batch_size=2),
            test=rankings,
            hyper={"clip": 1.0},
        )._replace(strategies=whole, words={"training": ["pairs", "steps", "records", "batch_size"]}),
        of(cj.mlp, hidden=(2, 2), link=jax.nn.sigmoid),
        of(cj.reward.make_reward_model, model=mean, members={"weight": np.ones(2, np.float32)}, reader=reader)._replace(
            strategies=dict.fromkeys(("model", "reader"), st.sampled_from(STRANGE))
        ),
        Probe("RewardModel.score", scorer.score, {"prompts": ["a", "b"], "answers": [["c"], ["d", "e"]]}),
        of(
            cj.reward.text_encoder, vocabulary=5, architecture=cj.nets.Architecture(**sizes), link=jax.nn.sigmoid
        )._replace(words={"architecture": tuple(sizes)}),
        of(
            cj.reward.prefix_encoder, vocabulary=5, architecture=cj.nets.Architecture(**sizes), link=jax.nn.sigmoid
        )._replace(words={"architecture": tuple(sizes)}),
        of(cj.nets.Architecture, **sizes),
        of(cj.reward.split_folds, prompts=6, folds=3, seed=0)._replace(words={"folds": ["prompts"]}),
        # NaN is what they say of a prompt that nobody compared.
        of(cj.reward.disagreement, wins=_WINS, votes=3)._replace(may_be_nan=True),
        of(cj.reward.tie_rate, wins=_WINS)._replace(may_be_nan=True),
        of(cj.reward.closeness, strengths=_WINS)._replace(may_be_nan=True),
        of(cj.reward.score_closeness, scores=_FEATURES[:, :, 0])._replace(may_be_nan=True),
        of(cj.reward.estimate_openness, statistic=np.r_[np.linspace(0, 0.1, 8), np.linspace(0.9, 1, 8)]),
    ]
    others = derived(cj.reward, [*by_hand, *laws.probes()])
    # NaN is what tells two curves apart that don't exist.
    measures = ("separation", "separation_by_pair")
    return [*by_hand, *(one._replace(may_be_nan=one.may_be_nan or one.name in measures) for one in others)]


def _learned() -> Sequence[Probe]:
    schemes = cj.make_schemes({"a": cj.choose(cj.UTILITIES["log_sigmoid"])}, ("open", "closed"))
    whole = dict.fromkeys(("rankings", "schemes", "model"), st.sampled_from(STRANGE))
    return [
        of(
            cj.loop.learned_reward,
            model=cj.mlp((2,)),
            schemes=schemes,
            rankings=cj.make_rankings(_FEATURES, _MASK, _TYPES, schemes.type_names),
            read=lambda x: (x, jnp.zeros(len(x), jnp.int32)),
            answers=2,
            quality=lambda key, x: x[:, 0],
            training=cj.reward.Training(steps=2, records=1),
            refit_steps=2,
        )._replace(strategies=whole, words={"training": ["pairs", "steps", "records", "batch_size"]}),
        of(
            cj.loop.rank_answers,
            features=jnp.asarray(_FEATURES.reshape(12, 2)),
            types=jnp.zeros(12, jnp.int32),
            order=jnp.arange(12.0),
            answers=3,
        ),
    ]


def data() -> Sequence[Probe]:
    """Return the probes of what prepares data that are in memory."""
    tokenizer = cj.data.byte_tokenizer()
    passages = tuple(Passage(f"title {i % 5}", f"word{i} " * 120) for i in range(10))
    words = [" ".join(["word"] * 20)] * 3
    ranked = cj.data.RankedPrompts(["a", "b"], ["say", "tell"], np.array([0, 1]), [words, words])
    whole = dict.fromkeys(("tokenizer", "ranked", "preferences", "images"), st.sampled_from(STRANGE))
    images = cj.data.Images(np.zeros((6, 2, 2, 1), np.float32), np.array([0, 0, 0, 1, 1, 1]), ("a", "b"))
    groups = {"a": np.arange(9), "b": np.arange(9)}
    found = [
        of(cj.data.mix_groups, groups=groups, shares={"a": 0.75, "b": 0.25}, size=4, seed=0)._replace(
            words={"groups": ["group"], "shares": ["share", "group"]}
        ),
        of(cj.data.pack, tokenizer=tokenizer, texts=["one", "two three"], length=4)._replace(words={"texts": ["text"]}),
        of(cj.data.pad, tokenizer=tokenizer, texts=["one", "two"], length=4, truncate=True)._replace(
            words={"texts": ["text"]}
        ),
        of(cj.data.unpack, tokenizer=tokenizer, block=np.array([110, 256, 111], np.int32))._replace(
            words={"block": ["token"]}
        ),
        of(cj.data.tokenize, ranked=ranked, tokenizer=tokenizer, length=200),
        of(cj.data.tokenize_prefixes, ranked=ranked, tokenizer=tokenizer, length=200),
        of(cj.data.featurize, ranked=ranked, prompt_size=8, completion_size=8, orders=(1, 2))._replace(
            words={"orders": ["order"], "prompt_size": ["size"], "completion_size": ["size"]}
        ),
        of(cj.data.split_prompts, preferences=ranked, test_share=0.5, seed=0),
        of(cj.data.load_reader, config=cj.data.token_reader(tokenizer, 9).config)._replace(
            words={"config": ["kind", "tokenizer", "length"]}
        ),
        of(cj.data.hashed_ngrams, text="one two", size=8, orders=(1, 2))._replace(words={"orders": ["order"]}),
        of(cj.data.minority, images=images, label=1, share=0.2, seed=0),
        of(cj.data.train_bpe, texts=["low lower lowest"] * 3, size=260)._replace(words={"texts": ["text"]}),
        of(Source, name="mine", passages=passages, request="Explain: {title}."),
        Probe("encode", tokenizer.encode, {"text": "né"}, words={"text": ["surrogate"]}, may_be_nan=True),
        Probe("decode", tokenizer.decode, {"tokens": [1, 2]}, words={"tokens": ["token"]}),
        of(cj.data.tokenize_templates, tokenizer=tokenizer, templates=cj.data.TEMPLATES)._replace(
            words={"templates": ["template"]}
        ),
    ]
    by_hand = [probe._replace(strategies=whole) for probe in found]
    return [*by_hand, *derived(cj.data, by_hand)]
