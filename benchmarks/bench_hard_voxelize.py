"""Hard voxelization against its definition and spconv's PointToVoxel, on grids of detectors."""

import importlib

import pytest
import torch
from cases import on_devices
from peers import load
from peers.checked import excused
from workloads import scan

from elite_ops import hard_voxelize
from elite_ops.reference.hard_voxelize import hard_voxelize as reference

MAX_VOXELS = 60_000
GRIDS = {  # the range and the size of voxels, in metres
    "0.05 m": ((0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.05, 0.05, 0.1)),
    "0.1 m": ((-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), (0.1, 0.1, 0.2)),
    "0.2 m": ((-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), (0.2, 0.2, 0.2)),
    "pillars": ((0.0, -39.68, -3.0, 69.12, 39.68, 1.0), (0.16, 0.16, 4.0)),
}
IMPLEMENTATIONS = {"elite_ops": hard_voxelize, "reference": reference}


class PointToVoxel:
    """spconv's; on the CPU it keeps what comes first, as we do."""

    def __init__(self, device, bounds, voxel_size, max_points):
        self.version = load("spconv").library()
        utils = importlib.import_module("spconv.pytorch.utils")
        self.generator = utils.PointToVoxel(
            voxel_size, bounds, 4, MAX_VOXELS, max_points, device=torch.device(device)
        )

    def __call__(self, points):
        return self.generator(points)


@pytest.mark.benchmark(group="hard voxelization")
@pytest.mark.parametrize("contestant", [*IMPLEMENTATIONS, "spconv"])
@on_devices(("grid", "max_points"), [(grid, t) for grid in GRIDS for t in (5, 32)])
def bench_hard_voxelize(timed, device, grid, max_points, contestant):
    name, points = scan()
    points = points.to(device)
    bounds, voxel_size = GRIDS[grid]
    arguments = {
        "point_cloud_range": bounds,
        "voxel_size": voxel_size,
        "max_points": max_points,
        "max_voxels": MAX_VOXELS,
    }
    ours = hard_voxelize(points, **arguments)
    info = {"workload": name, "grid": grid, "points": len(points), "voxels": len(ours.points)}
    moved = sum(t.nbytes for t in (points, ours.points, ours.indices, ours.counts))
    if contestant in IMPLEMENTATIONS:
        timed(lambda: IMPLEMENTATIONS[contestant](points, **arguments), bytes_moved=moved, **info)
        return
    with excused(contestant):
        theirs = PointToVoxel(device, bounds, voxel_size, max_points)
        voxels, indices, counts = theirs(points)
        if device.type == "cpu":
            assert torch.equal(voxels, ours.points)
            assert torch.equal(indices.flip(1), ours.indices[:, 1:])
            assert torch.equal(counts, ours.counts)
        timed(lambda: theirs(points), bytes_moved=moved, contestant_version=theirs.version, **info)
