"""Networks folded for inference, against the networks themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet
from elite_ops.nn import (
    FoldedConv,
    OnFeatures,
    SparseConv2d,
    SparseConv3d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SparseSequential,
    SubmanifoldConv2d,
    SubmanifoldConv3d,
    fold,
)

SHAPES = {2: (8, 9), 3: (6, 7, 5)}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def sparse_tensor(
    channels: int,
    device: torch.device | str = "cpu",
    *,
    num_axes: int = 3,
    dtype: torch.dtype = torch.float64,
) -> SparseTensor:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(2, *SHAPES[num_axes], generator=generator) < 0.2
    indices = occupied.nonzero().int().to(device)
    features = torch.randn(len(indices), channels, generator=generator, dtype=dtype).to(device)
    return SparseTensor(features, VoxelSet(indices, SHAPES[num_axes], 2))


def trained(module: nn.Module, like: Tensor) -> Any:
    """In evaluation mode, with norms that do something on every channel."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d) and layer.running_mean is not None:
            size = layer.num_features
            layer.running_mean.copy_(torch.randn(size, generator=generator))
            layer.running_var.copy_(torch.rand(size, generator=generator) + 0.3)
            if layer.affine:
                nn.init.normal_(layer.weight, generator=generator)
                nn.init.normal_(layer.bias, generator=generator)
    return module.eval().to(like)


def check(network: nn.Module, x: SparseTensor) -> Any:
    """The folded network must give the same, and the network stay as it was; returns the first."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold(network)
    want, got = network(x), folded(x)
    assert torch.equal(got.indices, want.indices)
    tolerance = TOLERANCE[x.dtype] * float(want.features.detach().abs().max())
    assert_close(got.features, want.features.detach(), rtol=0, atol=tolerance)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.requires_grad for p in network.parameters())
    return folded


def kinds(chain: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in chain.children()]


CONVOLUTIONS: list[tuple[int, Callable[..., nn.Module]]] = [
    (3, lambda **other: SubmanifoldConv3d(4, 6, **other)),
    (3, lambda **other: SparseConv3d(4, 6, 3, 2, 1, **other)),
    (3, lambda **other: SparseConvTranspose3d(4, 6, 3, 2, 1, **other)),
    (2, lambda **other: SubmanifoldConv2d(4, 6, (3, 1), **other)),
    (2, lambda **other: SparseConv2d(4, 6, 3, 2, 1, **other)),
    (2, lambda **other: SparseConvTranspose2d(4, 6, (2, 3), 2, **other)),
]
ACTIVATIONS: list[Callable[[], list[nn.Module]]] = [
    list,
    lambda: [nn.ReLU()],
    lambda: [nn.LeakyReLU(0.1)],
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("num_axes", "convolution"), CONVOLUTIONS)
def test_equals_the_network(
    device: torch.device,
    num_axes: int,
    convolution: Callable[..., nn.Module],
    activation: Callable[[], list[nn.Module]],
    groups: int,
    bias: bool,
    dtype: torch.dtype,
) -> None:
    x = sparse_tensor(4, device, num_axes=num_axes, dtype=dtype)
    layers = [convolution(bias=bias, groups=groups), nn.BatchNorm1d(6), *activation()]
    folded = check(trained(SparseSequential(*layers), x.features), x)
    kept = [type(layer).__name__ for layer in layers[2:]]
    behind = kept if groups != 1 else ["Identity"] * len(kept)
    assert kinds(folded) == ["FoldedConv", "Identity", *behind]


@pytest.mark.parametrize("num_axes", [2, 3])
def test_there_and_back(device: torch.device, num_axes: int) -> None:
    down, up = {2: (SparseConv2d, SparseInverseConv2d), 3: (SparseConv3d, SparseInverseConv3d)}[
        num_axes
    ]
    x = sparse_tensor(4, device, num_axes=num_axes)
    network = SparseSequential(
        *(down(4, 8, 3, 2, 1, bias=False), nn.BatchNorm1d(8), nn.ReLU()),
        *(up(8, 6, 3, groups=2), nn.BatchNorm1d(6, affine=False), nn.LeakyReLU(-0.5)),
        *(down(6, 3, 2, 2), nn.ReLU()),
    )
    check(trained(network, x.features), x)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("c_out", [4, 8])
def test_depthwise(device: torch.device, transposed: bool, c_out: int) -> None:
    x = sparse_tensor(4, device)
    kind = SparseConvTranspose3d if transposed else SparseConv3d
    layers = [kind(4, c_out, 3, 2, 1, groups=4), nn.BatchNorm1d(c_out), nn.ReLU()]
    assert kinds(check(trained(SparseSequential(*layers), x.features), x))[2] == "ReLU"


def test_by_hand() -> None:
    """Twice x plus one, less a mean of 2, over a deviation of 2, times 3, minus 1; then ReLU."""
    conv, norm = SubmanifoldConv3d(1, 1, 1), nn.BatchNorm1d(1, eps=0)
    for parameter, value in ((conv.weight, 2), (conv.bias, 1), (norm.weight, 3), (norm.bias, -1)):
        nn.init.constant_(parameter, value)
    norm.running_mean.fill_(2)
    norm.running_var.fill_(4)
    layer = fold(SparseSequential(conv, norm, nn.ReLU()).eval())[0]
    assert layer.conv.weight.item() == 3
    assert layer.conv.bias.item() == -2.5
    voxels = VoxelSet(torch.tensor([[0, 0, 0, 0], [0, 2, 2, 2]], dtype=torch.int32), (3, 3, 3), 1)
    out = layer(SparseTensor(torch.tensor([[1.0], [0.5]]), voxels))
    assert out.features.tolist() == [[0.5], [0.0]]


class Residual(nn.Module):
    """A block that is no chain, whose chains are folded all the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.chain = SparseSequential(
            SubmanifoldConv3d(channels, channels, bias=False), nn.BatchNorm1d(channels)
        )
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = self.chain(x) + x
        return out.replace(self.norm(out.features).relu())


def test_chains_in_chains_and_in_modules() -> None:
    x = sparse_tensor(4)
    tail = nn.Sequential(nn.BatchNorm1d(8), nn.Sequential(nn.ReLU()), Residual(8))
    network = SparseSequential(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), SubmanifoldConv3d(4, 8)), tail
    )
    folded = check(trained(network, x.features), x)
    assert kinds(folded[0]) == ["Linear", "BatchNorm1d", "FoldedConv"]
    assert kinds(folded[1]) == ["Identity", "Sequential", "Residual"]
    assert kinds(folded[1][1]) == ["Identity"]
    assert kinds(folded[1][2]) == ["SparseSequential", "BatchNorm1d"]
    assert kinds(folded[1][2].chain) == ["FoldedConv", "Identity"]


def test_shared_layers() -> None:
    """What stands in two places is folded in one and stays in the other, if it has to."""
    x = sparse_tensor(4)
    tail = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())
    conv, norm, relu = SubmanifoldConv3d(4, 4), nn.BatchNorm1d(4), nn.ReLU()
    network = SparseSequential(conv, tail, nn.Linear(4, 4), tail, conv, norm, relu, conv, relu)
    folded = check(trained(network, x.features), x)
    assert kinds(folded[1]) == ["Identity", "Identity"]
    assert kinds(folded[3]) == ["BatchNorm1d", "ReLU"]
    assert torch.equal(folded[7].conv.weight, network[7].weight)
    assert not torch.equal(folded[4].conv.weight, network[7].weight)


class MyNorm(nn.BatchNorm1d):
    pass


def test_what_cannot_be_folded_stays() -> None:
    x = sparse_tensor(4)

    def conv() -> nn.Module:
        return SubmanifoldConv3d(4, 4)

    hooked = nn.BatchNorm1d(4)
    hooked.register_forward_hook(lambda *_: None)
    network = SparseSequential(
        *(conv(), nn.BatchNorm1d(4, track_running_stats=False)),
        *(conv(), MyNorm(4)),
        *(conv(), OnFeatures(nn.BatchNorm1d(4))),
        *(conv(), hooked),
        *(conv(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()),
    )
    folded = check(trained(network, x.features), x)
    assert [type(layer) for layer in folded] == [type(layer) for layer in network]


def test_activation_without_a_norm() -> None:
    x = sparse_tensor(4)
    network = SparseSequential(SubmanifoldConv3d(4, 4, bias=False), nn.LeakyReLU(0.2), nn.ReLU())
    folded = check(network.eval().to(x.features), x)
    assert kinds(folded) == ["FoldedConv", "Identity", "ReLU"]


def small_network(like: Tensor) -> Any:
    layers = [SparseConv3d(16, 8, 3, 2, 1), nn.BatchNorm1d(8), nn.ReLU()]
    return trained(SparseSequential(*layers, SparseInverseConv3d(8, 8, 3), nn.ReLU()), like)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_and_state(device: torch.device, dtype: torch.dtype) -> None:
    x = sparse_tensor(16, device, dtype=torch.float32)
    folded = fold(small_network(x.features))
    want = folded(x).features
    loaded = copy.deepcopy(folded)
    for buffer in loaded.buffers():
        buffer.zero_()
    loaded.load_state_dict(folded.state_dict())
    assert not list(loaded.parameters())
    got = loaded.to(dtype)(x.to(dtype)).features
    assert got.dtype == dtype
    assert_close(got.float(), want, rtol=3e-2, atol=3e-2)
    with torch.autocast(x.device.type, dtype=dtype):
        assert torch.equal(folded(x).features, got)


def test_refuses_training_and_gradients() -> None:
    x = sparse_tensor(16)
    folded = fold(small_network(x.features))
    message = "FoldedConv: is for inference; call it in evaluation mode and under torch.no_grad"
    leaf = x.replace(x.features.clone().requires_grad_())
    with pytest.raises(RuntimeError, match=message):
        folded(leaf)
    with torch.no_grad():
        assert torch.equal(folded(leaf).features, folded(x).features)
    with pytest.raises(RuntimeError, match=message):
        folded.train()(x)


def test_rejects() -> None:
    network = SparseSequential(SubmanifoldConv3d(4, 4), nn.BatchNorm1d(4))
    message = r"fold: `module` must be in evaluation mode, got the network \(SparseSequential\)"
    with pytest.raises(ValueError, match=message):
        fold(network)
    network.eval()[1].train()
    message = r"fold: `module` must be in evaluation mode, got layer 1 \(BatchNorm1d\) in training"
    with pytest.raises(ValueError, match=message):
        fold(network)
    with pytest.raises(TypeError, match=r"fold: `module` must be an nn\.Module, got list"):
        fold([network])  # type: ignore[type-var]


def test_compiles() -> None:
    x = sparse_tensor(16, dtype=torch.float32)
    folded = fold(small_network(x.features))

    def run(features: Tensor, indices: Tensor) -> Tensor:
        out: Tensor = folded(SparseTensor(features, VoxelSet(indices, SHAPES[3], 2))).features
        return out

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    for rows in (len(x), len(x) // 2):
        arguments = (x.features[:rows], x.indices[:rows])
        assert_close(compiled(*arguments), run(*arguments))


def test_repr() -> None:
    x = sparse_tensor(16)
    layer = fold(small_network(x.features))[0]
    assert isinstance(layer, FoldedConv)
    assert "negative_slope=0.0" in repr(layer)
    assert "SparseConv3d(16, 8, kernel_size=(3, 3, 3)" in repr(layer)
