"""What README says is so: its snippets run, the names in it exist, and its links lead somewhere."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_jax as cj

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEXTS = [ROOT / "README.md", ROOT / "experiments" / "README.md", ROOT / "BENCHMARKS.md"]
# The sizes of README are those of somebody who waits for results: two minutes, mostly of language models.
SMALLER = {
    "range(64)": "range(2)",
    "samples=512": "samples=4",
    "generations=3": "generations=2",
    "end=tokenizer.end)": "end=tokenizer.end, fitting=cj.generative.Fitting(2, 4, 1e-3))",
}
SECTIONS = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
SNIPPETS = {
    title: found for title, text in SECTIONS if (found := re.findall(r"^```python\n(.*?)^```", text, re.S | re.M))
}
NAMES = sorted(set(re.findall(r"\bcj((?:\.[A-Za-z_]\w*)+)", README)))


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
    (tmp_path / "readme.py").write_text("\n".join([*parts, "print(dict(lineages['risk'].sizes))"]))
    # In a process of its own: what it enters in tables would stay there.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
    command = [sys.executable, "readme.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "{'regime': 2, 'seed': 2, 'generation': 2}"
    assert list((tmp_path / "results" / "large").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_names_exist(name):
    functools.reduce(getattr, name.removeprefix(".").split("."), cj)


def test_the_top_has_few_names():
    submodules = {"data", "engine", "generative", "loop", "metrics", "nets", "plotting", "reward"}
    assert submodules < set(cj.__all__)
    assert len(set(cj.__all__) - submodules) <= 40
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
