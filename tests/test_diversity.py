"""A sentence embedder plugged into the look at diversity: one that counts letters, in the place of a model."""

import sys
import types

import numpy as np
import pytest

import collapse_jax as cj
from experiments import diversity

LETTERS = "abcdefghijklmnopqrstuvwxyz "


class SentenceTransformer:
    def __init__(self, name):
        self.name = name

    def encode(self, texts):
        return np.array([[text.count(c) + 0.01 for c in LETTERS] for text in texts], np.float32)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=r"--embedder m needs .* pip install 'collapse-jax\[embeddings\]'"):
        diversity.load_embedder("m")


def test_an_embedder_gives_a_vendi_score_and_a_drift_of_its_own(monkeypatch):
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    encode = diversity.load_embedder("m")
    tokenizer, random = cj.data.byte_tokenizer(), np.random.default_rng(0)
    held_out = random.integers(97, 123, (7, 12)).astype(np.int32)
    language = diversity.Language(tokenizer, held_out, held_out, np.zeros(257, np.int32), None)
    rows = random.integers(97, 123, (2, 3, 5, 12)).astype(np.int32)
    rows[1, 2] = rows[1, 2, 0]
    measured = diversity._embedded(encode, language, rows, ("way", "seed"))
    assert measured["embedded_vendi"].dims == ("way", "seed")
    real = encode([tokenizer.decode(row) for row in held_out])
    spread = np.linalg.norm(real - real.mean(0), axis=1).mean()
    for way, seed in np.ndindex(2, 3):
        x = encode([tokenizer.decode(row) for row in rows[way, seed]])
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        spectrum = np.linalg.eigvalsh(unit @ unit.T / len(unit)).clip(1e-12)
        vendi = np.exp(-(spectrum * np.log(spectrum)).sum())
        assert float(measured["embedded_vendi"][way, seed]) == pytest.approx(vendi, rel=1e-3)
        drift = np.linalg.norm(x.mean(0) - real.mean(0)) / spread
        assert float(measured["embedded_drift"][way, seed]) == pytest.approx(drift, rel=1e-4)
    assert float(measured["embedded_vendi"][1, 2]) == pytest.approx(1.0, abs=1e-3)
