"""What XLA is told when it compiles a sweep, so that the same program gives the same bits."""

from pathlib import Path

_GPU = {"gpu", "cuda", "rocm"}


def compiler_options(platform: str, tuned: Path | None) -> dict[str, bool | str]:
    """Return the options for devices of a platform; `tuned` is a directory in which the choices of kernels are kept.

    Two things change bits on a GPU. It adds scattered numbers in whatever order they arrive, unless the compiler
    excludes that. And the compiler times several kernels for a product and takes the fastest, so that noise decides
    between close ones: the bits stay only if this choice is kept. Other platforms do neither, and don't know the
    options.
    """
    if platform not in _GPU:
        return {}
    same_order: dict[str, bool | str] = {"xla_gpu_exclude_nondeterministic_ops": True}
    return same_order | ({"xla_gpu_per_fusion_autotune_cache_dir": str(tuned)} if tuned else {})
