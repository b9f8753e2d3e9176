"""Layers and ops under `torch.func`: the transforms of functions, and calls with other weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacrev, vjp, vmap
from torch.testing import assert_close

import elite_ops
from elite_ops import SparseTensor, VoxelSet, nn

SHAPE = (5, 4, 3)
LAYERS: dict[str, Callable[[], Any]] = {
    "submanifold": lambda: nn.SubmanifoldConv3d(4, 5, 3),
    "strided": lambda: nn.SparseConv3d(4, 5, 3, 2, 1),
    "transposed": lambda: nn.SparseConvTranspose3d(4, 3, 2, 2),
    "groups": lambda: nn.SparseConv3d(4, 6, 3, groups=2, padding=1),
    "depthwise": lambda: nn.SubmanifoldConv3d(4, 4, 3, groups=4),
    "max": lambda: nn.SparseMaxPool3d(2),
    "average": lambda: nn.SparseAvgPool3d(2),
    "global max": nn.GlobalMaxPool,
    "global average": nn.GlobalAvgPool,
}
CONVOLUTIONS = [name for name in LAYERS if "max" not in name and "average" not in name]
each_layer = pytest.mark.parametrize("name", LAYERS)
each_convolution = pytest.mark.parametrize("name", CONVOLUTIONS)
# torch says that it calls an op once for each sample.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


def voxel_set(device: torch.device) -> VoxelSet:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(2, *SHAPE, generator=generator) < 0.2
    return VoxelSet(occupied.nonzero().int().to(device), SHAPE, 2)


def make(name: str, device: torch.device) -> tuple[Any, Callable[..., Tensor], Tensor]:
    """A layer, the function of features and parameters that it is, and features."""
    layer = LAYERS[name]().to(device).double()
    voxels = voxel_set(device)

    def run(features: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
        x = (SparseTensor(features, voxels),)
        out = layer(*x) if parameters is None else functional_call(layer, parameters, x)
        values: Tensor = out if isinstance(out, Tensor) else out.features
        return values

    features = torch.randn(len(voxels), 4, dtype=torch.float64, device=device)
    return layer, run, features


def by_autograd(loss: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    leaf = value.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


@each_layer
def test_grad(device: torch.device, name: str) -> None:
    _, run, features = make(name, device)

    def loss(features: Tensor) -> Tensor:
        return run(features).square().sum()

    assert_close(grad(loss)(features), by_autograd(loss, features))


@each_convolution
def test_grad_of_parameters(device: torch.device, name: str) -> None:
    layer, run, features = make(name, device)
    parameters = dict(layer.named_parameters())

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return run(features, parameters).square().sum()

    got = grad(loss)(parameters)
    loss(parameters).backward()
    for key, parameter in parameters.items():
        assert_close(got[key], parameter.grad)


@each_layer
def test_jacobian(device: torch.device, name: str) -> None:
    _, run, features = make(name, device)
    want = torch.autograd.functional.jacobian(run, features)
    assert_close(jacrev(run)(features), want)
    assert_close(torch.autograd.functional.jacobian(run, features, vectorize=True), want)


@each_layer
def test_gradients_of_gradients(device: torch.device, name: str) -> None:
    """Hessians times vectors, where the outer transform must see what the inner one does."""
    layer, run, features = make(name, device)
    values = {"features": features, **dict(layer.named_parameters())}
    values = {key: value.detach() for key, value in values.items()}
    directions = {key: torch.randn_like(value) for key, value in values.items()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        return (
            run(values["features"], {k: values[k] for k in values if k != "features"}).pow(3).sum()
        )

    def slope(values: dict[str, Tensor]) -> Tensor:
        gradients = grad(loss)(values)
        return sum((gradients[key] * directions[key]).sum() for key in values)

    leaves = {key: value.clone().requires_grad_() for key, value in values.items()}
    first = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=True)
    want = torch.autograd.grad(first, list(leaves.values()), list(directions.values()))
    for got, wanted in zip(grad(slope)(values).values(), want, strict=True):
        assert_close(got, wanted)


@each_layer
def test_vmap_over_features(device: torch.device, name: str) -> None:
    _, run, features = make(name, device)
    many = torch.stack([features, -2 * features, features.cos()])
    assert_close(vmap(run)(many), torch.stack([run(one) for one in many]))
    last = vmap(run, in_dims=2, out_dims=1)(many.movedim(0, 2))
    assert_close(last, torch.stack([run(one) for one in many], 1))

    def loss(features: Tensor) -> Tensor:
        return run(features).square().sum()

    want = torch.stack([by_autograd(loss, one) for one in many])
    assert_close(vmap(grad(loss))(many), want)
    assert_close(grad(lambda many: vmap(loss)(many).sum())(many), want)
    assert_close(by_autograd(lambda many: vmap(loss)(many).sum(), many), want)


@each_convolution
def test_vmap_over_weights(device: torch.device, name: str) -> None:
    """An ensemble of layers on the same voxels."""
    _, run, features = make(name, device)
    members = [LAYERS[name]().to(device).double() for _ in range(3)]
    parameters, _ = torch.func.stack_module_state(members)
    got = vmap(lambda parameters: run(features, parameters))(parameters)
    for member, out in zip(members, got, strict=True):
        assert_close(out, run(features, dict(member.named_parameters())))


def test_vmap_over_voxels(device: torch.device) -> None:
    """Where the numbers of voxels that come out don't depend on the voxels."""
    layer = LAYERS["submanifold"]().to(device)
    indices = voxel_set(device).indices
    mirrored = indices.clone()
    mirrored[:, 1] = SHAPE[0] - 1 - mirrored[:, 1]
    features = torch.randn(len(indices), 4, device=device)

    def run(indices: Tensor) -> Tensor:
        out: Tensor = layer(SparseTensor(features, VoxelSet(indices, SHAPE, 2))).features
        return out

    both = torch.stack([indices, mirrored])
    assert_close(vmap(run)(both), torch.stack([run(one) for one in both]))


def test_sums_and_dense_grids_under_vmap(device: torch.device) -> None:
    voxels = voxel_set(device)
    other = SparseTensor(torch.randn(len(voxels), 4, device=device), voxels)
    many = torch.randn(3, len(voxels), 4, device=device)
    functions: list[Callable[[SparseTensor], Tensor]] = [
        lambda x: (x + other).features,
        lambda x: elite_ops.cat([x, other]).features,
        lambda x: x.dense(),
        lambda x: x.bev(),
    ]
    for function in functions:
        want = torch.stack([function(SparseTensor(one, voxels)) for one in many])
        assert_close(vmap(lambda one: function(SparseTensor(one, voxels)))(many), want)  # noqa: B023


def test_a_chain_of_layers(device: torch.device) -> None:
    """With the way back, whose map is swapped inside the transform."""
    layers = torch.nn.ModuleList(
        [
            nn.SubmanifoldConv3d(2, 3),
            nn.SparseConv3d(3, 4, 3, 2, 1),
            nn.SparseInverseConv3d(4, 2, 3),
        ]
    ).to(device, torch.float64)
    voxels = voxel_set(device)

    def run(features: Tensor) -> Tensor:
        x = SparseTensor(features, voxels)
        for layer in layers:
            x = layer(x)
        return x.features.square().sum()

    features = torch.randn(len(voxels), 2, dtype=torch.float64, device=device)
    value, backward = vjp(run, features)
    assert_close(backward(torch.ones_like(value))[0], by_autograd(run, features))
    assert_close(run(features), value)  # the maps that were made inside serve outside


def test_forward_mode_is_refused(device: torch.device) -> None:
    _, run, features = make("strided", device)
    with pytest.raises(NotImplementedError, match="sparse_conv: has no forward-mode derivative"):
        torch.func.jvp(run, (features,), (features,))
    with pytest.raises(NotImplementedError, match="sparse_conv: has no forward-mode derivative"):
        hessian(lambda features: run(features).square().sum())(features)
