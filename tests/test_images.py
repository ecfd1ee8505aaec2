"""Images: what the files hold comes back, splits are disjoint and complete, and bad files are named with the place."""

import gzip
import os
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from collapse_jax.data import GreyImages, GreyImagesConfig, Images, digits, minority, mnist
from collapse_jax.data.idx import read_idx
from collapse_jax.data.image_sources import ImageSource

tfds.disable_progress_bar()

DATA = Path(os.environ.get("COLLAPSE_DATA_DIR", Path(__file__).resolve().parents[1] / "../shared/data"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def real(data_dir):
    return digits(data_dir=data_dir)


def made_up(count, seed, height=5, width=3):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, height, width), dtype=np.uint8)
    pixels[:, -1] = 0  # trailing zeros must survive
    return pixels, generator.integers(0, 10, count, dtype=np.uint8)


def idx(array, kind=8):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def write(folder, split, pixels, labels, pack=gzip.compress, ending=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}-images-idx3-ubyte{ending}").write_bytes(pack(idx(pixels)))
    (folder / f"{split}-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)))
    return folder


# digits


def test_digits_are_scikit_learns_split_once(real):
    bunch = load_digits()
    expected = {image.tobytes() + bytes([label]) for image, label in zip(bunch.images, bunch.target, strict=True)}
    found = []
    for split in real:
        assert split.images.shape == (len(split.labels), 8, 8, 1)
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int64
        assert split.class_names == tuple("0123456789")
        assert (split.images.min(), split.images.max()) == (0, 1)
        found += [
            (image[..., 0].astype(float) * 16).tobytes() + bytes([label])
            for image, label in zip(split.images, split.labels, strict=True)
        ]
    assert len(found) == len(bunch.target) == 1797
    assert set(found) == expected
    assert len(real.test.labels) == round(0.2 * 1797)
    assert set(real.test.labels) == set(range(10))


def test_digits_keep_the_order_of_their_source(real):
    bunch = load_digits()
    places = {image.tobytes(): place for place, image in enumerate(bunch.images)}
    for split in real:
        order = [places[(image[..., 0].astype(float) * 16).tobytes()] for image in split.images]
        assert order == sorted(order)


def test_the_split_depends_on_the_seed_and_is_read_from_disk(real, data_dir, monkeypatch):
    other = digits(seed=1, data_dir=data_dir)
    shared = len({i.tobytes() for i in other.test.images} & {i.tobytes() for i in real.test.images})
    # Hypergeometric: 359 drawn of 1797, of which 359 were drawn before.
    deviation = (359 * 359 / 1797 * (1 - 359 / 1797) * (1797 - 359) / 1796) ** 0.5
    assert abs(shared - 359**2 / 1797) < 4 * deviation
    monkeypatch.setattr(GreyImages, "_split_generators", None)
    again = digits(data_dir=data_dir)
    for before, after in zip(real, again, strict=True):
        np.testing.assert_array_equal(before.images, after.images)
        np.testing.assert_array_equal(before.labels, after.labels)


def test_plain_tfds_use(real, data_dir):
    examples = tfds.data_source("grey_images/digits", split="test", data_dir=data_dir)
    assert len(examples) == len(real.test.labels)
    first = min(examples, key=lambda example: example["index"])
    np.testing.assert_array_equal(first["image"] / np.float32(16), real.test.images[0])
    assert first["label"] == real.test.labels[0]
    assert tfds.builder("grey_images", data_dir=data_dir).info.features["label"].names == list("0123456789")


def test_everything_that_changes_the_content_changes_the_folder():
    pixels, labels = made_up(6, seed=0)
    base = {"name": "mine", "pixels": pixels, "labels": labels, "levels": 255}
    configs = [
        GreyImagesConfig(source=ImageSource(**base)),
        GreyImagesConfig(source=ImageSource(**base), seed=1),
        GreyImagesConfig(source=ImageSource(**base), test_share=0.5),
        *(
            GreyImagesConfig(source=ImageSource(**{**base, **change}))
            for change in (
                {"pixels": pixels ^ 1},
                {"pixels": pixels.reshape(6, 3, 5)},
                {"labels": labels[::-1].copy()},
                {"levels": 256},
                {"held_out": 2},
                {"class_names": tuple("abcdefghij")},
            )
        ),
    ]
    assert len({config.name for config in configs}) == len(configs)
    assert GreyImagesConfig(source=ImageSource(**base)).name == configs[0].name


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_share_and_seed_out_of_range(share):
    with pytest.raises(ValueError, match=r"test_share is .*; it must lie between 0 and 1"):
        digits(test_share=share)
    with pytest.raises(ValueError, match="seed is -1; it must be a whole number, 0 or more"):
        digits(seed=-1)


# mnist


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, ".gz"), (bytes, "")], ids=["gzip", "plain"])
def test_four_files_make_the_official_splits(tmp_path, pack, ending):
    train, test = made_up(20, seed=0), made_up(6, seed=1)
    folder = write(tmp_path / "files", "train", *train, pack, ending)
    write(folder, "t10k", *test, pack, ending)
    splits = mnist(folder, data_dir=tmp_path)
    for (pixels, labels), split in zip((train, test), splits, strict=True):
        np.testing.assert_array_equal(split.images, (pixels / 255)[..., None].astype(np.float32))
        np.testing.assert_array_equal(split.labels, labels)


@pytest.mark.parametrize("split", ["train", "t10k"])
def test_one_pair_of_files_is_split_by_seed_and_share(tmp_path, split):
    pixels, labels = made_up(40, seed=0)
    splits = mnist(write(tmp_path / "files", split, pixels, labels), test_share=0.3, data_dir=tmp_path)
    assert [len(part.labels) for part in splits] == [28, 12]
    found = {image.tobytes(): label for part in splits for image, label in zip(part.images, part.labels, strict=True)}
    assert found == {
        (image / 255).astype(np.float32).tobytes(): label for image, label in zip(pixels, labels, strict=True)
    }


def test_names_with_a_dot_and_the_manual_folder(tmp_path):
    pixels, labels = made_up(10, seed=0)
    manual = tmp_path / "downloads" / "manual" / "mnist"
    write(manual, "train", pixels, labels, bytes, "")
    for file in manual.iterdir():
        file.rename(file.with_name(file.name.replace("-idx", ".idx")))
    assert len(mnist(data_dir=tmp_path, url="http://127.0.0.1:9/").train.labels) == 8
    assert len(tfds.data_source("grey_images/mnist", split="test", data_dir=tmp_path)) == 2


@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason=f"no MNIST in {DATA}; set COLLAPSE_DATA_DIR")
def test_the_real_test_images():
    # Of the 10,000 test labels, as published: 980 zeros, 1135 ones, ...
    labels = read_idx(DATA / "mnist" / "t10k-labels-idx1-ubyte.gz", 1)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = read_idx(DATA / "mnist" / "t10k-images-idx3-ubyte.gz", 3)
    assert pixels.shape == (10000, 28, 28)
    assert abs(pixels.mean() / 255 - 0.1325) < 1e-4  # the mean that the field normalises test images with


GOOD = idx(made_up(4, seed=0)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (GOOD[:3], r"the magic number at byte 0 is 0x000008; it must be 0x00000803"),
        (b"PK\x03\x04" + GOOD, r"the magic number at byte 0 is 0x504b0304"),
        (idx(made_up(4, 0)[0], kind=0x0D), r"byte 0 is 0x00000d03; it must be 0x00000803, unsigned bytes on 3 axes"),
        (idx(made_up(4, 0)[1]), r"byte 0 is 0x00000801; it must be 0x00000803"),
        (GOOD[:10], r"the file ends at byte 10, within the header of 16 bytes"),
        (GOOD[:-1], r"the file ends at byte 75; the shape \(4, 5, 3\) at byte 4 needs 76"),
        (GOOD + b"\0", r"the file ends at byte 77; the shape \(4, 5, 3\) at byte 4 needs 76"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 28, 28), r"ends at byte 16; the shape \(4294967295, 28, 28\)"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 4, 0, 28), r"axis 1 of the shape \(4, 0, 28\) is empty, at byte 8"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 28, 28), r"axis 0 of the shape \(0, 28, 28\) is empty, at byte 4"),
    ],
)
def test_bad_idx_files(tmp_path, content, message):
    for file, data in ((tmp_path / "a-file", content), (tmp_path / "a-file.gz", content and gzip.compress(content))):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_idx(file, 3)
        assert str(caught.value).startswith(f"{file}: ")


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(GOOD)[:-9],
        gzip.compress(GOOD)[:10] + b"\x07" + gzip.compress(GOOD)[11:],  # a kind of block that deflate does not have
        flipped(gzip.compress(GOOD), 30),
        flipped(gzip.compress(GOOD), -5 % len(gzip.compress(GOOD))),
        GOOD,
        b"\x1f\x8b",
    ],
    ids=["cut", "no block", "damaged", "wrong checksum", "not gzip", "two bytes"],
)
def test_damaged_gzip(tmp_path, data):
    (tmp_path / "x.gz").write_bytes(data)
    with pytest.raises(ValueError, match=rf"x\.gz: damaged gzip data in its {len(data)} bytes: "):
        read_idx(tmp_path / "x.gz", 3)


def test_files_that_do_not_fit_together(tmp_path):
    pixels, labels = made_up(12, seed=0)
    folder = write(tmp_path, "train", pixels, labels[:-1])
    with pytest.raises(ValueError, match=r"train-images.*\.gz has 12 images, .*train-labels.*\.gz has 11 labels"):
        mnist(folder)
    write(folder, "train", pixels, np.array([0] * 11 + [10], np.uint8))
    with pytest.raises(ValueError, match=r"train-labels-.*: the label at byte 19 is 10; it must be 0 to 9"):
        mnist(folder)
    write(folder, "train", pixels, labels)
    write(folder, "t10k", *made_up(4, seed=1, width=4))
    with pytest.raises(ValueError, match=r"the training images have the shape \(5, 3\), the test images \(5, 4\)"):
        mnist(folder)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte is missing, plain or \.gz"):
        mnist(folder)
    with pytest.raises(FileNotFoundError, match=r"none: no such folder; .* digits\(\)"):
        mnist(tmp_path / "none")
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match=r"bare: no train-images-idx3-ubyte or .* digits\(\) needs no files"):
        mnist(tmp_path / "bare")


def test_a_single_image_can_not_be_split(tmp_path):
    folder = write(tmp_path / "files", "train", *made_up(1, seed=0))
    with pytest.raises(ValueError, match=r"test_share \(0\.2\) leaves none of the 1 images of mnist to train on"):
        mnist(folder, data_dir=tmp_path)


def test_offline_fails_within_seconds_and_says_what_to_do(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="could not download MNIST") as caught:
        mnist(data_dir=tmp_path, url=url)
    assert time.monotonic() - start < 5
    for hint in (url, str(tmp_path / "downloads" / "manual" / "mnist"), "digits()"):
        assert hint in str(caught.value)


def test_downloads_come_from_the_mirror_and_stay(tmp_path):
    train, test = made_up(8, seed=0), made_up(4, seed=1)
    mirror = write(tmp_path / "mirror", "train", *train)
    write(mirror, "t10k", *test)
    splits = mnist(data_dir=tmp_path, url=f"{mirror.as_uri()}/")
    np.testing.assert_array_equal(splits.test.labels, test[1])
    assert len(mnist(data_dir=tmp_path, url="http://127.0.0.1:9/").train.labels) == 8


# minority


@pytest.mark.parametrize(
    ("label", "share", "expected"),
    [
        (3, 0.1, (9, 80)),  # 80 others: 80 * 1/9 = 8.9
        (3, 0.5, (20, 20)),  # all of the 20, as many others
        (3, 0.2, (20, 80)),  # as it is
        ([3, 0], 0.9, (40, 4)),  # 40 of two classes: 40 / 9 = 4.4
        ([0, 3], 0.01, (1, 60)),
    ],
)
def test_minority_has_its_share_and_as_much_as_possible(label, share, expected):
    labels = np.arange(100) % 5
    images = Images(np.arange(100, dtype=np.float32).reshape(100, 1, 1, 1) / 100, labels, tuple("abcde"))
    thinned = minority(images, label, share)
    chosen = np.isin(thinned.labels, label)
    assert (chosen.sum(), (~chosen).sum()) == expected
    order = (thinned.images.ravel() * 100).round().astype(int)
    assert order.tolist() == sorted(set(order.tolist()))
    np.testing.assert_array_equal(thinned.labels, labels[order])
    assert thinned.class_names == images.class_names


def test_minority_draws_are_seeded_nested_and_fair(real):
    def kept(share, seed=0):
        thinned = minority(real.train, 8, share, seed=seed)
        return {image.tobytes() for image in thinned.images[thinned.labels == 8]}

    assert kept(0.02) < kept(0.05)
    assert kept(0.02) == kept(0.02) != kept(0.02, seed=1)
    images = Images(np.zeros((400, 1, 1, 1), np.float32), np.arange(400) % 2, ("a", "b"))
    marked = images._replace(images=images.images + (np.arange(400) < 200).reshape(-1, 1, 1, 1).astype(np.float32))
    draws = [minority(marked, 1, 1 / 11, seed=seed) for seed in range(40)]
    early = sum(int(thinned.images[thinned.labels == 1].sum()) for thinned in draws)
    # Each draw keeps 20 of 200, half of them marked: hypergeometric, 40 replicas.
    assert abs(early - 400) < 4 * (40 * 20 * 0.25 * 180 / 199) ** 0.5


@pytest.mark.parametrize(
    ("label", "share", "message"),
    [
        (5, 0.1, "label is 5; it must be one or more of 0 to 4"),
        (-1, 0.1, "label is -1"),
        ([], 0.1, r"label is \[\]"),
        (1, 0.0, "share is 0.0; it must lie between 0 and 1"),
        (1, 1.0, "share is 1.0"),
        (1, float("nan"), "share is nan"),
        (1, 0.001, "2 images of it and 8 others leave 0 and 8; neither may be 0"),
        ([0, 1, 2, 3, 4], 0.5, "10 images of it and 0 others leave 0 and 0"),
    ],
)
def test_impossible_minorities(label, share, message):
    images = Images(np.zeros((10, 1, 1, 1), np.float32), np.arange(10) % 5, tuple("abcde"))
    with pytest.raises(ValueError, match=message):
        minority(images, label, share)
