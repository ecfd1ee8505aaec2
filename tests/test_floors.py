"""The library's floors: a file imports only from floors below, and the two halves never meet."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "collapse_jax"

# Floors from the ground up; a module may import from its own floor's folder-mates listed before it, and from below.
FLOORS = [
    {
        "accumulation",
        "annotations",
        "calling",
        "devices",
        "files",
        "hints",
        "indexing",
        "packages",
        "precision",
        "process",
        "registry",
        "transformer",
    },
    {"arms"},
    {"generative.laws"},
    {"generative.decoding", "generative.selection", "generative.regimes"},
    {"generative.family", "generative.plan", "generative.merging"},
    {"generative.fitting", "generative.sequences"},
    {"generative.families", "generative.selections", "generative.survival", "generative.guards", "generative.options"},
    {"generative.recurse", "generative.fused", "generative.prediction"},
    {"reward.calculus"},
    {"reward.shape", "reward.closed_forms"},
    {"reward.utilities", "reward.rankings", "metrics"},
    {"reward.schemes", "reward.models", "reward.encoders", "reward.objective", "reward.metrics"},
    {"reward.loss"},
    {"reward.training"},
    {"judges"},
    {"engine"},
    {"defences"},
    {"results", "profile"},
    {"plotting"},
]
# A prediction shares no code with what it judges beyond the utilities themselves.
LAWS = {
    "reward.exact_optimum",
    "reward.finite_law",
    "reward.interior_point",
    "reward.limit_law",
    "reward.prediction",
    "reward.ranking_program",
    "reward.summary",
}


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, named from the package down."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("collapse_jax"):
            module = node.module.removeprefix("collapse_jax").lstrip(".")
            for alias in node.names:
                name = f"{module}.{alias.name}".lstrip(".")
                is_module = (PACKAGE / (name.replace(".", "/") + ".py")).exists() or (
                    PACKAGE / name.replace(".", "/")
                ).is_dir()
                found.add(name if is_module else module)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("collapse_jax.") for a in node.names if a.name.startswith("collapse_jax.")}
    return found


def floor_of(module: str) -> int | None:
    for level, names in enumerate(FLOORS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return level
    return None


MODULES = {
    str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


@pytest.mark.parametrize("module", MODULES)
def test_imports_come_from_floors_below(module):
    own = floor_of(module)
    for other in imports(MODULES[module]):
        assert not (module.startswith("reward") and other.startswith("generative")), other
        assert not (module.startswith("generative") and other.startswith("reward")), other
        if own is not None:
            below = floor_of(other)
            assert below is not None, f"{module} stands on a floor, but imports {other}, which has none"
            assert below <= own, f"{module} (floor {own}) imports {other} (floor {below})"


@pytest.mark.parametrize("module", ["reward.training", "reward.objective", "reward.schemes", "reward.models"])
def test_what_trains_never_imports_a_law(module):
    assert not imports(MODULES[module]) & LAWS


def is_law(module):
    return module == "generative.laws" or module.startswith("generative.laws.")


@pytest.mark.parametrize("module", [one for one in MODULES if one.startswith("generative.")])
def test_what_recurses_and_its_laws_share_no_code(module):
    if is_law(module):
        assert all(is_law(other) or other == "annotations" for other in imports(MODULES[module]))
    elif module != "generative.prediction":
        assert not any(is_law(other) for other in imports(MODULES[module]))


NETWORKS = {"transformer", "reward.models", "generative.families.vae", "generative.families.flow"}


@pytest.mark.parametrize("module", MODULES)
def test_only_networks_import_flax(module):
    assert ("flax" in MODULES[module].read_text()) <= (module in NETWORKS)


def test_every_listed_module_exists():
    for names in [*FLOORS, LAWS]:
        for name in names:
            assert name in MODULES or (PACKAGE / name.replace(".", "/")).is_dir(), name
