"""The data check finds what was broken on purpose, and nothing in a sound data set."""

from pathlib import Path

import numpy as np
import pytest

from elite.data import DatasetSpec, check_data, write_labels


def test_a_sound_data_set(dataset: Path, spec: DatasetSpec) -> None:
    report = check_data(dataset, spec)
    assert report.problems == []
    assert report.sequences == {"00": 3, "08": 2}
    assert (report.num_scans, report.num_points, report.num_labelled_scans) == (5, 3000, 5)
    assert sum(report.class_counts.values()) == 3000
    assert report.class_counts["unlabeled"] == 60
    low, high = report.remission
    assert 0 <= low < high <= 1


def _nan(root: Path) -> None:
    path = root / "sequences/00/velodyne/000000.bin"
    points = np.fromfile(path, dtype="<f4").reshape(-1, 4)
    points[2, 1] = np.nan
    points.tofile(path)


def _bright(root: Path) -> None:
    path = root / "sequences/00/velodyne/000000.bin"
    points = np.fromfile(path, dtype="<f4").reshape(-1, 4)
    points[:, 3] = 255
    points.tofile(path)


def _one_image(root: Path) -> None:
    (root / "sequences/00/image_2").mkdir()
    (root / "sequences/00/image_2/000000.png").write_bytes(b"no picture")


def _unknown_id(root: Path) -> None:
    path = root / "sequences/08/labels/000004.label"
    write_labels(path, np.full(600, 17, dtype=np.uint32))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_nan, "000000.bin: 1 points hold NaN or infinity"),
        (_bright, "000000.bin: remission spans 255 to 255, not 0 to 1"),
        (_unknown_id, "000004.label: raw id 17 belongs to no class of semantic_kitti"),
        (_one_image, "000001.png: missing, though the sequence has images"),
        (_one_image, "cannot identify image file"),
        (lambda r: (r / "sequences/00/velodyne/000001.bin").write_bytes(bytes(15)), "15 bytes are"),
        (lambda r: (r / "sequences/00/velodyne/000001.bin").write_bytes(b""), "the scan is empty"),
        (lambda r: (r / "sequences/00/labels/000001.label").write_bytes(bytes(8)), "are 2 labels"),
        (lambda r: (r / "sequences/00/labels/000001.label").unlink(), "000001.label: missing"),
        (lambda r: (r / "sequences/00/velodyne/000001.bin").unlink(), "there is no such scan"),
        (lambda r: (r / "sequences/09").mkdir(), "velodyne/ holds no .bin file"),
    ],
)
def test_a_problem_is_listed(dataset: Path, spec: DatasetSpec, spoil, problem: str) -> None:
    spoil(dataset)
    assert any(problem in line for line in check_data(dataset, spec).problems)


def test_the_test_split_needs_no_labels(dataset: Path, spec: DatasetSpec) -> None:
    (dataset / "sequences/08").rename(dataset / "sequences/11")
    for path in (dataset / "sequences/11/labels").iterdir():
        path.unlink()
    assert check_data(dataset, spec).problems == []


def test_an_empty_folder_is_a_problem(tmp_path: Path, spec: DatasetSpec) -> None:
    assert "there is no folder sequences/NN" in check_data(tmp_path, spec).problems[0]
