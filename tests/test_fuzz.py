"""Bad input is refused by name: what the fuzzer tries, with fewer examples. It runs without the tests' type checker."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import command as fuzz
from tests.fuzz import files, refusals

ROOT = Path(__file__).parents[1]

# Kinds that run in one process, and attempts of each; those that compile what they accept are fewer.
EXAMPLES = [
    pytest.param(("laws", "generative", "data"), 200, marks=pytest.mark.slow),
    pytest.param(("reward", "files", "metrics"), 60, marks=pytest.mark.slow),
    (("sweeps", "records"), 20),
]


def attempts(kinds, examples, *arguments):
    """Run the fuzzer as a user runs the library, and return its table."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--kinds", *kinds, "--examples", str(examples), *arguments],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize(("kinds", "examples"), EXAMPLES)
def test_what_is_wrong_is_refused_by_name(kinds, examples):
    status, table = attempts(kinds, examples)
    assert status == 0, table
    for kind in kinds:
        assert re.search(rf"^{kind} +{examples} ", table, re.MULTILINE), table


def test_the_fuzzer_counts_and_refuses():
    outcomes = ("refused", "deep", "deep")
    found = [refusals.Attempt("laws", "f", "n", "0", outcome, "ValueError: n is 0") for outcome in outcomes]
    lines = fuzz.table(found).split("\n")
    assert lines[0].split() == ["kind", "tried", *refusals.OUTCOMES]
    assert lines[1].split() == ["laws", "3", "0", "1", "0", "2", "0", "0"]
    assert lines[3:] == ["deep: laws: f(n=0): ValueError: n is 0"]
    with pytest.raises(ValueError, match="kinds has 'law'; known: laws, "):
        fuzz.run(fuzz.Config(kinds=("law",)))
    with pytest.raises(ValueError, match="examples is 0; it must be 1 or more"):
        fuzz.run(fuzz.Config(examples=0))


def never_ends():
    while True:
        pass


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (lambda: 1.0, "accepted"),
        (lambda: fuzz.run(fuzz.Config(examples=0)), "refused"),
        (lambda: fuzz.run(fuzz.Config(seed=-1)), "unnamed"),
        (lambda: np.zeros(-1), "deep"),
        (lambda: [] + 1, "deep"),
        (lambda: float("nan"), "silent"),
        (lambda: (1.0, {"a": np.zeros(0)}), "silent"),
        (never_ends, "hang"),
    ],
)
def test_every_way_of_failing_is_told_from_the_others(call, outcome):
    assert refusals.attempt("kind", "call", "examples", 0, call, seconds=0.2).outcome == outcome


def test_no_reader_runs_what_is_in_a_file(tmp_path):
    marker = tmp_path / "marker"
    payload = pickle.dumps(files.Payload(marker))
    # The payload is one: unpickling it would leave the marker.
    pickle.loads(payload)
    assert marker.exists()
    marker.unlink()
    objects = tmp_path / "objects.npz"
    np.savez(objects, a=np.array([files.Payload(marker)], object))
    for number, reader in enumerate(files.readers()):
        for i, content in enumerate((payload, objects.read_bytes(), reader.content + payload)):
            folder = tmp_path / f"{number}-{i}"
            found = files.try_file(reader, content, folder)
            assert not marker.exists(), reader.name
            assert found.outcome in ("refused", "accepted") or reader.name == "results.load", found
            assert i == 2 or found.outcome != "accepted", found


FORBIDDEN = re.compile(
    r"^\s*(?:import|from)\s+(?:pickle|marshal|shelve|dill|cloudpickle|joblib|yaml)\b|allow_pickle\s*=\s*True"
    r"|(?<![.\w])(?:eval|exec|__import__)\(|torch\.load|yaml\.load|pickle\.loads?\(",
    re.MULTILINE,
)


def sources():
    return [
        path
        for folder in ("collapse_jax", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
        # The published loops in another library.
        if path.name != "torch_loops.py"
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_or_evaluates(path):
    assert not FORBIDDEN.search(path.read_text())


@pytest.mark.parametrize(
    "line",
    ["import pickle", "np.load(file, allow_pickle=True)", "eval(text)", "x = exec(code)", "torch.load(file)"],
)
def test_the_scan_sees_what_it_looks_for(line):
    assert FORBIDDEN.search(f"x = 1\n{line}\n")
