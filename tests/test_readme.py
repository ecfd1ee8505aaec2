"""What README says is so: its snippets run, the names in it exist, and its links lead somewhere."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_jax as cj

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "BENCHMARKS.md", "experiments/README.md")),
    *PAGES,
]
# The sizes of README are those of somebody who waits for results: two minutes, mostly of language models.
SMALLER = {
    "range(64)": "range(2)",
    '{"seed": range(4)}': '{"seed": [0]}',
    '"seed": range(4), "steepness"': '"seed": [0], "steepness"',
    "samples=512": "samples=4",
    "generations=3": "generations=2",
    "end=tokenizer.end)": "end=tokenizer.end, fitting=cj.generative.Fitting(2, 4, 1e-3))",
}
SECTIONS = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
SNIPPETS = {
    title: found for title, text in SECTIONS if (found := re.findall(r"^```python\n(.*?)^```", text, re.S | re.M))
}
NAMES = sorted({name for path in TEXTS for name in re.findall(r"\bcj((?:\.[A-Za-z_]\w*)+)", path.read_text())})
# What stands for a package that isn't there.
WANDB = """
import sys, types
logged = []
run = types.SimpleNamespace(log=lambda values, step: logged.append((step, values)), finish=lambda: None)
sys.modules["wandb"] = types.SimpleNamespace(init=lambda **options: run)
"""


def run_script(folder, code):
    """Run a script in a process of its own, because what it enters in tables would stay; return what it prints."""
    (folder / "page.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
    command = [sys.executable, "page.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_snippets_run_one_after_the_other(tmp_path):
    code = {title: "\n".join(found) for title, found in SNIPPETS.items()}
    for big, small in SMALLER.items():
        assert any(big in text for text in code.values()), big
        code = {title: text.replace(big, small) for title, text in code.items()}
    first, *others = code
    # Each section goes on from the first, whatever those between them called by the same names.
    again = "globals().update({name: began[name] for name in ('process', 'schemes')})"
    parts = [code[first], "began = dict(globals())", *(f"{again}\n{code[title]}" for title in others)]
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n + 1}.", "rejected": f"No {n}."} for n in range(20)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = run_script(tmp_path, "\n".join([*parts, "print(dict(lineages['risk'].sizes))"]))
    assert told[-1] == "{'regime': 2, 'seed': 2, 'generation': 2}"
    assert list((tmp_path / "results" / "large").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [path for path in PAGES if "```python" in path.read_text()], ids=lambda path: path.stem
)
def test_the_snippets_of_the_pages_run(page, tmp_path):
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M))
    told = run_script(tmp_path, f"{WANDB}\n{code}\nprint(len(logged))")
    if page.stem == "watching":
        assert told[-1] == "20"  # a line for each generation
        assert len((tmp_path / "variance.jsonl").read_text().splitlines()) == 4
        assert list((tmp_path / "runs" / "gaussians").rglob("*tfevents*"))


@pytest.mark.parametrize("name", NAMES)
def test_names_exist(name):
    functools.reduce(getattr, name.removeprefix(".").split("."), cj)


SUBMODULES = {"data", "engine", "generative", "loop", "metrics", "nets", "plotting", "reward", "testing"}


def test_the_reference_has_a_page_for_every_submodule():
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")}
    assert pages >= SUBMODULES
    listed = re.findall(r"^api/(\w+)$", (ROOT / "docs" / "index.md").read_text(), re.M)
    assert sorted(listed) == sorted(pages)


def test_the_top_has_few_names():
    assert set(cj.__all__) > SUBMODULES
    assert len(set(cj.__all__) - SUBMODULES) <= 40
    assert all(hasattr(cj, name) for name in cj.__all__)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert link.startswith("http") or (path.parent / link).exists(), link


def test_commands_are_modules():
    for path in TEXTS:
        for module in re.findall(r"python -m ((?:experiments|tests|colab)[\w.]*)", path.read_text()):
            place = ROOT / module.rstrip(".").replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
