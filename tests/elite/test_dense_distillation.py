"""From a simulated street to a distilled student, by the commands and with dense pseudo-labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_street import write_small_street
from typer.testing import CliRunner

from elite.cli import app
from elite.config import load_config
from elite.data import DatasetSpec, collate
from elite.engine.distillation import Distillation, DistillationConfig
from elite.engine.run_folder import RunFolder

pytest.importorskip("skimage", reason="scikit-image is not installed")

SMALL = [
    "data.train_split=00",
    "data.val_split=08",
    "data.batch_size=2",
    "data.num_workers=0",
    "student.channels=8",
    "student.head_channels=8",
    "distill.voxel_hidden=8",
    "distill.pixel_hidden=8",
    "teacher.backbone=sam_test",
    "teacher.random_weights=true",
    "camera.height=32",
    "camera.width=96",
    "optimizer.name=adamw",
    "optimizer.lr=0.01",
    "optimizer.epochs=4",
    "optimizer.warmup_epochs=0",
    "log_every=1",
]


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output[result.output.index("{") : result.output.rindex("}") + 1])


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_street(tmp_path_factory.mktemp("street"), s00=4, s08=1)


@pytest.fixture(scope="module")
def pseudo(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pseudo")
    options = ("--segmenter", "superpixels", "--split", "00", "superpixels.scales=[400, 100]")
    made = run("pseudolabel", "--data", street, "--output", folder, *options)
    assert made["report"]["complete"]
    return folder


def test_a_run_learns_from_every_pixel(street: Path, pseudo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    data = ("--data", street, "--pseudo-labels", pseudo)
    result = run("distill", *data, "--output", folder, *SMALL)
    assert (result["steps"], result["skipped"]) == (8, 0)
    steps = [line for line in RunFolder(folder).metrics() if "loss" in line]
    for term in ("teacher_heads", "multi_stage"):
        assert all(line[term] > 0 for line in steps)
    assert sum(line["loss"] for line in steps[-2:]) < sum(line["loss"] for line in steps[:2])
    assert all(value.isfinite().all() for value in load_file(folder / "last.safetensors").values())
    scored = run("eval", "--data", street, "--weights", folder, "--output", tmp_path)
    assert 0 <= scored["scores"]["miou_present"] <= 1


def test_the_batch_carries_the_labels_of_the_crop(street: Path, pseudo: Path) -> None:
    """Most pixels have a label, not only those of points; and they are what the points say."""
    changes = [*SMALL, f"data.roots=[{street}]", f"pseudo_labels={pseudo}"]
    config = load_config(DistillationConfig, "elite", changes)
    scans = Distillation(config).training_scans(DatasetSpec.load("semantic_kitti"))
    batch = collate([scans[0, index] for index in range(4)])
    camera = batch.camera
    assert camera.pseudo_labels.shape == (4, 32, 96)
    assert (camera.pseudo_labels != 0).float().mean() > 0.4
    rows = (camera.image_index, *camera.pixel.long().unbind(1))
    dense, sparse = camera.pseudo_labels[rows], batch.labels[camera.point_index]
    both = (dense != 0) & (sparse != 0)
    assert both.sum() > 100
    assert (dense == sparse)[both].float().mean() > 0.8
    assert not torch.equal(camera.images[0], camera.images[1])
