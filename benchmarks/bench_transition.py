import pytest
import torch
from workloads import scan_voxels

from elite_ops import PointTransition, build_segments, build_transition, transition
from elite_ops.reference.transition import transition as reference

CHANNELS = 64
SIZES = [(0.1, 0.23), (0.8, 1.67)]  # metres; cells of the two scales cut each other


def scales(sizes, device):
    """The points of each voxel at both scales."""
    (workload, fine, num_fine), (_, coarse, num_coarse) = (scan_voxels(size) for size in sizes)
    return (
        workload,
        build_segments(fine.to(device), num_fine),
        build_segments(coarse.to(device), num_coarse),
    )


@pytest.mark.benchmark(group="transition: build")
@pytest.mark.parametrize("sizes", SIZES)
def bench_build(timed, device, sizes):
    workload, fine, coarse = scales(sizes, device)
    timed(build_transition, fine, coarse, workload=workload, points=len(fine.inverse))


@pytest.mark.benchmark(group="transition: apply")
@pytest.mark.parametrize("implementation", ["elite_ops", "by points", "reference"])
@pytest.mark.parametrize("sizes", SIZES)
def bench_apply(timed, device, implementation, sizes):
    workload, fine, coarse = scales(sizes, device)
    features = torch.randn(fine.num_segments, CHANNELS, device=device)
    if implementation == "elite_ops":
        call, arguments = transition, (features, build_transition(fine, coarse))
    elif implementation == "by points":
        call, arguments = transition, (features, PointTransition(fine, coarse))
    else:
        call, arguments = (
            reference,
            (features, fine.inverse, coarse.inverse, coarse.num_segments),
        )
    timed(
        call,
        *arguments,
        bytes_moved=4 * CHANNELS * (fine.num_segments + coarse.num_segments),
        workload=workload,
        voxels=(fine.num_segments, coarse.num_segments),
        channels=CHANNELS,
    )
