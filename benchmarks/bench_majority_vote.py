import pytest
import torch
from workloads import scan_voxels

from elite_ops import build_segments, majority_vote
from elite_ops.reference.majority_vote import majority_vote as reference

NUM_CLASSES = 20


@pytest.mark.benchmark(group="majority_vote")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize("voxel_size", [0.1, 0.8])
def bench_majority_vote(timed, device, implementation, voxel_size):
    workload, inverse, num_voxels = scan_voxels(voxel_size)
    segments = build_segments(inverse.to(device), num_voxels)
    labels = torch.randint(NUM_CLASSES, inverse.shape).to(device)
    if implementation == "elite_ops":
        call, arguments = majority_vote, (labels, segments, NUM_CLASSES)
    else:
        call, arguments = reference, (labels, segments.inverse, num_voxels, NUM_CLASSES)
    moved = labels.nbytes + inverse.nbytes + 12 * num_voxels
    timed(call, *arguments, bytes_moved=moved, workload=workload, voxels=num_voxels)
