"""Atomic writes and writable directories: a reader finds the old file or the new one, and errors name the path."""

import errno
import json
import stat

import pytest

from collapse_jax.io.files import make_writable, write_atomically, write_json
from tests.walks import sealed_directory


@pytest.fixture
def sealed():
    with sealed_directory() as directory:
        yield directory


def test_a_write_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    for content in ("old", "new"):
        write_atomically(path, lambda temporary, content=content: temporary.write_text(content))
        assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644  # a temporary file is born as 0o600


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path  # a rename across file systems is not atomic
        assert temporary.suffix == ".txt"  # some writers add a suffix that they miss

    write_atomically(path, write)
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("h5"), KeyboardInterrupt()]
)
def test_a_failing_writer_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert str(path) in str(caught.value)
        assert "No space left" in str(caught.value)


def test_an_error_without_a_number_is_told_without_one(tmp_path):
    def write(temporary):
        raise OSError("unable to write")

    with pytest.raises(OSError, match=r"^could not write .*unable to write"):
        write_atomically(tmp_path / "file.txt", write)


def test_a_directory_that_cannot_be_written_is_named(sealed):
    with pytest.raises(PermissionError) as caught:
        write_json(sealed / "file.json", {})
    assert str(sealed / "file.json") in str(caught.value)
    with pytest.raises(PermissionError) as caught:
        make_writable(sealed)
    assert str(sealed) in str(caught.value)
    with pytest.raises(PermissionError) as caught:
        make_writable(sealed / "below" / "it")
    assert str(sealed / "below" / "it") in str(caught.value)


def test_a_directory_below_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        make_writable(tmp_path / "file" / "below")
    assert str(tmp_path / "file" / "below") in str(caught.value)
    with pytest.raises(FileExistsError) as caught:
        make_writable(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_a_writable_directory_is_created_with_its_parents_and_stays_empty(tmp_path):
    path = make_writable(tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b"
    assert list(path.iterdir()) == []
    assert make_writable(path) == path


def test_json_round_trip(tmp_path):
    content = {"numbers": [1, 2.5], "text": "σ", "none": None}
    write_json(tmp_path / "file.json", content)
    assert json.loads((tmp_path / "file.json").read_text()) == content
