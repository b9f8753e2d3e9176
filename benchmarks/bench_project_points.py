import pytest
import torch
from workloads import scan

from elite_ops import project_points
from elite_ops.reference.project_points import project_points as reference

IMPLEMENTATIONS = {"elite_ops": project_points, "reference": reference}
IMAGE_SIZE = (370, 1226)

# A camera of that size that looks ahead: x forward, y left, z up; focal length 707 pixels.
CAMERA = torch.tensor([[613.0, -707.0, 0.0, 0.0], [185.0, 0.0, -707.0, 0.0], [1.0, 0.0, 0.0, 0.0]])


@pytest.mark.benchmark(group="project_points")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("batch", [1, 4])
def bench_project_points(timed, device, implementation, batch):
    name, points = scan()
    points = points.repeat(batch, 1).to(device)
    batch_index = torch.arange(batch, device=device).repeat_interleave(len(points) // batch)
    cameras = CAMERA.repeat(batch, 1, 1).to(device)
    moved = points.nbytes + batch_index.nbytes + (8 + 1) * len(points)
    timed(
        IMPLEMENTATIONS[implementation],
        *(points, cameras, IMAGE_SIZE, batch_index),
        bytes_moved=moved,
        workload=name,
        points=len(points),
    )
