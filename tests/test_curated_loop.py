"""What curated_loop builds: marks that the text never uses, rankings by order, laws with the right ends."""

import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.loop import rank_answers
from experiments.curated_loop import Config, make_schemes, run_text
from experiments.shared.language_models import Language
from experiments.testbeds.loop_curation import Curation
from experiments.testbeds.loop_laws import token_laws
from experiments.testbeds.loop_texts import marked
from experiments.testbeds.loop_tokens import answer_tokens, token_quality

CURATION = Curation(4, cj.mlp(()), cj.reward.Training(), 1, 0.2)


def test_groups_are_ranked_by_their_own_order():
    order = jnp.array([0.1, 0.3, 0.2, 5.0, 6.0, 4.0])
    rankings = rank_answers(jnp.arange(6.0)[:, None], jnp.array([0, 0, 0, 1, 1, 1]), order, 3)
    np.testing.assert_array_equal(rankings.features[:, :, 0], [[1, 2, 0], [4, 3, 5]])
    np.testing.assert_array_equal(rankings.types, [0, 1])


def test_true_quality_is_graded_for_open_and_right_or_wrong_for_closed_prompts():
    np.testing.assert_allclose(token_quality(2, 4), [[1, 2 / 3, 1 / 3, 0], [1, 1, 0, 0]])


def test_laws_are_one_for_all_types_unless_the_utility_is_prompt_aware():
    schemes = make_schemes(Config())
    laws = token_laws(schemes, CURATION, 8, strengths=(1.0, 4.0), generations=40)
    apart = abs(laws["diversity_law"].sel(type="open") - laws["diversity_law"].sel(type="closed")).max("generation")
    assert float(apart.drop_sel(utility="aware").max()) == 0.0
    assert float(apart.sel(utility="aware").min()) > 0.3
    first, last = laws.isel(generation=0), laws.isel(generation=-1, strength=-1)
    np.testing.assert_allclose(first["diversity_law"], 7 / 8)
    np.testing.assert_allclose(first["quality_law"], 0.5)
    # x stops at the half that it calls right, log x with its offset at two answers, -1/x at the best one.
    np.testing.assert_allclose(last["diversity_law"].sel(type="open"), [3 / 4, 1 / 2, 0, 0], atol=1e-3)
    np.testing.assert_allclose(last["quality_law"].sel(type="closed"), 1.0, atol=2e-3)


def language(rows, size):
    tokenizer = cj.data.byte_tokenizer()._replace(size=size, end=size - 1)
    return Language(tokenizer, np.asarray(rows), np.asarray(rows), np.zeros(size, int), None)


def test_marks_are_tokens_that_the_text_never_uses():
    rows, marks = marked(language([[0, 2], [2, 5], [0, -1], [0, 0]], 6))
    np.testing.assert_array_equal(rows, [[0, 2], [0, 0]])
    assert marks == (1, 3)


@pytest.mark.parametrize("rows", [[[0, 1], [2, 3]], [[0, 5], [5, 0]]])
def test_text_without_a_mark_or_a_row_is_refused(rows):
    with pytest.raises(ValueError, match="curated_loop needs one row at least, and two tokens"):
        marked(language(rows, 6))


def test_a_single_prompt_is_refused():
    plan = cj.make_plan(cj.REGIMES["replace"], 1, 4)
    with pytest.raises(ValueError, match="prompts is 1; it must be at least 2"):
        answer_tokens(1, 4, CURATION, make_schemes(Config()), plan)


@pytest.mark.parametrize("sizes", [{"prompt": 0}, {"prompt": 8, "length": 8}, {"prompt": 8, "length": 15}])
def test_answers_need_quarters_and_prompts_text(sizes, monkeypatch, tmp_path):
    monkeypatch.setattr("experiments.curated_loop.read", lambda config, directory: language([[0, 2]], 6))
    with pytest.raises(ValueError, match="a prompt needs 2 tokens or more, and what remains for an answer must be"):
        run_text(Config(**sizes), tmp_path)
