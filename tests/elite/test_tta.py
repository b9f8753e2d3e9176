"""Test-time augmentation: the scan as it is comes first, and everything is seeded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from elite.cli import app
from elite.data import AugmentationConfig, DatasetSpec, SemanticKitti, validation_loader
from elite.engine.checkpoint import save_weights
from elite.engine.evaluate import evaluate, evaluate_views
from elite.engine.initialize import initialize
from elite.engine.predict import Predictor
from elite.engine.tta import add_views, view_transforms
from elite.student import Student, StudentConfig

CPU = torch.device("cpu")
SMALL = StudentConfig(channels=8, head_channels=8, scales=(1, 2, 4))


@pytest.fixture(scope="module")
def student() -> Student:
    """Random weights that give many labels."""
    torch.manual_seed(0)
    student = Student(SMALL)
    initialize(student)
    torch.nn.init.normal_(student.head.logits.weight)
    torch.nn.init.normal_(student.head.logits.bias)
    return student.eval()


@pytest.fixture
def scans(dataset: Path, spec: DatasetSpec) -> SemanticKitti:
    return SemanticKitti([dataset], "val", spec)


def height(points, batch_index, batch_size):
    """Logits that a turn about the vertical axis leaves, inside a square that it does not."""
    valid = (points[:, :2].abs() < 15).all(dim=1)
    return torch.stack([points[:, 2], points[:, 2] ** 2], dim=1) + 1.0, valid


def test_the_first_view_is_the_scan_itself() -> None:
    views = view_transforms(12)
    assert len(views) == 12
    assert torch.equal(views[0], torch.eye(4))
    assert all(not torch.equal(view, views[0]) for view in views[1:])
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        view_transforms(0)


def test_views_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = view_transforms(5)
    state = torch.get_rng_state()
    assert all(map(torch.equal, view_transforms(5), first))
    assert all(map(torch.equal, view_transforms(3), first[:3]))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(view_transforms(2, seed=1)[1], first[1])


def test_a_view_keeps_to_what_may_change() -> None:
    config = AugmentationConfig(
        rotation=0.0, flip_x=False, flip_y=False, scale=(2.0, 2.0), translation=0.0
    )
    expected = torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0]))
    assert torch.equal(view_transforms(2, config)[1], expected)


def test_the_logits_are_summed_over_the_views_that_hold_the_point() -> None:
    torch.manual_seed(0)
    points = torch.rand(500, 4) * 40 - 20
    turns = AugmentationConfig(scale=(1.0, 1.0), translation=0.0)
    views = view_transforms(6, turns)
    index = torch.zeros(500, dtype=torch.int64)
    logits, valid = add_views(height, points, index, 1, height(points, index, 1), views)
    homogeneous = torch.cat([points[:, :3], torch.ones(500, 1)], dim=1).double()
    held = torch.stack([((homogeneous @ v.double().T)[:, :2].abs() < 15).all(dim=1) for v in views])
    assert 0 < valid.sum() < 500
    assert torch.equal(valid, held.any(dim=0))
    one, _ = height(points, index, 1)
    torch.testing.assert_close(logits, one * held.sum(dim=0)[:, None], rtol=1e-5, atol=1e-5)


def test_both_figures_come_from_one_pass(student: Student, scans: SemanticKitti) -> None:
    network = student.fused()
    loader = validation_loader(scans)
    alone = evaluate(network, loader, 20, CPU)
    plain, voted = evaluate_views(network, loader, 20, CPU, view_transforms(3))
    assert torch.equal(plain.confusion.counts, alone.confusion.counts)
    assert voted.confusion.counts.sum() == plain.confusion.counts.sum()
    assert not torch.equal(voted.confusion.counts, plain.confusion.counts)
    same = [torch.eye(4)] * 3
    plain, voted = evaluate_views(network, loader, 20, CPU, same)
    assert torch.equal(voted.confusion.counts, plain.confusion.counts)
    assert voted.outside == plain.outside


def test_prediction_sums_views_too(student: Student, scans: SemanticKitti) -> None:
    points = scans[0].points
    once = Predictor(student, CPU)(points)
    assert np.array_equal(Predictor(student, CPU, [torch.eye(4)] * 2)(points).labels, once.labels)
    voted = Predictor(student, CPU, view_transforms(4))(points)
    assert not np.array_equal(voted.labels, once.labels)


def test_eval_prints_both_figures(
    student: Student, dataset: Path, spec: DatasetSpec, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, student, SMALL, spec)
    command = ["eval", "--data", dataset, "--weights", weights, "--output", tmp_path / "out"]
    options = ["--tta", "3", "--view", "rotation=10", "--view", "flip_x=false"]

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    single = json.loads(run(*command, "--json"))
    both = json.loads(run(*command, *options, "--json"))
    assert (single["views"], single["tta_scores"], both["views"]) == (1, None, 3)
    assert both["scores"] == single["scores"]
    views = view_transforms(3, replace(AugmentationConfig(), rotation=10.0, flip_x=False))
    loader = validation_loader(SemanticKitti([dataset], "val", spec))
    _, voted = evaluate_views(student.fused(), loader, 20, CPU, views)
    accuracy = voted.confusion.counts.diag()[1:].sum() / voted.confusion.counts[1:].sum()
    assert both["tta_scores"]["accuracy"] == pytest.approx(float(accuracy))
    assert "with 3 views" in run(*command, *options)
