"""What an H100 or a TPU v5e will make of this library, read off its programs on a machine that has neither.

    python -m experiments.benchmark.ahead --target h100                  every kind of work but the largest
    python -m experiments.benchmark.ahead --target v5e --work language   those named
    python -m experiments.benchmark.ahead --target v5e --notebooks       what the notebooks run, in their full setting
    python -m experiments.benchmark.ahead --target h100 --write          also puts the table into BENCHMARKS.md

JAX compiles for a device that is described: this takes its compilers (`pip install -e '.[ahead]'`, best in an
environment of its own: 2 GB), and no accelerator. A sweep is compiled as the engine does it, all members side by side.

A row tells of a turn of the loop that the program is about: an optimiser step, a generation, a token. A kernel takes a
launch (2.5 µs on an H100, none on a TPU) or its bytes at the memory's speed (3 TB/s; 819 GB/s), whichever is longer,
and kernels run one after the other: the sum is a floor, below which products may hold the step up. Below the table
stand the lines that ask for what may go wrong on a GPU: scatters that add floating-point numbers, by atomic operations
in an order that differs from run to run, and loops of unknown length, which stop after each turn to ask the host.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.benchmark.described import Reading

_NEEDED = {
    "h100": ("jax_plugins.xla_cuda13", "nvidia.cu13", "the cuda13 plugin of JAX and NVIDIA's compiler"),
    "v5e": ("libtpu", "libtpu", "libtpu"),
}


def missing(target: str) -> str | None:
    """Return what must be installed to compile for a target; None where it is there."""
    *modules, what = _NEEDED[target]
    for module in modules:
        try:
            if importlib.util.find_spec(module) is None:
                return what
        except ModuleNotFoundError:
            return what
    return None


def prepare(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which JAX compiles for a device that isn't there."""
    # ptxas and nvlink come with NVIDIA's wheels and are looked for on the PATH.
    tools = [str(folder) for path in sys.path for folder in Path(path).glob("nvidia/*/bin")]
    return {
        **environment,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_gpu_autotune_level=0",  # there is no device to tune on
        "PATH": os.pathsep.join([*tools, environment.get("PATH", "")]),
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no process takes hold of a TPU here, so that several may compile
    }


def markdown(readings: list["Reading"]) -> str:
    """Return the readings as a table, and what goes wrong below it."""
    lines = [
        "| work | members | a step: kernels | GiB touched | floor | turns | scatters | loops of unknown length "
        "| planned, GiB | compiled in, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in readings:
        memory = "not enough" if one.memory is None else f"{one.memory / 2**30:.3g}"
        turns = "unknown" if one.turns is None else str(one.turns)
        cells = [
            one.name,
            str(one.members),
            str(one.kernels),
            f"{one.bytes / 2**30:.3g}",
            _duration(one.seconds),
            turns,
        ]
        cells += [str(len(one.scatters)), str(len(one.loops)), memory, f"{one.compile_seconds:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    for name, what in (("scatters", "scatters that add floating-point numbers"), ("loops", "loops of unknown length")):
        places: dict[str, list[str]] = {}
        for one in readings:
            for place in getattr(one, name):
                places.setdefault(place, []).append(one.name)
        if places:
            lines += ["", f"{what.capitalize()}, by the lines that ask for them:", ""]
            lines += [f"- {place}: {'; '.join(dict.fromkeys(works))}" for place, works in places.items()]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.1f} ms"


def compile_kinds(target: str, kinds: list[str]) -> list["Reading"]:
    """Compile kinds of work for a target; return what their programs say."""
    import collapse_jax as cj
    from experiments.benchmark.ahead_work import KINDS
    from experiments.benchmark.described import TARGETS, compiled_ahead

    named = []
    with compiled_ahead(TARGETS[target]) as readings:
        for kind in kinds:
            for work in KINDS[kind]():
                print(f"{target}: {work.name}", file=sys.stderr)
                steps = work.process.num_steps
                cj.sweep(work.process, {"seed": range(work.members)}, segment=steps, progress=False)
                named.append(readings[-1]._replace(name=work.name))
    return named


def compile_notebooks(target: str, names: list[str]) -> list["Reading"]:
    """Compile what notebooks jit and sweep, in their full setting; return what these programs say."""
    from experiments.benchmark.ahead_notebooks import NOTEBOOKS, compile_notebook
    from experiments.benchmark.described import TARGETS

    known = {path.stem: path for path in NOTEBOOKS}
    if unknown := set(names) - set(known):
        sys.exit(f"error: --notebooks is {', '.join(sorted(unknown))} besides others; there are {', '.join(known)}")
    return [one for name in names or known for one in compile_notebook(known[name], TARGETS[target])]


def main() -> None:
    """Run from the command line."""
    arguments = _arguments()
    if what := missing(arguments.target):
        sys.exit(f"error: {what} must be installed to compile for {arguments.target}: pip install -e '.[ahead]'")
    os.environ |= prepare(os.environ)
    if arguments.notebooks is None:
        readings = _kinds(arguments.target, arguments.work)
    else:
        readings = compile_notebooks(arguments.target, arguments.notebooks)
    text = markdown(readings)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps([one._asdict() for one in readings]))
    if arguments.write:
        from experiments.benchmark import report

        report.write(Path("BENCHMARKS.md"), f"ahead {arguments.target}", text)


def _kinds(target: str, given: list[str]) -> list["Reading"]:
    from experiments.benchmark.ahead_work import KINDS, LARGE

    if unknown := set(given) - set(KINDS):
        sys.exit(f"error: --work is {', '.join(sorted(unknown))} besides others; there are {', '.join(KINDS)}")
    return compile_kinds(target, given or [kind for kind in KINDS if kind not in LARGE])


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(_NEEDED), required=True, help="the accelerator to compile for")
    parser.add_argument("--work", nargs="+", default=[], help="kinds of work, all but the largest by default")
    parser.add_argument("--notebooks", nargs="*", help="compile what these notebooks run instead, all by default")
    parser.add_argument("--json", type=Path, help="file to write all that was read to")
    parser.add_argument("--write", action="store_true", help="put the table into BENCHMARKS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
