import pytest
from workloads import scan_voxels

from elite_ops import build_segments
from elite_ops.reference.segments import build_segments as reference

IMPLEMENTATIONS = {"elite_ops": build_segments, "reference": reference}


@pytest.mark.benchmark(group="build_segments")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("voxel_size", [0.1, 0.8])
def bench_build_segments(timed, device, implementation, voxel_size):
    name, inverse, num_voxels = scan_voxels(voxel_size)
    moved = 2 * inverse.nbytes + 4 * num_voxels
    timed(
        IMPLEMENTATIONS[implementation],
        *(inverse.to(device), num_voxels),
        bytes_moved=moved,
        workload=name,
        points=len(inverse),
        voxels=num_voxels,
    )
