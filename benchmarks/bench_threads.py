"""What a second thread of the CPU brings: the same work on one and on two."""

import os

import pytest
import torch
from peers.ours import Ours
from student_forms import build_form
from student_step import TrainingStep
from submanifold import submanifold
from workloads import scan

CPU = torch.device("cpu")


def labelling():
    points, form = scan()[1], build_form("elite_ops", CPU)
    return lambda: form.labels(points)


def forward():
    ours = Ours(submanifold(CPU, 64, 1, "fp32"))
    kernel_map = ours.build_map()
    return ours.without_gradient(lambda: ours.convolve(kernel_map))


def backward():
    ours = Ours(submanifold(CPU, 64, 1, "fp32"))
    out = ours.convolve(ours.build_map())
    return lambda: ours.backward(out)


WORK = {
    "scan to labels": labelling,
    "convolution 64 to 64, forward": forward,
    "convolution 64 to 64, backward": backward,
    "training step": lambda: TrainingStep("elite_ops", CPU, "fp32", batch_size=1),
}


@pytest.fixture
def num_threads(request):
    if request.param > (os.cpu_count() or 1):
        pytest.skip(f"missing: {request.param} cores")
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.benchmark(group="one thread and two")
@pytest.mark.parametrize("num_threads", [1, 2], indirect=True)
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def bench_threads(latency, work, num_threads, device):
    latency(WORK[work](), workload=scan()[0])
