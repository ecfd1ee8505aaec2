"""What scripts on texts say of a text that is too short: by the name of the option, and of a model that knows it."""

import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from experiments.recursion_lm import Config
from experiments.shared.language_models import Language, LanguageSettings, pretrain, read
from experiments.shared.language_population import overfitted

TINY = {"layers": 1, "width": 16, "heads": 2, "length": 8, "batch_size": 8}


def test_a_text_that_is_too_short_is_told_with_its_rows(tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(f"{number} " * 110 for number in range(30)))
    config = Config(
        source="text_files", path=tmp_path / "text.txt", samples=512, vocabulary=257, data_dir=tmp_path / "data"
    )
    with pytest.raises(ValueError, match=r"samples is 512; this text has \d+ rows of 64 tokens .* ask for \d+ at most"):
        read(config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("overfits", [True, False])
def test_a_pretrained_model_that_knows_its_rows_by_heart_is_told(tmp_path, capsys, overfits):
    rows = np.random.default_rng(0).integers(0, 40, (24, 8)).astype(np.int32)
    language = Language(
        cj.data.byte_tokenizer()._replace(size=40, end=39), rows[:8], rows[8:] if overfits else rows[:8], None, None
    )
    config = LanguageSettings(**TINY, pretraining=150, learning_rate=1e-2)
    pretrain(config, language, tmp_path)
    said = capsys.readouterr().err
    assert ("warning: the pretrained model is overfitted: its perplexity on held-out text is" in said) == overfits
    assert ("that of guessing among the 40 tokens 40" in said) == overfits


def test_first_models_that_are_worse_than_guessing_are_told_in_the_table():
    risk = xr.DataArray(
        np.log([[[300.0, 400.0], [200.0, 900.0]], [[350.0, 10.0], [250.0, 900.0]]]),
        {"regime": ["replace", "control"], "seed": [0, 1], "generation": [1, 2]},
        ("seed", "regime", "generation"),
    )
    dataset = xr.Dataset({"risk": risk}).assign_coords(vocabulary=257)
    (line,) = overfitted(dataset, "regime")
    assert line.startswith("replace, generation 1: overfitted, or hardly trained, since its perplexity on held-out")
    assert line.endswith("text is 324, and that of guessing among the 257 tokens 257")
    assert overfitted(dataset.drop_vars("vocabulary"), "regime") == []
