"""The benchmark's zip: complete sequences, raw ids, one label per point."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_scan
from typer.testing import CliRunner

from elite.cli import app
from elite.data import DatasetSpec, write_labels
from elite.engine.checkpoint import save_weights
from elite.engine.submit import split_frames, write_submission
from elite.errors import EliteError
from elite.student import Student, StudentConfig

SMALL = StudentConfig(channels=8, head_channels=8, scales=(1, 2, 4))


@pytest.fixture
def small_spec(spec: DatasetSpec) -> DatasetSpec:
    return replace(spec, splits={"test": ("11", "12")}, num_scans={"11": 2})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A test split without labels: two scans and one."""
    root = tmp_path / "dataset"
    for sequence, frame in (("11", 0), ("11", 1), ("12", 0)):
        write_scan(root, sequence, frame, num_points=100 + frame)
        (root / f"sequences/{sequence}/labels/{frame:06d}.label").unlink()
    return root


@pytest.fixture
def predictions(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    for sequence, frame in (("11", 0), ("11", 1), ("12", 0)):
        path = folder / f"sequences/{sequence}/predictions/{frame:06d}.label"
        write_labels(path, np.full(100 + frame, 40, dtype=np.uint32))
    return folder


def test_the_command_predicts_checks_and_zips(
    root: Path, small_spec: DatasetSpec, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, Student(SMALL), SMALL, small_spec)
    output = tmp_path / "submission.zip"
    command = ["submit", "--data", str(root), "--weights", str(weights), "--output", str(output)]

    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["sequences"] == {"11": 2, "12": 1}
    assert report["num_points"] == 301 == sum(report["class_counts"].values())
    assert report["class_counts"]["unlabeled"] == 0
    with zipfile.ZipFile(output) as archive:
        names = archive.namelist()
        assert names[0] == "sequences/11/predictions/000000.label"
        labels = np.frombuffer(archive.read(names[1]), dtype="<u4")
    assert len(names) == 3
    assert len(labels) == 101
    small_spec.to_learning(labels)  # raw ids, all known

    # What is there is used again, also after an interruption; other weights are refused.
    before = output.read_bytes()
    (tmp_path / "submission" / names[1]).unlink()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert output.read_bytes() == before
    save_weights(weights, Student(SMALL), SMALL, small_spec)
    other = CliRunner().invoke(app, command)
    assert other.exit_code == 1
    assert "holds predictions of other weights" in other.stderr


def test_sequences_must_be_complete(root: Path, small_spec: DatasetSpec) -> None:
    assert len(split_frames([root], "test", small_spec)) == 3
    more = replace(small_spec, num_scans={"11": 3})
    with pytest.raises(EliteError, match=r"sequence 11 has 2 of 3 scans; .* missing one is 000002"):
        split_frames([root], "test", more)
    (root / "sequences/11/velodyne/000000.bin").unlink()
    with pytest.raises(EliteError, match=r"sequence 11 has 1 of 2 scans; .* missing one is 000000"):
        split_frames([root], "test", small_spec)
    with pytest.raises(EliteError, match="sequence 13 has 0 of 1 scans"):
        split_frames([root], "13", small_spec)
    with pytest.raises(EliteError, match="sequence 12 has 2 of 1 scans"):
        split_frames([root, root], "12", small_spec)


def test_the_test_split_has_the_number_of_scans_of_the_benchmark(spec: DatasetSpec) -> None:
    assert set(spec.num_scans) == set(spec.sequences("test"))
    assert sum(spec.num_scans.values()) == 20351


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(99, 40), "are 99 labels, but the scan has 100 points"),
        (np.full(100, 7), "raw id 7 belongs to no class"),
        (np.array([40] * 99 + [0]), "point 99 has the label 0"),
        (np.array([40, 40 + (1 << 16)] + [40] * 98), "point 1 has the label 65576"),
    ],
)
def test_what_the_benchmark_does_not_take_is_refused(
    root: Path, predictions: Path, small_spec: DatasetSpec, labels: np.ndarray, message: str
) -> None:
    path = predictions / "sequences/11/predictions/000000.label"
    labels.astype("<u4").tofile(path)
    frames = split_frames([root], "test", small_spec)
    output = root / "submission.zip"
    with pytest.raises(EliteError, match=f"{path.name}: .*{message}"):
        write_submission(predictions, frames, small_spec, output)
    assert not output.exists()


def test_a_missing_prediction_is_named(
    root: Path, predictions: Path, small_spec: DatasetSpec, tmp_path: Path
) -> None:
    frames = split_frames([root], "test", small_spec)
    summary = write_submission(predictions, frames, small_spec, tmp_path / "good.zip")
    assert (summary.num_scans, summary.class_counts["road"]) == (3, 301)
    (predictions / "sequences/12/predictions/000000.label").unlink()
    with pytest.raises(EliteError, match=r"12/predictions/000000.label: no such file"):
        write_submission(predictions, frames, small_spec, tmp_path / "bad.zip")
