import pytest
import torch
from workloads import scan_voxels

from elite_ops import build_segments, voxel_to_point
from elite_ops.reference.voxel_to_point import voxel_to_point as reference


@pytest.mark.benchmark(group="voxel_to_point")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize("channels", [20, 64, 128])
def bench_voxel_to_point(timed, device, implementation, channels):
    workload, inverse, num_voxels = scan_voxels(voxel_size=0.1)
    segments = build_segments(inverse.to(device), num_voxels)
    features = torch.randn(num_voxels, channels, device=device)
    call, points = {
        "elite_ops": (voxel_to_point, segments),
        "reference": (reference, segments.inverse),
    }[implementation]
    moved = features.nbytes + inverse.nbytes + 4 * len(inverse) * channels
    timed(
        call,
        *(features, points),
        bytes_moved=moved,
        workload=workload,
        voxels=num_voxels,
        channels=channels,
    )
