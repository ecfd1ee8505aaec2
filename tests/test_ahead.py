"""Programs compiled for accelerators that aren't there keep their promises, and what is read off a program is true.

The slow ones compile every kind of work, in a process of its own each target: JAX reads flags when it starts.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import ahead, hlo, hlo_text
from experiments.benchmark.ahead_notebooks import NOTEBOOKS
from experiments.benchmark.ahead_work import KINDS, LARGE
from experiments.benchmark.described import TARGETS

GPU = hlo.Device(launch=1.0, bandwidth=1e3)

# Statistics of a generation are drawn by trees of binomials, each by rejection: how often one is refused is chance.
BY_REJECTION = "collapse_jax/generative/draws/multinomial.py"


def module(body, *others):
    """Return a program of one computation besides others, the arrays x and y of 100 numbers and a counter given."""
    given = ["%x = f32[100]{0} parameter(0)", "%y = f32[100]{0} parameter(1)", "%i = s32[] parameter(2)"]
    lines = "\n".join(f"  {line}" for line in [*given, *body])
    return hlo_text.parse(
        "\n\n".join([*others, f"ENTRY %main (x: f32[100], y: f32[100], i: s32[]) -> f32[100] {{\n{lines}\n}}"])
    )


SUM = """%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %r = f32[] add(%a, %b)
}"""
LAST = SUM.replace("%sum", "%last").replace("add(%a, %b)", "parameter(1)").replace("  %b = f32[] parameter(1)\n", "")
UPDATE = """%update (p: f32[100], q: f32[4], at: s32[]) -> f32[100] {
  %p = f32[100]{0} parameter(0)
  %q = f32[4]{0} parameter(1)
  %at = s32[] parameter(2)
  ROOT %d = f32[100]{0} dynamic-update-slice(%p, %q, %at)
}"""
SLICED = """%sliced (p: f32[100], at: s32[]) -> f32[4] {
  %p = f32[100]{0} parameter(0)
  %at = s32[] parameter(1)
  %b = f32[100]{0} bitcast(%p)
  %d = f32[4]{0} dynamic-slice(%b, %at), dynamic_slice_sizes={4}
  ROOT %n = f32[4]{0} negate(%d)
}"""
BODY = """%body (p: (s32[], f32[100])) -> (s32[], f32[100]) {
  %p = (s32[], f32[100]{0}) parameter(0)
  %c = s32[] get-tuple-element(%p), index=0
  %v = f32[100]{0} get-tuple-element(%p), index=1
  %w = f32[100]{0} negate(%v)
  ROOT %t = (s32[], f32[100]{0}) tuple(%c, %w)
}"""
CONDITION = """%condition (p: (s32[], f32[100])) -> pred[] {
  %p = (s32[], f32[100]{0}) parameter(0)
  %c = s32[] get-tuple-element(%p), index=0
  %n = s32[] constant(7)
  ROOT %l = pred[] compare(%c, %n), direction=LT
}"""
ASKED = CONDITION.replace("%n = s32[] constant(7)", "%n = s32[] get-tuple-element(%p), index=0")
LOOP = "ROOT %w = (s32[], f32[100]{0}) while(%t), condition=%condition, body=%body"
KNOWN = LOOP + ', backend_config={"known_trip_count":{"n":"12"}}'
START = "%t = (s32[], f32[100]{0}) tuple(%i, %x)"


@pytest.mark.parametrize(
    ("body", "others", "bytes_"),
    [
        (["ROOT %r = f32[100]{0} add(%x, %y)"], [], 1200),
        (["ROOT %r = bf16[100]{0} convert(%x)"], [], 600),
        (["%b = f32[100]{0} bitcast(%x)", "ROOT %r = (f32[100]{0}) tuple(%b)"], [], 0),
        # What lies in the chip's own memory touches none; a layout with tiles pads.
        (["ROOT %r = f32[100]{0:T(128)S(1)} negate(%x)"], [], 400),
        (["ROOT %r = f32[3,100]{1,0:T(8,128)} broadcast(%i)"], [], 4 + 4 * 8 * 128),
        # Scratch memory of a library's product isn't touched.
        (['ROOT %r = (f32[100]{0}, s8[4096]{0}) custom-call(%x, %y), custom_call_target="gemm"'], [], 1200),
        (["%q = f32[4]{0} slice(%y)", "ROOT %r = f32[100]{0} fusion(%x, %q, %i), calls=%update"], [UPDATE], 32 + 36),
        (["ROOT %r = f32[4]{0} fusion(%x, %i), calls=%sliced"], [SLICED], 16 + 4 + 16),
        (["ROOT %r = f32[4]{0} dynamic-slice(%x, %i)"], [], 32),
    ],
)
def test_bytes_are_those_that_a_kernel_reads_and_writes(body, others, bytes_):
    assert hlo.whole(module(body, *others), GPU).bytes == bytes_


def test_a_kernel_takes_a_launch_or_its_bytes():
    one = module(["ROOT %r = f32[100]{0} add(%x, %y)"])
    assert hlo.whole(one, GPU) == hlo.Cost(1, 1200, 1.2)
    assert hlo.whole(one, GPU._replace(launch=3.0)).seconds == 3.0


@pytest.mark.parametrize(
    ("loop", "condition", "turns"), [(KNOWN, ASKED, 12), (LOOP, CONDITION, 7), (LOOP, ASKED, None)]
)
def test_turns_of_a_loop_are_those_written_down_or_compared_with(loop, condition, turns):
    program = module([START, loop], BODY, condition)
    assert [hlo.turns(program, one) for one in hlo.unknown_loops(program)] == ([None] if turns is None else [])
    # A loop of unknown length is asked after each turn, by a kernel more.
    assert hlo.whole(program, GPU).kernels == (2 if turns is None else turns)
    assert hlo.step(program, GPU)[:1] == (turns,)
    assert hlo.step(program, GPU).cost.bytes == 800 + (9 if turns is None else 0)


@pytest.mark.parametrize(
    ("kind", "combine", "more", "hazard"),
    [
        ("f32", "sum", "", True),
        ("bf16", "sum", "", True),
        ("s32", "sum", "", False),
        ("f32", "last", "", False),
        ("f32", "sum", ", unique_indices=true", False),
    ],
)
def test_scatters_that_add_floats_are_found_inside_fusions_too(kind, combine, more, hazard):
    inside = f"""%scattered (p: {kind}[100], i: s32[4], u: {kind}[4]) -> {kind}[100] {{
  %p = {kind}[100]{{0}} parameter(0)
  %i = s32[4]{{0}} parameter(1)
  %u = {kind}[4]{{0}} parameter(2)
  ROOT %s = {kind}[100]{{0}} scatter(%p, %i, %u), to_apply=%{combine}{more}
}}"""
    program = module([f"ROOT %r = {kind}[100]{{0}} fusion(%x, %i, %y), calls=%scattered"], SUM, LAST, inside)
    assert bool(hlo.scatter_adds(program)) == hazard


def test_a_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        hlo_text.parse("HloModule empty")


def test_the_lines_that_ask_are_those_of_this_project_the_innermost_first():
    own = [f"/x/{name}" for name in ("collapse_jax/reward/objective.py", "experiments/own.py")]
    files = [own[0], "/y/site-packages/jax/lax.py", own[1], "/x/collapse_jax/checks/user_functions.py"]
    rows = {
        "FileNames": [f'"{file}"' for file in files],
        "FunctionNames": ['"f"'],
        "FileLocations": [f"{{file_name_id={n} function_name_id=1 line={10 * n} end_line=9}}" for n in (3, 4, 1, 2)],
        # A frame's caller is the one before, as numbered from 2; the first has none.
        "StackFrames": [f"{{file_location_id={n} parent_frame_id={n}}}" for n in (1, 2, 3, 4)],
    }
    tables = [f"{name}\n" + "\n".join(f"{n} {row}" for n, row in enumerate(of, 1)) for name, of in rows.items()]
    asked = LOOP + ", metadata={stack_frame_id=4}"
    (loop,) = hlo.unknown_loops(module([START, asked], *tables, BODY, ASKED))
    assert loop.source == "collapse_jax/reward/objective.py:10 < experiments/own.py:30"


def test_loops_of_a_real_program_are_found(optimised):
    def fn(x):
        x = jax.lax.fori_loop(0, 1000, lambda _, x: jnp.sin(x) @ x, x)
        return jax.lax.while_loop(lambda x: (x < 9.0).any(), lambda x: 2.0 * x + 1.0, x)

    program = hlo_text.parse(jax.jit(fn).lower(jnp.ones((16, 16))).compile().as_text())
    assert len(hlo.unknown_loops(program)) == 1
    found = hlo.step(program, GPU)
    assert found.turns == 1000
    assert 2 <= found.cost.kernels <= 4


def test_without_its_compilers_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(ahead, "_NEEDED", {"v5e": ("no_such_module", "the compilers of TPUs")})
    monkeypatch.setattr(sys, "argv", ["ahead", "--target", "v5e"])
    with pytest.raises(SystemExit, match=r"the compilers of TPUs must be installed to compile for v5e: pip install"):
        ahead.main()


def names(found):
    return {place.split(":")[0] for place in found}


@functools.cache
def readings(target, *arguments):
    """Return what the programs of a target say, compiled in a process of their own."""
    if what := ahead.missing(target):
        pytest.skip(f"{what} must be installed to compile for {target}: pip install -e '.[ahead]'")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "read.json")
        command = [sys.executable, "-m", "experiments.benchmark.ahead", "--target", target, "--json", str(told)]
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(told.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LARGE])
def test_on_a_gpu_every_kind_of_work_adds_up_in_one_order_and_fits_and_knows_its_turns(kind):
    found = readings("h100", "--work", kind)
    assert found
    for one in found:
        assert not one["scatters"], one["name"]
        # Draws may be refused until one fits; no fit, and nothing else, turns until it is told to stop.
        assert names(one["loops"]) <= {BY_REJECTION}, one["name"]
        assert 0 < one["memory"] < TARGETS["h100"].memory, one["name"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_on_a_tpu_every_notebook_compiles_and_fits(name):
    found = readings("v5e", "--notebooks", name)
    assert found
    for one in found:
        assert 0 < (one["memory"] or np.inf) < TARGETS["v5e"].memory, one["name"]
