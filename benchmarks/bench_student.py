"""The student on one scan: as defined, as trained, and in its inference form."""

import pytest
import torch
from literal_student import LiteralStudent, OwnParts
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
    fused, literal = student.fused(), LiteralStudent(student, OwnParts())
    forms = {
        "literal": lambda: literal(points, batch_index, 1)[0],
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
    fused = student.fused()
    pyramid = fused.pyramid(points, batch_index, 1)
    parts = {
        "pyramid": lambda: fused.pyramid(points, batch_index, 1),
        "network": lambda: fused.logits(points, pyramid),
    }
    timed(parts[part], **info)


@pytest.mark.benchmark(group="student, points to labels at a fixed capacity")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("room", ["all voxels", "known voxels"])
@torch.no_grad()
def bench_captured(timed, device, dtype, room):
    """With room for as many voxels as points, and for a quarter more than this scan has."""
    student, points, batch_index, info = workload(device)
    fused = student.fused()
    levels = fused.pyramid(points, batch_index, 1).levels
    voxels = [len(level.voxels.indices) for level in levels]
    max_voxels = None if room == "all voxels" else [n * 5 // 4 for n in voxels]
    captured = fused.capture(len(points), dtype=dtype, max_voxels=max_voxels)
    exact = fused(points, batch_index)[0][:, 1:].argmax(dim=1) + 1
    labels = captured(points)
    captured.check()
    valid = captured.valid
    agreement = (labels[valid] == exact[valid]).double().mean().item()
    timed(captured, points, **info, dtype=str(dtype), voxels=voxels, agreement=agreement)


@pytest.mark.benchmark(group="student, four scans in flight")
@pytest.mark.parametrize("objects", [1, 2, 4])
@torch.no_grad()
def bench_in_flight(timed, device, objects):
    """Four scans by several captured students, each on a stream of its own."""
    if device.type != "cuda":
        pytest.skip("not needed: streams are CUDA's")
    student, points, _, info = workload(device)
    fused = student.fused()
    captured = [fused.capture(len(points)) for _ in range(objects)]
    streams = [torch.cuda.Stream() for _ in captured]

    def four_scans():
        begin = torch.cuda.current_stream()
        for stream in streams:
            stream.wait_stream(begin)
        for number in range(4):
            with torch.cuda.stream(streams[number % objects]):
                captured[number % objects](points)
        for stream in streams:
            begin.wait_stream(stream)

    timed(four_scans, **info, scans=4, objects=objects)


@pytest.mark.benchmark(group="student, forward and backward")
def bench_training_step(timed, device):
    student, points, batch_index, info = workload(device)
    student.train()

    def step():
        student.zero_grad()
        student(points, batch_index, 1).logits.square().mean().backward()

    timed(step, **info)
