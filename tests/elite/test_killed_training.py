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
from elite.engine.train import train
from elite.engine.train_config import DataConfig, OptimizerConfig, TrainConfig
from elite.teacher import TeacherConfig

KILLS = int(os.environ.get("ELITE_KILLS", "3"))
TIMEOUT = 120.0  # seconds
SCANS = 3


@dataclass(frozen=True)
class Case:
    """A kind of training.

    Attributes:
        config: with a checkpoint after each step, so that much of the time is spent in writing.
        steps: between two kills.
        delay: seconds that about two steps take.
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


def start_or_resume(config: TrainConfig, folder: Path) -> None:
    resume = RunFolder(folder).state_path.exists()
    taught = isinstance(config, DistillationConfig)
    recipe = Distillation(config) if taught else Supervised(config, StandIn())
    train(config, folder, recipe=recipe, resume=resume)


def train_and_kill(config: TrainConfig, folder: Path, step: int, delay: float) -> int | None:
    """Trains in another process, killed without warning `delay` seconds after `step`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["elite.engine.train", "elite.engine.distillation", "stand_in"])
    process = context.Process(target=start_or_resume, args=(config, folder))
    process.start()
    end = time.monotonic() + TIMEOUT
    record = folder / "metrics.jsonl"
    while time.monotonic() < end and process.is_alive():
        if record.exists() and f'"step": {step},' in record.read_text():
            break
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kind", [student, student_and_teacher])
def test_a_killed_training_ends_as_an_undisturbed_one(
    kind: Callable[[Path], Case], dataset: Path, tmp_path: Path
) -> None:
    case = kind(dataset)
    epochs = case.steps * (KILLS + 1) // SCANS
    config = replace(case.config, optimizer=replace(case.config.optimizer, epochs=epochs))
    whole, run = tmp_path / "whole", tmp_path / "run"
    rng = np.random.default_rng(0)
    for kill in range(KILLS):
        step = kill * case.steps + 1
        delay = rng.uniform(0.0, case.delay)
        assert train_and_kill(config, run, step, delay) == -signal.SIGKILL
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
