"""Features of a scan's voxels read at its points, against the definition."""

import pytest
import torch
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import devoxelize, voxelize
from elite_ops.reference.devoxelize import devoxelize as reference

IMPLEMENTATIONS = {"elite_ops": devoxelize, "reference": reference}


@pytest.mark.benchmark(group="devoxelize")
@pytest.mark.parametrize("mode", ["trilinear", "nearest"])
@pytest.mark.parametrize("channels", [32, 96])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_devoxelize(timed, device, implementation, channels, mode):
    name, points = scan()
    points = points.to(device)
    (voxels,) = voxelize(points, point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE)
    features = torch.randn(len(voxels), channels, device=device)
    grid = {"point_cloud_range": POINT_CLOUD_RANGE, "mode": mode}
    corners = 8 if mode == "trilinear" else 1
    # Points, rows and weights written and read, features once, and the result.
    moved = points.nbytes + (16 * corners + 4 * channels) * len(points) + features.nbytes
    timed(
        lambda: IMPLEMENTATIONS[implementation](features, voxels, points, **grid),
        bytes_moved=moved,
        workload=name,
        voxels=len(voxels),
        channels=channels,
    )
