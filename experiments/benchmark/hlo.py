"""What the text of a compiled program (HLO) says of it: kernels, bytes, the loop that it is about, and its hazards.

Bytes are those that a kernel reads from and writes to the device's memory, padded to tiles where the layout has some.
What lies in another memory space (on a TPU the chip's own) counts as none, nor does what a fusion slices away, nor the
rest of an array that it updates in place.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from experiments.benchmark.hlo_text import Instruction, Module, branches, called, root_of

_BITS = {"pred": 8, "bf16": 16} | {f"{kind}{bits}": bits for kind in "suf" for bits in (2, 4, 8, 16, 32, 64)}
# Instructions that move nothing, or end what another one began.
_FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"),
    *("opt-barrier", "copy-done", "async-done", "async-update", "domain"),
}
_SLICES = {"slice", "dynamic-slice", "gather"}
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^{}]*)\})?")
_MOST = 0.5  # of the kernels that run: a loop that runs more is what the program is about


class Cost(NamedTuple):
    """Kernels, the bytes that they touch, and the least seconds that they take one after the other."""

    kernels: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0

    def plus(self, other: "Cost", times: float = 1.0) -> "Cost":
        """Return the sum of this and so many times the other."""
        return Cost(*(mine + times * its for mine, its in zip(self, other, strict=True)))


class Device(NamedTuple):
    """What bounds a kernel: a launch, in seconds, and the bytes a second of the memory."""

    launch: float
    bandwidth: float


class Step(NamedTuple):
    """One turn of the loop that a program is about: how many turns there are (None: unknown), and its cost."""

    turns: int | None
    cost: Cost


def scatter_adds(module: Module) -> list[Instruction]:
    """Return the scatters that add up floating-point numbers, at places that may repeat.

    A GPU adds them by atomic operations, in an order that differs from run to run: so do the bits of the sum.
    """
    return [
        one
        for one in _all(module)
        if one.op == "scatter"
        and "unique_indices=true" not in one.attributes
        and re.search(r"(?:bf|f)\d+\[", one.shape)
        and _adds(module, one)
    ]


def unknown_loops(module: Module) -> list[Instruction]:
    """Return the loops whose number of turns isn't known: a GPU's host must ask after each whether it was the last."""
    return [one for one in _all(module) if one.op == "while" and turns(module, one) is None]


def turns(module: Module, loop: Instruction) -> int | None:
    """Return how often a loop turns, None where that isn't known before it runs."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes):
        return int(known[1])
    # A TPU's compiler doesn't write it down: where the condition compares the counter with a constant, it shows.
    condition = module.computations[called(loop, "condition")]
    root = root_of(condition)
    if root.op == "compare" and "direction=LT" in root.attributes:
        bound = condition.get(root.operands[1])
        counter = condition.get(root.operands[0])
        if bound and counter and (bound.op, counter.op) == ("constant", "get-tuple-element"):
            value = re.fullmatch(r"\d+", bound.operands[0]) if bound.operands else None
            return int(value[0]) if value else None
    return None


def whole(module: Module, device: Device, computation: str = "") -> Cost:
    """Return the cost of a program or of one of its computations; a loop of unknown length counts as one turn."""
    total = Cost()
    for one in module.computations[computation or module.entry].values():
        total = total.plus(_cost(module, device, one))
    return total


def step(module: Module, device: Device) -> Step:
    """Return a turn of the innermost loop that runs more than half of the kernels of what holds it.

    The program itself, as one turn, where no loop does.
    """
    found, at = Step(1, whole(module, device)), module.entry
    while True:
        costs = [(loop, _cost(module, device, loop)) for loop in _loops(module, at)]
        loop, cost = max(costs, key=lambda pair: pair[1].kernels, default=(None, Cost()))
        if loop is None or cost.kernels <= _MOST * whole(module, device, at).kernels:
            return found
        at = called(loop, "body")
        found = Step(turns(module, loop), _turn(module, device, loop))


def _loops(module: Module, computation: str) -> Iterator[Instruction]:
    """Yield the loops of a computation, and of those that it calls once."""
    for one in module.computations[computation].values():
        if one.op == "while":
            yield one
        elif one.op in ("call", "conditional", "async-start"):
            for name in branches(one):
                yield from _loops(module, name)


def _turn(module: Module, device: Device, loop: Instruction) -> Cost:
    names = (called(loop, "body"), called(loop, "condition"))
    body, condition = (whole(module, device, name) for name in names)
    return body if turns(module, loop) is not None else body.plus(condition)


def _cost(module: Module, device: Device, one: Instruction) -> Cost:
    if one.op in _FREE or 'custom_call_target="AllocateBuffer"' in one.attributes:
        return Cost()
    if one.op == "while":
        return Cost().plus(_turn(module, device, one), turns(module, one) or 1)
    if one.op in ("call", "async-start"):
        return whole(module, device, branches(one)[0])
    if one.op == "conditional":
        return max((whole(module, device, name) for name in branches(one)), key=lambda cost: cost.kernels)
    touched = _touched(module, one)
    return Cost(1, touched, max(device.launch, touched / device.bandwidth))


def _touched(module: Module, one: Instruction) -> float:
    """Return the bytes that a kernel reads and writes."""
    computation = _holding(module, one)
    if one.op == "fusion":
        inside = module.computations[called(one, "calls")]
        return _read_inside(inside) + _written(inside, root_of(inside))
    if one.op == "copy-start":
        return sum(_size(part) for part in _parts(one.shape)[:2])
    if one.op in _SLICES:
        return 2 * _size(one.shape)
    if one.op in ("dynamic-update-slice", "scatter"):
        changed = computation.get(one.operands[1 if one.op == "dynamic-update-slice" else -1])
        return 2 * _size(changed.shape) if changed else 0.0
    read = sum(_size(computation[name].shape) for name in one.operands if name in computation)
    # A product by the vendor's library also returns the scratch memory that it was given.
    return read + sum(_size(part) for part in _parts(one.shape) if one.op != "custom-call" or not part.startswith("s8"))


def _read_inside(inside: dict[str, Instruction]) -> float:
    """Return the bytes that a fusion reads: of a parameter that is only sliced the slices, else all."""
    total = 0.0
    for parameter in inside.values():
        if parameter.op != "parameter":
            continue
        total += sum(
            min(sum(_read_by(user, at) for user, at in _users(inside, parameter.name)), _size(part))
            for part in _parts(parameter.shape)
        )
    return total


def _read_by(user: Instruction, at: int) -> float:
    """Return the bytes of its operand number `at` that an instruction inside a fusion reads."""
    if at == 0 and user.op in _SLICES:
        return _size(user.shape)
    return 0.0 if at == 0 and user.op in ("dynamic-update-slice", "scatter") else float("inf")


def _users(inside: dict[str, Instruction], name: str) -> list[tuple[Instruction, int]]:
    found = []
    for one in inside.values():
        for at, operand in enumerate(one.operands):
            if operand == name:
                found += _users(inside, one.name) if one.op == "bitcast" and not one.root else [(one, at)]
    return found


def _written(inside: dict[str, Instruction], root: Instruction) -> float:
    """Return the bytes that a fusion writes: where it updates an array, those of the update."""
    if root.op == "tuple":
        return sum(_written(inside, inside[name]) for name in root.operands)
    if root.op == "bitcast" and root.operands[0] in inside:
        return _written(inside, inside[root.operands[0]])
    if root.op in ("dynamic-update-slice", "scatter"):
        return _size(inside[root.operands[1 if root.op == "dynamic-update-slice" else -1]].shape)
    return sum(_size(part) for part in _parts(root.shape))


def _size(shape: str) -> float:
    """Return the bytes of an array in the device's memory, padded to its tiles; 0 in another memory."""
    found = _SHAPE.match(shape)
    if found is None:
        return 0.0
    kind, dims, layout = found[1], [int(n) for n in found[2].split(",") if n], found[3] or ""
    if kind not in _BITS or re.search(r"S\([1-9]", layout):
        return 0.0
    if tile := re.search(r":T\(([\d,]+)\)", layout):
        order = [int(n) for n in layout.split(":")[0].split(",") if n]
        dims = _padded([dims[axis] for axis in reversed(order)], [int(n) for n in tile[1].split(",")])
    total = _BITS[kind] / 8
    for n in dims:
        total *= n
    return total


def _padded(dims: list[int], tile: list[int]) -> list[int]:
    """Return sizes, the outermost first, the last ones rounded up to multiples of a tile."""
    dims = [1] * (len(tile) - len(dims)) + dims
    first = len(dims) - len(tile)
    return dims[:first] + [-(-n // by) * by for n, by in zip(dims[first:], tile, strict=True)]


def _parts(shape: str) -> list[str]:
    """Return the arrays of a shape: one, or those of a tuple."""
    return [found[0] for found in _SHAPE.finditer(shape)]


def _all(module: Module) -> Iterator[Instruction]:
    for computation in module.computations.values():
        yield from computation.values()


def _holding(module: Module, one: Instruction) -> dict[str, Instruction]:
    return next(c for c in module.computations.values() if c.get(one.name) is one)


def _adds(module: Module, scatter: Instruction) -> bool:
    """Return whether a scatter combines by more than replacing."""
    return root_of(module.computations[called(scatter, "to_apply")]).op != "parameter"
