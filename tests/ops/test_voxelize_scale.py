"""`voxelize` of one scale, whose op returns the same tensors whatever is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_voxelize import RANGE, SHAPE, random_batch, random_points
from torch import Tensor
from torch.library import opcheck

from elite_ops import voxelize


class Columns(torch.nn.Module):
    def forward(self, points: Tensor, batch_index: Tensor) -> tuple[Tensor, ...]:
        (voxels,) = voxelize(points, batch_index, **self.arguments(points))
        in_rows = voxels.submanifold_map(3).in_rows
        return voxels.indices[:, 3], voxels.point_rows, voxels.counts, voxels.num_voxels, in_rows

    def arguments(self, points: Tensor) -> dict[str, Any]:
        return {
            "point_cloud_range": RANGE,
            "spatial_shape": SHAPE,
            "scales": (4,),
            "batch_size": 3,
            "kernel_size": 3,
        }


class PaddedColumns(Columns):
    """As many rows as there are points, of which the valid ones are summed."""

    def forward(self, points: Tensor, batch_index: Tensor) -> tuple[Tensor, ...]:
        column, point_rows, counts, num_voxels, in_rows = super().forward(points, batch_index)
        valid = torch.arange(column.shape[0], device=column.device) < num_voxels
        pairs = ((in_rows >= 0) & valid).sum(1)
        return (column * valid).sum(), point_rows, (counts * valid).sum(), num_voxels, pairs

    def arguments(self, points: Tensor) -> dict[str, Any]:
        return {**super().arguments(points), "capacity": points.shape[0]}


@pytest.mark.parametrize("module", [Columns(), PaddedColumns()])
def test_one_scale_is_exported(device: torch.device, module: Columns) -> None:
    def scene(num_points: int) -> tuple[Tensor, Tensor]:
        return random_points(num_points).to(device), random_batch(num_points).to(device)

    rows = torch.export.Dim("rows", min=2)
    exported = torch.export.export(module, scene(50), dynamic_shapes=({0: rows}, {0: rows}))
    targets = {str(node.target) for node in exported.graph.nodes}
    assert "elite_ops.voxelize_scale.default" in targets
    for num_points in (50, 700):
        got, want = exported.module()(*scene(num_points)), module(*scene(num_points))
        for a, b in zip(got, want, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kernel_size", [None, (3, 1, 3)])
@pytest.mark.parametrize("padded", [False, True])
def test_one_scale_by_itself_equals_the_list_of_it(
    device: torch.device, padded: bool, kernel_size: tuple[int, ...] | None
) -> None:
    scene = random_points(500).to(device), random_batch(500).to(device)
    ops = torch.ops.elite_ops
    size = len(ops.voxelize_scale(*scene, RANGE, SHAPE, 2, 3, True)[0])
    capacity = (size,) if padded else ()
    arguments = (*scene, RANGE, SHAPE, (2,), 3, True, kernel_size or (), capacity)
    *lists, num_voxels, tables = ops.voxelize(*arguments)
    want = [*(tensors[0] for tensors in lists), num_voxels[0]]
    want.append(tables[0] if tables else torch.empty(0, size, dtype=torch.int32, device=device))
    got = ops.voxelize_scale(*scene, RANGE, SHAPE, 2, 3, True, kernel_size, *capacity)
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)


def test_opcheck(device: torch.device) -> None:
    points, batch_index = random_points(100).to(device), random_batch(100).to(device)
    op = torch.ops.elite_ops.voxelize_scale.default
    opcheck(op, (points, batch_index, RANGE, SHAPE, 2, 3, False))
    opcheck(op, (points, None, RANGE, SHAPE, 2, 1, False, (3, 3, 3)))
    size = len(op(points, None, RANGE, SHAPE, 2, 1, False)[0])  # further rows are not defined
    opcheck(op, (points, None, RANGE, SHAPE, 2, 1, False, (1, 3, 5), size))
