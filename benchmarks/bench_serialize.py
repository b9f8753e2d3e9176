"""Codes of a scan's voxels along both curves, and their order, against the definition."""

import pytest
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import build_serialization, serialize, voxelize
from elite_ops.reference.serialize import serialize as reference

IMPLEMENTATIONS = {
    "elite_ops": serialize,
    "reference": reference,
    "and sorted": build_serialization,
}


@pytest.mark.benchmark(group="serialization")
@pytest.mark.parametrize("order", ["z", "hilbert"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_serialize(timed, device, implementation, order):
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device), point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE
    )
    indices = voxels.indices
    timed(
        lambda: IMPLEMENTATIONS[implementation](indices, order=order, depth=16),
        bytes_moved=indices.nbytes + 8 * len(indices),
        workload=name,
        voxels=len(indices),
    )
