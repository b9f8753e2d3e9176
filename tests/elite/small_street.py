"""A synthetic street with a coarse scanner and a small camera, made in a moment."""

from __future__ import annotations

from pathlib import Path

from elite.data.street import CameraModel, LidarModel, simulate

LIDAR = LidarModel("thin", tuple(2.0 - 1.7 * beam for beam in range(16)), columns=360)
CAMERA = CameraModel(width=124, height=37, focal=71.8, centre=(60.7, 18.5))


def write_small_street(folder: Path, **sequences: int) -> Path:
    """Sequences by their name, as in `s00=3`."""
    counts = {name.removeprefix("s"): count for name, count in sequences.items()}
    simulate(folder, sequences=counts, seed=4, sensor=LIDAR, camera=CAMERA, workers=1)
    return folder
