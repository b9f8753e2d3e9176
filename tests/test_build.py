"""What was built: every op on every device, and one CUDA runtime in the process."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import elite_ops
from elite_ops.registration import DIFFERENTIABLE

OPS = sorted(
    {
        schema.name
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("elite_ops::")
    }
)
WITH_CUDA = pytest.mark.skipif(
    not elite_ops.build_info()["cuda"], reason="built without CUDA ops (make cuda-build)"
)


# Differentiable by ops that follow the one of their name.
COMPOSED = ("devoxelize", "hard_voxelize")


def has_kernel(op: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(op, key)


def test_there_are_ops() -> None:
    defined = sum(
        path.read_text(encoding="utf-8").count("\nELITE_OP(")
        for path in (Path(__file__).parents[1] / "csrc/bindings").glob("*.cpp")
    )
    assert len(OPS) == defined > 30


@pytest.mark.parametrize("key", ["CPU", pytest.param("CUDA", marks=WITH_CUDA), "Meta"])
def test_every_op_has_a_kernel(key: str) -> None:
    assert [op for op in OPS if not has_kernel(op, key)] == []


def test_autograd_is_what_the_documentation_says() -> None:
    said = {}
    for name in elite_ops.__all__:
        function = getattr(elite_ops, name)
        text = re.search(r"\*Differentiable:\*\s+(\w+)", inspect.getdoc(function) or "")
        if text and f"elite_ops::{name}" in OPS:
            said[name] = text[1] != "no"
    assert sum(said.values()) > 8
    for name in COMPOSED:
        assert said.pop(name)
    assert {name: name in DIFFERENTIABLE for name in said} == said


def test_every_op_has_a_derivative_or_refuses_one() -> None:
    assert [op for op in OPS if not has_kernel(op, "Autograd")] == []


def test_build_info_names_the_running_torch() -> None:
    info = elite_ops.build_info()
    assert torch.__version__.startswith(str(info["torch"]))
    assert bool(info["cuda_architectures"]) == info["cuda"]


@WITH_CUDA
def test_the_process_has_one_cuda_runtime() -> None:
    """That which torch brings, not that of the toolkit which compiled the kernels."""
    code = "import torch, elite_ops; print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"\S*libcudart\S*", done.stdout))
    assert len(loaded) == 1
    packages = Path(torch.__file__).parents[1]
    if any(packages.glob("nvidia/*/lib/libcudart*")):
        assert Path(loaded.pop()).is_relative_to(packages)


@WITH_CUDA
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_doctor_says_that_there_are_kernels_and_no_gpu() -> None:
    command = [sys.executable, "-m", "elite", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    architectures = elite_ops.build_info()["cuda_architectures"]
    said = f"cuda: kernels are built for {architectures}, but no GPU is visible"
    assert said in json.loads(done.stdout)["devices"]
