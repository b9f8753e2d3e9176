import pytest
import torch
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import build_segments, encode_voxels, voxelize
from elite_ops.reference.encode_voxels import encode_voxels as reference


@pytest.mark.benchmark(group="encode_voxels")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
def bench_encode_voxels(timed, device, implementation):
    """Ten features a point, as in the student."""
    name, points = scan()
    points = points.to(device)
    (voxels,) = voxelize(points, point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE)
    segments = build_segments(voxels.point_rows, len(voxels.indices))
    weight, bias = torch.randn(10, 64, device=device), torch.randn(64, device=device)
    call = {"elite_ops": encode_voxels, "reference": reference}[implementation]
    grid = {"voxel_size": (0.1, 0.1, 0.1), "origin": POINT_CLOUD_RANGE[:3]}
    timed(
        lambda: call(points, segments, voxels.indices, weight, bias, **grid),
        flop=2.0 * int(voxels.counts.sum()) * weight.numel(),
        bytes_moved=points.nbytes + segments.order.nbytes + len(voxels.indices) * (16 + 4 * 64),
        workload=name,
        voxels=len(voxels.indices),
    )
