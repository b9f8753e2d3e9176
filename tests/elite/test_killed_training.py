"""A training that is killed at any moment and resumed ends as if nothing had happened.

ELITE_KILLS says how many times it is killed; a few by default.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_distillation import small_config, write_images
from stand_in import StandIn
from torch.utils._pytree import tree_flatten

from elite.data import AugmentationConfig
from elite.engine.distillation import Distillation, DistillationConfig
from elite.engine.run_folder import RunFolder
from elite.engine.supervised import Supervised
from elite.engine.task import Plan, Recipe
from elite.engine.train import train
from elite.engine.train_config import DataConfig, OptimizerConfig, TrainConfig
from elite.teacher import TeacherConfig

KILLS = int(os.environ.get("ELITE_KILLS", "3"))
SCANS = 3


@dataclass(frozen=True)
class Case:
    """A kind of training.

    Attributes:
        config: with a checkpoint after each step, so that much of the time is spent in writing.
        steps: between two kills.
        delay: seconds that about two steps take; in a slower training it only dies earlier.
    """

    config: TrainConfig
    steps: int
    delay: float


def student(dataset: Path) -> Case:
    config = TrainConfig(
        data=DataConfig(roots=(str(dataset),), batch_size=1, num_workers=0),
        augmentation=AugmentationConfig(translation=0.01),
        optimizer=OptimizerConfig(lr=0.2, ema_decay=0.9),
        checkpoint_every=1,
        log_every=1,
    )
    return Case(config, steps=9, delay=0.05)


def student_and_teacher(dataset: Path) -> Case:
    """With an encoder that AdaLoRA adapts: its ranks fall on the way."""
    write_images(dataset)
    config = small_config(dataset)
    teacher = TeacherConfig("sam_test", random_weights=True)
    config = replace(config, teacher=teacher, data=replace(config.data, val_split=None))
    return Case(replace(config, checkpoint_every=1), steps=3, delay=0.6)


def start_or_resume(config: TrainConfig, folder: Path, last: int | None = None) -> None:
    """Trains to the end, or until it is killed: it goes no further than a step after `last`."""
    torch.set_num_threads(1)  # enough for networks as small as these
    resume = RunFolder(folder).state_path.exists()
    taught = isinstance(config, DistillationConfig)
    recipe = Distillation(config) if taught else Supervised(config, StandIn())
    if last is not None:
        wait_behind(last, recipe, folder)
    train(config, folder, recipe=recipe, resume=resume)


def wait_behind(step: int, recipe: Recipe, folder: Path) -> None:
    """However late the signal comes that kills the training, it is not over before."""
    make = recipe.task

    def wait(*_: object) -> None:
        if is_recorded(step, folder):
            signal.pause()

    def task(plan: Plan) -> torch.nn.Module:
        made = make(plan)
        made.register_forward_pre_hook(wait)
        return made

    recipe.task = task


def is_recorded(step: int, folder: Path) -> bool:
    record = folder / "metrics.jsonl"
    return record.exists() and f'"step": {step},' in record.read_text()


def train_and_kill(config: TrainConfig, folder: Path, step: int, last: int, delay: float) -> int:
    """Trains in another process, killed without warning `delay` seconds after `step`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["elite.engine.train", "elite.engine.distillation", "stand_in"])
    process = context.Process(target=start_or_resume, args=(config, folder, last))
    process.start()
    while process.is_alive() and not is_recorded(step, folder):
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parametrize("kind", [student, student_and_teacher])
def test_a_killed_training_ends_as_an_undisturbed_one(
    kind: Callable[[Path], Case], dataset: Path, tmp_path: Path, one_thread: None
) -> None:
    case = kind(dataset)
    epochs = case.steps * (KILLS + 1) // SCANS
    config = replace(case.config, optimizer=replace(case.config.optimizer, epochs=epochs))
    whole, run = tmp_path / "whole", tmp_path / "run"
    rng = np.random.default_rng(0)
    for kill in range(KILLS):
        step, last = kill * case.steps + 1, (kill + 1) * case.steps
        delay = rng.uniform(0.0, case.delay)
        assert train_and_kill(config, run, step, last, delay) == -signal.SIGKILL
    start_or_resume(config, run)
    start_or_resume(config, whole)

    assert RunFolder(run).metrics() == RunFolder(whole).metrics()
    for folder in (run, whole):
        assert not list(folder.glob(".*"))
    disturbed, undisturbed = contents(run), contents(whole)
    assert disturbed.keys() == undisturbed.keys()
    different = [name for name in undisturbed if not same(disturbed[name], undisturbed[name])]
    assert different == []


def same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def contents(folder: Path) -> dict[str, Any]:
    """The values of the weights files, and of the task and the optimizer in the full state."""
    values = {
        f"{path.name} {name}": tensor
        for path in folder.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }
    state = torch.load(folder / "last.pt", weights_only=True)
    for part in ("task", "optimizer"):
        leaves, _ = tree_flatten(state[part])
        values |= {f"{part} {i}": leaf for i, leaf in enumerate(leaves)}
    return values
