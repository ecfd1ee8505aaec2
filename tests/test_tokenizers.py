"""Tokenisers and blocks: exact round trips, rows of the right length, and errors that name what is wrong."""

import collections
import functools
import itertools
import json
import pickle
import re

import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.data import (
    RankedPrompts,
    byte_tokenizer,
    load_bpe,
    pack,
    pad,
    python_docs,
    save_bpe,
    tokenize,
    train_bpe,
    unpack,
)

TEXTS = [passage.text for passage in python_docs().passages[:60]]
BPE = train_bpe(TEXTS, size=400)
TOKENIZERS = pytest.mark.parametrize("tokenizer", [byte_tokenizer(), BPE], ids=["bytes", "bpe"])

NASTY = [
    "",
    " ",
    "  two  spaces, and at the end  ",
    "\n\n\r\n\t\v\f\x1c\x85\u2028\u2029",
    "\x00 in the middle \x00\x01\x7f\x00",
    "<|endoftext|> and <|endoftext|><|endoftext|>",
    "</s><unk><pad>[CLS]",
    "ĠĊĉ âĢľ Ã©",  # what byte-level BPE calls its bytes
    "e\u0301 é ﬁ ﬀ Å Å Ω Ω",  # normalisation would join or split these
    "İIıi ẞß ΣΣς",  # case folding would change these
    "日本語 中文 한국어 ไทย हिन्दी العربية \u202eright to left\u202c",
    "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇫🇷🇩🇪 👍🏿",
    "\ufeff\ufffd\ufffe\uffff\U0010ffff\U00010000\ud7ff\ue000",
    "don't they'll I'VE 'S ''' 3.14159 1e-10 0x1F _snake__case_ a.b.c",
    "z" * 5000,
    "".join(map(chr, range(0x250))),
]


# Tokenisers


@TOKENIZERS
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_any_text_comes_back_exactly(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert tokens.dtype == np.int32
    assert tokenizer.decode(tokens) == text
    assert not tokens.size or 0 <= tokens.min() <= tokens.max() < tokenizer.size
    assert tokenizer.end not in tokens


def test_byte_tokens_are_the_bytes():
    tokenizer = byte_tokenizer()
    assert (tokenizer.size, tokenizer.end) == (257, 256)
    for text in NASTY:
        assert tokenizer.encode(text).tolist() == list(text.encode("utf-8"))


def joined(parts, pair):
    """One merge of byte-pair encoding by its definition: a pair becomes one part, from the left."""
    out, place = [], 0
    while place < len(parts):
        both = tuple(parts[place : place + 2]) == pair
        out.append("".join(parts[place : place + 1 + both]))
        place += 1 + both
    return tuple(out)


def test_bpe_learns_and_applies_its_merges():
    text = re.sub(r"[^a-z]+", " ", " ".join(TEXTS[:20]).lower())
    model = json.loads(train_bpe([text], size=257 + 30).content)["model"]
    words = collections.Counter(tuple(word.replace(" ", "Ġ")) for word in re.findall(r" ?[a-z]+", text))
    for learnt in map(tuple, model["merges"]):
        counts = collections.Counter()
        for parts, count in words.items():
            for pair in itertools.pairwise(parts):
                counts[pair] += count
        assert counts[learnt] == max(counts.values())
        merged = collections.Counter()
        for parts, count in words.items():
            merged[joined(parts, learnt)] += count
        words = merged
    model = json.loads(BPE.content)["model"]
    assert len(model["merges"]) == 400 - 257
    for word in ("statement", "expressions", "zzz", "interpreter", "xylophone"):
        parts = functools.reduce(joined, map(tuple, model["merges"]), tuple(word))
        assert BPE.encode(word).tolist() == [model["vocab"][part] for part in parts]


def test_bpe_is_shorter_than_bytes():
    text = TEXTS[0]
    assert BPE.encode(text).size < 0.6 * byte_tokenizer().encode(text).size


def test_training_is_deterministic_and_names_differ():
    assert train_bpe(iter(TEXTS), size=400).content == BPE.content
    others = [train_bpe(TEXTS, size=401), train_bpe(TEXTS[1:], size=400), byte_tokenizer()]
    assert len({BPE.name, *(other.name for other in others)}) == 4


def test_few_texts_make_a_smaller_vocabulary():
    tokenizer = train_bpe(["ab ab"], size=1024)
    assert 257 <= tokenizer.size <= 260
    assert train_bpe(["ab"], size=257).size == 257


@TOKENIZERS
def test_special_and_negative_ids_are_dropped_and_invalid_bytes_replaced(tokenizer):
    tokens = tokenizer.encode("é")
    spoilt = [-1, tokenizer.end, tokens[0].item(), -7, tokens[-1].item(), tokenizer.end, -1]
    assert tokens.size == 2
    assert tokenizer.decode(spoilt) == "é"
    assert tokenizer.decode(tokens[:1]) == "\ufffd"
    assert tokenizer.decode([*tokenizer.encode("a"), tokens[1], *tokenizer.encode("b")]) == "a\ufffdb"
    assert tokenizer.decode([]) == tokenizer.decode([-1, tokenizer.end]) == ""
    assert tokenizer.decode(jnp.asarray(tokenizer.encode("device"))) == "device"
    with pytest.raises(ValueError, match=rf"token {tokenizer.size + 3} is not among the {tokenizer.size}"):
        tokenizer.decode([0, tokenizer.size + 3])
    with pytest.raises(ValueError, match="surrogates not allowed"):
        tokenizer.encode("half \ud800 a pair")


def test_bpe_is_saved_and_loaded(tmp_path):
    save_bpe(BPE, tmp_path / "tokenizer.json")
    loaded = load_bpe(tmp_path / "tokenizer.json")
    assert loaded[2:] == BPE[2:]
    for text in [*NASTY, TEXTS[7]]:
        np.testing.assert_array_equal(loaded.encode(text), BPE.encode(text))
    with pytest.raises(ValueError, match=r"tokenizer bytes is no BPE, and has no tokenizer\.json to save"):
        save_bpe(byte_tokenizer(), tmp_path / "bytes.json")


@TOKENIZERS
def test_tokenizers_can_be_pickled(tokenizer):
    copied = pickle.loads(pickle.dumps(tokenizer))
    assert copied[2:] == tokenizer[2:]
    for text in NASTY:
        np.testing.assert_array_equal(copied.encode(text), tokenizer.encode(text))


def test_a_loaded_bpe_may_have_other_habits(tmp_path):
    """Another end token, a token put before each text, cutting and padding, other special tokens."""
    content = json.loads(BPE.content)
    for number, token in enumerate(("</s>", "<s>"), 400):
        content["added_tokens"].append({**content["added_tokens"][0], "id": number, "content": token})
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [401], "tokens": ["<s>"]}},
    }
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    file = tmp_path / "other.json"
    file.write_text(json.dumps(content))
    loaded = load_bpe(file, end="</s>")
    assert (loaded.size, loaded.end) == (402, 400)
    for text in NASTY:
        np.testing.assert_array_equal(loaded.encode(text), BPE.encode(text))
    assert loaded.decode([401, 400, BPE.end, *BPE.encode("x")]) == "x"
    assert loaded.name != load_bpe(file).name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"bad\.json: not a tokenizer\.json: .*"),
        ('{"version": "1.0"', r"bad\.json: not a tokenizer\.json: .*EOF"),
        ("\xff", r"bad\.json, line 1: byte 0xff at offset 0 is not UTF-8"),
        ("", r"bad\.json: the file is empty"),
        (
            BPE.content.replace("<|endoftext|>", "<end>"),
            r"'<\|endoftext\|>' is not among its special tokens, \['<end>'\]",
        ),
        (BPE.content.replace('"special":true', '"special":false'), r"is not among its special tokens, \[\]"),
        (
            BPE.content.replace('"normalizer":null', '"normalizer":{"type":"NFC"}'),
            "comes back as .* must be byte-level",
        ),
        (BPE.content.replace('"normalizer":null', '"normalizer":{"type":"Lowercase"}'), "comes back as"),
        (
            json.dumps(
                {
                    **json.loads(BPE.content),
                    "model": {"type": "WordLevel", "vocab": {"<|endoftext|>": 0, "a": 1}, "unk_token": "a"},
                }
            ),
            r"the model is WordLevel; it must be BPE",
        ),
    ],
    ids=["empty object", "cut", "not UTF-8", "empty", "no end", "not special", "NFC", "lower case", "words"],
)
def test_malformed_tokenizer_files(tmp_path, content, message):
    (tmp_path / "bad.json").write_text(content, encoding="latin-1" if content == "\xff" else "utf-8")
    with pytest.raises(ValueError, match=message):
        load_bpe(tmp_path / "bad.json")


def test_other_tokenizer_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such file; .*byte_tokenizer\(\)"):
        load_bpe(tmp_path / "none.json")
    with pytest.raises(ValueError, match="size is 256; it must be 257 or more"):
        train_bpe(TEXTS, size=256)
    for texts in ([], ["", ""]):
        with pytest.raises(ValueError, match="there is no text to train on"):
            train_bpe(texts)


# Blocks


@TOKENIZERS
def test_packed_rows_are_the_joined_texts(tokenizer):
    texts = [*NASTY, TEXTS[3], ""]
    block = pack(tokenizer, iter(texts), 7)
    stream = [token for text in texts for token in [*tokenizer.encode(text).tolist(), tokenizer.end]]
    assert block.dtype == np.int32
    assert block.shape == (len(stream) // 7, 7)
    assert block.ravel().tolist() == stream[: block.size]


@TOKENIZERS
def test_unpack_undoes_pack_and_pad(tokenizer):
    texts = [*NASTY, "last"]
    total = sum(tokenizer.encode(text).size + 1 for text in texts)
    (row,) = pack(tokenizer, texts, total)
    assert unpack(tokenizer, row) == texts
    assert unpack(tokenizer, jnp.asarray(row[:-2])) == [*texts[:-1], tokenizer.decode(tokenizer.encode("last")[:-1])]
    padded = pad(tokenizer, texts, 6000)
    assert [unpack(tokenizer, row) for row in padded] == [[text] for text in texts]
    assert unpack(tokenizer, np.full(5, -1)) == []


def test_pad_cuts_or_refuses():
    tokenizer = byte_tokenizer()
    block = pad(tokenizer, ["abc", "", "abcdef", "abcd"], 4)
    assert block.dtype == np.int32
    assert block.tolist() == [[97, 98, 99, 256], [256, -1, -1, -1], [97, 98, 99, 100], [97, 98, 99, 100]]
    assert pad(tokenizer, ["abc"], 4, truncate=False).tolist() == [[97, 98, 99, 256]]
    with pytest.raises(ValueError, match=r"text 1, 'abcdef', has 7 tokens with its end token; raise length \(4\)"):
        pad(tokenizer, ["abcd", "abcdef"], 4, truncate=False)


def test_too_little_to_pack_or_pad():
    tokenizer = byte_tokenizer()
    assert pack(tokenizer, ["abc", "d"], 6).shape == (1, 6)
    with pytest.raises(ValueError, match="the texts have 6 tokens, end tokens included; one row needs length, 7"):
        pack(tokenizer, ["abc", "d"], 7)
    with pytest.raises(ValueError, match="the texts have 0 tokens"):
        pack(tokenizer, [], 1)
    with pytest.raises(ValueError, match="there is no text to pad"):
        pad(tokenizer, [], 4)
    empty = RankedPrompts([], [], np.zeros(0, np.int64), [])
    for call in (
        lambda: pack(tokenizer, ["a"], 0),
        lambda: pad(tokenizer, ["a"], 0),
        lambda: tokenize(empty, tokenizer, 0),
    ):
        with pytest.raises(ValueError, match="length is 0; it must be 1 or more"):
            call()


@TOKENIZERS
def test_ranked_prompts_become_tokens(tokenizer):
    completions = [["é, a longer one", "short"], ["only"]]
    ranked = RankedPrompts(["t", "u"], ["Prompt one.", "Two?"], np.zeros(2, np.int64), completions)
    tokens, mask = tokenize(ranked, tokenizer, 40)
    assert (tokens.shape, tokens.dtype) == ((2, 2, 40), np.int32)
    assert mask.tolist() == [[True, True], [True, False]]
    assert (tokens[1, 1] == -1).all()
    for row, prompt in enumerate(ranked.prompts):
        for item, completion in enumerate(completions[row]):
            assert unpack(tokenizer, tokens[row, item]) == [prompt, completion]
            used = tokens[row, item] >= 0
            assert tokens[row, item, used.sum() - 1] == tokenizer.end
            assert not used[used.sum() :].any()


def test_a_ranked_prompt_that_is_too_long_is_named():
    tokenizer = byte_tokenizer()
    ranked = RankedPrompts(["t"] * 3, ["a", "bbb", "c"], np.zeros(3, np.int64), [["x"], ["yyyy", "y"], ["z", "zz"]])
    assert tokenize(ranked, tokenizer, 9)[0][1, 0].min() >= 0
    with pytest.raises(ValueError, match=r"prompt 1, 'bbb', has 9 tokens .* length is 8, and 9 would do for all"):
        tokenize(ranked, tokenizer, 8)
    with pytest.raises(ValueError, match="there is no prompt to tokenize"):
        tokenize(RankedPrompts([], [], np.zeros(0, np.int64), []), tokenizer, 8)
    with pytest.raises(ValueError, match="prompt 1 has no completion"):
        tokenize(ranked._replace(completions=[["x"], [], ["z"]]), tokenizer, 99)
