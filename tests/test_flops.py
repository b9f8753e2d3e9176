"""What the flop counter says of the ops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from elite_ops import (
    KernelMap,
    SparseTensor,
    VoxelSet,
    linear_fused,
    sparse_conv,
    sparse_conv_fused,
    sparse_depthwise_conv,
)
from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.nn import SubmanifoldConv3d

SHAPE = (3, 4, 5)
NUM_CELLS = 2 * 60
# Along an axis of n cells, 3 offsets meet a cell, less one at each end.
NUM_PAIRS = 2 * (3 * 3 - 2) * (3 * 4 - 2) * (3 * 5 - 2)


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def full_grid() -> VoxelSet:
    return VoxelSet(torch.ones(2, *SHAPE).nonzero().int(), SHAPE, 2)


def test_a_full_grid_with_a_kernel_of_one_cell_costs_what_the_dense_convolution_does() -> None:
    x = SparseTensor(torch.randn(NUM_CELLS, 6), full_grid())
    conv = SubmanifoldConv3d(6, 5, 1)
    grid, weight = x.dense().requires_grad_(), conv.torch_weight.detach().requires_grad_()
    leaf = x.replace(x.features.clone().requires_grad_())
    want = flops(lambda: F.conv3d(grid, weight).sum().backward())
    assert want == 3 * 2 * NUM_CELLS * 6 * 5
    assert flops(lambda: conv(leaf).features.sum().backward()) == want
    assert flops(lambda: conv(x)) == want // 3


def test_pairs_that_meet_are_counted() -> None:
    voxels = full_grid()
    kernel_map = voxels.submanifold_map(3)
    features = torch.randn(NUM_CELLS, 6, requires_grad=True)
    weight = torch.randn(27, 6, 5, requires_grad=True)
    one = 2 * NUM_PAIRS * 6 * 5
    assert flops(lambda: sparse_conv(features, weight, kernel_map)) == one
    assert flops(lambda: sparse_conv(features, weight, kernel_map).sum().backward()) == 3 * one
    depthwise = torch.randn(27, 6, requires_grad=True)
    one = 2 * NUM_PAIRS * 6

    def run() -> None:
        sparse_depthwise_conv(features, depthwise, kernel_map).sum().backward()

    assert flops(run) == 3 * one


@pytest.mark.parametrize("num_rows", [None, 7])
def test_fused_convolution(num_rows: int | None) -> None:
    kernel_map = full_grid().submanifold_map(3)
    features, weight = torch.randn(NUM_CELLS, 6), torch.randn(27, 6, 5)
    shortcut = torch.randn(NUM_CELLS, 4), torch.randn(4, 5)
    valid = NUM_CELLS if num_rows is None else num_rows
    count = None if num_rows is None else torch.tensor(num_rows)
    padded = KernelMap(kernel_map.in_rows, NUM_CELLS, kernel_map.geometry, num_rows=count)
    pairs = int((kernel_map.in_rows[:, :valid] >= 0).sum())
    assert (pairs == NUM_PAIRS) == (num_rows is None)

    def run(**other: tuple[Tensor, Tensor]) -> int:
        return flops(lambda: sparse_conv_fused(features, weight, padded, torch.zeros(5), **other))

    assert run() == 2 * pairs * 6 * 5
    assert run(shortcut=shortcut) == 2 * pairs * 6 * 5 + 2 * valid * 4 * 5


def test_linear_map_of_gathered_rows() -> None:
    features, weight = torch.randn(9, 6), torch.randn(6, 5)
    rows = torch.tensor([3, -1, 8, 3], dtype=torch.int32)
    count = torch.tensor(2)
    assert flops(lambda: linear_fused(features, weight)) == 2 * 9 * 6 * 5
    assert flops(lambda: linear_fused(features, weight, rows=rows)) == 2 * 3 * 6 * 5
    assert flops(lambda: linear_fused(features, weight, rows=rows, num_rows=count)) == 2 * 6 * 5
    assert flops(lambda: linear_fused(features, weight, num_rows=count)) == 2 * 2 * 6 * 5


def test_without_data_every_row_meets_every_offset() -> None:
    geometry = KernelGeometry.of_submanifold(3)

    def run(device: str) -> int:
        in_rows = torch.zeros(27, 10, dtype=torch.int32, device=device)
        kernel_map = KernelMap(in_rows, 10, geometry, symmetric=True)
        features = torch.zeros(10, 6, device=device)
        weight = torch.zeros(27, 6, 5, device=device)
        linear = torch.zeros(6, 5, device=device)
        count = torch.zeros((), dtype=torch.int64, device=device)
        return flops(
            lambda: linear_fused(
                sparse_conv(features, weight, kernel_map)[:, :1].expand(-1, 6),
                linear,
                num_rows=count,
            )
        )

    want = 2 * 27 * 10 * 6 * 5 + 2 * 10 * 6 * 5
    assert run("meta") == want
    with FakeTensorMode():
        assert run("cpu") == want
