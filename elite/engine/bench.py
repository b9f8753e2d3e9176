"""How long a scan takes: stage by stage, the network alone, and from the file to the labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elite.data import DatasetSpec, read_points
from elite.engine.point_labels import label_outside
from elite.engine.predict import Predictor
from elite.student import Student

__all__ = ["Agreement", "BenchReport", "CapturedReport", "Times", "bench"]

WARM_UP = 2  # rounds that are not counted
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass
class Times:
    """Seconds of one stage: half, 90 % and 99 % of the rounds took no longer; and the shortest."""

    p50: float
    p90: float
    p99: float
    min: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        p50, p90, p99 = np.quantile(seconds, [0.5, 0.9, 0.99]).tolist()
        return cls(p50, p90, p99, min(seconds))


@dataclass
class CapturedReport:
    """The student at a fixed capacity, in one precision.

    Attributes:
        end_to_end: from the file to the labels in host memory; points outside the range get 0.
        agreement: the part of the points inside that get the label of the usual form in float32.
    """

    end_to_end: Times
    agreement: float


@dataclass
class BenchReport:
    """What was measured, on what.

    Attributes:
        precision: of all but `captured`.
        agreement: the part of the points that get their label of float32.
        num_points: of a scan, on average.
        stages: in their order. On CUDA the device is waited for after each, so that their sum is
            more than `end_to_end`.
        network: on points and voxels that are already there.
        end_to_end: from the file to the labels in host memory, as `elite predict` makes them.
        captured: by precision, where it was asked for.
    """

    device: str
    threads: int
    torch: str
    precision: str
    agreement: float
    rounds: int
    num_scans: int
    num_points: int
    stages: dict[str, Times]
    network: Times
    end_to_end: Times
    captured: dict[str, CapturedReport]


class Agreement:
    """Counts the labels that are as they should be."""

    def __init__(self) -> None:
        self.same = self.all = 0

    def add(self, labels: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
        self.same += int((labels == wanted).sum())
        self.all += len(wanted)

    @property
    def part(self) -> float:
        return self.same / max(self.all, 1)


class _Laps:
    """Takes the time between calls, with the device's work done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = {}

    def start(self) -> None:
        self._wait()
        self.begin = time.perf_counter()

    def lap(self, stage: str) -> None:
        self._wait()
        end = time.perf_counter()
        self.seconds.setdefault(stage, []).append(end - self.begin)
        self.begin = end

    def times(self) -> dict[str, Times]:
        return {stage: Times.of(laps[WARM_UP:]) for stage, laps in self.seconds.items()}

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@torch.no_grad()
def bench(
    student: Student,
    spec: DatasetSpec,
    scans: Sequence[Path],
    device: torch.device,
    *,
    rounds: int,
    dtype: torch.dtype = torch.float32,
    captured: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchReport:
    """Predicts `rounds` times, one scan after the other, in three ways.

    Args:
        dtype: what the network computes in.
        captured: also at a fixed capacity, which on CUDA is one graph, in each precision.

    Raises:
        EliteError: if a file is not a scan.
    """
    predictor = Predictor(student, device, dtype=dtype)
    exact = predictor if dtype == torch.float32 else Predictor(student, device)
    stages, network, whole = (_Laps(device) for _ in range(3))
    total = rounds + WARM_UP
    scans = scans[:total]
    num_points = 0
    for number in range(total):
        path = scans[number % len(scans)]
        num_points += _in_stages(predictor, spec, path, stages)
        _network_alone(predictor, spec, path, network)
        whole.start()
        predictor(read_points(path, spec.points))
        whole.lap("end to end")
        progress(number + 1, total)
    return BenchReport(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        precision=str(dtype).removeprefix("torch."),
        agreement=1.0 if exact is predictor else _agreement(predictor, exact, spec, scans),
        rounds=rounds,
        num_scans=len(scans),
        num_points=round(num_points / total),
        stages=stages.times(),
        network=network.times()["network"],
        end_to_end=whole.times()["end to end"],
        captured=_captured(exact, spec, scans, total) if captured else {},
    )


def _agreement(
    predictor: Predictor, exact: Predictor, spec: DatasetSpec, scans: Sequence[Path]
) -> float:
    agreement = Agreement()
    for path in scans:
        points = read_points(path, spec.points)
        agreement.add(predictor(points).labels, exact(points).labels)
    return agreement.part


def _in_stages(predictor: Predictor, spec: DatasetSpec, path: Path, laps: _Laps) -> int:
    """What `Predictor` does, in pieces; returns the number of points."""
    network, device = predictor.network, predictor.device
    laps.start()
    host = read_points(path, spec.points)
    laps.lap("read")
    points = torch.from_numpy(host).to(device)
    batch_index = torch.zeros(len(points), dtype=torch.int64, device=device)
    laps.lap("copy")
    pyramid = network.pyramid(points, batch_index, 1)
    laps.lap("voxels and kernel maps")
    with _blocks_timed(network, laps):
        labels = network.labels(points, pyramid)
    laps.lap("head")
    label_outside(labels, pyramid.valid, points, batch_index).cpu()
    laps.lap("points outside")
    return len(host)


def _network_alone(predictor: Predictor, spec: DatasetSpec, path: Path, laps: _Laps) -> None:
    points = torch.from_numpy(read_points(path, spec.points)).to(predictor.device)
    batch_index = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    pyramid = predictor.network.pyramid(points, batch_index, 1)
    laps.start()
    predictor.network.logits(points, pyramid)
    laps.lap("network")


def _captured(
    exact: Predictor, spec: DatasetSpec, scans: Sequence[Path], total: int
) -> dict[str, CapturedReport]:
    """One form after the other, as each holds the buffers of the largest scan."""
    largest = max(len(read_points(path, spec.points)) for path in scans)
    reports = {}
    for name, dtype in PRECISIONS.items():
        student = exact.network.capture(max(largest, 1), dtype=dtype)
        laps, agreement = _Laps(exact.device), Agreement()
        for number in range(total):
            path = scans[number % len(scans)]
            laps.start()
            labels = student(torch.from_numpy(read_points(path, spec.points))).cpu().numpy()
            laps.lap("end to end")
            student.check()
            if number < len(scans):
                inside = labels > 0
                agreement.add(labels[inside], exact(read_points(path, spec.points)).labels[inside])
        reports[name] = CapturedReport(laps.times()["end to end"], agreement.part)
    return reports


@contextmanager
def _blocks_timed(network: torch.nn.Module, laps: _Laps) -> Iterator[None]:
    """A lap before the first block of the network, and one after each."""
    blocks = list(network.get_submodule("blocks").children())
    hooks = [blocks[0].register_forward_pre_hook(lambda *_: laps.lap("points to voxels"))]
    for number, block in enumerate(blocks, start=1):

        def after(*_: object, stage: str = f"block {number}") -> None:
            laps.lap(stage)

        hooks.append(block.register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
