"""The library's floors: a file imports only from floors below, what runs reaches no law, and nothing goes in a circle.

Imports are read from the sources, indirect ones too. A name that a package passes on counts as the module that it comes
from, so that `from collapse_jax.engine import sweep` does not stand for all of the engine.
"""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = ("collapse_jax", "experiments")

# From the ground up: a folder, or a module beside them, imports from floors below, and from its own folder.
FLOORS = [
    {"checks", "io", "numerics", "packages", "plotting", "registry"},
    {"data", "engine", "metrics", "nets"},
    {"generative", "reward"},
    {"loop"},
    {"testing"},
]
# What sets the two beside each other, for tests: nothing of the library imports it.
COMPARES = "testing"
# What rooms of the lowest floor may import from each other; figures are of use to none of them.
GROUND = FLOORS[0] - {"plotting"}
# The scripts stand on the last floor, each a module by itself.
EXPERIMENTS = [{"shared"}, {"testbeds"}, {"benchmark"}]
# The laws of a recursion read its plan, tables of integers, and what its records declare: data, not code that recurses.
READS_RECORDS = "collapse_jax.generative.laws.prediction"
RECORDS = [f"collapse_jax.generative.{name}" for name in ("recursion.plan", "family", "selection")]
TRAINS = ("encoders", "labelled_summary", "loss", "metrics", "models", "prompt_objective", "summary", "training")
USES_FLAX = {
    "collapse_jax.reward.models",
    "collapse_jax.generative.families.vae",
    "collapse_jax.generative.families.flow",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py"))}
MODULES = [name for name, path in PATHS.items() if path.name != "__init__.py"]


@functools.cache
def imported(module: str) -> frozenset[str]:
    """Return the modules that a module names in its imports, wherever in it they stand."""
    found = set()
    for node in ast.walk(ast.parse(PATHS[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in PATHS}
        elif isinstance(node, ast.ImportFrom) and node.module in PATHS:
            found |= {origin(node.module, alias.name) for alias in node.names}
    return frozenset(found - {module})


def origin(module: str, name: str) -> str:
    """Return the module that a name comes from which is imported from a module or, passed on, from a package."""
    if f"{module}.{name}" in PATHS:
        return f"{module}.{name}"
    if PATHS[module].name == "__init__.py":
        for node in ast.walk(ast.parse(PATHS[module].read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in PATHS and name in {a.name for a in node.names}:
                return origin(node.module, name)
    return module


@functools.cache
def reached(module: str) -> dict[str, str]:
    """Return every module that a module imports, itself or through others, with the one that it came by."""
    by: dict[str, str] = {}
    ahead = [module]
    for one in ahead:
        for other in sorted(imported(one) - by.keys()):
            by[other] = one
            ahead.append(other)
    return by


def way(module: str, other: str) -> str:
    by, steps = reached(module), [other]
    while steps[-1] != module:
        steps.append(by[steps[-1]])
    return " < ".join(steps)


def room(module: str) -> str:
    return module.split(".")[1]


def floor_of(module: str, floors: list[set[str]]) -> int:
    return next((level for level, rooms in enumerate(floors) if room(module) in rooms), len(floors) - 1)


def is_law(module: str) -> bool:
    return "laws" in module.split(".")[:-1] or module.endswith(".laws")


def of(tree: str) -> list[str]:
    return [module for module in MODULES if module.startswith(f"{tree}.")]


@pytest.mark.parametrize(("tree", "floors"), [("collapse_jax", FLOORS), ("experiments", EXPERIMENTS)])
def test_the_floors_name_every_room(tree, floors):
    folders = {path.parent.name for path in (ROOT / tree).glob("*/__init__.py")}
    beside = {path.stem for path in (ROOT / tree).glob("*.py")} - {"__init__"} if tree == "collapse_jax" else set()
    assert set().union(*floors) == folders | beside


@pytest.mark.parametrize("module", of("collapse_jax"))
def test_imports_come_from_floors_below(module):
    for other in imported(module):
        assert other.startswith("collapse_jax."), f"{module} imports {other}"
        if room(other) == room(module):
            continue
        above, below = floor_of(module, FLOORS), floor_of(other, FLOORS)
        assert below < above or (room(other) in GROUND and above == 0), f"{module} imports {other}"


@pytest.mark.parametrize("module", of("experiments"))
def test_scripts_import_what_they_share_and_not_the_reverse(module):
    for other in imported(module) & set(of("experiments")):
        assert floor_of(other, EXPERIMENTS) <= floor_of(module, EXPERIMENTS), f"{module} imports {other}"


@pytest.mark.parametrize("module", of("collapse_jax"))
def test_no_import_goes_in_a_circle(module):
    assert module not in reached(module), way(module, module)


@pytest.mark.parametrize("module", [one for one in of("collapse_jax") if not is_law(one) and room(one) != COMPARES])
def test_what_runs_reaches_no_law(module):
    laws = [other for other in reached(module) if is_law(other)]
    assert not laws, way(module, laws[0])


@pytest.mark.parametrize("module", [one for one in of("collapse_jax.generative") if is_law(one)])
def test_laws_share_no_code_with_what_recurses(module):
    shared = {other for other in reached(module) if not is_law(other) and room(other) not in GROUND}
    if module == READS_RECORDS:
        shared -= {other for record in RECORDS for other in (record, *reached(record))}
    assert not shared, way(module, min(shared))


@pytest.mark.parametrize("module", [one for one in of("collapse_jax.reward") if is_law(one)])
def test_laws_share_no_code_with_what_trains_beyond_the_utilities(module):
    shared = {other for other in reached(module) if other in {f"collapse_jax.reward.{name}" for name in TRAINS}}
    assert not shared, way(module, min(shared))


@pytest.mark.parametrize("module", of("collapse_jax"))
def test_only_networks_import_flax(module):
    sources = ast.walk(ast.parse(PATHS[module].read_text()))
    names = {node.module or "" for node in sources if isinstance(node, ast.ImportFrom)}
    assert not any(name.split(".")[0] == "flax" for name in names) or module in USES_FLAX or room(module) == "nets"


def test_what_is_listed_exists():
    assert {READS_RECORDS, *RECORDS, *USES_FLAX, *(f"collapse_jax.reward.{name}" for name in TRAINS)} <= set(MODULES)
