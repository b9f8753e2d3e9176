"""Labels for scans from LiDAR points alone, with the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elite.data import DatasetSpec, read_points, write_labels
from elite.engine.point_labels import label_outside
from elite.engine.tta import add_views
from elite.errors import EliteError
from elite.files import replacing
from elite.pictures import birds_eye
from elite.student import Student
from elite.student.head import most_likely

__all__ = [
    "Prediction",
    "PredictionSummary",
    "Predictor",
    "StageTimes",
    "find_scans",
    "picture_of",
    "predict",
]


View = Callable[[NDArray[np.float32], NDArray[np.int64], Path], None]


@dataclass
class StageTimes:
    """Seconds spent in each stage, summed over the scans."""

    read: float = 0.0
    voxelize: float = 0.0
    network: float = 0.0
    write: float = 0.0

    @contextmanager
    def measure(self, stage: str, device: torch.device) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        setattr(self, stage, getattr(self, stage) + time.perf_counter() - start)


@dataclass
class Prediction:
    """One scan: its learning ids, and the points that took their nearest point's label."""

    labels: NDArray[np.int64]  # [N]
    num_outside: int


@dataclass
class PredictionSummary:
    """What was written.

    Attributes:
        outside_fraction: points outside the network's range, which took the label of the nearest
            point inside.
        class_counts: points by predicted class.
        seconds: per stage, over all scans.
        files: the label files, in the order of the scans.
    """

    num_scans: int = 0
    num_points: int = 0
    outside_fraction: float = 0.0
    class_counts: dict[str, int] = field(default_factory=dict)
    seconds: StageTimes = field(default_factory=StageTimes)
    device: str = "cpu"
    files: list[str] = field(default_factory=list)


class Predictor:
    """The student's inference form on one device.

    Args:
        dtype: what the network computes in; sums are formed in float32 in any case.
        views: of `view_transforms`: their logits are summed; none predicts from the scan as it is.
    """

    def __init__(
        self,
        student: Student,
        device: torch.device,
        views: Sequence[torch.Tensor] = (),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device = device
        self.views = views
        self.network = student.to(device).eval().fused().to(dtype)
        self.seconds = StageTimes()

    @torch.no_grad()
    def __call__(self, points: NDArray[np.float32]) -> Prediction:
        """Labels every point of one scan."""
        with self.seconds.measure("voxelize", self.device):
            on_device = torch.from_numpy(points).to(self.device)
            batch_index = torch.zeros(len(points), dtype=torch.int64, device=self.device)
            pyramid = self.network.pyramid(on_device, batch_index, 1)
            valid = pyramid.valid
        with self.seconds.measure("network", self.device):
            if self.views:
                first = self.network.logits(on_device, pyramid), valid
                summed = add_views(self.network, on_device, batch_index, 1, first, self.views)
                labels, valid = most_likely(summed[0]), summed[1]
            else:
                labels = self.network.labels(on_device, pyramid)
            labels = label_outside(labels, valid, on_device, batch_index)
        return Prediction(labels.cpu().numpy(), int((~valid).sum()))


def find_scans(source: Path) -> list[Path]:
    """A .bin file, or every .bin file below a folder, in order."""
    if source.is_file():
        return [source]
    scans = sorted(source.rglob("*.bin")) if source.is_dir() else []
    if not scans:
        raise EliteError(
            f"{source}: no scan found",
            "Name a .bin file of float32 x, y, z, remission, or a folder of such files.",
        )
    return scans


def label_path(scan: Path, source: Path, output: Path) -> Path:
    """Where the labels of a scan go.

    A scan in `sequences/NN/velodyne` goes to `sequences/NN/predictions`, as the benchmark wants it;
    any other keeps its place relative to `source`.
    """
    parts = scan.resolve().parts
    if len(parts) >= 4 and parts[-4] == "sequences" and parts[-2] == "velodyne":
        return output / "sequences" / parts[-3] / "predictions" / f"{scan.stem}.label"
    relative = scan.relative_to(source) if source.is_dir() else Path(scan.name)
    return (output / relative).with_suffix(".label")


def picture_of(spec: DatasetSpec) -> View:
    """A `view` for `predict`: a bird's-eye picture beside each label file."""

    def write(points: NDArray[np.float32], labels: NDArray[np.int64], path: Path) -> None:
        with replacing(path.with_suffix(".png")) as temporary:
            birds_eye(points, labels, None, spec, size=1000).save(temporary, format="PNG")

    return write


def predict(
    predictor: Predictor,
    spec: DatasetSpec,
    source: Path,
    output: Path,
    *,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
    view: View | None = None,
) -> PredictionSummary:
    """Writes one .label file of raw ids per scan.

    Args:
        source: a .bin file or a folder.
        view: called with points, learning ids and the path of the labels, after they are written.

    Raises:
        EliteError: if there is no scan, or a file is not one.
    """
    summary = PredictionSummary(seconds=predictor.seconds, device=str(predictor.device))
    counts = np.zeros(spec.num_classes, dtype=np.int64)
    outside = 0
    for path in progress(find_scans(source)):
        with predictor.seconds.measure("read", predictor.device):
            points = read_points(path, spec.points)
        prediction = predictor(points)
        target = label_path(path, source, output)
        with predictor.seconds.measure("write", predictor.device):
            write_labels(target, spec.to_raw(prediction.labels))
        if view is not None:
            view(points, prediction.labels, target)
        counts += np.bincount(prediction.labels, minlength=spec.num_classes)
        outside += prediction.num_outside
        summary.num_scans += 1
        summary.num_points += len(points)
        summary.files.append(str(target))
    summary.outside_fraction = outside / max(summary.num_points, 1)
    summary.class_counts = dict(zip(spec.names, counts.tolist(), strict=True))
    return summary
