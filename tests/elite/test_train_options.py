"""Accumulated batches, averaged weights, precision, and what a divergence leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stand_in import StandIn

from elite.data import AugmentationConfig, DatasetSpec, EpochSampler, collate
from elite.engine.run_folder import RunFolder
from elite.engine.supervised import Supervised
from elite.engine.task import Plan
from elite.engine.train import train
from elite.engine.train_config import DataConfig, OptimizerConfig, TrainConfig
from elite.errors import EliteError
from elite.student import StudentConfig

RATE = 0.5


class Linear(StandIn):
    """Without batch norm and dropout: the loss of a scan doesn't depend on its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Linear(4, 20)


@pytest.fixture
def config(dataset: Path) -> TrainConfig:
    """Steps that are the gradient itself."""
    return TrainConfig(
        data=DataConfig(roots=(str(dataset),), val_split=None, batch_size=1, num_workers=0),
        augmentation=AugmentationConfig(translation=0.01),
        optimizer=OptimizerConfig(
            lr=RATE,
            epochs=1,
            warmup_epochs=0,
            momentum=0,
            nesterov=False,
            weight_decay=0,
            clip_norm=1e9,
        ),
        log_every=1,
    )


def change(config: TrainConfig, **options: object) -> TrainConfig:
    return replace(config, optimizer=replace(config.optimizer, **options))


def test_accumulated_batches_give_the_mean_of_their_gradients(
    config: TrainConfig, tmp_path: Path, spec: DatasetSpec
) -> None:
    recipe = Supervised(config, Linear())
    task = Supervised(config, Linear()).task(Plan(spec, torch.ones(20), 1))
    scans = recipe.training_scans(spec)
    recipe.task = lambda plan: Supervised(config, recipe.network).task(
        replace(plan, class_weights=torch.ones(20))
    )
    train(change(config, accumulate=3), tmp_path / "run", recipe=recipe)

    losses = [task(collate([scans[key]])).total for key in EpochSampler(3, config.seed)]
    torch.stack(losses).mean().backward()
    expected = {n: p.detach() - RATE * p.grad for n, p in task.student.named_parameters()}
    found = load_file(tmp_path / "run/last.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    assert RunFolder(tmp_path / "run").metrics()[0]["loss"] == pytest.approx(
        float(torch.stack(losses).detach().mean()), rel=1e-5
    )


def test_the_averaged_weights_follow_the_latest_ones(config: TrainConfig, tmp_path: Path) -> None:
    """Against the weights after each step, which a run without averaging leaves."""
    steps = 3
    latest = []
    for stop in range(1, steps + 1):
        network = Linear()
        network.stop_at = stop + 1
        folder = tmp_path / f"{stop}"
        every = replace(config, checkpoint_every=1)
        if stop < steps:
            with pytest.raises(KeyboardInterrupt):
                train(every, folder, recipe=Supervised(config, network))
        else:
            train(every, folder, recipe=Supervised(config, Linear()))
        latest.append(load_file(folder / "last.safetensors"))
    train(change(config, ema_decay=0.15), tmp_path / "run", recipe=Supervised(config, Linear()))
    found = load_file(tmp_path / "run/last.safetensors")
    for name in found:
        first, second, third = (weights[name] for weights in latest)
        average = first.lerp(second, 1 - 0.15).lerp(third, 1 - 0.15)  # 2/11 and 3/12 are above 0.15
        torch.testing.assert_close(found[name], average)
        assert not torch.equal(found[name], third)


@pytest.mark.parametrize("stop_at", [3, 5, 9])
def test_accumulation_and_averages_resume_to_the_bit(
    config: TrainConfig, tmp_path: Path, stop_at: int
) -> None:
    config = change(config, accumulate=2, ema_decay=0.9, epochs=3, momentum=0.9)
    config = replace(config, checkpoint_every=1)
    train(config, tmp_path / "whole", recipe=Supervised(config, StandIn()))
    killed = StandIn()
    killed.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", recipe=Supervised(config, killed))
    train(config, tmp_path / "run", recipe=Supervised(config, StandIn(seed=9)), resume=True)
    whole, resumed = (load_file(tmp_path / n / "last.safetensors") for n in ("whole", "run"))
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=pytest.mark.gpu)])
def test_half_precision_trains_the_student_with_losses_in_float32(
    config: TrainConfig, tmp_path: Path, precision: str
) -> None:
    if precision == "fp16" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    config = replace(
        change(config, lr=0.01, epochs=4),
        student=StudentConfig(channels=8, head_channels=8, scales=(1, 2, 4)),
    )
    exact, rounded = [], []
    for kind, losses in (("no", exact), (precision, rounded)):
        folder = tmp_path / kind
        result = train(replace(config, precision=kind), folder)
        # float16 begins with a scale of the loss that may be too large, and halves it.
        assert (result.steps, result.skipped if kind != "fp16" else 0) == (12, 0)
        losses += [line["loss"] for line in RunFolder(folder).metrics()]
        assert all(
            v.dtype in (torch.float32, torch.int64) for v in load_file(result.weights).values()
        )
    assert rounded == pytest.approx(exact, rel=0.03)
    assert rounded != exact


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_float16_is_refused_on_the_cpu(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(EliteError, match=r"fp16 needs a GPU\nUse precision=bf16"):
        train(replace(config, precision="fp16"), tmp_path / "run")


def test_a_run_that_diverges_leaves_what_it_met(config: TrainConfig, tmp_path: Path) -> None:
    network = Linear()
    network.poison_at = range(3, 1000)
    config = replace(change(config, epochs=9), max_skipped=4)
    with pytest.raises(EliteError, match=r"of 4 steps in a row(.|\n)*00/00000\d.*non_finite_0.pt"):
        train(config, tmp_path / "run", recipe=Supervised(config, network))
    dump = torch.load(tmp_path / "run/non_finite_0.pt", weights_only=True)
    assert dump["step"] == 5  # counted from 0: two good steps, four bad ones
    [batch] = dump["batches"]
    assert batch["names"][0].startswith("00/")
    assert batch["points"].shape[1] == 4
    assert all(v.isfinite().all() for v in dump["task"].values())
