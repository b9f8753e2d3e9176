"""The networks of examples/ on a real scan, from voxels to outputs, maps included.

Each on the library's own layers, and its twin in spconv's style on `elite_ops.compat.spconv` and on
spconv itself, with the same weights in one process. Outputs and gradients of the twins are compared
with those of the first before they are timed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
import spconv_networks
import torch
from peers.checked import excused
from peers.contestant import Missing
from peers.spconv_on_cpu import repair
from precision import PRECISIONS, rms_error
from spconv_networks import carry_weights, in_spconv_layout
from torch import Tensor, nn
from workloads import scan

from elite_ops import SparseTensor, VoxelSet
from examples import second, spunet, voxelnext

# Relative errors. Rounding moves activations across the kink at 0, and a whole slope with them.
OUTPUT, GRADIENT = 1e-4, 1e-2
LIBRARIES = {
    "elite_ops": None,
    "elite_ops_compat": "elite_ops.compat.spconv.pytorch",
    "spconv": "spconv.pytorch",
}


@dataclass(frozen=True)
class Example:
    """A network of examples/, and its twin."""

    encode: Callable[[Tensor], SparseTensor]
    network: Callable[[], nn.Module]
    twin: Callable[[Any, list[int]], nn.Module]  # of the library and the shape
    reversed_axes: bool  # whether the twin's are z, y, x

    def turned(self, x: SparseTensor) -> tuple[Tensor, list[int]]:
        """The twin's indices and shape."""
        if not self.reversed_axes:
            return x.indices, list(x.spatial_shape)
        return x.indices[:, [0, 3, 2, 1]].contiguous(), list(x.spatial_shape[::-1])


EXAMPLES = {
    "second": Example(
        lambda points: second.mean_of_all_points(points, grid=second.Grid()),
        second.Second,
        lambda spconv, shape: spconv_networks.Second(spconv, 4, shape),
        reversed_axes=True,
    ),
    "spunet": Example(
        lambda points: spunet.mean_of_points(points, grid=spunet.Grid())[0],
        spunet.SpUNet,
        lambda spconv, shape: spconv_networks.SpUNet(spconv, 4, 19, shape),
        reversed_axes=False,
    ),
    "voxelnext": Example(
        lambda points: voxelnext.mean_of_points(points, grid=voxelnext.Grid()),
        voxelnext.VoxelNeXt,
        lambda spconv, shape: spconv_networks.VoxelNeXt(spconv, 4, shape, voxelnext.HEADS),
        reversed_axes=True,
    ),
}
examples = pytest.mark.parametrize("example", EXAMPLES)
libraries = pytest.mark.parametrize("library", LIBRARIES)


class Backbone:
    """A network on one library's layers. Called, it returns what comes out of the network.

    Raises:
        Missing: if the library is.
    """

    def __init__(self, example: str, library: str, device: torch.device) -> None:
        self.example, module = EXAMPLES[example], LIBRARIES[library]
        self.workload, points = scan()
        self.x = self.example.encode(points.to(device))
        self.indices, shape = self.example.turned(self.x)
        torch.manual_seed(0)
        self.network = ours = self.example.network().to(device)
        self.is_twin = module is not None
        if module is not None:
            self.network = self.example.twin(load(module), shape).to(device)
            carry_weights(ours, self.network, reversed_axes=self.example.reversed_axes)

    def __call__(self) -> Any:
        x = self.x
        if self.is_twin:
            return self.network(x.features, self.indices, x.batch_size)
        fresh = VoxelSet(x.indices, x.spatial_shape, x.batch_size)  # without maps
        return self.network(SparseTensor(x.features, fresh))

    def step(self) -> Any:
        """Forward and backward; the parameters keep their gradients."""
        self.network.zero_grad()
        found = self()
        outputs = found.values() if isinstance(found, dict) else [found]
        rows = [getattr(out, "features", out) for out in outputs]
        torch.stack([out.square().mean() for out in rows]).sum().backward()
        return found

    def predict(self) -> Any:
        with torch.no_grad():
            return self()

    def predicting(self) -> Backbone:
        """In evaluation mode, where spconv's convolutions can't add a bias on the CPU.

        Those that have one stay in training mode, which changes nothing else.
        """
        for module in self.network.modules():
            has_bias = isinstance(getattr(module, "bias", None), Tensor)
            module.training = has_bias and hasattr(module, "in_channels")
        return self

    def outputs(self, found: Any) -> list[Tensor]:
        """Without their graph, in an order that all libraries share."""
        if isinstance(found, dict):  # of sparse tensors
            return [out.features[rows_by_voxel(out.indices)].detach() for out in found.values()]
        if isinstance(found, Tensor) and found.dim() == 4 and self.is_twin:
            return [found.detach().transpose(2, 3)]
        return [getattr(found, "features", found).detach()]

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad for name, p in self.network.named_parameters()}


def load(module: str) -> Any:
    try:
        spconv = importlib.import_module(module)
    except ImportError as error:
        raise Missing(f"spconv: {error}") from error
    if module.startswith("spconv"):
        repair()
        importlib.import_module("spconv.constants").SPCONV_ALLOW_TF32 = False
    return spconv


def rows_by_voxel(indices: Tensor) -> Tensor:
    key = indices.long() @ torch.tensor([2**32, 2**16, 1], device=indices.device)  # batch, y, x
    return key.argsort()


@lru_cache(maxsize=1)
def wanted(
    example: str, device: torch.device
) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
    """Predictions, outputs in training, and gradients, on this library's layers."""
    ours = Backbone(example, "elite_ops", device)
    outputs, gradients = ours.outputs(ours.step()), ours.gradients()
    ours = Backbone(example, "elite_ops", device).predicting()
    return ours.outputs(ours.predict()), outputs, gradients


def found_right(error: float, limit: float) -> float:
    if not error <= limit:
        raise AssertionError(f"relative error {error:.1e} where {limit:.0e} is allowed")
    return error


def error_of_outputs(outputs: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest relative error."""
    return max(rms_error(out, want.double()) for out, want in zip(outputs, wanted, strict=True))


def error_of_gradients(backbone: Backbone, wanted: dict[str, Tensor]) -> float:
    """That of the gradients of all parameters, as one vector."""
    found = backbone.gradients()
    if backbone.is_twin:
        turned = backbone.example.reversed_axes
        wanted = {
            name: in_spconv_layout(want, found[name].shape, reversed_axes=turned)
            for name, want in wanted.items()
        }
    ours, theirs = (torch.cat([g[name].flatten() for name in wanted]) for g in (wanted, found))
    return rms_error(theirs, ours.double())


def about(backbone: Backbone) -> dict[str, Any]:
    parameters = sum(p.numel() for p in backbone.network.parameters())
    return {"workload": backbone.workload, "voxels": len(backbone.x), "parameters": parameters}


@pytest.mark.benchmark(group="backbones, voxels to outputs")
@libraries
@examples
def bench_forward(timed, device, example, library):
    with excused(library), PRECISIONS["fp32"].set():
        want, _, _ = wanted(example, device)
        backbone = Backbone(example, library, device).predicting()
        error = found_right(error_of_outputs(backbone.outputs(backbone.predict()), want), OUTPUT)
        timed(backbone.predict, **about(backbone), rms_error=error)


@pytest.mark.benchmark(group="backbones, forward and backward")
@libraries
@examples
def bench_forward_and_backward(timed, device, example, library):
    with excused(library), PRECISIONS["fp32"].set():
        _, want, want_gradients = wanted(example, device)
        backbone = Backbone(example, library, device)
        error = found_right(error_of_outputs(backbone.outputs(backbone.step()), want), OUTPUT)
        off = found_right(error_of_gradients(backbone, want_gradients), GRADIENT)
        timed(backbone.step, **about(backbone), rms_error=error, gradient_error=off)
