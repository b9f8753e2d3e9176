"""A small scan, and the comparison of a network with its twin in spconv's style."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spconv_networks import carry_weights, in_spconv_layout
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops import SparseTensor

# Cells of 1/8 m, whose borders are exact numbers.
POINT_CLOUD_RANGE = (0.0, 0.0, -2.0, 8.0, 6.0, 3.0)
SPATIAL_SHAPE = (64, 48, 40)
LIBRARIES = [
    "compat",
    pytest.param(
        "spconv",
        marks=pytest.mark.cpu_kernels("spconv's CPU build is compared with the CPU's kernels"),
    ),
]

Run = Callable[[Any, Tensor], list[Tensor]]  # a network and features to outputs


def small_scan(num_points: int = 600) -> tuple[Tensor, Tensor]:
    """Points on a wavy ground in two samples: float32 [N, 4], int64 [N]."""
    generator = torch.Generator().manual_seed(5)
    x, y, noise, remission = torch.rand(4, num_points, generator=generator)
    z = torch.sin(6 * x) + torch.cos(4 * y) * 0.5 + 0.2 * noise
    points = torch.stack([8 * x, 6 * y, z, remission], dim=1)
    return points, torch.arange(num_points) % 3 // 2  # the first has twice as many


def scan_file(folder: Path) -> str:
    """The points as a file of SemanticKITTI."""
    path = folder / "scan.bin"
    small_scan()[0].numpy().tofile(path)
    return str(path)


def library(name: str) -> Any:
    """The face of this library, or spconv itself, repaired; where it is missing, a skip."""
    if name == "compat":
        return importlib.import_module("elite_ops.compat.spconv.pytorch")
    module = pytest.importorskip("spconv.pytorch", exc_type=ImportError)
    if "elite_ops" in (module.__file__ or ""):
        pytest.skip("spconv is this library's")
    importlib.import_module("peers.spconv_on_cpu").repair()
    return module


def by_index(indices: Tensor, features: Tensor) -> list[Tensor]:
    """Both in the order of the indices."""
    factors = torch.tensor([2 ** (10 * place) for place in range(indices.shape[1])][::-1])
    order = (indices.long() @ factors).argsort()
    return [indices[order], features[order]]


def reversed_axes(x: SparseTensor) -> tuple[Tensor, list[int]]:
    """Indices batch, z, y, x and the shape along z, y, x, as detectors on spconv have them."""
    return x.indices[:, [0, 3, 2, 1]].contiguous(), list(x.spatial_shape[::-1])


def check_twin(
    ours: nn.Module,
    twin: nn.Module,
    run_ours: Run,
    run_twin: Run,
    features: Tensor,
    *,
    reversed_axes: bool,
) -> None:
    """In float64, with the same weights: outputs, all gradients, running statistics, predictions.

    Outputs come in the same layout from both; indices among them have no gradient.
    """
    ours.double(), twin.double()
    for norm in (module for module in ours.modules() if isinstance(module, nn.BatchNorm1d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    carry_weights(ours, twin, reversed_axes=reversed_axes)
    want_outputs, want_gradients = step(twin, run_twin, features)
    outputs, gradients = step(ours, run_ours, features)
    assert_close(outputs, want_outputs, rtol=1e-10, atol=1e-10)
    assert gradients.keys() == want_gradients.keys()
    buffers = dict(twin.named_buffers())
    found = gradients | dict(ours.named_buffers())
    for name, want in (want_gradients | buffers).items():
        got = in_spconv_layout(found[name], want.shape, reversed_axes=reversed_axes)
        scale = 1.0 if name in buffers else want.abs().max().item()
        assert_close(got, want, rtol=1e-9, atol=1e-9 * scale, msg=lambda m, n=name: f"{n}: {m}")
    evaluated(ours), evaluated(twin)
    with torch.no_grad():
        want_outputs = run_twin(twin, features.double())
        assert_close(run_ours(ours, features.double()), want_outputs, rtol=1e-9, atol=1e-9)


def step(network: nn.Module, run: Run, features: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs, and the gradients of every parameter and of the features."""
    given = features.double().requires_grad_()
    outputs = run(network, given)
    generator = torch.Generator().manual_seed(3)
    floats = [out for out in outputs if out.is_floating_point()]
    grads = [torch.randn(out.shape, generator=generator, dtype=out.dtype) for out in floats]
    inputs = {"features": given, **dict(network.named_parameters())}
    found = torch.autograd.grad(floats, list(inputs.values()), grads)
    return [out.detach() for out in outputs], dict(zip(inputs, found, strict=True))


def evaluated(network: nn.Module) -> None:
    """Norms as in evaluation; convolutions, in which spconv's CPU half can't add a bias, not."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def losses(network: nn.Module, loss: Callable[[], Tensor], steps: int = 6) -> list[float]:
    """The loss before each step of training."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    found = []
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(value.item())
    return found
