"""Pooling layers against torch's dense ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet
from elite_ops.nn import (
    GlobalAvgPool,
    GlobalMaxPool,
    SparseAvgPool2d,
    SparseAvgPool3d,
    SparseInverseConv3d,
    SparseMaxPool2d,
    SparseMaxPool3d,
)

SHAPES = {2: (9, 12), 3: (9, 8, 7)}
BATCH_SIZE = 3  # the middle sample is empty
POOLS: list[tuple[Any, Any, Any]] = [  # kernel, stride, padding
    (2, None, 0),
    (3, 2, 1),
    (3, 1, 1),
    ((1, 3, 2), (2, 1, 2), (0, 1, 1)),
    (1, 2, 0),
]


def sparse_tensor(num_axes: int, device: torch.device) -> SparseTensor:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(BATCH_SIZE, *SHAPES[num_axes], generator=generator) < 0.2
    occupied[1] = False
    indices = torch.nonzero(occupied).int().to(device)
    features = torch.randn(len(indices), 5, generator=generator, dtype=torch.float64).to(device)
    return SparseTensor(features.requires_grad_(), VoxelSet(indices, SHAPES[num_axes], BATCH_SIZE))


def at_voxels(dense: Tensor, x: SparseTensor) -> Tensor:
    return dense.movedim(1, -1)[tuple(x.indices.long().unbind(1))]


def flat(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else value[1:]


def dense_max(x: SparseTensor, kernel: Any, stride: Any, padding: Any) -> Tensor:
    """Empty cells are minus infinity."""
    empty = x.replace(torch.ones_like(x.features[:, :1])).dense() == 0
    grid = x.dense().masked_fill(empty, -torch.inf)
    pool = F.max_pool3d if x.voxels.num_axes == 3 else F.max_pool2d
    return pool(grid, kernel, stride, padding)


def dense_avg(x: SparseTensor, kernel: Any, stride: Any, padding: Any) -> Tensor:
    """Sums over the number of voxels."""
    pool = F.avg_pool3d if x.voxels.num_axes == 3 else F.avg_pool2d
    ones = x.replace(torch.ones_like(x.features[:, :1])).dense()
    return pool(x.dense(), kernel, stride, padding) / pool(ones, kernel, stride, padding)


@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
@pytest.mark.parametrize(
    ("layers", "dense"),
    [
        ({2: SparseMaxPool2d, 3: SparseMaxPool3d}, dense_max),
        ({2: SparseAvgPool2d, 3: SparseAvgPool3d}, dense_avg),
    ],
)
@pytest.mark.parametrize("num_axes", [2, 3])
def test_equals_dense_pooling(
    device: torch.device,
    num_axes: int,
    layers: Any,
    dense: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
) -> None:
    if num_axes == 2:
        kernel, stride, padding = flat(kernel), flat(stride), flat(padding)
    x = sparse_tensor(num_axes, device)
    out = layers[num_axes](kernel, stride, padding)(x)
    want = at_voxels(dense(x, kernel, stride, padding), out)
    assert len(out) > 0
    assert_close(out.features, want)
    grad_out = torch.randn_like(want)
    (got,) = torch.autograd.grad(out.features, x.features, grad_out)
    (wanted,) = torch.autograd.grad(want, x.features, grad_out)
    assert_close(got, wanted)


def test_maxima_of_negative_features_are_negative(device: torch.device) -> None:
    x = sparse_tensor(3, device)
    assert (SparseMaxPool3d(2)(x.replace(-x.features.abs())).features < 0).all()


def test_an_inverse_convolution_leads_back(device: torch.device) -> None:
    x = sparse_tensor(3, device)
    coarse = SparseMaxPool3d(2)(x)
    assert SparseInverseConv3d(5, 2, 2).to(x.features)(coarse).voxels is x.voxels


def test_global_pooling(device: torch.device) -> None:
    for num_axes in (2, 3):
        x = sparse_tensor(num_axes, device)
        for layer, reduce in ((GlobalMaxPool(), Tensor.amax), (GlobalAvgPool(), Tensor.mean)):
            got = layer(x)
            for sample in range(BATCH_SIZE):
                rows = x.features[x.indices[:, 0] == sample]
                want = reduce(rows, dim=0) if len(rows) else torch.zeros_like(got[0])
                assert_close(got[sample], want)


def test_few_voxels(device: torch.device) -> None:
    for indices in (torch.zeros(0, 4), torch.ones(1, 4)):
        voxels = VoxelSet(indices.int().to(device), (4, 4, 4), 2)
        x = SparseTensor(torch.ones(len(indices), 3, device=device), voxels)
        for layer in (SparseMaxPool3d(2), SparseAvgPool3d(3, 2, 1)):
            assert layer(x).features.eq(1).all()
        assert GlobalMaxPool()(x).sum() == 3 * len(indices)


def test_constructors_reject() -> None:
    with pytest.raises(ValueError, match="SparseMaxPool3d: `kernel_size` must be between 1 and 7"):
        SparseMaxPool3d(8)
    assert repr(SparseAvgPool2d(2)).startswith("SparseAvgPool2d(kernel_size=(2, 2), stride=(2, 2)")
