"""Models on disk: what goes out comes in, in another process too; whatever is damaged or in the way is told by name."""

import hashlib
import json
import warnings
from collections import namedtuple
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import collapse_jax as cj
from collapse_jax.data.readers import ngram_reader, prefix_reader, token_reader
from collapse_jax.data.tokenizers import byte_tokenizer, train_bpe
from collapse_jax.generative import families, load_generator, make_generator, save_generator
from collapse_jax.generative.rebuilding import rebuild
from collapse_jax.generative.recursion.resolving import resolve_truth
from collapse_jax.io import saved_models
from collapse_jax.io.saved_models import load_folder, save_folder
from collapse_jax.io.tensors import in_tree, named_tensors, structure_of, template
from collapse_jax.reward import load_reward_model, make_reward_model, save_reward_model
from tests.test_scoring import ANSWERS, PROMPTS, READER, SIZES, ensemble, made, trained  # noqa: F401 - fixtures
from tests.walks import finish, listing, spawn

# Trees.

TREES = {
    "a flow": families.Flow({"a": [jnp.ones((2, 3)), (jnp.zeros(()), None)]}, jnp.ones(2), 0.5),
    "types": {
        name: jnp.zeros(2, name)
        for name in ("bfloat16", "float16", "int8", "uint32", "bool", "complex64", "float8_e4m3fn")
    },
    "an array": jnp.arange(3.0),
    "nothing": {},
    "empty arrays": {"a": jnp.zeros((0, 3))},
    "names in another script": {"gewichte ä": jnp.ones(1), "重み": jnp.ones(2), "../../evil": jnp.ones(3)},
}


@pytest.mark.parametrize("tree", TREES)
def test_trees_come_back_from_a_folder(tmp_path, tree):
    given = TREES[tree]
    folder = save_folder(tmp_path / "m", "thing", {"structure": structure_of(given)}, named_tensors("it", given), False)
    saved = load_folder(folder, "thing")
    found = in_tree("it", saved.tensors, template(saved.config["structure"]))
    assert jax.tree.structure(found) == jax.tree.structure(given)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(given), strict=True):
        assert one.dtype == jnp.asarray(other).dtype
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "m", "model.safetensors"]


def test_the_files_are_what_other_libraries_read(tmp_path):
    folder = save_folder(tmp_path / "m", "thing", {}, named_tensors("it", {"a": {"b": jnp.arange(4.0)}}), False)
    found = safetensors.numpy.load_file(folder / "model.safetensors")
    assert list(found) == ["a.b"]
    np.testing.assert_array_equal(found["a.b"], np.arange(4.0))


def test_a_transposed_or_big_endian_array_keeps_its_values(tmp_path):
    given = {"turned": np.arange(6.0, dtype=np.float32).reshape(2, 3).T, "big": np.arange(3, dtype=">i4")}
    folder = save_folder(tmp_path / "m", "thing", {}, named_tensors("it", given), False)
    for name, values in load_folder(folder, "thing").tensors.items():
        np.testing.assert_array_equal(values, given[name])


Own = namedtuple("Own", "weight")
NO_TREES = {
    "keys": (lambda: named_tensors("it", {"k": jax.random.key(0)}), "it at 'k' are random keys"),
    "texts": (lambda: named_tensors("it", {"t": np.array(["a"])}), "it at 't' is of type <U1"),
    "two of one path": (lambda: named_tensors("it", {"a": {"b": 1.0}, "a.b": 2.0}), r"two leaves of the path 'a\.b'"),
    "a record of one's own": (lambda: structure_of(Own(1.0)), "test_saved_models.Own is no record of this package"),
    "missing": (lambda: in_tree("it", {}, {"a": 0}), "it lacks 'a'; expected 'a'"),
    "unexpected": (lambda: in_tree("it", {"b": np.ones(1)}, {}), "it has the unexpected 'b'; expected none"),
    "misshapen": (lambda: in_tree("it", {"a": np.ones(1)}, {"a": np.ones(2)}), r"'a' of shape \(1,\); expected \(2,\)"),
    "a class": (lambda: template({"record": "os.stat_result", "fields": {}}), "the record os.stat_result"),
    "a function": (
        lambda: template({"record": "collapse_jax.io.files.make_writable", "fields": {}}),
        "there is none such",
    ),
    "a record of other fields": (
        lambda: template({"record": "collapse_jax.generative.families.flow.Flow", "fields": {"weights": "array"}}),
        "Flow with 'weights'; there is none such",
    ),
    "no structure": (lambda: template({"code": "print()"}), "the structure has {'code': 'print"),
}


@pytest.mark.parametrize("case", NO_TREES)
def test_what_is_no_tree_is_named(case):
    act, message = NO_TREES[case]
    with pytest.raises(ValueError, match=message):
        act()


# Damage. `change` gets the folder, and may write a digest that fits what it did.


def rewrite(folder, tensors=None, **entries):
    """Write a folder as whoever knows the format might: the digests fit."""
    config = json.loads((folder / "config.json").read_text())
    if tensors is not None:
        content = tensors if isinstance(tensors, bytes) else safetensors.numpy.save(tensors)
        (folder / "model.safetensors").write_bytes(content)
        config["file"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    changed = config | entries
    (folder / "config.json").write_text(json.dumps(changed | {"digest": saved_models.digest(changed)}))


def truncate(folder, name="model.safetensors"):
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"x")


def flip(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


HUGE = (2**62).to_bytes(8, "little") + b"{}"
A, B = np.ones((2, 3), np.float32), np.zeros(4, np.float32)
OFFSETS = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,9999]}}'
DAMAGE = {
    "truncated": (truncate, r"model\.safetensors is truncated: it has \d+ bytes, \d+ were written"),
    "emptied": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "truncated: it has 0 bytes"),
    "longer": (lambda folder: lengthen(folder / "model.safetensors"), "is not what was saved: it has"),
    "a changed bit": (flip, r"model\.safetensors has changed since it was saved: its sha256 is"),
    "no tensors": (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), r"holds no saved model.*config\.json"),
    "half a configuration": (lambda folder: truncate(folder, "config.json"), r"config\.json is not readable as JSON"),
    "a changed entry": (
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace("float32", "float64", 1)
        ),
        r"config\.json has changed since it was saved",
    ),
    "no UTF-8": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "is not readable as JSON"),
    "nested without end": (
        lambda folder: (folder / "config.json").write_text("[" * 100_000),
        "is not readable as JSON",
    ),
    "another JSON": (lambda folder: (folder / "config.json").write_text("[]"), "describes no model that this library"),
    "another version": (lambda folder: rewrite(folder, version=99), "is of version 99; this library reads version 1"),
    "a version that only equals": (lambda folder: rewrite(folder, version=True), "is of version True; this library"),
    "another kind": (lambda folder: rewrite(folder, kind="generator"), "describes a 'generator', not a 'thing'"),
    "no table": (lambda folder: rewrite(folder, tensors_=0, **{"file": 3}), "damaged: it has no table of tensors"),
    "no safetensors": (lambda folder: rewrite(folder, b"a zip, or a pickle"), r"is no safetensors file"),
    "a huge header": (lambda folder: rewrite(folder, HUGE), "is no safetensors file"),
    "offsets beyond the end": (
        lambda folder: rewrite(folder, len(OFFSETS).to_bytes(8, "little") + OFFSETS + bytes(24)),
        "is no safetensors file",
    ),
    "a missing tensor": (lambda folder: rewrite(folder, {"a": A}), "lacks the tensor 'b', which config.json names"),
    "one more": (lambda folder: rewrite(folder, {"a": A, "b": B, "../c": B}), r"unexpected tensor '\.\./c'"),
    "another shape": (lambda folder: rewrite(folder, {"a": A.T.copy(), "b": B}), r"'a' as float32\[3, 2\]; config"),
    "another type": (lambda folder: rewrite(folder, {"a": A, "b": B.astype("f8")}), r"'b' as float64\[4\]; config"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_damage_is_told(tmp_path, damage):
    change, message = DAMAGE[damage]
    folder = save_folder(tmp_path / "m", "thing", {}, {"a": A, "b": B}, False)
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        load_folder(folder, "thing")
    assert str(folder) in str(caught.value)


# What is in the way, and what goes wrong.


def test_a_saved_model_is_replaced_if_asked_and_anything_else_never(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()  # an empty folder will do
    save_folder(folder, "thing", {}, {"a": A}, False)
    with pytest.raises(ValueError, match="holds a saved model; give another, or overwrite=True"):
        save_folder(folder, "thing", {}, {"a": A + 1}, False)
    save_folder(folder, "thing", {}, {"a": A + 1}, True)
    np.testing.assert_array_equal(load_folder(folder, "thing").tensors["a"], A + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    (folder / "thesis.txt").write_text("years of work")
    before = listing(tmp_path)
    with pytest.raises(ValueError, match=r"holds thesis\.txt, which is no part of a saved model; it is left as it is"):
        save_folder(folder, "thing", {}, {"a": A}, True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no saved model; it is left"):
        save_folder(other, "thing", {}, {"a": A}, True)
    with pytest.raises(ValueError, match="exists and is no folder"):
        save_folder(folder / "thesis.txt", "thing", {}, {"a": A}, True)
    assert {name: file for name, file in listing(tmp_path).items() if not name.startswith("other")} == before


def contents(directory):
    return {name: content for name, (_, content) in listing(directory).items()}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("at", range(5))
def test_nothing_is_half_written_wherever_it_fails(tmp_path, monkeypatch, overwrite, at):
    folder = tmp_path / "m"
    if overwrite:
        save_folder(folder, "thing", {}, {"a": A}, False)
    before = contents(tmp_path)
    calls = iter(range(100))

    def failing(function):
        def call(*args, **kwargs):
            if next(calls) == at:
                raise OSError(28, "No space left on device")
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(saved_models, "_write", failing(saved_models._write))
    monkeypatch.setattr(Path, "rename", failing(Path.rename))
    steps = 4 if overwrite else 3
    if at >= steps:
        save_folder(folder, "thing", {}, {"a": A + 1}, overwrite)
        return
    with pytest.raises(OSError, match=r"could not save the model in .*No space left.*it is left as it was"):
        save_folder(folder, "thing", {}, {"a": A + 1}, overwrite)
    assert contents(tmp_path) == before


def test_a_kill_between_the_two_renames_says_where_the_model_lies(tmp_path, monkeypatch):
    tensors = named_tensors("it", jnp.arange(3.0))
    folder = save_folder(tmp_path / "m [1]", "thing", {}, tensors, False)
    before, rename, done = load_folder(folder, "thing"), Path.rename, []

    def killed(self, target):
        done.append(self)
        if len(done) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        save_folder(folder, "thing", {"other": 1}, tensors, True)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="that was to be replaced when saving was killed") as told:
        load_folder(folder, "thing")
    aside = str(told.value).partition("rename ")[2].partition(" to ")[0]
    Path(aside).rename(folder)
    assert load_folder(folder, "thing").config == before.config


def test_what_json_does_not_hold_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="can't be written as JSON"):
        save_folder(tmp_path / "m", "thing", {"link": print}, {"a": A}, False)
    assert list(tmp_path.iterdir()) == []


# Reward models.

READERS = {
    "mlp": (lambda: cj.mlp((3, 2)), lambda: ngram_reader(4, 4)),
    "raw logits": (lambda: cj.mlp((3,), link=None), lambda: ngram_reader(4, 4)),
    "text_encoder": (
        lambda: cj.reward.text_encoder(300, architecture=SIZES),
        lambda: token_reader(train_bpe(["once upon a time, once and again"] * 3, 262), 24),
    ),
    "prefix_encoder": (
        lambda: cj.reward.prefix_encoder(257, architecture=SIZES),
        lambda: prefix_reader(byte_tokenizer(), 24),
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_every_kind_of_reward_model_comes_back(tmp_path, kind):
    model, reader = (make() for make in READERS[kind])
    given = made(model, reader)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = save_reward_model(given, tmp_path / "Modell für süß 好")
    found = load_reward_model(folder)
    assert (found.model.config, found.model.bounded) == (model.config, model.bounded)
    assert found.reader.config == reader.config
    np.testing.assert_array_equal(found.score("tell", ["once", "upon"]), given.score("tell", ["once", "upon"]))


def half(x):
    return 0.5 * jnp.tanh(x) + 0.5


def test_a_link_of_ones_own_is_named_and_the_model_given_at_loading(tmp_path):
    given = made(cj.mlp((3,), link=half), READER)
    with pytest.warns(UserWarning, match=r"the link of the model is 'tests\.test_saved_models\.half'.*need model="):
        folder = save_reward_model(given, tmp_path / "m")
    with pytest.raises(ValueError, match=r"config\.json: the link of the model is .*half'.*give it as model="):
        load_reward_model(folder)
    found = load_reward_model(folder, model=cj.mlp((3,), link=half))
    np.testing.assert_array_equal(found.score(["a b"]), given.score(["a b"]))
    with pytest.raises(
        ValueError, match=r"safetensors has 'params\.Dense_0\.bias' of shape \(1, 3\); expected \(1, 4\)"
    ):
        load_reward_model(folder, model=cj.mlp((4,)))
    with pytest.raises(ValueError, match=r"safetensors lacks 'params\.Dense_1\.bias'"):
        load_reward_model(folder, model=cj.mlp((3, 3)))


def test_a_model_of_ones_own_is_given_at_loading(tmp_path):
    own = cj.reward.Model(
        lambda key, features: Own([jnp.ones(12), (jnp.zeros(()),)]), lambda p, f: f @ p.weight[0] + p.weight[1][0]
    )
    given = make_reward_model(own, Own([np.arange(12.0, dtype=np.float32), (np.float32(2),)]), READER)
    with pytest.warns(UserWarning, match="not one of the library's"):
        folder = save_reward_model(given, tmp_path / "m")
    found = load_reward_model(folder, model=own)
    assert isinstance(found.params, Own)
    np.testing.assert_array_equal(found.score(["a b", "c"]), given.score(["a b", "c"]))


def test_a_model_with_a_function_replaced_is_not_taken_for_the_librarys(tmp_path):
    own = cj.mlp((3,))._replace(apply=lambda params, features: jnp.zeros(features.shape[:-1]))
    with pytest.warns(UserWarning, match=r"not one of the library's.*need model="):
        save_reward_model(made(own, READER), tmp_path / "m")
    with pytest.raises(ValueError, match="give it as model="):
        load_reward_model(tmp_path / "m")
    assert load_reward_model(tmp_path / "m", model=own).score("a") == 0


def lengths(prompts, completions, width):
    mask = np.array([np.arange(width) < len(own) for own in completions])
    rows = [[[len(prompt), len(text)] for text in own] for prompt, own in zip(prompts, completions, strict=True)]
    return np.array([own + [[0, 0]] * (width - len(own)) for own in rows], np.float32), mask


OWN_READERS = {
    "of one's own": cj.data.Reader("lengths", lengths, {}),
    "under the name of another": READER._replace(read=lengths),
}


@pytest.mark.parametrize("reader", OWN_READERS)
def test_a_reader_of_ones_own_is_given_at_loading(tmp_path, reader):
    reader = OWN_READERS[reader]
    given = made(cj.mlp((3,)), reader)
    with pytest.warns(UserWarning, match=r"the reader '\w+' is not one of the library's.*need reader="):
        folder = save_reward_model(given, tmp_path / "m")
    with pytest.raises(ValueError, match=r"config\.json: the reader is not one of the library's; give it as reader="):
        load_reward_model(folder)
    assert load_reward_model(folder, reader=reader).score("a", "bc") == given.score("a", "bc")
    with pytest.raises(ValueError, match=r"safetensors has 'params\.Dense_0\.kernel' of shape"):
        load_reward_model(folder, reader=READER)


ENTRIES = {
    "no members": ({"members": []}, r"its members are \[\]"),
    "no reader": ({"reader": 3}, "its reader is 3"),
    "an unknown reader": ({"reader": {"kind": "pickle"}}, "describes a reader that can't be made"),
    "a reader of another model": (
        {"reader": {"kind": "prefixes", "tokenizer": {"name": "bytes"}, "length": 9}},
        r"config\.json: the model can't read what the reader 'prefixes' makes",
    ),
    "a reader of vectors without end": (
        {"reader": {"kind": "ngrams", "prompt_size": 2**50, "completion_size": 2**50, "orders": [1]}},
        r"config\.json: the model can't read what the reader 'ngrams' makes",
    ),
    "an unknown model": ({"model": {"kind": "oracle"}}, "the model is of the kind 'oracle'; the library has mlp"),
    "a size that is none": (
        {"model": {"kind": "mlp", "hidden": [-3], "link": "sigmoid"}},
        "describes a model that can't be built",
    ),
    "another argument": (
        {"model": {"kind": "mlp", "hidden": [3], "link": "sigmoid", "code": "x"}},
        "describes a model that can't be built",
    ),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_changed_configuration_is_told(tmp_path, entry):
    folder = save_reward_model(made(cj.mlp((3,)), READER), tmp_path / "m")
    entries, message = ENTRIES[entry]
    rewrite(folder, **entries)
    with pytest.raises(ValueError, match=message) as caught:
        load_reward_model(folder)
    assert "config.json" in str(caught.value)


ELSEWHERE = """
import sys, jax
import numpy as np
from collapse_jax.generative import load_generator
from collapse_jax.reward import load_reward_model
from tests.test_scoring import ANSWERS, PROMPTS

folder = sys.argv[1]
scores = load_reward_model(f"{folder}/an ensemble ä").ensemble(PROMPTS, ANSWERS).by_member
written = load_generator(f"{folder}/vae").sample(jax.random.key(3), 4)
np.savez(f"{folder}/found.npz", scores=scores, images=written.images, labels=written.labels)
"""


@pytest.mark.slow
def test_another_process_scores_and_writes_the_same(tmp_path, ensemble):  # noqa: F811
    save_reward_model(ensemble, tmp_path / "an ensemble ä")
    family, params = of_family("vae")
    given = make_generator(family, params)
    save_generator(given, tmp_path / "vae")
    assert "pickle" not in (tmp_path / "vae" / "config.json").read_text()
    finish(spawn(ELSEWHERE, tmp_path))
    written = given.sample(jax.random.key(3), 4)
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["scores"], ensemble.ensemble(PROMPTS, ANSWERS).by_member)
        np.testing.assert_array_equal(found["images"], written.images)
        np.testing.assert_array_equal(found["labels"], written.labels)
    assert load_reward_model(tmp_path / "an ensemble ä").labels == ensemble.labels


# Generators.

NETWORK = cj.nets.Architecture(layers=1, width=8, heads=2)


def images(key, n):
    return families.LabelledImages(jax.random.uniform(key, (n, 4, 4, 1)), jnp.arange(n) % 2)


def rows(key, n):
    return jax.random.randint(key, (n, 6), 0, 5)


FAMILIES = {
    **{name: (lambda name=name: cj.FAMILIES[name]) for name in cj.FAMILIES},
    "language_model": lambda: families.language_model(5, 6, architecture=NETWORK, end=4, truth=rows),
    "vae": lambda: families.vae((4, 4, 1), 2, hidden=(4,), latent=2, truth=images),
    "vae_convolutional": lambda: families.vae((4, 4, 1), 2, kind="convolutional", hidden=(2,), latent=2, truth=images),
    "flow": lambda: families.flow((4, 4, 1), 2, hidden=(4,), integration_steps=2, truth=images),
    "token_edited": lambda: families.token_edited(families.ngram(5, length=6)),
}


def of_family(name):
    family = FAMILIES[name]()
    examples = resolve_truth(family, None)(jax.random.key(0), 8)
    return family, family.init(jax.random.key(1), examples, jnp.ones(8))


FEW = ("categorical", "kde", "vae")  # the others take a minute to draw from
EVERY = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]


@pytest.mark.parametrize("name", EVERY)
def test_every_family_goes_out_and_comes_in(tmp_path, name):
    family, params = of_family(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = save_generator(make_generator(family, params), tmp_path / "m")
    found = load_generator(folder)
    assert (found.family.name, found.family.config) == (family.name, family.config)
    assert jax.tree.structure(found.params) == jax.tree.structure(params)
    ours, theirs = (one.sample(jax.random.key(2), 3) for one in (make_generator(family, params), found))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_with_its_decoding_comes_back(tmp_path):
    family, params = of_family("gaussian")
    params = family.decodings["bias"].apply(params, 0.25)
    found = load_generator(save_generator(make_generator(family, params), tmp_path / "m"))
    np.testing.assert_array_equal(found.params.covariance, 0.25 * np.eye(1))


def deepen(key, example):
    return example + 1


def test_a_family_with_functions_is_given_at_loading(tmp_path):
    def make():
        return families.evolved(deepen, deepen, truth=lambda key, n: jnp.arange(float(n)))

    family = make()
    params = family.init(jax.random.key(0), jnp.arange(4.0), jnp.ones(4))
    with pytest.warns(UserWarning, match="nothing says how to make the family 'evolved', so that it will need family="):
        folder = save_generator(make_generator(family, params), tmp_path / "m")
    with pytest.raises(ValueError, match="the family 'evolved' is not the library's; give it as family="):
        load_generator(folder)
    with pytest.raises(ValueError, match="is of the family 'evolved'; family is 'gaussian'"):
        load_generator(folder, family=cj.FAMILIES["gaussian"])
    found = load_generator(folder, family=make())
    np.testing.assert_array_equal(found.sample(jax.random.key(2), 5), family.sample(jax.random.key(2), params, 5))


def test_a_family_that_was_renamed_is_not_taken_for_the_librarys(tmp_path):
    family, params = of_family("gaussian")
    with pytest.warns(UserWarning, match="how to make the family 'mine'"):
        save_generator(make_generator(family._replace(name="mine"), params), tmp_path / "m")


def test_a_family_with_a_function_replaced_is_not_taken_for_the_librarys(tmp_path):
    own = cj.FAMILIES["kde"]._replace(sample=lambda key, params, n: jnp.zeros((n, 2)))
    given = make_generator(own, of_family("kde")[1])
    with pytest.warns(UserWarning, match=r"nothing says how to make the family 'kde', so that it will need family="):
        save_generator(given, tmp_path / "m")
    with pytest.raises(ValueError, match="give it as family="):
        load_generator(tmp_path / "m")
    np.testing.assert_array_equal(load_generator(tmp_path / "m", family=own).sample(jax.random.key(0), 2), 0)


def test_parameters_in_records_of_ones_own_need_like(tmp_path):
    family = cj.generative.Family(
        "own", lambda *_: Own(jnp.ones(2)), lambda *_: None, lambda key, params, n: jnp.tile(params.weight, (n, 1))
    )
    generator = make_generator(family, Own(jnp.array([1.0, 2.0])))
    with pytest.warns(UserWarning, match=r"Own is no record of this package, so that it will need like="):
        folder = save_generator(generator, tmp_path / "m")
    with pytest.raises(ValueError, match="records that are not the library's; give like="):
        load_generator(folder, family=family)
    found = load_generator(folder, family=family, like=Own(jnp.zeros(2)))
    np.testing.assert_array_equal(found.sample(jax.random.key(0), 2), [[1, 2], [1, 2]])


REBUILT = {
    "no family": (3, "the family is 3; this library makes categorical"),
    "an unknown one": ({"name": "os.system", "arguments": {}}, "the family is 'os.system'; this library makes"),
    "a size that is none": ({"name": "gaussian", "arguments": {"d": -1}}, "gaussian can't be made .*d is -1"),
    "another argument": ({"name": "gaussian", "arguments": {"code": "x"}}, "gaussian can't be made"),
    "no settings": (
        {"name": "vae", "arguments": {"fitting": {"settings": "Popen", "values": {}}}},
        "vae can't be made .*none of a family's",
    ),
}


@pytest.mark.parametrize("case", REBUILT)
def test_no_family_is_made_but_the_librarys(case):
    config, message = REBUILT[case]
    with pytest.raises(ValueError, match=message):
        rebuild(config)


@pytest.mark.parametrize("by", ["examples", pytest.param("statistics", marks=pytest.mark.slow)])
def test_a_member_of_a_recursion_goes_out(tmp_path, by):
    family = cj.families.gaussian()
    plan = cj.make_plan([cj.REGIMES["replace"], cj.REGIMES["accumulate"]], 3, [20])
    found = cj.engine.train(cj.make_recursion(family, plan, by=by), {"seed": range(2)}, progress=False)
    member = found.members.sel(regime="accumulate", seed=1)
    with pytest.raises(ValueError, match=r"there are 4 members.*choose one with sel"):
        make_generator(family, found.members)
    back = load_generator(save_generator(make_generator(family, member), tmp_path / "m"))
    assert back.labels == {"regime": "accumulate", "seed": 1}
    last = found.records.sel(regime="accumulate", seed=1).isel(generation=-1)
    np.testing.assert_allclose(back.params.mean, last["mean"])
    np.testing.assert_allclose(back.params.covariance[0, 0], last["variance"])
    # Not the pool, nor the statistics of what it holds.
    assert sorted(named_tensors("it", back.params)) == ["covariance", "mean"]


@pytest.mark.slow
def test_a_language_model_of_a_recursion_writes_in_another_process(tmp_path):
    family = families.language_model(5, 6, architecture=NETWORK, fitting=cj.generative.Fitting(steps=3), truth=rows)
    plan = cj.make_plan([cj.REGIMES["replace"]], 2, [16])
    found = cj.engine.train(
        cj.make_recursion(family, plan, measure=lambda key, params: {"one": jnp.ones(())}),
        {"seed": [7]},
        progress=False,
    )
    given = make_generator(family, found.members.sel(seed=7))
    save_generator(given, tmp_path / "vae")
    save_reward_model(made(cj.mlp((3,)), READER), tmp_path / "an ensemble ä")
    code = ELSEWHERE.replace("images=written.images, labels=written.labels", "written=written")
    finish(spawn(code, tmp_path))
    with np.load(tmp_path / "found.npz") as there:
        np.testing.assert_array_equal(there["written"], given.sample(jax.random.key(3), 4))
