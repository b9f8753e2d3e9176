"""Scans in the SemanticKITTI layout: sequences/NN/{velodyne, labels, image_2, calib.txt}."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elite.data.calibration import read_projection
from elite.data.dataset_spec import DatasetSpec
from elite.data.pseudo_label_manifest import refuse_held_out
from elite.data.pseudo_labels import read_pseudo_labels
from elite.data.scan_files import read_labels, read_points
from elite.errors import EliteError
from elite.types import Scan

__all__ = ["Frame", "SemanticKitti", "find_frames"]


@dataclass(frozen=True)
class Frame:
    """The files of one scan; only the points are sure to exist."""

    points: Path

    @property
    def _folder(self) -> Path:
        return self.points.parents[1]

    @property
    def sequence(self) -> str:
        return self._folder.name

    @property
    def labels(self) -> Path:
        return self._folder / "labels" / f"{self.points.stem}.label"

    @property
    def image(self) -> Path:
        return self._folder / "image_2" / f"{self.points.stem}.png"

    @property
    def calibration(self) -> Path:
        return self._folder / "calib.txt"

    def pseudo_labels(self, root: Path) -> Path:
        """The semantic pseudo-labels of the frame's image, below a folder of their own."""
        folder = root / "sequences" / self.sequence / "pseudo_labels" / "semantic"
        return folder / f"{self.points.stem}.png"

    @property
    def name(self) -> str:
        return f"{self.sequence}/{self.points.stem}"


def find_frames(root: Path, sequences: Sequence[str]) -> list[Frame]:
    """The frames of the given sequences below `root`, in order; absent sequences have none."""
    return [
        Frame(path)
        for sequence in sequences
        for path in sorted((root / "sequences" / sequence / "velodyne").glob("*.bin"))
    ]


class SemanticKitti:
    """A split of a data set as a sequence of `Scan`; nothing is read before it is asked for.

    Labels, and images with their projection, are read only when wanted, so that prediction needs
    nothing but points.

    Args:
        roots: folders that hold `sequences/`; their scans are put together.
        split: a split of `spec`, or sequences as in "00,01".
        labels: whether scans have labels and instances.
        images: whether scans have an image and its projection.
        require_images: whether a scan without an image file is an error; otherwise it has none.
        pseudo_labels: folder that holds `sequences/NN/pseudo_labels`; needs `images`. A scan with
            an image must have them.
        held_out_pseudo_labels: whether they may be made from a validation or test split.
    """

    def __init__(
        self,
        roots: Sequence[str | Path],
        split: str,
        spec: DatasetSpec,
        *,
        labels: bool = True,
        images: bool = False,
        require_images: bool = True,
        pseudo_labels: str | Path | None = None,
        held_out_pseudo_labels: bool = False,
    ) -> None:
        self.spec = spec
        self.labels = labels
        self.images = images
        self.require_images = require_images
        self.pseudo_labels = None if pseudo_labels is None else Path(pseudo_labels)
        if self.pseudo_labels is not None:
            refuse_held_out(self.pseudo_labels, allow=held_out_pseudo_labels)
        sequences = spec.sequences(split)
        self.frames = [frame for root in roots for frame in find_frames(Path(root), sequences)]
        if not self.frames:
            folders = ", ".join(str(Path(root) / "sequences") for root in roots)
            raise EliteError(
                f"no scan of split {split!r} (sequences {', '.join(sequences)}) in {folders}",
                "Name the folder that holds `sequences/`, and a split that it has.",
            )

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Scan]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Scan:
        return self.read(index, images=self.images)

    def read(self, index: int, *, images: bool) -> Scan:
        """The scan as `[index]` gives it; without `images` nothing of the camera is read."""
        frame = self.frames[index]
        scan = Scan(points=read_points(frame.points, self.spec.points), name=frame.name)
        if self.labels:
            raw_labels, instances = read_labels(frame.labels, len(scan.points))
            scan.labels = self.spec.to_learning(raw_labels, frame.labels)
            scan.instances = instances.astype(np.int64)
        if images and (self.require_images or frame.image.is_file()):
            self._add_image(scan, frame)
        return scan

    def _add_image(self, scan: Scan, frame: Frame) -> None:
        scan.image = _read_image(frame.image)
        scan.projection = read_projection(frame.calibration)
        if self.pseudo_labels is not None:
            path = frame.pseudo_labels(self.pseudo_labels)
            scan.pseudo_labels = read_pseudo_labels(path, self.spec, scan.image.shape[:2])

    def count_labels(self) -> NDArray[np.int64]:
        """Points per learning id over the split, read from every label file."""
        counts = np.zeros(self.spec.num_classes, dtype=np.int64)
        for scan in self:
            if scan.labels is not None:
                counts += np.bincount(scan.labels, minlength=self.spec.num_classes)
        return counts


def _read_image(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise EliteError(f"{path}: no such image")
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
