"""Projection matrices against float64 arithmetic on the matrices of a calibration file."""

from pathlib import Path

import numpy as np
import pytest

from elite.data import read_projection
from elite.errors import EliteError


def test_pixels_of_a_real_calibration(data_folder: Path) -> None:
    path = data_folder / "semantickitti/sequences/00/calib.txt"
    lines = path.read_text().splitlines()
    p2, tr = (
        np.array(next(row for row in lines if row.startswith(key)).split()[1:], float).reshape(3, 4)
        for key in ("P2:", "Tr:")
    )
    points = np.random.default_rng(0).uniform([5, -5, -2], [40, 5, 2], size=(100, 3))
    camera = points @ tr[:, :3].T + tr[:, 3]
    expected = camera @ p2[:, :3].T + p2[:, 3]
    expected = expected[:, :2] / expected[:, 2:]
    got = np.c_[points, np.ones(100)] @ read_projection(path).T.astype(np.float64)
    np.testing.assert_allclose(got[:, :2] / got[:, 2:], expected, atol=1e-3)  # pixels


def test_a_point_ahead_of_a_made_up_camera(tmp_path: Path) -> None:
    path = tmp_path / "calib.txt"
    # The camera looks along the sensor's x; its x is the sensor's -y and its y is the sensor's -z.
    path.write_text("P2: 100 0 50 0 0 100 20 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n")
    u, v, w = read_projection(path) @ np.array([10, 1, 2, 1], dtype=np.float32)
    assert (u / w, v / w) == pytest.approx((50 - 100 * 1 / 10, 20 - 100 * 2 / 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P2: 1 2 3\nTr: 1", "row `P2` must hold 12 numbers, got 3"),
        ("P2: one\n", "row `P2` holds something else than numbers"),
        ("Tr: 1 2", "there is no row `P2`"),
    ],
)
def test_a_broken_calibration_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "calib.txt"
    path.write_text(text)
    with pytest.raises(EliteError, match=message):
        read_projection(path)


def test_a_missing_calibration_is_named(tmp_path: Path) -> None:
    with pytest.raises(EliteError, match=r"calib\.txt: no such file"):
        read_projection(tmp_path / "calib.txt")
