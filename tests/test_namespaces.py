"""What is added in one file is passed on, probed and checked: nothing else lists it by hand."""

import ast
import importlib
import inspect

import pytest

import collapse_jax as cj
from collapse_jax.generative import families, selections
from collapse_jax.testing import check_selection
from experiments.shared import pages
from experiments.shared.sources import IMAGES, TEXTS, read_source
from tests import namespaces
from tests.fuzz import arguments, laws, measures, records, settings, sweeps
from tests.fuzz.refusals import attempt
from tests.test_testing import SELECTIONS

# What packages pass on.


def test_packages_and_the_table_of_experiments_are_in_step():
    names = [str(path.relative_to(namespaces.ROOT)) for path in namespaces.out_of_step()]
    assert names == [], "run `python -m tests.namespaces --write`"


PACKAGE = '''"""Said by hand."""

from typing import TYPE_CHECKING

from collapse_jax.metrics.gone import lost

if TYPE_CHECKING:
    from collapse_jax.late import Late

__all__ = ["lost"]

REST = 1
'''


def test_a_package_passes_on_what_its_modules_export():
    modules = {
        "plain": "import os\nLIMIT = 3\ndef late_one(): ...\ndef _own(): ...\nclass Record: ...\nABC = dict",
        "chosen": '__all__ = ["CONSTANT", "a_function"]\nCONSTANT = 1\ndef a_function(): ...\ndef helper(): ...',
        "nothing": "__all__ = ()\ndef helper(): ...",
    }
    expected = PACKAGE.replace(
        "from collapse_jax.metrics.gone import lost",
        "from collapse_jax.metrics.chosen import CONSTANT, a_function\n"
        "from collapse_jax.metrics.plain import Record, late_one",
    ).replace('["lost"]', '["CONSTANT", "Late", "Record", "a_function", "late_one"]')
    assert namespaces.passed_on(PACKAGE, "collapse_jax.metrics", modules) == expected
    # A package that chooses what it passes on keeps its imports.
    assert namespaces.passed_on(PACKAGE, "collapse_jax.metrics", None) == PACKAGE.replace(
        '["lost"]', '["Late", "lost"]'
    )


def test_long_lines_are_wrapped_as_the_formatter_wraps_them():
    name = "a_rather_long_name_of_a_function_of_a_module"
    modules = {"plain": "\n".join(f"def {name}_{i}(): ..." for i in range(3))}
    found = namespaces.passed_on(PACKAGE, "collapse_jax.metrics", modules)
    assert f"import (\n    {name}_0,\n    {name}_1,\n    {name}_2,\n)\n" in found
    assert f'__all__ = [\n    "Late",\n    "{name}_0",\n' in found


def test_two_modules_that_export_one_name_are_refused():
    modules = {"one": "def same(): ...", "other": "def same(): ..."}
    with pytest.raises(ValueError, match=r"'same' is exported by collapse_jax.metrics.one and .*metrics.other"):
        namespaces.passed_on(PACKAGE, "collapse_jax.metrics", modules)


def test_what_is_out_of_step_is_named_then_written(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "collapse_jax" / "metrics"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PACKAGE)
    (folder / "new.py").write_text("def new_metric(): ...\n")
    (tmp_path / "experiments").mkdir()
    rows = pages.taken()
    (tmp_path / namespaces.README).write_text(pages.with_rows("| [last](last.py) | x | — | | | |\n", rows))
    (tmp_path / "experiments" / "RESULTS.md").write_text(pages.results_page(rows))
    monkeypatch.setattr(namespaces, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["namespaces"])
    with pytest.raises(SystemExit) as ended:
        namespaces.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "out of step: collapse_jax/metrics/__init__.py\n"
    assert (folder / "__init__.py").read_text() == PACKAGE
    monkeypatch.setattr("sys.argv", ["namespaces", "--write"])
    with pytest.raises(SystemExit) as ended:
        namespaces.main()
    assert ended.value.code == 0
    assert "from collapse_jax.metrics.new import new_metric" in (folder / "__init__.py").read_text()
    assert namespaces.out_of_step() == {}


def test_a_script_without_a_row_gets_one_from_its_docstring():
    table = "| script | claim |\n| [known](known.py) | by hand |\n| [last](last.py) | by hand |\n\nMore.\n"
    row = r"| [own](own.py) | \|Rewards\| rise and fall. | — | | | |"
    found = namespaces.tabled(table, {"known": "", "last": "", "own": "|Rewards| rise\nand fall.\n\nText.\n"})
    assert found == table.replace("| [last]", f"{row}\n| [last]")


# What public functions are probed by.


def passing_on():
    """Return every package that passes names on, imported."""
    inits = [path for path in namespaces.in_step() if path.name == "__init__.py"]
    return [importlib.import_module(".".join(path.parent.relative_to(namespaces.ROOT).parts)) for path in inits]


PROBES = [*laws.probes(), *settings.generative(), *settings.reward(), *settings.data(), *measures.probes()]


@pytest.mark.parametrize("namespace", passing_on(), ids=lambda one: one.__name__)
def test_every_public_function_is_probed_or_left_out_for_a_reason(namespace):
    missing = arguments.unprobed(namespace, [*PROBES, *sweeps.probes(), *records.probes()])
    assert [one.__name__ for one in missing] == []


def test_what_is_left_out_exists():
    for name in arguments.LEFT_OUT:
        module, _, function = name.rpartition(".")
        assert hasattr(importlib.import_module(module), function), name


@pytest.fixture
def entered(monkeypatch):
    """Take utilities and regimes that a probe enters out of their tables again."""
    for table in (cj.UTILITIES, cj.REGIMES):
        monkeypatch.setattr(table, "_records", dict(table._records))


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize("probe", PROBES, ids=lambda one: one.name)
def test_what_is_spoiled_was_right(probe):
    found = attempt("", probe.name, "", None, lambda: probe.function(**probe.arguments), may_be_nan=probe.may_be_nan)
    assert found.outcome == "accepted", found.error


def test_an_argument_that_nothing_tells_is_named():
    def metric(unheard_of: dict[str, int]) -> float:
        return 0.0

    with pytest.raises(LookupError, match=r"argument 'unheard_of' of metric .* tests/fuzz/arguments.py"):
        arguments.arguments_of(metric)


# What makes records.


def returning(namespace, kind):
    found = [one for one in arguments.functions_of(namespace) if inspect.signature(one).return_annotation is kind]
    return pytest.mark.parametrize("function", found, ids=lambda one: one.__name__)


# Numbers, and rows of tokens for a selection that reads nothing else.
EXAMPLES = [lambda: None, lambda: cj.families.ngram(5, 2, length=6)]
# Made of other selections: see `compose` in tests/test_testing.py.
OF_SELECTIONS = {"alternatives", "by_reward", "compose"}
BY_HAND = {record.name for record in SELECTIONS}


@pytest.mark.slow
@returning(selections, cj.Selection)
def test_every_function_that_makes_a_selection_passes(function):
    if function.__name__ in OF_SELECTIONS:
        return
    record = function(**arguments.arguments_of(function))
    if record.name in BY_HAND:
        return
    for examples in EXAMPLES:
        try:
            check_selection(record, examples())
        except (ValueError, TypeError):
            continue
        return
    raise AssertionError(f"{record.name} can weigh neither numbers nor rows of tokens")


# Families that stand in no table, and why.
UNTABLED = {
    "evolved": "needs the user's operators",
    "flow": "takes minutes to train, and has no truth of its own",
    "instruction_space": "is a record of its own, whose families are made by it",
    "language_model": "takes minutes to train, and has no truth of its own",
    "rewriting": "needs a family that writes",
    "token_edited": "needs a family whose text it edits",
    "vae": "takes minutes to train, and has no truth of its own",
}


@returning(families, cj.generative.Family)
def test_every_family_stands_in_the_table_and_is_checked_there(function):
    assert function.__name__ in cj.FAMILIES or function.__name__ in UNTABLED


# What scripts read.


def test_every_function_that_returns_real_data_is_a_source_of_scripts(tmp_path):
    assert {"python_docs", "text_files", "wikitext", "longform", "tiny_shakespeare"} <= set(TEXTS)
    assert set(IMAGES) == {"digits", "mnist"}
    assert {name: TEXTS[name].path for name in ("python_docs", "wikitext", "longform")} == {
        "python_docs": "refused",
        "wikitext": "required",
        "longform": "optional",
    }
    (tmp_path / "a.txt").write_text("word " * 200)
    assert read_source(TEXTS, "text_files", tmp_path, None) == cj.data.text_files(tmp_path)
    with pytest.raises(ValueError, match=r"source is 'text'; known: .*text_files"):
        read_source(TEXTS, "text", None, None)


INITS = sorted(namespaces.ROOT.glob("collapse_jax/**/__init__.py"))


@pytest.mark.parametrize("path", INITS, ids=lambda path: str(path.relative_to(namespaces.ROOT)))
def test_names_are_imported_in_sight_of_type_checkers(path):
    """Names are bound by statements, so that editors complete them: nothing writes into `globals()`."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Subscript)]
    assert not any(isinstance(one.ctx, ast.Store) and "globals" in ast.unparse(one) for one in calls)
