"""Another data set needs a YAML and no code: classes, ids, splits, file format, range."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from elite.cli import app
from elite.config import load_config
from elite.data import (
    DatasetSpec,
    PointFormat,
    read_labels,
    read_points,
    write_labels,
    write_points,
)
from elite.engine.train import train
from elite.engine.train_config import TrainConfig
from elite.errors import EliteError

NUM_POINTS = 32768


@pytest.fixture
def rellis(data_folder: Path, tmp_path: Path) -> Path:
    """Every fourth point of the one real RELLIS frame, to train (00) and to validate (03)."""
    source = data_folder / "rellis"
    if not source.is_dir():
        pytest.skip(f"no RELLIS scan at {source}")
    points = np.fromfile(source / "lidar.bin", "<f4").reshape(-1, 4)[::4]
    labels = np.fromfile(source / "lidar.label", "<u4")[::4]
    for sequence in ("00", "03"):
        folder = tmp_path / "rellis/sequences" / sequence
        write_points(folder / "velodyne/000000.bin", points)
        write_labels(folder / "labels/000000.label", labels)
    return tmp_path / "rellis"


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_rellis_trains_evaluates_and_predicts(rellis: Path, tmp_path: Path) -> None:
    changes = ["student.channels=8", "student.head_channels=8", "student.scales=[1, 2, 4]"]
    changes += ["optimizer.epochs=4", "optimizer.name=adamw", "optimizer.lr=0.01"]
    changes += ["data.num_workers=0", "optimizer.warmup_epochs=0"]
    folder = tmp_path / "run"
    command = ["train", "--config", "rellis_student", "--data", rellis, "--output", folder]
    trained = run(*command, *changes, "--json")
    assert (trained["steps"], trained["skipped"]) == (4, 0)

    weights = ["--weights", folder / "last.safetensors"]
    command = ["eval", "--data", rellis, *weights, "--output", tmp_path / "evaluation"]
    scores = run(*command, "--json")["scores"]
    raw_labels, _ = read_labels(rellis / "sequences/03/labels/000000.label", NUM_POINTS)
    present = {c["name"]: c["points"] for c in scores["classes"] if c["points"]}
    assert present["grass"] == (raw_labels == 3).sum()
    assert present["puddle"] == (raw_labels == 31).sum()
    assert sum(present.values()) == (raw_labels != 0).sum()
    assert scores["accuracy"] > 0.2

    scan = rellis / "sequences/03/velodyne/000000.bin"
    output = tmp_path / "predictions"
    summary = run("predict", scan, *weights, "--output", output, "--json")
    predicted, _ = read_labels(Path(summary["files"][0]), NUM_POINTS)
    spec = DatasetSpec.load("rellis")
    assert set(np.unique(predicted)) <= {c.raw_ids[0] for c in spec.classes}


def test_five_columns_and_remission_up_to_255(data_folder: Path) -> None:
    """A nuScenes scan: x, y, z, intensity, ring."""
    path = data_folder / "nuscenes/lidar.bin"
    if not path.is_file():
        pytest.skip(f"no nuScenes scan at {path}")
    points = read_points(path, PointFormat(columns=5, remission_scale=1 / 255))
    raw = np.fromfile(path, "<f4").reshape(-1, 5)
    assert points.shape == (34688, 4)
    assert np.array_equal(points[:, :3], raw[:, :3])
    assert 0 <= points[:, 3].min() < points[:, 3].max() <= 1


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.bin"
    np.zeros(8, dtype="<f4").tofile(path)
    assert read_points(path).shape == (2, 4)
    with pytest.raises(EliteError, match="32 bytes are not a whole number of points of 20 bytes"):
        read_points(path, PointFormat(columns=5))


def test_what_does_not_fit_the_data_set_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    config = load_config(TrainConfig, "rellis_student", ["data.roots=[nowhere]"])
    wrong = replace(config, student=replace(config.student, num_classes=20))
    with pytest.raises(EliteError, match=r"has 20 classes, rellis has 19.*\nSet student.num_cl"):
        train(wrong, tmp_path / "run")
    wrong = replace(config, data=replace(config.data, class_counts="spec"))
    with pytest.raises(EliteError, match=r"no class has a weight\nSet data.class_counts=scans"):
        train(wrong, tmp_path / "run")
