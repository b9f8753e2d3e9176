"""Two processes train as one process with the joint batch would."""

from pathlib import Path

import pytest
import torch
from conftest import write_scan
from joint_step import ONE_STEP, run_two_processes
from safetensors.torch import load_file

from elite.config import load_config
from elite.engine.run_folder import RunFolder
from elite.engine.supervised import Supervised, SupervisedTask, new_student
from elite.engine.task import Plan
from elite.engine.train import train
from elite.engine.train_config import TrainConfig
from elite.losses import SegmentationTerms
from elite.types import Batch

CHANGES = [*ONE_STEP, "student.scales=[1, 2, 4]", "data.val_split='08'", "log_every=1"]


class JointTask(SupervisedTask):
    """The mean of the losses of the two halves of a batch, as two processes average theirs."""

    def forward(self, batch: Batch) -> SegmentationTerms:
        output = self.student(batch.points, batch.batch_index, batch.batch_size)
        labels = batch.labels.where(output.valid, 0)
        halves = [batch.batch_index < 2, batch.batch_index >= 2]
        terms = [self.loss(output.logits[half], labels[half]) for half in halves]
        means = [sum(getattr(t, name) for t in terms) / 2 for name in ("total", "cross_entropy")]
        return SegmentationTerms(*means, sum(t.lovasz for t in terms) / 2)


class Joint(Supervised):
    def task(self, plan: Plan) -> JointTask:
        task = super().task(plan)
        return JointTask(task.student, task.loss)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and what two processes made of it."""
    folder = tmp_path_factory.mktemp("distributed")
    for frame in range(4):
        write_scan(folder / "data", "00", frame, num_points=300 + 100 * frame)
    for frame in range(3):
        write_scan(folder / "data", "08", 10 + frame)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 5, generator=generator) * 3 + 100
    shares = [torch.arange(9), torch.arange(9, 12)]
    weight = torch.randn(12, 5, generator=generator)
    torch.save({"x": x, "shares": shares, "weight": weight}, folder / "rows.pt")
    command = ["train", "--data", str(folder / "data"), "--output", str(folder / "two")]
    run_two_processes(
        ["batch_norm", str(folder), "+", "elite", *command, *CHANGES, "data.batch_size=2"]
    )
    return folder


def test_batch_norm_over_processes_is_that_of_the_joint_batch(folder: Path) -> None:
    rows = torch.load(folder / "rows.pt")
    norm = torch.nn.BatchNorm1d(5)
    x = rows["x"].requires_grad_()
    y = norm(x)
    (y * rows["weight"]).sum().backward()
    parts = [torch.load(folder / f"norm_{rank}.pt") for rank in range(2)]
    for name, joint in (("y", y.detach()), ("x", x.grad)):
        torch.testing.assert_close(torch.cat([p[name] for p in parts]), joint, rtol=1e-4, atol=1e-4)
    for part in parts:
        torch.testing.assert_close(part["slope"], norm.weight.grad, rtol=1e-4, atol=1e-4)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(part[name], norm.state_dict()[name])


def test_two_processes_give_the_gradients_of_the_joint_batch(folder: Path) -> None:
    changes = [f"data.roots=[{folder / 'data'}]", *CHANGES, "data.batch_size=4"]
    config = load_config(TrainConfig, "student", changes)
    result = train(config, folder / "one", recipe=Joint(config))
    assert result.steps == 1
    one, two = (load_file(folder / name / "last.safetensors") for name in ("one", "two"))
    start = new_student(config).state_dict()
    assert one.keys() == two.keys()
    for name in one:
        moved = (one[name] - start[name]).float()
        assert moved.abs().max() > 0 or "running" not in name, name
        difference = (two[name] - one[name]).float().abs().max()
        assert difference <= 1e-5 + 1e-4 * moved.abs().max(), name


def test_the_validation_is_summed_over_processes(folder: Path) -> None:
    """Three scans for two processes: none is left out, none counts twice."""
    one, two = (RunFolder(folder / name).metrics()[0] for name in ("one", "two"))
    assert (one["step"], two["step"]) == (0, 0)
    assert two["val_miou_present"] == one["val_miou_present"]
    assert two["val_accuracy"] == one["val_accuracy"]
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=1e-6)
