"""The synthetic street on disk: SemanticKITTI's layout, resumable, the same from any process."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elite.data import SemanticKitti, read_projection
from elite.data.dataset_spec import DatasetSpec
from elite.data.street import CameraModel, LidarModel, Street, simulate
from elite.errors import EliteError

LIDAR = LidarModel("thin", tuple(2.0 - 1.7 * beam for beam in range(16)), columns=360)
CAMERA = CameraModel(width=124, height=37, focal=71.8, centre=(60.7, 18.5))
SETTINGS = {"sensor": LIDAR, "camera": CAMERA}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street")
    simulate(root, sequences={"00": 3, "08": 2}, seed=4, **SETTINGS)
    return root


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_layout_and_sizes(folder: Path) -> None:
    expected = {"calib.txt", "poses.txt", "times.txt", "street.json"}
    kinds = {"velodyne": "bin", "labels": "label", "image_2": "png"}
    kinds |= {"image_labels": "png", "image_instances": "png"}
    for name, count in (("00", 3), ("08", 2)):
        sequence = folder / "sequences" / name
        frames = {f"{kind}/{i:06d}.{end}" for kind, end in kinds.items() for i in range(count)}
        assert set(content(sequence)) == expected | frames
        for i in range(count):
            points = (sequence / f"velodyne/{i:06d}.bin").stat().st_size
            labels = (sequence / f"labels/{i:06d}.label").stat().st_size
            assert points % 16 == 0
            assert points == 4 * labels > 0
        assert len((sequence / "poses.txt").read_text().splitlines()) == count
        assert len((sequence / "times.txt").read_text().splitlines()) == count


def test_files_hold_the_frame(folder: Path) -> None:
    frame = Street(4, "08", lidar=LIDAR, camera=CAMERA).frame(1)
    sequence = folder / "sequences" / "08"
    points = np.fromfile(sequence / "velodyne/000001.bin", "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(points, frame.points)
    np.testing.assert_array_equal(
        np.fromfile(sequence / "labels/000001.label", "<u4"), frame.labels
    )
    for kind, pixels in (
        ("image_2", frame.image),
        ("image_labels", frame.image_labels),
        ("image_instances", frame.image_instances),
    ):
        with Image.open(sequence / kind / "000001.png") as image:
            stored = np.asarray(image)
        assert stored.dtype == pixels.dtype
        np.testing.assert_array_equal(stored, pixels)


def test_the_reader_reads_it(folder: Path, spec: DatasetSpec) -> None:
    scan = SemanticKitti([folder], "00", spec)[2]
    assert scan.labels is not None
    assert len(scan.labels) == len(scan.points)


def test_calibration_is_the_cameras(folder: Path) -> None:
    read = read_projection(folder / "sequences/00/calib.txt")
    np.testing.assert_allclose(read, CAMERA.p2 @ CAMERA.tr, rtol=1e-5, atol=1e-4)


def test_poses_lay_scans_over_each_other(folder: Path) -> None:
    """poses.txt takes camera 0 of a frame to camera 0 of the first one."""
    sequence = folder / "sequences/00"
    rows = dict(line.split(":") for line in (sequence / "calib.txt").read_text().splitlines())
    tr = np.vstack([np.array(rows["Tr"].split(), float).reshape(3, 4), [0, 0, 0, 1]])
    poses = np.loadtxt(sequence / "poses.txt").reshape(-1, 3, 4)
    np.testing.assert_allclose(poses[0], np.eye(4)[:3], atol=1e-12)
    street = Street(4, "00", lidar=LIDAR, camera=CAMERA)
    for index, pose in enumerate(poses):
        scanner = np.linalg.inv(tr) @ np.vstack([pose, [0, 0, 0, 1]]) @ tr
        expected = np.linalg.inv(street.pose(0)) @ street.pose(index)
        np.testing.assert_allclose(scanner, expected, atol=1e-9)
        assert pose[2, 3] == pytest.approx(street.plan.speed * 0.1 * index, rel=0.05)


def test_resumes(folder: Path) -> None:
    """Complete frames stay, incomplete ones come back as they were."""
    before = content(folder)
    kept = folder / "sequences/00/velodyne/000000.bin"
    written = kept.stat().st_mtime_ns
    (folder / "sequences/00/image_labels/000001.png").unlink()
    steps: list[tuple[int, int]] = []
    simulate(
        folder,
        sequences={"00": 3},
        seed=4,
        progress=lambda done, total: steps.append((done, total)),
        **SETTINGS,
    )
    assert steps == [(2, 3), (3, 3)]
    assert kept.stat().st_mtime_ns == written
    assert content(folder) == before


def test_processes_write_the_same(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path, sequences={"00": 3}, seed=4, workers=2, **SETTINGS)
    assert content(tmp_path / "sequences/00") == content(folder / "sequences/00")


def test_rejects(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EliteError, match="other settings"):
        simulate(folder, sequences={"00": 3}, seed=5, **SETTINGS)
    with pytest.raises(ValueError, match="`sequences` must have frames, got 0"):
        simulate(tmp_path, sequences={"00": 0}, seed=1)
    with pytest.raises(ValueError, match="`seed` must not be negative, got -1"):
        simulate(tmp_path, sequences={"00": 1}, seed=-1)
