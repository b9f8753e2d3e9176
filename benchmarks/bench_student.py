"""The student on one scan: as defined, as trained, and in its inference form."""

import pytest
import torch
from literal_student import literal_student
from torch.testing import assert_close
from workloads import scan

from elite.student import Student


def workload(device):
    name, points = scan()
    torch.manual_seed(0)
    student = Student().to(device).eval()
    points = points.to(device)
    batch_index = torch.zeros(len(points), dtype=torch.int64, device=device)
    return student, points, batch_index, {"workload": name, "points": len(points)}


@pytest.mark.benchmark(group="student, points to logits")
@pytest.mark.parametrize("form", ["literal", "network", "fused"])
@torch.no_grad()
def bench_forms(timed, device, form):
    student, points, batch_index, info = workload(device)
    fused = student.fused()
    forms = {
        "literal": lambda: literal_student(student, points, batch_index),
        "network": lambda: student(points, batch_index, 1).logits,
        "fused": lambda: fused(points, batch_index)[0],
    }
    logits = timed(forms[form], **info)
    out = student(points, batch_index, 1)
    assert_close(logits[out.valid], out.logits[out.valid], atol=1e-4, rtol=1e-4)


@pytest.mark.benchmark(group="student, parts of the fused form")
@pytest.mark.parametrize("part", ["pyramid", "network"])
@torch.no_grad()
def bench_parts(timed, device, part):
    student, points, batch_index, info = workload(device)
    fused, pyramid = student.fused(), student.pyramid(points, batch_index, 1)
    parts = {
        "pyramid": lambda: student.pyramid(points, batch_index, 1),
        "network": lambda: fused.logits(points, pyramid),
    }
    timed(parts[part], **info)


@pytest.mark.benchmark(group="student, forward and backward")
def bench_training_step(timed, device):
    student, points, batch_index, info = workload(device)
    student.train()

    def step():
        student.zero_grad()
        student(points, batch_index, 1).logits.square().mean().backward()

    timed(step, **info)
