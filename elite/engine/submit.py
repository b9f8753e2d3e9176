"""A benchmark submission: predictions of a whole split, checked, in one zip file."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from elite.data import DatasetSpec, Frame, find_frames, read_labels, read_points, write_labels
from elite.engine.predict import Predictor
from elite.errors import EliteError
from elite.files import replacing, write_text

__all__ = ["Submission", "predict_frames", "split_frames", "write_submission"]

# Fixed, so that equal predictions give equal files; the earliest that a zip file can hold.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


@dataclass
class Submission:
    """What was written.

    Attributes:
        sequences: scans of each.
        class_counts: points by predicted class.
    """

    path: str
    num_scans: int = 0
    num_points: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    class_counts: dict[str, int] = field(default_factory=dict)


def split_frames(roots: Sequence[Path], split: str, spec: DatasetSpec) -> list[Frame]:
    """Every scan of a split.

    Raises:
        EliteError: if a sequence is missing, has a gap, or has another number of scans than the
            data set says: the benchmark takes complete sequences only.
    """
    frames: list[Frame] = []
    for sequence in spec.sequences(split):
        found = [frame for root in roots for frame in find_frames(root, [sequence])]
        numbers = [frame.points.stem for frame in found]
        expected = spec.num_scans.get(sequence, max(len(set(numbers)), 1))
        missing = sorted({f"{i:06d}" for i in range(expected)} - set(numbers))
        if missing or len(numbers) != expected:
            raise EliteError(
                f"sequence {sequence} has {len(found)} of {expected} scans"
                + (f"; the first missing one is {missing[0]}" if missing else ""),
                "The benchmark takes complete sequences only: repair the data set.",
            )
        frames += found
    return frames


def _label_path(folder: Path, frame: Frame) -> Path:
    return folder / _name(frame)


def _name(frame: Frame) -> str:
    """Where the benchmark wants the labels of a scan."""
    return f"sequences/{frame.sequence}/predictions/{frame.points.stem}.label"


def predict_frames(
    predictor: Predictor,
    spec: DatasetSpec,
    frames: Sequence[Frame],
    folder: Path,
    made_with: dict[str, Any],
    *,
    progress: Callable[[Sequence[Frame]], Iterable[Frame]] = iter,
) -> None:
    """Writes the predictions that `folder` lacks, so that an interrupted call is repeated.

    Args:
        made_with: what the predictions depend on; a folder made with anything else is refused.
    """
    _claim(folder, made_with)
    for frame in progress([f for f in frames if not _label_path(folder, f).exists()]):
        labels = predictor(read_points(frame.points, spec.points)).labels
        write_labels(_label_path(folder, frame), spec.to_raw(labels))


def _claim(folder: Path, made_with: dict[str, Any]) -> None:
    record = folder / "made_with.json"
    if not record.exists():
        write_text(record, json.dumps(made_with, indent=2) + "\n")
    elif json.loads(record.read_text()) != made_with:
        raise EliteError(
            f"{folder}: holds predictions of other weights or views",
            "Delete it, or choose another --predictions.",
        )


def write_submission(
    folder: Path, frames: Sequence[Frame], spec: DatasetSpec, output: Path
) -> Submission:
    """Checks the predictions below `folder` and writes them to the zip file `output`.

    Raises:
        EliteError: naming the file, if a prediction is missing, has another length than its scan,
            or holds anything but the raw ids of learned classes.
    """
    summary = Submission(path=str(output))
    counts = np.zeros(spec.num_classes, dtype=np.int64)
    with replacing(output) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for frame in frames:
                path = _label_path(folder, frame)
                labels = _checked(path, frame, spec)
                entry = zipfile.ZipInfo(_name(frame), date_time=TIMESTAMP)
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
                counts += np.bincount(labels, minlength=spec.num_classes)
                summary.num_points += len(labels)
        _read_back(temporary, frames)
    summary.num_scans = len(frames)
    summary.sequences = dict(Counter(frame.sequence for frame in frames))
    summary.class_counts = dict(zip(spec.names, counts.tolist(), strict=True))
    return summary


def _checked(path: Path, frame: Frame, spec: DatasetSpec) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The learning ids of one prediction."""
    num_points = frame.points.stat().st_size // spec.points.point_bytes
    raw_labels, instances = read_labels(path, num_points)
    labels = spec.to_learning(raw_labels, path)
    wrong = np.flatnonzero((labels == 0) | (instances != 0))
    if len(wrong):
        row = wrong[0]
        raw = int(raw_labels[row]) | int(instances[row]) << 16
        raise EliteError(
            f"{path}: point {row} has the label {raw}, which the benchmark doesn't take",
            "A prediction holds one raw id of a learned class per point, without instances.",
        )
    return labels


def _read_back(path: Path, frames: Sequence[Frame]) -> None:
    """Reads what was written, as the benchmark will."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None or archive.namelist() != [_name(f) for f in frames]:
            raise EliteError(f"{path}: the file is damaged", "Look at the disk, and try again.")
