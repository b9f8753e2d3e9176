"""Training: it learns, it resumes to the bit, and it survives what happens to training runs."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stand_in import StandIn

from elite.data import AugmentationConfig, DatasetSpec, SemanticKitti
from elite.engine.point_labels import point_labels
from elite.engine.run_folder import RunFolder
from elite.engine.schedule import learning_rate
from elite.engine.supervised import Supervised, SupervisedTask
from elite.engine.task import Plan
from elite.engine.train import TrainResult, train
from elite.engine.train_config import DataConfig, OptimizerConfig, TrainConfig
from elite.errors import EliteError
from elite.metrics import ConfusionMatrix, scores


@pytest.fixture
def config(dataset: Path) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(roots=(str(dataset),), batch_size=1, num_workers=0),
        augmentation=AugmentationConfig(translation=0.01),
        optimizer=OptimizerConfig(lr=0.2, epochs=4),
        checkpoint_every=2,
        log_every=1,
    )


def run(config: TrainConfig, folder: Path, *, network: StandIn, **options: Any) -> TrainResult:
    return train(config, folder, recipe=Supervised(config, network), **options)


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def assert_equal_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_run_learns_and_leaves_its_record(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=25))
    result = run(config, tmp_path / "run", network=StandIn())
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
    assert [line["step"] for line in validations] == list(range(0, 76, 3))  # the first is untrained
    assert validations[-1]["val_loss"] < validations[0]["val_loss"]
    assert max(line["val_miou_present"] for line in validations) == result.best_miou
    assert list((tmp_path / "run/tensorboard").iterdir())
    assert (tmp_path / "run/best.safetensors").exists()


@pytest.mark.parametrize(
    ("stop_at", "optimizer"), [(5, "sgd"), (8, "sgd"), (10, "adamw"), (11, "adamw"), (14, "sgd")]
)
def test_an_interrupted_run_resumes_to_the_bit(
    config: TrainConfig, tmp_path: Path, stop_at: int, optimizer: str
) -> None:
    """Two forward passes to validate first, then an epoch has five: three steps and two scans."""
    config = replace(config, optimizer=replace(config.optimizer, name=optimizer))
    run(config, tmp_path / "whole", network=StandIn())

    interrupted = StandIn()
    interrupted.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", network=interrupted)
    torch.manual_seed(12345)  # another process begins with other random numbers
    result = run(config, tmp_path / "run", resume=True, network=StandIn(seed=99))

    assert result.steps == 12
    for name in ("last", "best"):
        assert_equal_bits(weights(tmp_path / "run", name), weights(tmp_path / "whole", name))
    assert RunFolder(tmp_path / "run").metrics() == RunFolder(tmp_path / "whole").metrics()


def test_a_finished_run_resumes_to_itself(config: TrainConfig, tmp_path: Path) -> None:
    first = run(config, tmp_path / "run", network=StandIn())
    before = weights(tmp_path / "run")
    network = StandIn(seed=1)
    again = run(config, tmp_path / "run", resume=True, network=network)
    assert network.calls == 0
    assert (again.steps, again.best_miou) == (first.steps, first.best_miou)
    assert_equal_bits(weights(tmp_path / "run"), before)


def test_weights_are_weights_only(config: TrainConfig, tmp_path: Path) -> None:
    run(config, tmp_path / "first", network=StandIn())
    path = tmp_path / "first/last.safetensors"
    short = replace(config, optimizer=replace(config.optimizer, lr=0.0, epochs=1))
    network = StandIn(seed=7)
    result = run(short, tmp_path / "second", weights=path, network=network)
    assert result.steps == 3  # counted from 0 again
    learned = {k: v for k, v in weights(tmp_path / "second").items() if "running" not in k}
    for name in (n for n in learned if "num_batches" not in n):
        assert torch.equal(learned[name], weights(tmp_path / "first")[name]), name


def test_steps_with_gradients_that_are_not_finite_are_skipped(
    config: TrainConfig, tmp_path: Path
) -> None:
    network = StandIn()
    network.poison_at = range(4, 6)  # after two scans of validation
    result = run(config, tmp_path / "run", network=network)
    assert result.skipped == 2
    assert all(v.isfinite().all() for v in weights(tmp_path / "run").values())


def test_divergence_ends_the_run(config: TrainConfig, tmp_path: Path) -> None:
    network = StandIn()
    network.poison_at = range(1, 1000)
    config = replace(config, optimizer=replace(config.optimizer, epochs=100))
    config = replace(config, validate_every=1000)
    with pytest.raises(EliteError, match=r"50 steps in a row are not finite\nLower optimizer.lr"):
        run(config, tmp_path / "run", network=network)


def test_a_run_is_not_overwritten(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=1))
    run(config, tmp_path / "run", network=StandIn())
    with pytest.raises(EliteError, match=r"there is a run already\nContinue it with --resume"):
        run(config, tmp_path / "run", network=StandIn())


def test_a_run_that_was_killed_before_its_first_checkpoint_is_started_again(
    config: TrainConfig, tmp_path: Path
) -> None:
    killed = StandIn()
    killed.stop_at = 2  # in the first validation
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", network=killed)
    (tmp_path / "run/.last.pt.123.tmp").touch()
    with pytest.raises(EliteError, match="no checkpoint yet; start it again"):
        run(config, tmp_path / "run", network=StandIn(), resume=True)
    run(config, tmp_path / "run", network=StandIn())
    run(config, tmp_path / "whole", network=StandIn())
    assert RunFolder(tmp_path / "run").metrics() == RunFolder(tmp_path / "whole").metrics()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        p.name for p in (tmp_path / "whole").iterdir()
    }


def test_a_step_takes_several_batches(config: TrainConfig, tmp_path: Path) -> None:
    """Three scans an epoch, two a step: the last step of an epoch has one scan only."""
    optimizer = replace(config.optimizer, accumulate=2, epochs=2)
    data = replace(config.data, val_split=None)
    network = StandIn()
    result = run(replace(config, optimizer=optimizer, data=data), tmp_path / "run", network=network)
    assert (result.steps, network.calls) == (4, 6)


def test_training_without_validation_keeps_the_last_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, data=replace(config.data, val_split=None, class_counts="scans"))
    result = run(config, tmp_path / "run", network=StandIn())
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


class WithPlan(Supervised):
    def task(self, plan: Plan) -> SupervisedTask:
        self.plan = plan
        return super().task(plan)


@pytest.mark.parametrize(("batch_size", "accumulate", "steps"), [(1, 1, 12), (2, 1, 8), (1, 2, 8)])
def test_the_number_of_steps_comes_from_the_loader(
    config: TrainConfig, tmp_path: Path, batch_size: int, accumulate: int, steps: int
) -> None:
    """Four epochs of three scans; the last step of an epoch takes what is left."""
    data = replace(config.data, batch_size=batch_size, val_split=None)
    optimizer = replace(config.optimizer, accumulate=accumulate)
    config = replace(config, data=data, optimizer=optimizer)
    recipe = WithPlan(config, StandIn())
    result = train(config, tmp_path / "run", recipe=recipe)
    assert (recipe.plan.total_steps, result.steps) == (steps, steps)
    rates = [line["learning_rate"] for line in RunFolder(tmp_path / "run").metrics()]
    assert rates[-1] < 0.1 * max(rates)  # the cosine has come to its end


def test_validation_sees_the_scans_as_they_are(
    config: TrainConfig, tmp_path: Path, dataset: Path, spec: DatasetSpec
) -> None:
    """Neither augmented nor in several views, and without dropout."""
    run(config, tmp_path / "run", network=StandIn())
    network = StandIn(seed=1)
    network.load_state_dict(weights(tmp_path / "run"))
    network.eval()
    matrix = ConfusionMatrix(20)
    for scan in SemanticKitti([dataset], "val", spec):
        points, index = torch.from_numpy(scan.points), torch.zeros(len(scan.points)).long()
        output = network(points, index, 1)
        predicted = point_labels(output.logits, output.valid, points, index)
        matrix.update(predicted, torch.from_numpy(scan.labels))
    found = RunFolder(tmp_path / "run").metrics()[-1]["val_miou_present"]
    assert found == pytest.approx(scores(matrix.counts.numpy(), spec.names).miou_present)
