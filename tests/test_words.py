"""What a word is: as before where spaces separate words, and a rule for scripts that have none."""

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.data.ranking_recipe import RECIPES, ranking_rows
from collapse_jax.data.words import split_words, word_ends

SPACED = [
    "It's  12.50 (e.g.)\tfoo-bar\n\n_x_ «naïve» e\u0301 Ünï",
    "Широкая электрификация южных губерний",
    "한국어는 띄어쓰기를 합니다",  # Korean has spaces
    "שלום עולם  مرحبا بالعالم नमस्ते दुनिया",
    " \u00a0 two\u3000words\x1c ",
    "",
]
CHINESE = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。" * 20
SPACELESS = {
    "天地玄黄，宇宙。": ["天", "地", "玄", "黄，", "宇", "宙。"],
    "「カタカナ」とひら": ["「カ", "タ", "カ", "ナ」", "と", "ひ", "ら"],
    "JAX的数组 (array)": ["JAX", "的", "数", "组", "(array)"],
    "ก็มีน้ำ": ["ก็", "มี", "น้", "ำ"],
    "𠀀𠀁": ["𠀀", "𠀁"],
}


@pytest.mark.parametrize("text", SPACED)
def test_where_spaces_separate_words_they_are_as_before(text):
    assert split_words(text) == text.split()
    words = text.split(" ")
    assert [text[:end] for end in word_ends(text)] == [" ".join(words[: i + 1]) for i in range(len(words))]


@pytest.mark.parametrize("text", SPACELESS)
def test_where_they_do_not_each_letter_is_a_word_with_its_marks(text):
    assert split_words(text) == SPACELESS[text]
    assert len(word_ends(text)) == len(SPACELESS[text])
    assert word_ends(text)[-1] == len(text)


def test_a_chinese_text_has_passages_rankings_and_features(tmp_path):
    (tmp_path / "千字文.txt").write_text(" = 千字文 = \n\n" + "\n\n".join([CHINESE, CHINESE[:100], "短。"]))
    source = cj.data.text_files(tmp_path / "千字文.txt")
    assert [passage.title for passage in source.passages] == ["千字文"]
    assert source.passages[0].text == CHINESE
    (row,) = ranking_rows(source, 0)
    for completion, count in zip(row["completions"], RECIPES[row["type"]].words, strict=True):
        assert len(split_words(completion)) == count
        assert CHINESE.startswith(completion)
    counts = cj.data.hashed_ngrams(CHINESE, size=64).reshape(2, 32).sum(axis=1)
    np.testing.assert_array_equal(counts, [320.0, 319.0])


def test_a_longform_row_in_chinese_is_a_passage(tmp_path):
    rows = f'[{{"input": "写", "output": "{CHINESE}"}}, {{"input": "写", "output": "短。"}}]'
    (tmp_path / "train.json").write_text(rows)
    assert len(cj.data.longform(tmp_path / "train.json").passages) == 1
