"""A distillation that takes a moment: small images beside the scans, and networks to match."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from elite.data import CameraConfig
from elite.distill import DistillConfig
from elite.engine.distillation import DistillationConfig
from elite.engine.train_config import DataConfig, OptimizerConfig
from elite.student import StudentConfig

# a camera of a quarter of KITTI's resolution
CALIBRATION = """P2: 180 0 155 11 0 180 46 0 0 0 1 0
Tr: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
"""


def write_images(dataset: Path, frames: Iterable[int] = range(3)) -> None:
    """Images of scans of sequence 00, and the camera that took them."""
    folder = dataset / "sequences/00/image_2"
    folder.mkdir()
    (dataset / "sequences/00/calib.txt").write_text(CALIBRATION)
    for frame in frames:
        pixels = np.random.default_rng(frame).integers(0, 256, (94, 310, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{frame:06d}.png")


def small_config(dataset: Path) -> DistillationConfig:
    """The student is as narrow as it may be."""
    return DistillationConfig(
        data=DataConfig(roots=(str(dataset),), batch_size=1, num_workers=0),
        student=StudentConfig(channels=8, head_channels=8),
        distill=DistillConfig(voxel_hidden=8, pixel_hidden=8),
        camera=CameraConfig(height=64, width=256),
        optimizer=OptimizerConfig(name="adamw", lr=0.01, epochs=4),
        checkpoint_every=2,
        log_every=1,
    )
