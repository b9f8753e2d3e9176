"""Layers on sparse tensors against torch's dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from elite_ops import SparseTensor, voxelize
from elite_ops.nn import SparseSequential, SubmanifoldConv3d

SHAPE = (9, 8, 7)
BATCH_SIZE = 3  # the middle sample is empty


def sparse_tensor(channels: int, dtype: torch.dtype = torch.float32) -> SparseTensor:
    torch.manual_seed(0)
    occupied = torch.rand(BATCH_SIZE, *SHAPE) < 0.2
    occupied[1] = False
    indices = torch.nonzero(occupied).int()
    features = torch.randn(len(indices), channels, dtype=dtype, requires_grad=True)
    return SparseTensor(features, indices, SHAPE, BATCH_SIZE)


def dense_twin(conv: SubmanifoldConv3d) -> nn.Conv3d:
    dense = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        tuple(conv.kernel_size),
        padding="same",
        dilation=conv.dilation,
        bias=conv.bias is not None,
    )
    dense.weight.data.copy_(conv.weight.data.permute(4, 3, 0, 1, 2))
    if conv.bias is not None:
        assert dense.bias is not None
        dense.bias.data.copy_(conv.bias.data)
    return dense


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), ((3, 1, 5), 1), (3, 2)])
def test_equals_dense_convolution(
    kernel_size: int | tuple[int, int, int], dilation: int, bias: bool
) -> None:
    x = sparse_tensor(5)
    conv = SubmanifoldConv3d(5, 7, kernel_size, dilation=dilation, bias=bias)
    twin = dense_twin(conv)
    got = conv(x).features
    batch, i, j, k = x.indices.long().T
    want = twin(x.dense())[batch, :, i, j, k]
    assert_close(got, want, rtol=1e-4, atol=1e-5)
    grad_out = torch.randn_like(got)
    (grad_got,) = torch.autograd.grad(got, x.features, grad_out, retain_graph=True)
    (grad_want,) = torch.autograd.grad(want, x.features, grad_out, retain_graph=True)
    assert_close(grad_got, grad_want, rtol=1e-4, atol=1e-5)
    got.backward(grad_out)
    want.backward(grad_out)
    assert conv.weight.grad is not None
    assert twin.weight.grad is not None
    assert_close(conv.weight.grad, twin.weight.grad.permute(2, 3, 4, 1, 0), rtol=1e-4, atol=1e-4)


def test_initial_weights_are_distributed_as_in_torch() -> None:
    torch.manual_seed(0)
    conv, dense = SubmanifoldConv3d(64, 64), nn.Conv3d(64, 64, 3)
    assert_close(conv.weight.std(), dense.weight.std(), rtol=0.01, atol=0)
    assert_close(conv.weight.abs().max(), dense.weight.abs().max(), rtol=0.01, atol=0)
    assert conv.bias is not None
    assert conv.bias.abs().max() <= dense.weight.abs().max() * 1.01


def test_sequential_applies_plain_layers_to_the_features() -> None:
    x = sparse_tensor(4)
    conv, norm, last = SubmanifoldConv3d(4, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 2)
    chain = SparseSequential(SparseSequential(conv, norm), nn.ReLU(), last)
    out = chain(x)
    assert out.indices is x.indices
    norm.reset_running_stats()
    assert_close(out.features, last(torch.relu(norm(conv(x).features))))


def test_the_kernel_map_is_built_once() -> None:
    x = sparse_tensor(4)
    assert x.replace(x.features * 2).kernel_map(3) is x.kernel_map((3, 3, 3))
    assert x.kernel_map(1) is not x.kernel_map(3)


@pytest.mark.parametrize("kernel_size", [None, 3])
def test_voxels_give_their_kernel_map_to_a_sparse_tensor(kernel_size: int | None) -> None:
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 8
    (voxels,) = voxelize(
        points,
        point_cloud_range=(0, 0, 0, 8, 8, 8),
        spatial_shape=(8, 8, 8),
        kernel_size=kernel_size,
    )
    x = SparseTensor.from_voxels(torch.zeros(len(voxels.indices), 2), voxels, batch_size=1)
    found = x.kernel_map(3)
    assert (found is voxels.kernel_map) == (kernel_size == 3)
    alone = SparseTensor(x.features, voxels.indices, (8, 8, 8), 1)
    assert torch.equal(found.neighbors, alone.kernel_map(3).neighbors)


def test_dense() -> None:
    indices = torch.tensor([[0, 1, 0, 2], [1, 0, 1, 0]], dtype=torch.int32)
    x = SparseTensor(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), indices, (2, 2, 3), 2)
    dense = x.dense()
    assert dense.shape == (2, 2, 2, 2, 3)
    assert dense[0, :, 1, 0, 2].tolist() == [1, 2]
    assert dense[1, :, 0, 1, 0].tolist() == [3, 4]
    assert dense.sum() == 10


def test_rows_must_fit() -> None:
    with pytest.raises(ValueError, match="SparseTensor: `features` must have one row per row"):
        SparseTensor(torch.zeros(3, 2), torch.zeros(2, 4, dtype=torch.int32), SHAPE, 1)


def test_compiles_without_a_graph_break() -> None:
    x = sparse_tensor(4)
    model = SparseSequential(SubmanifoldConv3d(4, 8), nn.ReLU(), SubmanifoldConv3d(8, 3))

    def run(features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = model(SparseTensor(features, indices, SHAPE, BATCH_SIZE)).features
        return out

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x.features, x.indices), run(x.features, x.indices))


def test_repr() -> None:
    text = repr(SubmanifoldConv3d(4, 8, (3, 3, 1)))
    assert text == "SubmanifoldConv3d(4, 8, kernel_size=(3, 3, 1), dilation=1, bias=True)"
