"""Training: it learns, it resumes to the bit, and it survives what happens to training runs."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stand_in import StandIn

from elite.data import AugmentationConfig
from elite.engine.run_folder import RunFolder
from elite.engine.schedule import learning_rate
from elite.engine.train import train
from elite.engine.train_config import DataConfig, OptimizerConfig, TrainConfig
from elite.errors import EliteError


@pytest.fixture
def config(dataset: Path) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(roots=(str(dataset),), batch_size=1, num_workers=0),
        augmentation=AugmentationConfig(translation=0.01),
        optimizer=OptimizerConfig(lr=0.2, epochs=4),
        checkpoint_every=2,
        log_every=1,
    )


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def assert_equal_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_run_learns_and_leaves_its_record(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=25))
    result = train(config, tmp_path / "run", network=StandIn())
    assert result.steps == 75  # three scans, one a step
    assert result.skipped == 0
    assert result.best_miou > 0.5
    folder = RunFolder(tmp_path / "run")
    assert folder.config() == config
    lines = folder.metrics()
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 76))
    assert steps[-1]["loss"] < 0.6 * steps[0]["loss"]
    validations = [line for line in lines if "val_loss" in line]
    assert len(validations) == 25
    assert validations[-1]["val_loss"] < validations[0]["val_loss"]
    assert max(line["val_miou_present"] for line in validations) == result.best_miou
    assert list((tmp_path / "run/tensorboard").iterdir())
    assert (tmp_path / "run/best.safetensors").exists()


@pytest.mark.parametrize(
    ("stop_at", "optimizer"), [(3, "sgd"), (6, "sgd"), (8, "adamw"), (9, "adamw"), (12, "sgd")]
)
def test_an_interrupted_run_resumes_to_the_bit(
    config: TrainConfig, tmp_path: Path, stop_at: int, optimizer: str
) -> None:
    """Five forward passes an epoch: three steps and two scans of the validation."""
    config = replace(config, optimizer=replace(config.optimizer, name=optimizer))
    train(config, tmp_path / "whole", network=StandIn())

    interrupted = StandIn()
    interrupted.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", network=interrupted)
    torch.manual_seed(12345)  # another process begins with other random numbers
    result = train(config, tmp_path / "run", resume=True, network=StandIn(seed=99))

    assert result.steps == 12
    for name in ("last", "best"):
        assert_equal_bits(weights(tmp_path / "run", name), weights(tmp_path / "whole", name))
    assert RunFolder(tmp_path / "run").metrics() == RunFolder(tmp_path / "whole").metrics()


def test_a_finished_run_resumes_to_itself(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config, tmp_path / "run", network=StandIn())
    before = weights(tmp_path / "run")
    network = StandIn(seed=1)
    again = train(config, tmp_path / "run", resume=True, network=network)
    assert network.calls == 0
    assert (again.steps, again.best_miou) == (first.steps, first.best_miou)
    assert_equal_bits(weights(tmp_path / "run"), before)


def test_weights_are_weights_only(config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "first", network=StandIn())
    path = tmp_path / "first/last.safetensors"
    short = replace(config, optimizer=replace(config.optimizer, lr=0.0, epochs=1))
    network = StandIn(seed=7)
    result = train(short, tmp_path / "second", weights=path, network=network)
    assert result.steps == 3  # counted from 0 again
    learned = {k: v for k, v in weights(tmp_path / "second").items() if "running" not in k}
    for name in (n for n in learned if "num_batches" not in n):
        assert torch.equal(learned[name], weights(tmp_path / "first")[name]), name


def test_steps_with_gradients_that_are_not_finite_are_skipped(
    config: TrainConfig, tmp_path: Path
) -> None:
    network = StandIn()
    network.poison_at = range(2, 4)
    result = train(config, tmp_path / "run", network=network)
    assert result.skipped == 2
    assert all(v.isfinite().all() for v in weights(tmp_path / "run").values())


def test_divergence_ends_the_run(config: TrainConfig, tmp_path: Path) -> None:
    network = StandIn()
    network.poison_at = range(1, 1000)
    config = replace(config, optimizer=replace(config.optimizer, epochs=100))
    config = replace(config, validate_every=1000)
    with pytest.raises(EliteError, match=r"50 steps in a row are not finite\nLower optimizer.lr"):
        train(config, tmp_path / "run", network=network)


def test_a_run_is_not_overwritten(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=1))
    train(config, tmp_path / "run", network=StandIn())
    with pytest.raises(EliteError, match=r"there is a run already\nContinue it with --resume"):
        train(config, tmp_path / "run", network=StandIn())


def test_training_without_validation_keeps_the_last_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, data=replace(config.data, val_split=None, class_counts="scans"))
    result = train(config, tmp_path / "run", network=StandIn())
    assert result.best_miou is None
    assert result.weights.endswith("last.safetensors")


def test_the_learning_rate_rises_and_falls() -> None:
    config = OptimizerConfig(lr=0.2, epochs=3, warmup_epochs=1.0)
    rates = [learning_rate(config, step, 10) for step in range(30)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[9] == rates[10] == pytest.approx(0.2)
    assert rates[20] == pytest.approx(0.1)  # half of the cosine
    assert 0 < rates[29] < 0.01
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_a_learning_rate_without_warmup_begins_at_its_height() -> None:
    config = OptimizerConfig(lr=0.2, epochs=1, warmup_epochs=0.0)
    assert learning_rate(config, 0, 10) == pytest.approx(0.2)
