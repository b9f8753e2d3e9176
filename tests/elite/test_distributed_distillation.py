"""Two processes distil as one process with the joint batch would, whatever is switched off."""

from pathlib import Path

import pytest
import torch
from conftest import write_scan
from joint_step import ONE_STEP, run_two_processes
from small_distillation import write_images

from elite.config import load_config
from elite.data import DatasetSpec, EpochSampler
from elite.engine.distillation import (
    Distillation,
    DistillationConfig,
    DistillationTask,
    DistillationTerms,
)
from elite.engine.supervised import student_loss
from elite.engine.task import Plan
from elite.engine.train import train
from elite.types import Batch, CameraBatch, StageOutput, StudentOutput
from elite_ops import build_segments

CHANGES = [
    *ONE_STEP,
    "distill.voxel_hidden=8",
    "distill.pixel_hidden=8",
    "teacher.backbone=sam_test",
    "teacher.random_weights=true",
    "camera.height=64",
    "camera.width=256",
    "data.val_split=null",
]
CASES = {
    "all": [],
    "one stage": ["distill.stages=[2]", "distill.multi_stage_weight=0"],
    "images in one process": ["camera.required=false"],
}


class JointTask(DistillationTask):
    """The mean of the losses of the two halves of a batch, as two processes average theirs."""

    def forward(self, batch: Batch) -> DistillationTerms:
        output = self.student(batch.points, batch.batch_index, batch.batch_size)
        maps = self.teacher(batch.camera.images)
        total = self.teacher.regularization()
        zero = torch.zeros(())
        for first in (0, 2):
            half, answer = half_of(batch, output, first)
            own = student_loss(self.loss, answer, half).total
            distilled = self.distiller(answer, [m[first : first + 2] for m in maps], half).total
            total = total + (own + distilled) / 2
        return DistillationTerms(total, *[zero] * 7)


class Joint(Distillation):
    def task(self, plan: Plan) -> JointTask:
        task = super().task(plan)
        return JointTask(task.student, task.loss, task.teacher, task.distiller)


def half_of(batch: Batch, output: StudentOutput, first: int) -> tuple[Batch, StudentOutput]:
    """The scans `first` and `first + 1` of four, and what the student says of them."""
    mine = (batch.batch_index // 2) * 2 == first
    camera = batch.camera
    shown = mine[camera.point_index]
    row = mine.cumsum(0) - 1
    half = Batch(
        batch.points[mine],
        batch.batch_index[mine] - first,
        2,
        batch.names[first : first + 2],
        batch.labels[mine],
        CameraBatch(
            images=camera.images[first : first + 2],
            pixel=camera.pixel[shown],
            point_index=row[camera.point_index[shown]],
            image_index=camera.image_index[shown] - first,
            pseudo_labels=None,
        ),
    )
    stages = [half_of_stage(stage, mine) for stage in output.stages]
    return half, StudentOutput(output.logits[mine], output.valid[mine], stages)


def half_of_stage(stage: StageOutput, mine: torch.Tensor) -> StageOutput:
    """Voxels are sorted by scan: those of a half are neighbours."""
    inverse = stage.segments.inverse[mine]
    inside = inverse >= 0
    first, last = int(inverse[inside].min()), int(inverse[inside].max())
    inverse = torch.where(inside, inverse - first, -1)
    features = stage.features[first : last + 1]
    return StageOutput(features, build_segments(inverse, len(features)))


def changes(folder: Path, case: str) -> list[str]:
    return [*CHANGES, *CASES[case], f"data.roots=[{data_of(folder, case)}]"]


def data_of(folder: Path, case: str) -> Path:
    return folder / ("some_images" if case == "images in one process" else "images")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and what two processes made of it in each case."""
    folder = tmp_path_factory.mktemp("distributed")
    # The scans that come first are those of the first process.
    first = [frame for _, frame in EpochSampler(4, seed=0)][:2]
    for name, shown in (("images", range(4)), ("some_images", first)):
        for frame in range(4):
            write_scan(folder / name, "00", frame, num_points=300 + 100 * frame)
        write_images(folder / name, shown)
    programs: list[str] = []
    for case in CASES:
        command = ["distill", "--output", str(folder / case), "data.batch_size=2"]
        programs += ["elite", *command, *changes(folder, case), "+"]
    run_two_processes(programs)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_gradients_of_the_joint_batch(folder: Path, case: str) -> None:
    config = load_config(DistillationConfig, "elite", [*changes(folder, case), "data.batch_size=4"])
    train(config, folder / f"{case}, joint", recipe=Joint(config))
    one, two = (
        torch.load(folder / name / "last.pt", weights_only=True)["task"]
        for name in (f"{case}, joint", case)
    )
    plan = Plan(DatasetSpec.load("semantic_kitti"), torch.ones(20), total_steps=1)
    begun = Distillation(config).task(plan)
    assert one.keys() == two.keys() == begun.state_dict().keys()
    for name, start in begun.named_parameters():
        if not start.requires_grad:
            continue
        moved = (one[name] - start).abs().max()
        difference = (two[name] - one[name]).abs().max()
        # A ReLU whose input is 0 but for rounding may let a gradient through, or not.
        assert difference <= 1e-5 + 1e-3 * moved, name
