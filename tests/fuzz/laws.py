"""Laws with one bad argument: what is predicted is finite, or refused by name."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

import collapse_jax as cj
from collapse_jax.generative import laws
from tests.fuzz.arguments import derived
from tests.fuzz.probes import Probe, of
from tests.fuzz.values import STRANGE

_P = np.array([0.5, 0.3, 0.2])
_KERNEL = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])


def probes() -> Sequence[Probe]:
    """Return the probes of all laws."""
    plan = cj.make_plan(cj.REGIMES["accumulate"], 3, 10)
    schemes = cj.make_schemes({"a": cj.choose(cj.UTILITIES["linear"])})
    typed = cj.make_schemes({"a": {"open": cj.choose(cj.UTILITIES["quadratic"]), "closed": schemes.choices["a"][0]}})
    uniform = cj.limit_law(cj.UTILITIES["linear"])
    # Only this library makes these records: something else is put in their place, but their fields are left alone.
    whole = dict.fromkeys(("law", "schemes", "plan"), st.sampled_from(STRANGE))
    by_hand = [
        of(laws.evolve_and_accumulate, seeds=np.array([4.0, 0.0, 1.0]), kernel=_KERNEL, picks=[4, 8])._replace(
            words={"seeds": ["kernel"]}
        ),
        of(laws.evolve_and_replace, seeds=_P, kernel=_KERNEL, generations=2)._replace(words={"seeds": ["kernel"]}),
        of(laws.forgetting_time, count=3, samples=20, quantile=0.5, longest=50)._replace(words={"samples": ["count"]}),
        of(laws.importance_resampled, truth=_P, model=_P[::-1].copy(), real_share=0.5, power=1.0)._replace(
            words={"truth": ["model"], "model": ["truth"]}
        ),
        of(laws.iterate_decoding, decode=lambda p: p, start=_P, generations=2, truth=_P, share=0.5)._replace(
            words={"start": ["truth"]}
        ),
        of(laws.missing_mass, truth=_P, samples=3, drawn_from=_P)._replace(words={"truth": ["drawn_from"]}),
        of(
            laws.moment_law,
            counts=np.array([[0, 10, 0], [0, 5, 5]]),
            among=np.array([[0, 10, 0], [0, 10, 5]]),
            draws=np.array([10, 10]),
            gain=np.array([1.0, 1.0]),
            added=0.0,
            bias=1.0,
        )._replace(words={"counts": ["draws", "weights", "among", "gain"], "draws": ["unbiased"]}),
        of(laws.regression_accumulate, samples=23, dim=2, noise=1.0, generations=3)._replace(
            words={"dim": ["samples"]}
        ),
        of(laws.regression_accumulate_fresh, samples=23, dim=2, noise=1.0, generations=3)._replace(
            words={"dim": ["samples"]}
        ),
        of(laws.regression_replace, samples=23, dim=2, noise=1.0, generations=3)._replace(words={"dim": ["samples"]}),
        of(laws.replace_log_determinant, samples=10, dim=3, generations=2)._replace(words={"dim": ["samples"]}),
        of(cj.predict_rewards, schemes=schemes, n_items=3, pairs="all", centring=0.0)._replace(strategies=whole),
        of(
            cj.reward.predict_mixed,
            rankings=np.tile([0.5, 0.5], (3, 1)),
            schemes=typed,
            n_items=3,
            pairs="all",
            centring=0.0,
            tolerance=0.1,
        )._replace(strategies={"schemes": whole["schemes"]}, words={"rankings": ["memberships"]}),
        of(cj.reward.limit_values, schemes=schemes)._replace(strategies=whole),
        of(cj.reward.wasserstein_to_limit, rewards=np.array([0.0, 1.0]), law=uniform, points=16)._replace(
            strategies=whole
        ),
        of(cj.reward.quantile_distance, rewards=np.array([0.0, 1.0]), law=uniform)._replace(strategies=whole),
        of(cj.predict_moments, plan=plan, family=cj.families.gaussian(), decoding={"bias": 1.0})._replace(
            strategies=whole
        ),
    ]
    return [*by_hand, *derived(laws, by_hand)]
