"""Chains of sparse and plain layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet
from elite_ops.nn import OnFeatures, SparseConv3d, SparseSequential, SubmanifoldConv3d


def sparse_tensor(channels: int, num_voxels: int = 40) -> SparseTensor:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(6 * 6 * 6, generator=generator)[:num_voxels]
    indices = torch.stack([cells * 0, cells // 36, cells // 6 % 6, cells % 6], 1).int()
    features = torch.randn(num_voxels, channels, generator=generator)
    return SparseTensor(features, VoxelSet(indices, (6, 6, 6), 1))


def test_plain_layers_act_on_the_features() -> None:
    x = sparse_tensor(4)
    conv, norm, last = SubmanifoldConv3d(4, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 2)
    chain = SparseSequential(SparseSequential(conv, norm), nn.ReLU(), last)
    out = chain(x)
    assert out.voxels is x.voxels
    norm.reset_running_stats()
    assert_close(out.features, last(torch.relu(norm(conv(x).features))))


def test_a_layer_may_stand_in_several_places() -> None:
    x = sparse_tensor(4)
    linear, relu = nn.Linear(4, 4), nn.ReLU()
    got = SparseSequential(linear, relu, nn.Sequential(linear, relu, linear, relu), linear)(x)
    want = x.features
    for _ in range(3):
        want = relu(linear(want))
    assert torch.equal(got.features, linear(want))


class Residual(nn.Module):
    """A block that is no SparseModule."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SubmanifoldConv3d(channels, channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.conv(x) + x


class MyNorm(nn.LayerNorm):
    pass


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(x, 2)


def test_any_module_that_takes_a_sparse_tensor_gets_one() -> None:
    x = sparse_tensor(4)
    block = Residual(4)
    assert_close(SparseSequential(block)(x).features, block(x).features)


def test_plain_chains_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sparse_tensor(4)
    block, norm = Residual(4), MyNorm(4)
    chain = SparseSequential(nn.Sequential(block, norm, nn.Sequential(nn.ReLU(), nn.Linear(4, 2))))
    got = chain(x)
    want = chain[0][2](norm(block(x).features))
    assert_close(got.features, want)


def test_compiled_layers_inside() -> None:
    x = sparse_tensor(4)
    block, plain = Residual(4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
    compiled = [torch.compile(module, backend="aot_eager") for module in (block, plain)]
    assert_close(
        SparseSequential(*compiled)(x).features, SparseSequential(block, plain)(x).features
    )


def test_own_modules_of_plain_tensors_are_wrapped() -> None:
    x = sparse_tensor(4)
    assert torch.equal(SparseSequential(OnFeatures(Doubled()))(x).features, x.features * 2)
    with pytest.raises(TypeError, match=r"SparseSequential: layer 1 \(Doubled\) .*OnFeatures"):
        SparseSequential(nn.ReLU(), Doubled())(x)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_compiles_for_any_number_of_voxels(training: bool, affine: bool) -> None:
    """Outputs of a strided convolution are counted by the device: a compiler can't know them."""
    norm = nn.BatchNorm1d(8, affine=affine)
    network = SparseSequential(
        SparseConv3d(4, 8, 3, 2, 1, bias=False), norm, nn.ReLU(), nn.Linear(8, 3)
    )
    network(sparse_tensor(4))  # leaves statistics
    network.train(training)

    def run(features: Tensor, indices: Tensor) -> Tensor:
        out: Tensor = network(SparseTensor(features, VoxelSet(indices, (6, 6, 6), 1))).features
        return out

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_voxels in (40, 60) if training else (40, 60, 0):
        x = sparse_tensor(4, num_voxels)
        arguments: Any = (x.features, x.indices)
        if training:
            norm.reset_running_stats()
        parameters = list(network.parameters())
        got, want = compiled(*arguments), run(*arguments)
        assert_close(got, want)
        gradients = [torch.autograd.grad(out.square().sum(), parameters) for out in (got, want)]
        assert_close(*gradients)


def test_compiled_batch_norm_keeps_its_hooks() -> None:
    chain = SparseSequential(nn.BatchNorm1d(4)).eval()
    chain[0].register_forward_hook(lambda module, inputs, out: 2 * out)
    x = sparse_tensor(4)

    def run(features: Tensor) -> Tensor:
        out: Tensor = chain(x.replace(features)).features
        return out

    assert_close(torch.compile(run, backend="aot_eager")(x.features), run(x.features))
