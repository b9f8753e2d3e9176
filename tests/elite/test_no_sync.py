"""Once the voxels are counted, a training step waits for nothing that the device computes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils import _pytree as pytree

from elite.data.street import Street
from elite.losses import SegmentationLoss
from elite.student import Student
from elite_ops import VoxelSet, intersect_segments

NEEDS_A_VALUE = (DataDependentOutputException, DynamicOutputShapeException)


def without_values(thing: Any) -> Any:
    """The same with tensors of no content, on no device: as little as the host knows of a GPU's."""
    if isinstance(thing, torch.Tensor):
        return torch.empty(thing.shape, dtype=thing.dtype, device="meta")
    if isinstance(thing, VoxelSet):  # its maps are built again
        return pytree.tree_map_only(torch.Tensor, without_values, thing)
    if isinstance(thing, list):
        return [without_values(item) for item in thing]
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {f.name: without_values(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
        return type(thing)(**fields)
    return thing


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, Any]:
    """Points of two scans, and their pyramid."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # unknown on no device
    scans = [torch.from_numpy(Street(0).frame(i).points[::50]) for i in range(2)]
    batch_index = torch.arange(2).repeat_interleave(torch.tensor([len(s) for s in scans]))
    points = torch.cat(scans)
    return points, Student().pyramid(points, batch_index, 2)


def test_forward_and_backward_need_no_value(case: tuple[torch.Tensor, Any]) -> None:
    student, loss = Student().train().to("meta"), SegmentationLoss(torch.ones(20)).to("meta")
    with FakeTensorMode(allow_non_fake_inputs=True):
        points, pyramid = without_values(list(case))
        labels = torch.empty(len(points), dtype=torch.int64, device="meta")
        stages, outputs = student.encode(points, pyramid)
        logits = student.head(outputs, pyramid.levels[1:])
        loss(logits, labels).total.backward()
    assert len(stages) == 4
    assert all(p.grad is not None for p in student.parameters())


def test_the_check_notices_who_needs_one(case: tuple[torch.Tensor, Any]) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        points, pyramid = without_values(list(case))
        with pytest.raises(NEEDS_A_VALUE):
            bool(torch.isfinite(points).all())
        with pytest.raises(NEEDS_A_VALUE):
            intersect_segments([level.points for level in pyramid.levels[1:]])


@pytest.mark.gpu
def test_a_gpu_does_not_wait() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    points = torch.from_numpy(Street(0).frame(0).points).cuda()
    labels = torch.randint(0, 20, (len(points),), device="cuda")
    student, loss = Student().train().cuda(), SegmentationLoss(torch.ones(20)).cuda()
    pyramid = student.pyramid(points, torch.zeros_like(labels), 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, outputs = student.encode(points, pyramid)
        loss(student.head(outputs, pyramid.levels[1:]), labels).total.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
