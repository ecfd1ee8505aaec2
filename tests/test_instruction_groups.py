"""Data evolution as a testbed: its groups, measures and mitigations against plain Python, and a run on real seeds."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.generative.family import Family, Tokens
from experiments import defences
from experiments.shared.language_models import Language
from experiments.testbeds import instruction_groups
from experiments.testbeds.instruction_groups import InstructionConfig

DATA = Path(os.environ.get("COLLAPSE_DATA_DIR", Path(__file__).resolve().parents[1] / "../shared/data"))
SEEDS = DATA / "self_instruct" / "seed_tasks.jsonl"
BYTES = cj.data.byte_tokenizer()
SHORT = InstructionConfig(length=12, samples=12)


def told(number=40, flagged=()):
    """Return instructions of which every fifth opens with "Say", the others each with a word of its own."""
    return [
        cj.data.Instruction(str(i), f"Say {i}." if i % 5 == 0 else f"Do{i} it.", "", "", i in flagged)
        for i in range(number)
    ]


def texts(rows):
    return {cj.data.unpack(BYTES, row)[0] for row in rows}


# Groups


def test_seeds_are_held_out_by_group_and_long_ones_left_out():
    flagged = range(3, 11)
    long = cj.data.Instruction("long", "x" * 12, "", "", True)
    seeds = instruction_groups._split(SHORT, BYTES, [*told(flagged=flagged), long])
    assert seeds.names == ("other", "classification")
    assert (len(seeds.train), len(seeds.held_out), seeds.too_long) == (30, 10, 1)
    assert (seeds.groups.sum(), seeds.held_out_groups.sum()) == (6, 2)
    assert texts(seeds.train) | texts(seeds.held_out) == {one.instruction for one in told()}
    rows, groups = np.concatenate([seeds.train, seeds.held_out]), np.append(seeds.groups, seeds.held_out_groups)
    assert texts(rows[groups == 1]) == {told()[i].instruction for i in flagged}


def test_without_flags_the_minority_opens_with_the_commonest_word():
    seeds = instruction_groups._split(SHORT, BYTES, told())
    rows, groups = np.concatenate([seeds.train, seeds.held_out]), np.append(seeds.groups, seeds.held_out_groups)
    assert seeds.names == ("other", "Say")
    assert texts(rows[groups == 1]) == {one.instruction for one in told()[::5]}


@pytest.mark.parametrize(
    ("instructions", "config", "message"),
    [
        (told(flagged=range(20)), SHORT, "'classification' are 20 of the 40 seeds .*at most 25%"),
        (told(flagged=[1]), SHORT, "'classification' are 1 of the 40 seeds"),
        (
            told(),
            InstructionConfig(length=12, samples=31),
            "samples is 31; there are 30 seeds .*: 40 less 0 .* 10 held",
        ),
        (told(), InstructionConfig(length=2), "'Say' are 0 of the 0 seeds of at most length 2"),
    ],
)
def test_seeds_that_can_not_do_are_refused(instructions, config, message):
    with pytest.raises(ValueError, match=message):
        instruction_groups._split(config, BYTES, instructions)


# Measures


def test_risk_and_tail_are_those_of_single_tokens():
    seeds = instruction_groups._split(SHORT, BYTES, told(flagged=range(3, 11)))
    shares, table = np.array([0.8, 0.2]), np.random.default_rng(0).uniform(-8.0, 0.0, 257)
    family = Family(
        "table",
        *[None] * 3,
        tokens=Tokens(lambda params, rows: jnp.where(rows < 0, 0.0, jnp.asarray(table)[jnp.maximum(rows, 0)])),
    )
    got = instruction_groups._make_measure(family, seeds, shares)(jax.random.key(0), None)
    for group in range(2):
        rows = seeds.held_out[seeds.held_out_groups == group]
        found = [table[token] for row in rows.tolist() for token in row if token >= 0]
        np.testing.assert_allclose(got["group_risk"][group], -np.mean(found), rtol=1e-5)
        np.testing.assert_allclose(got["group_coverage"][group], np.mean([p > np.log(0.01) for p in found]), rtol=1e-5)
    np.testing.assert_allclose(got["risk"], shares @ np.asarray(got["group_risk"]), rtol=1e-5)
    np.testing.assert_allclose(got["tail"], shares @ np.asarray(got["group_coverage"]), rtol=1e-5)


@pytest.mark.slow
def test_what_is_broken_copied_kept_and_of_which_group_is_counted_one_by_one():
    seeds = instruction_groups._split(SHORT, BYTES, told())
    # The model of the manual finds a row with an x surprising.
    inspect, told_apart = instruction_groups._make_inspect(
        seeds, np.array([0.8, 0.2]), lambda rows: (rows == ord("x")).any(axis=1), BYTES
    )
    assert told_apart == 1.0
    known = [set(row[row >= 0].tolist()) for row in seeds.train]
    copy = cj.data.unpack(BYTES, seeds.train[seeds.groups == 1][0])[0]
    new = ["Say hello.", copy, "no", "Dozen x it.", "this is too long"]
    rows = cj.data.pad(BYTES, [*new, "Say dropped."], 12)
    got = jax.jit(inspect)(jax.random.key(0), jnp.asarray(rows), jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]))
    near = []
    for row in rows[:5]:
        tokens = set(row[row >= 0].tolist())
        near.append(any(1 - len(tokens & other) / len(tokens | other) < 0.3 for other in known))
    assert near[1]
    np.testing.assert_allclose(got["copied"], np.mean(near), rtol=1e-6)
    np.testing.assert_allclose(got["broken"], 2 / 5)  # "no" and the one that is cut
    np.testing.assert_allclose(got["off_support"], 3 / 5)
    np.testing.assert_allclose(got["kept"], 5 / 6)
    np.testing.assert_allclose(got["group_share"], [3 / 5, 2 / 5])


# Ways to go on


def mirror(config, language, prompt):
    """Return a family that writes its prompt backwards."""

    def respond(key, params, examples):
        return jnp.concatenate(
            [examples[:, :prompt], examples[:, :prompt][:, ::-1][:, : config.length - prompt]], axis=1
        )

    return Family("mirror", lambda *_: None, lambda *_: None, lambda *_: None, respond=respond)


@pytest.mark.slow
def test_evolving_deepens_and_broadens_in_turn_and_imitating_starts_from_nothing(monkeypatch):
    monkeypatch.setattr(instruction_groups, "make_family", mirror)
    language = Language(BYTES, np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1), None)
    templates = [
        cj.data.Template("deepen", "de{instruction}D"),
        cj.data.Template("broaden", "br{instruction}B"),
    ]
    member = jnp.asarray(cj.data.pad(BYTES, ["ab"], 12))
    params = cj.families.Rewriter(None, member, jnp.ones(1), jnp.asarray(0.5))
    config = InstructionConfig(length=12)
    written = instruction_groups._evolving(config, language, templates).sample(jax.random.key(0), params, 6)
    # Backwards, up to the end tokens that fill the prompt.
    assert [cj.data.unpack(BYTES, row)[0] for row in np.asarray(written)] == ["Dbaed", "Bbarb"] * 3
    imitated = instruction_groups._imitating(config, language, templates).sample(jax.random.key(1), params, 3)
    assert [cj.data.unpack(BYTES, row)[0] for row in np.asarray(imitated)] == ["rb"] * 3


def test_jaccard_is_that_of_sets():
    rows = np.random.default_rng(1).integers(-1, 6, (8, 4))
    sets = instruction_groups._token_sets(jnp.asarray(rows), 6)
    for i, x in enumerate(rows.tolist()):
        for j, y in enumerate(rows.tolist()):
            a, b = set(x) - {-1}, set(y) - {-1}
            due = 1 - len(a & b) / max(len(a | b), 1)
            assert float(instruction_groups._jaccard(sets[i], sets[j])) == pytest.approx(due)


# All together


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    if not SEEDS.is_file():
        pytest.skip(f"no Self-Instruct seeds in {DATA}; set COLLAPSE_DATA_DIR")
    options = InstructionConfig(
        path=SEEDS, samples=12, generations=2, steps=2, pretraining=2, batch_size=4, layers=1, width=16, heads=2
    )
    config = defences.Config(testbeds=("instructions",), seeds=2, instructions=options, progress=False)
    return defences.run(config, tmp_path_factory.mktemp("mitigations"))


@pytest.mark.slow
def test_all_ways_run_from_real_seeds_in_three_programs(ran):
    one = ran.sel(testbed="instructions")
    assert len(np.unique(one["program"])) == 3
    assert {"replace", "evolve, accumulate", "well-formed and novel", "seeds evolved anew", "control"} <= set(
        one["mitigation"].to_numpy()
    )
    assert one["group"].to_numpy().tolist() == ["other", "classification"]
    assert np.isfinite(one["risk"]).all()
    # What trains model 1 is the same for all of them.
    assert float(one["risk"].isel(generation=0).std("mitigation").max()) < 1e-5
    well_formed = one.sel(mitigation=["well-formed", "well-formed and novel"])
    assert not well_formed["broken"].where(well_formed["kept"] > 0, 0.0).any()
    novel = one.sel(mitigation=["novel", "well-formed and novel"])
    assert not novel["copied"].where(novel["kept"] > 0, 0.0).any()
    assert (one["kept"].sel(mitigation=["replace", "evolve, replace", "control"]) == 1).all()


@pytest.mark.slow
def test_its_table_and_figures_are_drawn(ran):
    with pytest.warns(UserWarning, match="2 lineages beside 2 of the control are too few for a verdict"):
        printed = defences.table(ran)
    assert "11 mitigations in 3 programs" in printed
    assert "copied" in printed
    with pytest.warns(UserWarning, match="too few for a verdict"):
        assert {"instructions.png", "instructions_pareto.png", "instructions_profile.png"} <= set(defences.draw(ran))
