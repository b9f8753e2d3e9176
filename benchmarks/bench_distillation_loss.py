import pytest
import torch
from torch import Tensor
from workloads import scan

from elite_ops import distillation_loss
from elite_ops.reference.distillation_loss import distillation_loss as reference

IMPLEMENTATIONS = {"elite_ops": distillation_loss, "reference": reference}
NUM_CLASSES = 20
VOXEL_SIZES = {1: 0.1, 8: 0.8}  # metres, by scale


@pytest.fixture(params=VOXEL_SIZES)
def workload(request, device):
    """Logits of one scan: the voxels of a scale, and the points that a camera sees."""
    name, points = scan()
    _, index = (
        torch.div(points[:, :3], VOXEL_SIZES[request.param])
        .floor()
        .unique(dim=0, return_inverse=True)
    )
    ahead = (points[:, 0] > 0) & (points[:, 1].abs() < points[:, 0])
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(int(index.max()) + 1, NUM_CLASSES, generator=generator)
    teacher = torch.randn(int(ahead.sum()), NUM_CLASSES, generator=generator)
    index = index[ahead].int()
    return (
        f"{name}, scale {request.param}",
        student.to(device),
        teacher.to(device),
        index.to(device),
    )


@pytest.mark.benchmark(group="distillation_loss")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_forward(timed, workload, implementation):
    name, student, teacher, index = workload
    timed(
        *(IMPLEMENTATIONS[implementation], student, teacher, index),
        bytes_moved=2 * teacher.nbytes + index.nbytes,
        workload=name,
        points=len(teacher),
        voxels=len(student),
    )


@pytest.mark.benchmark(group="distillation_loss forward and backward")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_forward_and_backward(timed, workload, implementation):
    name, student, teacher, index = workload
    student.requires_grad_()

    def step() -> Tensor:
        loss = IMPLEMENTATIONS[implementation](student, teacher, index)
        return torch.autograd.grad(loss, student)[0]

    timed(
        step,
        bytes_moved=3 * teacher.nbytes + 2 * student.nbytes + index.nbytes,
        workload=name,
        points=len(teacher),
        voxels=len(student),
    )
