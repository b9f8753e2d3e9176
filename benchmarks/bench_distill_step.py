"""One step of `elite distill`: ViT-B with AdaLoRA, random weights, a real frame or the street's.

Forward and backward pass, clipping, the optimizer, the ranks; reading the frame is not part of it.
`plain` is the same step from the formulas: attention with all its logits in memory, teacher maps
resized to the image, every pixel's hidden features kept, the student by torch.unique and gathers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from bench_teacher import plain_attention
from step_cost import measure_step
from torch.testing import assert_close
from workloads import DATA, POINT_CLOUD_RANGE, SCALES

from elite.data import CameraConfig, DatasetSpec, class_weights, collate
from elite.data.street import simulate
from elite.engine.distillation import Distillation, DistillationConfig, DistillationTask
from elite.engine.task import Plan
from elite.engine.train_config import DataConfig
from elite.student import Student
from elite.teacher import TeacherConfig
from elite.teacher.attention import RelativeAttention
from elite.types import Batch, StageOutput, StudentOutput
from elite_ops import build_segments
from tests.elite.plain_distill import plain_distillation, plain_segmentation_loss
from tests.elite.plain_student import plain_student, plain_voxels, random_reference_checkpoint

REAL_FRAME = DATA / "kitti"


def workload(teacher: TeacherConfig, camera: CameraConfig) -> tuple[str, DistillationTask, Batch]:
    """The task as `elite distill` makes it, and a batch of one augmented scan with its image."""
    name, root, split = "KITTI 90/000000", REAL_FRAME, "90"
    if not root.is_dir():
        name, root, split = "synthetic street", Path(mkdtemp()), "00"
        simulate(root, sequences={"00": 1})
    data = DataConfig(roots=(str(root),), train_split=split)
    spec = DatasetSpec.load("semantic_kitti")
    config = DistillationConfig(data=data, teacher=teacher, camera=camera)
    # Both variants begin with the authors' weights, here random ones.
    student = Student.from_reference_checkpoint(random_reference_checkpoint(0))
    recipe = Distillation(config, network=student)
    plan = Plan(spec, torch.from_numpy(class_weights(spec.counts)), total_steps=1000)
    return name, recipe.task(plan).train(), collate([recipe.training_scans(spec)[0, 0]])


class PlainStep:
    """The loss of a task from the formulas, with the weights of its teacher and its heads."""

    def __init__(self, task: DistillationTask) -> None:
        self.task = task
        state = random_reference_checkpoint(0)
        device = next(task.parameters()).device
        self.state = {
            k: v.to(device, copy=True).requires_grad_(v.is_floating_point())
            for k, v in state.items()
        }

    def loss(self, batch: Batch) -> torch.Tensor:
        task = self.task
        output = self._student(batch)
        own = plain_segmentation_loss(
            output.logits,
            batch.labels.where(output.valid, 0),
            task.loss.class_weights,
            task.loss.lovasz_weight,
        )
        maps = task.teacher(batch.camera.images)
        terms = plain_distillation(task.distiller, output, maps, batch)
        return own + terms["total"] + task.teacher.regularization()

    def parameters(self) -> list[torch.Tensor]:
        parts = (self.task.teacher, self.task.distiller)
        trained = [p for part in parts for p in part.parameters() if p.requires_grad]
        return [*trained, *(v for v in self.state.values() if v.requires_grad)]

    def _student(self, batch: Batch) -> StudentOutput:
        bounds = batch.points.new_tensor(POINT_CLOUD_RANGE)
        xyz = batch.points[:, :3]
        valid = ((xyz > bounds[:3]) & (xyz < bounds[3:])).all(dim=1)
        points, batch_index = batch.points[valid], batch.batch_index[valid]
        inner, features = plain_student(points, batch_index, self.state, training=True)
        logits = inner.new_zeros(len(valid), inner.shape[1]).index_put((valid,), inner)
        stages = []
        for scale, stage in zip(SCALES, features, strict=False):  # the fifth scale has no stage
            inverse = torch.full((len(valid),), -1, dtype=torch.int32, device=valid.device)
            inverse[valid] = plain_voxels(points, batch_index, scale)[1].int()
            stages.append(StageOutput(stage, build_segments(inverse, len(stage))))
        return StudentOutput(logits, valid, stages)


@pytest.mark.benchmark(group="one step of distillation")
@pytest.mark.parametrize("labels", ["points", "dense"])
@pytest.mark.parametrize("variant", ["float32", "bfloat16", "plain"])
def bench_distillation_step(
    benchmark: Any,
    variant: str,
    labels: str,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, task, batch = workload(TeacherConfig(random_weights=True), CameraConfig())
    if labels == "dense":
        shape = batch.camera.images[:, 0].shape
        batch = replace(
            batch, camera=replace(batch.camera, pseudo_labels=torch.randint(1, 20, shape))
        )
    task, batch = task.to(device), batch.to(device)
    parameters = [p for p in task.parameters() if p.requires_grad]
    plain = PlainStep(task)
    if variant == "plain":
        monkeypatch.setattr(RelativeAttention, "forward", plain_attention)
        parameters = plain.parameters()
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=variant == "bfloat16"):
            loss = plain.loss(batch) if variant == "plain" else task(batch).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        task.teacher.after_step(1, updated=True)
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    benchmark.extra_info.update(workload=name, points=len(batch.points))
    benchmark.extra_info.update(projected_points=len(batch.camera.pixel))
    measure_step(benchmark, step, device)


def test_the_plain_step_has_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    small = TeacherConfig("sam_test", random_weights=True)
    _, task, batch = workload(small, CameraConfig(height=64, width=256))
    with torch.no_grad():
        loss = task(batch).total
        monkeypatch.setattr(RelativeAttention, "forward", plain_attention)
        assert_close(PlainStep(task).loss(batch), loss, rtol=1e-4, atol=1e-4)
