import pytest
from workloads import POINT_CLOUD_RANGE, SCALES, SPATIAL_SHAPE, scan, scan_voxels

from elite_ops import build_all_segments, build_segments, intersect_segments, voxelize
from elite_ops.reference import segments as reference

IMPLEMENTATIONS = {"elite_ops": build_segments, "reference": reference.build_segments}


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


def grids_of_scan(device, scales, halved=()):
    """What was scanned, then of each scale and each halved grid: rows to voxels, and how many."""
    name, points = scan()
    voxels = voxelize(
        points.to(device),
        point_cloud_range=POINT_CLOUD_RANGE,
        spatial_shape=SPATIAL_SHAPE,
        scales=scales,
        halved=halved,
    )
    grids = [*voxels, *(v.halved for v in voxels if v.halved is not None)]
    return name, [g.inverse for g in grids], [len(g.indices) for g in grids]


def one_by_one(inverse, num_segments):
    return list(map(build_segments, inverse, num_segments))


@pytest.mark.benchmark(group="segments of five scales and four halved grids")
@pytest.mark.parametrize("form", [build_all_segments, one_by_one], ids=lambda f: f.__name__)
def bench_build_all_segments(timed, device, form):
    name, inverse, num_segments = grids_of_scan(device, SCALES, halved=SCALES[:-1])
    moved = 2 * sum(i.nbytes for i in inverse) + 4 * sum(num_segments)
    points = len(inverse[0])
    timed(form, inverse, num_segments, bytes_moved=moved, workload=name, points=points)


@pytest.mark.benchmark(group="points that share the voxels of four scales")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
def bench_intersect_segments(timed, device, implementation):
    name, inverse, num_segments = grids_of_scan(device, SCALES[1:])
    segments = build_all_segments(inverse, num_segments)
    if implementation == "elite_ops":
        call, argument = intersect_segments, segments
    else:
        call, argument = reference.intersect_segments, inverse
    moved = sum(i.nbytes for i in inverse) + 2 * inverse[0].nbytes
    timed(call, argument, bytes_moved=moved, workload=name, points=len(inverse[0]))
