"""Data loaders whose content depends on the seed, the epoch and the position alone.

The random numbers of a scan are seeded by (seed, epoch, index), so that the number of worker
processes, an interruption or the machine change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from elite.data.augmentation import AugmentationConfig, augment, random_sector
from elite.data.camera import CameraConfig, crop_camera
from elite.data.collate import collate
from elite.data.cut_mix import CutMixConfig, paste_instances
from elite.data.semantic_kitti import SemanticKitti
from elite.types import Scan

__all__ = ["EpochSampler", "TrainingScans", "training_loader", "validation_loader"]

Key = tuple[int, int]  # epoch, index
CAMERA, CUT_MIX, SECTOR = 1, 2, 3  # random streams beside the one of the points


class EpochSampler(Sampler[Key]):
    """A seeded permutation per epoch that can begin in its middle.

    Attributes:
        epoch: chooses the permutation; set it before each epoch.
        start: how many scans of the epoch are skipped; set it after an interruption.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return self.size - self.start

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return iter([(self.epoch, int(index)) for index in order[self.start :]])


class TrainingScans(Dataset[Scan]):
    """Augmented scans; the key carries the epoch, so that worker processes know it.

    The camera, CutMix and the augmentation of the points draw from streams of their own: with and
    without images, the points of a scan are the same.

    Args:
        scans: with images, if `camera` is given.
        camera: how images are cropped and changed; None leaves them out.
        cut_mix: what is pasted from other scans.
    """

    def __init__(
        self,
        scans: SemanticKitti,
        config: AugmentationConfig,
        seed: int,
        *,
        camera: CameraConfig | None = None,
        cut_mix: CutMixConfig | None = None,
    ) -> None:
        self.scans = scans
        self.config = config
        self.seed = seed
        self.camera = camera
        self.cut_mix = cut_mix or CutMixConfig()

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, key: Key) -> Scan:
        scan = self.scans.read(key[1], images=self.camera is not None)
        scan = random_sector(scan, self.config.sector, self._stream(key, SECTOR))
        if self.camera is not None and scan.image is not None:
            scan = crop_camera(scan, self.camera, self._stream(key, CAMERA))
        scan = self._mix(scan, self._stream(key, CUT_MIX))
        return augment(scan, self.config, self._stream(key))

    def _stream(self, key: Key, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *key, *purpose))

    def _mix(self, scan: Scan, rng: np.random.Generator) -> Scan:
        if rng.random() >= self.cut_mix.probability:
            return scan
        donor = self.scans.read(int(rng.integers(len(self.scans))), images=False)
        return paste_instances(scan, donor, self.cut_mix, rng)


def training_loader(
    scans: TrainingScans, sampler: EpochSampler, batch_size: int, num_workers: int = 0
) -> DataLoader[Scan]:
    """Batches of augmented scans in the order of `sampler`; the last one may be smaller."""
    return _loader(scans, sampler=sampler, batch_size=batch_size, num_workers=num_workers)


def validation_loader(
    scans: SemanticKitti, batch_size: int = 1, num_workers: int = 0
) -> DataLoader[Scan]:
    """Batches of the scans as they are, in order."""
    return _loader(scans, batch_size=batch_size, num_workers=num_workers)


def _loader(scans: Any, **options: Any) -> DataLoader[Scan]:
    return DataLoader(
        scans,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        # A generator of its own: the loader draws a seed from it for its workers, which would
        # otherwise be taken from the global stream that an interrupted run has to restore.
        generator=torch.Generator().manual_seed(0),
        **options,
    )
