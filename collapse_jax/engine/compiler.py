"""What XLA is told when it compiles a sweep, so that the same program gives the same bits."""

from pathlib import Path

_GPU = {"gpu", "cuda", "rocm"}


def compiler_options(platform: str, tuned: Path | None) -> dict[str, bool | str]:
    """Return the options for devices of a platform; `tuned` is a directory in which the choices of kernels are kept.

    A GPU adds scattered numbers up in whatever order they come, unless that is excluded. Which of several kernels it
    takes for a product is measured when it is compiled, so that noise decides between close ones: the bits stay only if
    the choice does. Nothing of this holds for other platforms, which don't know the options.
    """
    if platform not in _GPU:
        return {}
    same_order: dict[str, bool | str] = {"xla_gpu_exclude_nondeterministic_ops": True}
    return same_order | ({"xla_gpu_per_fusion_autotune_cache_dir": str(tuned)} if tuned else {})
