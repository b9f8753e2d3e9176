"""A training that is killed at any moment and resumed ends as if nothing had happened.

ELITE_KILLS says how many times it is killed; a few by default.
"""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stand_in import StandIn

from elite.data import AugmentationConfig
from elite.engine.run_folder import RunFolder
from elite.engine.supervised import Supervised
from elite.engine.train import train
from elite.engine.train_config import DataConfig, OptimizerConfig, TrainConfig

KILLS = int(os.environ.get("ELITE_KILLS", "3"))


STEPS_BETWEEN_KILLS = 9
TIMEOUT = 120.0  # seconds


@pytest.fixture
def config(dataset: Path) -> TrainConfig:
    """Checkpoints after each step, so that most of the time is spent in writing files."""
    epochs = STEPS_BETWEEN_KILLS * (KILLS + 1) // 3
    return TrainConfig(
        data=DataConfig(roots=(str(dataset),), batch_size=1, num_workers=0),
        augmentation=AugmentationConfig(translation=0.01),
        optimizer=OptimizerConfig(lr=0.2, epochs=epochs, ema_decay=0.9),
        checkpoint_every=1,
        log_every=1,
    )


def start_or_resume(config: TrainConfig, folder: Path) -> None:
    resume = RunFolder(folder).state_path.exists()
    train(config, folder, recipe=Supervised(config, StandIn()), resume=resume)


def train_and_kill(config: TrainConfig, folder: Path, step: int, delay: float) -> int | None:
    """Trains in another process, killed without warning `delay` seconds after `step`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["elite.engine.train", "stand_in"])
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


def test_a_killed_training_ends_as_an_undisturbed_one(config: TrainConfig, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    rng = np.random.default_rng(0)
    for kill in range(KILLS):
        step = kill * STEPS_BETWEEN_KILLS
        delay = rng.uniform(0.0, 0.05)  # about two steps
        assert train_and_kill(config, run, step, delay) == -signal.SIGKILL
    start_or_resume(config, run)
    start_or_resume(config, whole)

    assert RunFolder(run).metrics() == RunFolder(whole).metrics()
    for folder in (run, whole):
        assert not list(folder.glob(".*"))
    for name in ("last.safetensors", "best.safetensors"):
        disturbed, undisturbed = load_file(run / name), load_file(whole / name)
        assert disturbed.keys() == undisturbed.keys()
        for key in undisturbed:
            assert torch.equal(disturbed[key], undisturbed[key]), (name, key)
