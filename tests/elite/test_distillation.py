"""`elite distill`: what a run keeps, resumes, refuses and leaves alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_distillation import small_config, write_images
from stand_in_teacher import StandInTeacher

from elite.config import load_config
from elite.data import DatasetSpec, PseudoLabelManifest, collate
from elite.engine.distillation import Distillation, DistillationConfig, DistillationTask
from elite.engine.run_folder import RunFolder
from elite.engine.supervised import Supervised, new_student
from elite.engine.task import Plan
from elite.engine.train import train
from elite.engine.train_config import DataConfig, TrainConfig
from elite.errors import EliteError
from elite.teacher import TeacherConfig

TERMS = ("cross_entropy", "lovasz", "student_heads", "teacher_heads", "distillation")


@pytest.fixture
def config(dataset: Path) -> DistillationConfig:
    """Images for the training scans only."""
    write_images(dataset)
    return small_config(dataset)


def plan(steps: int = 12) -> Plan:
    return Plan(DatasetSpec.load("semantic_kitti"), torch.ones(20), steps)


def recipe_of(config: DistillationConfig, seed: int = 0, **parts: object) -> Distillation:
    """With a teacher that costs nothing; its frozen weights follow from `seed`."""
    teacher = StandInTeacher(seed, config.distill.teacher_stages or (1, 2, 3, 4))
    return Distillation(config, **{"teacher": teacher, **parts})


def make_task(config: DistillationConfig) -> DistillationTask:
    return recipe_of(config).task(plan())


def batch_of(config: DistillationConfig, *indices: int):
    scans = recipe_of(config).training_scans(DatasetSpec.load("semantic_kitti"))
    return collate([scans[0, index] for index in indices])


def interrupted(config: DistillationConfig, folder: Path, stop_at: int, **parts: object) -> None:
    """A run whose student is interrupted in one of its forward passes in training."""
    student, calls = new_student(config), []

    def count(*_: object) -> None:
        calls.append(None)
        if len(calls) == stop_at:
            raise KeyboardInterrupt

    student.register_forward_pre_hook(count)
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, recipe=recipe_of(config, network=student, **parts))


def assert_same_end(a: Path, b: Path) -> None:
    states = [torch.load(path / "last.pt", weights_only=True)["task"] for path in (a, b)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, states[1][name]), name
    assert RunFolder(a).metrics() == RunFolder(b).metrics()


def test_a_run_records_every_term_and_improves(config: DistillationConfig, tmp_path: Path) -> None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=6))
    result = train(config, tmp_path / "run", recipe=recipe_of(config))
    assert result.steps == 18
    assert result.skipped == 0
    folder = RunFolder(tmp_path / "run")
    assert folder.config(DistillationConfig) == config
    steps = [line for line in folder.metrics() if "loss" in line]
    assert all(np.isfinite(line[name]) and line[name] > 0 for line in steps for name in TERMS)
    assert np.mean([s["loss"] for s in steps[-3:]]) < 0.8 * np.mean([s["loss"] for s in steps[:3]])
    student = load_file(tmp_path / "run/last.safetensors")
    assert student.keys() == new_student(config).state_dict().keys()


@pytest.mark.parametrize("stop_at", [2, 11])
def test_an_interrupted_run_resumes_to_the_bit(
    config: DistillationConfig, tmp_path: Path, stop_at: int
) -> None:
    train(config, tmp_path / "whole", recipe=recipe_of(config))
    interrupted(config, tmp_path / "run", stop_at)
    recipe = recipe_of(config)
    torch.manual_seed(12345)  # another process begins with other random numbers
    train(config, tmp_path / "run", resume=True, recipe=recipe)
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_ranks_and_their_schedule_resume_to_the_bit(
    config: DistillationConfig, tmp_path: Path
) -> None:
    """With the real teacher: AdaLoRA remembers how important each rank was."""
    config = replace(
        config,
        data=replace(config.data, val_split=None),
        teacher=TeacherConfig(backbone="sam_test", random_weights=True),
        optimizer=replace(config.optimizer, epochs=2),
        checkpoint_every=1000,
    )
    train(config, tmp_path / "whole", recipe=Distillation(config))
    interrupted(config, tmp_path / "run", 5, teacher=None)
    train(config, tmp_path / "run", resume=True, recipe=Distillation(config))
    assert_same_end(tmp_path / "run", tmp_path / "whole")
    assert all(line["regularization"] > 0 for line in RunFolder(tmp_path / "run").metrics())


def test_checkpoints_leave_out_the_frozen_encoder(
    config: DistillationConfig, tmp_path: Path
) -> None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=1))
    train(config, tmp_path / "run", recipe=recipe_of(config))
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)["task"]
    task = make_task(config)
    frozen = {f"teacher.{n}" for n, p in task.teacher.named_parameters() if not p.requires_grad}
    trained = {n for n, p in task.named_parameters() if p.requires_grad}
    assert frozen
    assert not frozen & state.keys()
    assert trained <= state.keys()


def test_another_frozen_teacher_is_refused(config: DistillationConfig, tmp_path: Path) -> None:
    interrupted(config, tmp_path / "run", 5)
    other = recipe_of(config, seed=1)
    with pytest.raises(EliteError, match="frozen weights are not those that the run began with"):
        train(config, tmp_path / "run", resume=True, recipe=other)


def test_the_student_begins_and_sees_what_it_does_alone(config: DistillationConfig) -> None:
    """So that two runs differ in the teacher only."""
    alone = Supervised(TrainConfig(data=config.data, student=config.student))
    taught = recipe_of(config)
    for a, b in zip(
        alone.task(plan()).student.parameters(),
        taught.task(plan()).student.parameters(),
        strict=True,
    ):
        assert torch.equal(a, b)
    spec = DatasetSpec.load("semantic_kitti")
    points = [recipe.training_scans(spec)[3, 1].points for recipe in (alone, taught)]
    np.testing.assert_array_equal(*points)


def test_validation_needs_no_image(config: DistillationConfig, tmp_path: Path) -> None:
    assert not (Path(config.data.roots[0]) / "sequences/08/image_2").exists()
    config = replace(config, optimizer=replace(config.optimizer, epochs=1))
    assert train(config, tmp_path / "run", recipe=recipe_of(config)).best_miou is not None


def test_a_missing_image_is_an_error_unless_it_may_be(
    config: DistillationConfig, tmp_path: Path
) -> None:
    shutil.rmtree(Path(config.data.roots[0]) / "sequences/00/image_2")
    with pytest.raises(EliteError, match="no such image"):
        train(config, tmp_path / "strict", recipe=recipe_of(config))
    lenient = replace(config, camera=replace(config.camera, required=False))
    result = train(lenient, tmp_path / "lenient", recipe=recipe_of(lenient))
    assert result.steps == 12


def test_pseudo_labels_of_a_validation_split_are_refused(
    config: DistillationConfig, tmp_path: Path
) -> None:
    spec = DatasetSpec.load("semantic_kitti")
    manifest = PseudoLabelManifest(1, spec.name, "08", ("08",), ("08",), {}, {})
    (tmp_path / "manifest.json").write_text(manifest.dumps())
    config = replace(config, pseudo_labels=str(tmp_path))
    with pytest.raises(EliteError, match="made from sequences 08"):
        recipe_of(config).training_scans(spec)
    allowed = replace(config, held_out_pseudo_labels=True)
    assert recipe_of(allowed).training_scans(spec).scans.pseudo_labels == tmp_path


@pytest.mark.parametrize("case", ["images", "no images", "one stage"])
def test_every_trained_weight_gets_a_gradient(config: DistillationConfig, case: str) -> None:
    """Distributed training waits for all of them."""
    if case == "one stage":
        stages = replace(config.distill, stages=(2,), multi_stage_weight=0.0)
        config = replace(config, distill=stages)
    task, batch = make_task(config), batch_of(config, 0, 1)
    if case == "no images":
        batch.camera = None
    task(batch).total.backward()
    trained = {n: p.grad for n, p in task.named_parameters() if p.requires_grad}
    assert [n for n, gradient in trained.items() if gradient is None] == []
    if case != "no images":  # and none is there in vain
        assert [n for n, gradient in trained.items() if not gradient.any()] == []
    assert all(p.grad is None for p in task.parameters() if not p.requires_grad)


def test_the_teachers_turn_comes_between_step_and_zeroing(
    config: DistillationConfig, tmp_path: Path
) -> None:
    """AdaLoRA's allocator reads the gradients, and drops values that the step would bring back."""
    recipe = recipe_of(config)
    train(config, tmp_path / "run", recipe=recipe)
    assert recipe.teacher.steps == [(step, True, True, True) for step in range(1, 13)]


def test_the_teachers_learning_rate_is_scaled(config: DistillationConfig) -> None:
    task = make_task(replace(config, teacher_lr_scale=0.1))
    others, teacher = task.parameter_groups()
    assert teacher["lr_scale"] == 0.1
    both = {id(p) for group in (others, teacher) for p in group["params"]}
    assert both == {id(p) for p in task.parameters() if p.requires_grad}
    assert {id(p) for p in teacher["params"]} <= {id(p) for p in task.teacher.parameters()}


def test_the_shipped_configuration_is_the_default() -> None:
    shipped = load_config(DistillationConfig, "elite", ["data.roots=[a]"])
    assert shipped == DistillationConfig(data=DataConfig(roots=("a",)))
