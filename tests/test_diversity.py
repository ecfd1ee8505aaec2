"""An embedder that counts letters, in the place of a sentence-transformers model."""

import sys, types
import numpy as np, pytest
import jax.numpy as jnp
import collapse_jax as cj
from experiments import diversity

LETTERS = "abcdefghijklmnopqrstuvwxyz "


class SentenceTransformer:
    def __init__(self, name):
        self.name = name

    def encode(self, texts):
        return np.array([[t.count(c) + 0.01 for c in LETTERS] for t in texts], np.float32)


def test_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        ValueError, match=r"--embedder some-model needs sentence-transformers: pip install 'collapse-jax\[embeddings\]'"
    ):
        diversity.load_embedder("some-model")


def test_embedded(monkeypatch):
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    encode = diversity.load_embedder("m")
    tok = cj.data.byte_tokenizer()
    rng = np.random.default_rng(0)
    held = rng.integers(97, 123, (7, 12)).astype(np.int32)
    language = diversity.Language(tok, held, held, np.zeros(257, np.int32), None)
    rows = rng.integers(97, 123, (2, 3, 5, 12)).astype(np.int32)
    rows[1, 2] = rows[1, 2, 0]
    out = diversity._embedded(encode, language, rows, ("way", "seed"))
    assert out["embedded_vendi"].dims == ("way", "seed")
    import vendi_score.vendi as v

    ref = encode([tok.decode(r) for r in held])
    for w in range(2):
        for s in range(3):
            x = encode([tok.decode(r) for r in rows[w, s]])
            u = x / np.linalg.norm(x, axis=1, keepdims=True)
            assert float(out["embedded_vendi"][w, s]) == pytest.approx(v.score_K(u @ u.T), rel=1e-3)
            d = np.linalg.norm(x.mean(0) - ref.mean(0)) / np.linalg.norm(ref - ref.mean(0), axis=1).mean()
            assert float(out["embedded_drift"][w, s]) == pytest.approx(d, rel=1e-4)
    assert float(out["embedded_vendi"][1, 2]) == pytest.approx(1.0, abs=1e-3)
