"""Voxelization against `torch.unique`, of packed keys (the reference) and of rows."""

import pytest
import torch
from cases import on_devices
from workloads import POINT_CLOUD_RANGE, SCALES, SPATIAL_SHAPE, scans

from elite_ops import build_kernel_map, voxelize
from elite_ops.reference.voxelize import voxelize as reference


def unique_rows(points, batch_index, *, point_cloud_range, spatial_shape, scales, batch_size):
    """What many code bases do: the cells of the points, then `torch.unique(dim=0)`."""
    minimum, maximum = torch.tensor(point_cloud_range, device=points.device).view(2, 3)
    inside = ((points[:, :3] > minimum) & (points[:, :3] < maximum)).all(dim=1)
    xyz, batch_index = points[inside, :3], batch_index[inside]
    voxels = []
    for scale in scales:
        size = torch.tensor([-(-n // scale) for n in spatial_shape], device=points.device)
        cell = (size * (xyz - minimum) / (maximum - minimum)).long()
        rows = torch.cat([batch_index[:, None], cell.minimum(size - 1)], dim=1)
        voxels.append(torch.unique(rows, dim=0, return_inverse=True, return_counts=True))
    return voxels


def separate_calls(points, batch_index, *, kernel_size, batch_size, **grid):
    """The kernel maps by calls of their own, which look the voxels up again."""
    scales = voxelize(points, batch_index, batch_size=batch_size, **grid)
    for voxels in scales:
        build_kernel_map(
            voxels.indices,
            spatial_shape=voxels.spatial_shape,
            batch_size=batch_size,
            kernel_size=kernel_size,
        )
    return scales


CONTESTANTS = {"elite_ops": voxelize, "unique_keys": reference, "unique_rows": unique_rows}
CASES = [(len(scales), batch) for scales in ((1,), SCALES) for batch in (1, 4)]


@pytest.mark.benchmark(group="voxelization")
@pytest.mark.parametrize("contestant", CONTESTANTS)
@on_devices(("scales", "batch"), CASES)
def bench_voxelize(timed, device, scales, batch, contestant):
    name, points, batch_index = scans(batch)
    points, batch_index = points.to(device), batch_index.to(device)
    arguments = {
        "point_cloud_range": POINT_CLOUD_RANGE,
        "spatial_shape": SPATIAL_SHAPE,
        "scales": SCALES[:scales],
        "batch_size": batch,
    }

    def run():
        return CONTESTANTS[contestant](points, batch_index, **arguments)

    ours = voxelize(points, batch_index, **arguments)
    theirs = run()
    for a, b in zip(ours, theirs, strict=True):
        indices = b[0].int() if contestant == "unique_rows" else b.indices
        assert torch.equal(a.indices, indices)
    outputs = sum(v.indices.nbytes + v.point_rows.nbytes + v.counts.nbytes for v in ours)
    moved = points.nbytes + batch_index.nbytes + outputs
    timed(run, bytes_moved=moved, workload=name, points=len(points))


WITH_MAPS = {"elite_ops": voxelize, "separate_calls": separate_calls, "reference": reference}


@pytest.mark.benchmark(group="voxels and kernel maps of five scales")
@pytest.mark.parametrize("contestant", WITH_MAPS)
@on_devices(("batch",), [(1,), (4,)])
def bench_with_maps(timed, device, batch, contestant):
    name, points, batch_index = scans(batch)
    points, batch_index = points.to(device), batch_index.to(device)

    def run():
        return WITH_MAPS[contestant](
            points,
            batch_index,
            point_cloud_range=POINT_CLOUD_RANGE,
            spatial_shape=SPATIAL_SHAPE,
            scales=SCALES,
            batch_size=batch,
            kernel_size=3,
        )

    voxels = sum(len(scale.indices) for scale in run())
    outputs = voxels * (4 * 4 + 4 + 27 * 4) + len(SCALES) * 4 * len(points)
    moved = points.nbytes + batch_index.nbytes + outputs
    timed(run, bytes_moved=moved, workload=name, points=len(points), voxels=voxels)
