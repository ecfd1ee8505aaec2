"""The runner of `accelerator`: a stage or row that raises, hangs or dies is reported, and what follows it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import collapse_jax as cj
from experiments.benchmark import accelerator
from experiments.benchmark.accelerator_report import markdown
from experiments.benchmark.stages import NotMet, ceilings, kinds, right, works

ROOT = Path(__file__).parents[1]

FAKE = """
import os, signal, time
from experiments.benchmark.stages import NotMet, Row

USES_DEVICE = False

def raises():
    raise ValueError("the matrix is | not square")

def missed():
    raise NotMet("too far from the law", {"measured": [9.0, 9.0]})

def dies():
    os.kill(os.getpid(), signal.SIGKILL)

def hangs():
    time.sleep(600)

def good():
    return {"measured": [3.0, 1.0, 2.0], "unit": "GB/s", "members": 2.0}

BY_NAME = {"raises": raises, "missed": missed, "dies": dies, "hangs": hangs, "good": good, "last": good}

def rows(small, folder):
    return [Row(name, 0.5, BY_NAME[name]) for name in ROWS]
"""


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Return what makes a stage of rows of these names, or of a module that can't be imported."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))

    def make(name, *rows, text=""):
        (tmp_path / f"fake_{name}.py").write_text(text or f"ROWS = {rows!r}\n{FAKE}")
        return accelerator.Stage(name, f"fake_{name}", 1.0)

    return make


def outcomes(stage):
    return {row["row"]: row["error"] for row in stage["rows"]}


def test_a_row_that_raises_hangs_dies_or_misses_is_reported_and_the_next_begins(stage, tmp_path):
    one = stage("mixed", "raises", "missed", "dies", "hangs", "good")
    report = accelerator.run([one], tmp_path, minutes=5.0, small=True)
    (found,) = report["stages"]
    assert found["error"] == ""
    assert outcomes(found) == {
        "raises": "ValueError: the matrix is | not square",
        "missed": "too far from the law",
        "dies": "died of SIGKILL: it said nothing",
        "hangs": "ran over its 0 s",
        "good": "",
    }
    assert found["rows"][1]["values"] == {"measured": [9.0, 9.0]}
    assert found["rows"][4]["values"] == {"measured": [3.0, 1.0, 2.0], "unit": "GB/s", "members": 2.0}
    assert json.loads((tmp_path / "accelerator.json").read_text()) == report


def test_a_stage_that_dies_or_can_not_start_is_reported_and_the_next_begins(stage, tmp_path, monkeypatch):
    written = []
    write = accelerator.write_json

    def writing(path, content):
        write(path, content)
        written.append([stage["stage"] for stage in json.loads(path.read_text())["stages"]])

    monkeypatch.setattr(accelerator, "write_json", writing)
    stages = [
        stage("lacking", text="import a_package_that_no_one_has"),
        stage("dead", "dies"),
        stage("empty"),
        stage("sound", "good", "last"),
    ]
    lacking, dead, empty, sound = accelerator.run(stages, tmp_path, minutes=5.0, small=False)["stages"]
    assert "ended with status 1 before its first row: ModuleNotFoundError: No module named" in lacking["error"]
    assert outcomes(dead) == {"dies": "died of SIGKILL: it said nothing"}
    assert (empty["error"], empty["rows"]) == ("", [])
    assert outcomes(sound) == {"good": "", "last": ""}
    # Whole after each stage: a machine may go away at any moment.
    assert written == [["lacking"], ["lacking", "dead"], ["lacking", "dead", "empty"], [s.name for s in stages]]


@pytest.mark.slow
def test_a_stage_ends_with_its_time_and_says_what_it_did_not_begin(stage, tmp_path):
    text = f"ROWS = ('hangs', 'good')\n{FAKE}".replace("0.5", "600.0")
    found = accelerator.run_stage(stage("long", text=text), tmp_path, seconds=8.0, small=True)
    assert outcomes(found) == {"hangs": "ran over the stage's time", "good": "not begun: the stage's 8 s were over"}
    assert found["seconds"] < 30.0


def test_time_that_a_stage_leaves_goes_to_those_after_it(stage, tmp_path, monkeypatch):
    given = []

    def instantly(one, out, *, seconds, small):
        given.append(seconds)
        return {"stage": one.name, "error": "", "seconds": 0.0, "machine": {}, "rows": []}

    monkeypatch.setattr(accelerator, "run_stage", instantly)
    stages = [stage(name)._replace(share=share) for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.2))]
    accelerator.run(stages, tmp_path, minutes=2.0, small=True)
    assert given == pytest.approx([0.5 * 115, 0.6 * 115, 115], abs=2.0)


def test_processes_share_a_folder_of_programs_and_have_the_cpu_besides(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    by_name = {stage.name: accelerator.environment(stage, tmp_path, small=False) for stage in accelerator.STAGES}
    assert {one["JAX_COMPILATION_CACHE_DIR"] for one in by_name.values()} == {str(tmp_path / "compiled")}
    assert by_name["right"]["JAX_PLATFORMS"] == "cuda,cpu"
    assert by_name["loops"]["JAX_PLATFORMS"] == "cpu"
    assert by_name["filling"]["XLA_CLIENT_MEM_FRACTION"] == "0.95"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in by_name["filling"]


@pytest.mark.slow
def test_the_command_itself_starts_no_device():
    text = (
        "import experiments.benchmark.accelerator, jax._src.xla_bridge as bridge\n"
        "assert not bridge.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_the_markdown_has_a_line_a_row_with_spread_and_outcome():
    rows = [
        {"row": "good", "values": {"measured": [3.0, 1.0, 2.0], "unit": "GB/s"}, "error": "", "seconds": 1.5},
        {"row": "bad", "values": {"members": 70_000.0}, "error": "ValueError: a | b\nc", "seconds": 0.0},
    ]
    machine = {
        "devices": ["H100", "H100"],
        "python": "3.12.1",
        "bytes_limit": 2**36,
        "jax_default_matmul_precision": "None",
    }
    stages = [
        {"stage": "ceilings", "error": "", "machine": machine, "rows": rows},
        {"stage": "filling", "error": "ended with status 1", "machine": {}, "rows": []},
    ]
    outside = {
        "card": "H100, 570.1, 81559 MiB",
        "python": "3.12.1",
        "versions": {"jax": "0.11.2"},
        "date": "2026-11-28",
    }
    lines = markdown({"machine": outside, "small": False, "stages": stages}).splitlines()
    assert (lines[0], lines[-1]) == ("<!-- accelerator -->", "<!-- end of accelerator -->")
    assert "|  | measured | unit | members | seconds | outcome |" in lines
    assert "| good | 2 (1–3) | GB/s |  | 1.5 | as it should be |" in lines
    assert "| bad |  |  | 70,000 | 0 | ValueError: a \\| b c |" in lines
    assert "ended with status 1" in lines
    (told,) = [line for line in lines if "570.1" in line]
    for part in ("2 × H100", "64.0 GiB", "Python 3.12.1", "jax 0.11.2", "jax_default_matmul_precision None"):
        assert part in told


def test_the_pytorch_loop_and_the_members_one_by_one_stand_beside_the_population():
    def row(name, **values):
        return {"row": name, "values": values, "error": "", "seconds": 1.0}

    rates = [
        row("VAE, training, P = 1", **{"a second": [8.0], "one by one under jit, a second": [4.0]}),
        row("VAE, training, most members", **{"a second": [80.0]}),
    ]
    loops = [row("VAE, training", **{"a second": [1.0, 2.0, 3.0]})]
    stages = [
        {"stage": name, "error": "", "machine": {}, "rows": rows} for name, rows in (("rates", rates), ("loops", loops))
    ]
    outside = {"card": "", "python": "", "versions": {}, "date": ""}
    lines = markdown({"machine": outside, "small": False, "stages": stages}).splitlines()
    (most,) = [line for line in lines if line.startswith("| VAE, training, most members |")]
    assert most == "| VAE, training, most members | 80 (80–80) | 4 (4–4) | 2 (1–3) | 1 | as it should be |"


def walks(step, law=None):
    """Return a kind whose members add what `step(key)` returns, three times."""

    def walk(state, hyper, index):
        key, place = state
        key, own_key = jax.random.split(key)
        place = place + step(own_key)
        return (key, place), {"place": place}

    process = cj.engine.Process(lambda key, hyper: (key, jnp.zeros(())), walk, 3)
    return kinds.Kind("walk", lambda members: (process, {"seed": range(members)}), 1e-3, law, 8)


def test_what_misses_its_law_or_is_no_number_is_not_right():
    normal = jax.random.normal
    found = right.compare(walks(normal, lambda dataset: 3.0), small=True)
    assert found["device: from the law (below 4)"] == 3.0
    assert found["first record from host, σ"] < 1e-6
    with pytest.raises(NotMet, match=r"device: 5 from the law") as missed:
        right.compare(walks(normal, lambda dataset: 5.0), small=True)
    assert missed.value.values["members"] == 8.0
    with pytest.raises(NotMet, match="device: members are not"):
        right.compare(walks(lambda key: jnp.log(normal(key))), small=True)


def test_members_that_part_are_told_from_those_that_agree():
    rng = np.random.default_rng(0)
    place = rng.normal(size=(100, 4, 2))

    def records(values):
        dims = ("seed", "step", "axis")
        return xr.Dataset({"place": (dims, values), "diverged": (dims[:2], np.zeros(values.shape[:2], bool))})

    same = records(place)
    assert right.apart(same, same) == (0.0, 0.0)
    # One member in a hundred went another way: the median doesn't mind.
    one = place.copy()
    one[0] += 3.0
    assert right.apart(records(one), same)[0] == 0.0
    first, last = right.apart(records(place + np.array([0.0, 0.5])), same)
    assert first == pytest.approx(0.5, rel=0.1)
    assert last == pytest.approx(0.5 / 0.02**0.5, rel=0.2)
    # Later steps of independent members part, and their means don't.
    other = np.concatenate([place[:, :1], rng.normal(size=(100, 3, 2))], axis=1)
    first, last = right.apart(records(other), same)
    assert first == 0.0
    assert last < 4.0
    lost = place.copy()
    lost[3, 2] = np.nan
    assert right.apart(records(lost), same) == (np.inf, np.inf)


def test_ceilings_are_read_in_the_precision_that_users_get(tmp_path):
    assert ceilings.read(tmp_path, "float32") is None
    rates = {"products in bfloat16": 800.0, "products in TF32": 400.0, "products in float32": 50.0}
    units = dict.fromkeys(rates, "TFLOP/s") | {"copy bandwidth": "GB/s"}
    rates |= {"copy bandwidth": 3000.0, "normal draws": 200.0, "random words": 300.0, "exponentials, tangents": 4000.0}
    lines = [{"machine": {"platform": "gpu"}}, {"rows": [[name, 1.0] for name in rates]}]
    for number, (name, rate) in enumerate(rates.items()):
        values = {"measured": [rate / 2, rate], "unit": units.get(name, "billion/s")}
        lines += [{"began": number}, {"ended": number, "error": "", "values": values}]
    (tmp_path / ceilings.FILE).write_text("\n".join(map(json.dumps, lines)))
    found = ceilings.read(tmp_path, "float32")
    assert (found.operations, found.bytes, found.words) == (400e12, 3000e9, 300e9)
    assert ceilings.read(tmp_path, "bfloat16").operations == 800e12


def test_every_work_has_a_name_and_small_ones_are_among_them():
    large, small = ([work.name for work in works.works(small)] for small in (False, True))
    assert len(set(large)) == len(large)
    assert set(small) < set(large)
    names = [kind.name for kind in kinds.kinds()]
    assert len(set(names)) == len(names)
