import pytest
import torch
from workloads import POINT_CLOUD_RANGE, SCALES, SPATIAL_SHAPE, scan

from elite_ops import voxelize
from elite_ops.reference.voxelize import voxelize as reference

IMPLEMENTATIONS = {"elite_ops": voxelize, "reference": reference}


@pytest.mark.benchmark(group="voxelize")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("scales", [(1,), SCALES], ids=["one_scale", "five_scales"])
@pytest.mark.parametrize("batch", [1, 4])
def bench_voxelize(timed, device, implementation, batch, scales):
    name, points = scan()
    num_points = len(points)
    points = points.repeat(batch, 1).to(device)
    batch_index = torch.arange(batch, device=device).repeat_interleave(num_points)

    def run():
        return IMPLEMENTATIONS[implementation](
            points,
            batch_index,
            point_cloud_range=POINT_CLOUD_RANGE,
            spatial_shape=SPATIAL_SHAPE,
            scales=scales,
            batch_size=batch,
        )

    outputs = sum(v.indices.nbytes + v.inverse.nbytes + v.counts.nbytes for v in run())
    timed(
        run,
        bytes_moved=points.nbytes + batch_index.nbytes + outputs,
        workload=name,
        points=len(points),
    )
