import pytest
import torch
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import build_kernel_map, voxelize
from elite_ops.reference.kernel_map import build_kernel_map as reference

IMPLEMENTATIONS = {"elite_ops": build_kernel_map, "reference": reference}


@pytest.mark.benchmark(group="build_kernel_map")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def bench_build_kernel_map(timed, device, implementation, order, scale):
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device),
        point_cloud_range=POINT_CLOUD_RANGE,
        spatial_shape=SPATIAL_SHAPE,
        scales=(scale,),
    )
    indices = voxels.indices
    if order == "shuffled":
        generator = torch.Generator().manual_seed(0)
        indices = indices[torch.randperm(len(indices), generator=generator).to(device)]

    def run():
        return IMPLEMENTATIONS[implementation](
            indices, spatial_shape=voxels.spatial_shape, batch_size=1
        )

    timed(
        run,
        bytes_moved=indices.nbytes + run().neighbors.nbytes,
        workload=name,
        voxels=len(indices),
    )
