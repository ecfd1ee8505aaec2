"""What XLA is told on a GPU, so that bits stay: known to it, and told nowhere else."""

import importlib
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.engine import sweep
from collapse_jax.engine.compiler import compiler_options
from tests.walks import make_walk

module = importlib.import_module("collapse_jax.engine.sweep")


def test_a_gpu_adds_in_one_order_and_keeps_its_choices_of_kernels(tmp_path):
    for platform in ("gpu", "cuda", "rocm"):
        assert compiler_options(platform, None) == {"xla_gpu_exclude_nondeterministic_ops": True}
        assert compiler_options(platform, tmp_path)["xla_gpu_per_fusion_autotune_cache_dir"] == str(tmp_path)
    for platform in ("cpu", "tpu", "metal"):
        assert compiler_options(platform, tmp_path) == {}


def test_xla_knows_the_options(tmp_path):
    lowered = jax.jit(jnp.sin).lower(1.0)
    lowered.compile(compiler_options("gpu", tmp_path))  # XLA checks them on any platform, and a CPU has no use for them
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        lowered.compile({name + "s": value for name, value in compiler_options("gpu", tmp_path).items()})


def test_choices_of_kernels_are_kept_in_the_directory_of_the_sweep(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(module, "compiler_options", lambda *given: asked.append(given) or {})
    monkeypatch.chdir(tmp_path)
    for directory in (None, "some"):
        sweep(make_walk(2), {}, directory=directory, progress=False)
    platform = jax.devices()[0].platform
    assert asked == [(platform, None), (platform, tmp_path / "some" / ".tuned")]


def test_a_directory_with_choices_of_kernels_and_nothing_else_is_gone_on_with(tmp_path):
    (tmp_path / ".tuned").mkdir()  # as a kill leaves it that came while the first program was compiled
    sweep(make_walk(2), {}, directory=tmp_path, progress=False)


def test_the_kind_of_the_devices_is_part_of_the_platform():
    def platform(*devices):
        mesh = SimpleNamespace(devices=np.array([SimpleNamespace(platform=p, device_kind=k) for p, k in devices]))
        return getattr(module._platform, "__wrapped__", module._platform)(mesh)  # without the check of types

    assert platform(("cpu", "cpu"), ("cpu", "cpu")) == "cpu"  # as earlier versions wrote it
    assert platform(("gpu", "NVIDIA H200"), ("gpu", "NVIDIA H200")) == "gpu NVIDIA H200"
    assert platform(("gpu", "B"), ("gpu", "A")) == platform(("gpu", "A"), ("gpu", "B")) == "gpu A B"


def test_a_sweep_is_not_ended_on_devices_of_another_kind(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_platform", lambda mesh: "gpu NVIDIA H100 80GB HBM3")
    sweep(make_walk(2), {}, directory=tmp_path, progress=False)
    monkeypatch.setattr(module, "_platform", lambda mesh: "gpu NVIDIA H200")
    told = "holds another sweep: its platform is gpu NVIDIA H100 80GB HBM3, this one's is gpu NVIDIA H200; give"
    with pytest.raises(ValueError, match=re.escape(told)):
        sweep(make_walk(2), {}, directory=tmp_path, progress=False)
