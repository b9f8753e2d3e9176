"""Looks through a data set and lists whatever would stop, or spoil, a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elite.data.calibration import read_projection
from elite.data.dataset_spec import DatasetSpec
from elite.data.scan_files import read_labels, read_points
from elite.data.semantic_kitti import Frame, find_frames
from elite.errors import EliteError

__all__ = ["DataReport", "check_data"]

T = TypeVar("T")
Counts = NDArray[np.int64]  # [num_classes]


@dataclass
class DataReport:
    """What a data set holds, and what is wrong with it.

    Attributes:
        remission: smallest and largest value over all finite points.
        class_counts: labelled points by class name.
        problems: one sentence each; none in a sound data set.
    """

    root: str
    num_scans: int = 0
    num_points: int = 0
    num_labelled_scans: int = 0
    num_images: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    remission: tuple[float, float] | None = None
    class_counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_data(
    root: Path,
    spec: DatasetSpec,
    *,
    progress: Callable[[Iterable[Frame]], Iterable[Frame]] = iter,
) -> DataReport:
    """Reads every file below `root/sequences`.

    Sequences of the test split need no labels. Images and calibrations are optional, but a sequence
    that has some images must have one per scan, and a readable calib.txt.
    """
    report = DataReport(root=str(root))
    folders = sorted(p for p in (root / "sequences").glob("*") if p.is_dir())
    if not folders:
        report.problems.append(f"{root}: there is no folder sequences/NN")
    every_frame: list[Frame] = []
    for folder in folders:
        frames = find_frames(root, [folder.name])
        report.sequences[folder.name] = len(frames)
        _check_sequence(folder, frames, report)
        every_frame += frames
    counts = np.zeros(spec.num_classes, dtype=np.int64)
    unlabelled = spec.splits.get("test", ())
    for frame in progress(every_frame):
        counts += _check_frame(frame, spec, frame.sequence not in unlabelled, report)
    report.class_counts = dict(zip(spec.names, counts.tolist(), strict=True))
    return report


def _check_sequence(folder: Path, frames: list[Frame], report: DataReport) -> None:
    """What concerns a sequence as a whole: stray files, missing images, calibration."""
    if not frames:
        report.problems.append(f"{folder}: velodyne/ holds no .bin file")
    stems = {frame.points.stem for frame in frames}
    for kind, pattern in (("labels", "*.label"), ("image_2", "*.png")):
        strays = {path.stem for path in (folder / kind).glob(pattern)} - stems
        report.problems += [f"{folder / kind / s}: there is no such scan" for s in sorted(strays)]
    images = [frame.image for frame in frames if frame.image.is_file()]
    report.num_images += len(images)
    if not images:
        return
    report.problems += [
        f"{frame.image}: missing, though the sequence has images"
        for frame in frames
        if not frame.image.is_file()
    ]
    _try(report, lambda: read_projection(folder / "calib.txt"))
    for path in images:
        _try(report, partial(_verify_image, path))


def _check_frame(frame: Frame, spec: DatasetSpec, need_labels: bool, report: DataReport) -> Counts:
    """Points and labels of one scan; returns its points per class."""
    nothing: Counts = np.zeros(spec.num_classes, dtype=np.int64)
    report.num_scans += 1
    points = _try(report, lambda: read_points(frame.points, spec.points))
    if points is None:
        return nothing
    _check_points(frame, points, report)
    if not frame.labels.is_file():
        if need_labels:
            report.problems.append(f"{frame.labels}: missing")
        return nothing
    report.num_labelled_scans += 1
    labels = _try(report, lambda: read_labels(frame.labels, len(points)))
    if labels is None:
        return nothing
    unknown = spec.unknown_ids(labels[0])
    if unknown:
        ids = ", ".join(map(str, unknown))
        report.problems.append(f"{frame.labels}: raw id {ids} belongs to no class of {spec.name}")
        return nothing
    return np.bincount(spec.to_learning(labels[0]), minlength=spec.num_classes)


def _check_points(frame: Frame, points: NDArray[np.float32], report: DataReport) -> None:
    report.num_points += len(points)
    if not len(points):
        report.problems.append(f"{frame.points}: the scan is empty")
        return
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        bad = len(points) - int(finite.sum())
        report.problems.append(f"{frame.points}: {bad} points hold NaN or infinity")
    if not finite.any():
        return
    remission = points[finite, 3]
    low, high = float(remission.min()), float(remission.max())
    if low < 0 or high > 1:
        report.problems.append(f"{frame.points}: remission spans {low:g} to {high:g}, not 0 to 1")
    before = report.remission or (low, high)
    report.remission = (min(low, before[0]), max(high, before[1]))


def _verify_image(path: Path) -> None:
    with Image.open(path) as image:
        image.verify()


def _try(report: DataReport, read: Callable[[], T]) -> T | None:
    """The value of `read`, or None and one more problem."""
    try:
        return read()
    except (EliteError, OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a bad PNG
        report.problems.append(str(error).replace("\n", " "))
        return None
