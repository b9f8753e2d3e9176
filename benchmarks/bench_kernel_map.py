"""The kernel map of a 3 x 3 x 3 submanifold convolution at four scales, by every library."""

import pytest
import torch
from cases import on_devices
from peers import CONTESTANTS
from peers.checked import entered
from submanifold import submanifold
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import build_kernel_map, voxelize
from elite_ops.reference.kernel_map import build_kernel_map as reference

IMPLEMENTATIONS = {"elite_ops": build_kernel_map, "reference": reference}
CASES = [(scale, batch) for scale in (1, 2, 4, 8) for batch in (1, 4)]


@pytest.mark.benchmark(group="kernel map")
@pytest.mark.parametrize("contestant", CONTESTANTS)
@on_devices(("scale", "batch"), CASES)
def bench_build_kernel_map(timed, device, scale, batch, contestant):
    case = submanifold(device, 8, batch, "fp32", scale)
    with entered(contestant, case) as library:
        pairs = library.pairs(library.build_map())
        if pairs not in (None, case.pairs):
            raise AssertionError(f"found {pairs} pairs of {case.pairs}")
        timed(
            library.build_map,
            bytes_moved=case.indices.nbytes * (1 + 27 / 4),
            contestant_version=library.library(),
            workload=case.workload,
            voxels=len(case.indices),
            pairs=case.pairs,
        )


@pytest.mark.benchmark(group="kernel map of shuffled voxels")
@pytest.mark.parametrize("contestant", IMPLEMENTATIONS)
def bench_shuffled(timed, device, contestant):
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device), point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE
    )
    order = torch.randperm(len(voxels.indices), generator=torch.Generator().manual_seed(0))
    indices = voxels.indices[order.to(device)]

    def run():
        return IMPLEMENTATIONS[contestant](indices, spatial_shape=SPATIAL_SHAPE, batch_size=1)

    moved = indices.nbytes + run().in_rows.nbytes
    timed(run, bytes_moved=moved, workload=name, voxels=len(indices))
