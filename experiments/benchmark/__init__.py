"""How fast the library is, what holds it back, and whether it is right on an accelerator.

Nothing is imported before it is called: what stands here sets XLA's flags, which JAX reads when it starts.
"""


def main() -> None:
    """Run the benchmark from the command line: see `experiments.benchmark.speed`."""
    from experiments.benchmark import speed

    speed.main()
