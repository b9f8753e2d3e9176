"""The student at a fixed capacity: raw points to labels without a host round trip.

All buffers have the size that the most points need, and every op learns from the device how many of
their rows are valid. So nothing waits for a count, nothing is allocated by the data, and on CUDA
the whole run is one graph, recorded once and replayed for every scan. The ops and their order are
those of `FusedStudent`: so are the bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from elite.student.head import most_likely
from elite_ops import check_device_errors, on_cuda

if TYPE_CHECKING:
    from elite.student.fused import FusedStudent

__all__ = ["CapturedStudent"]


class CapturedStudent:
    """What `FusedStudent.capture` makes: points in, labels out, any number of times.

    One object has one set of buffers: its calls wait for each other, on whatever streams they are.
    Keep it while they run. Several objects don't wait; one per stream keeps several scans in
    flight:

        students = [fused.capture(max_points=130_000) for _ in range(2)]
        streams = [torch.cuda.Stream() for _ in students]
        for student, stream, points in zip(students, streams, scans):
            with torch.cuda.stream(stream):
                labels = student(points)

    On the CPU the same ops run one by one.

    Args:
        network: whose weights' device and dtype are taken; it must not change any more.
        max_points: of all scans of a call together.
        batch_size: the number of scans of a call.
        max_voxels: at each scale, one number or one per scale; None: as many as there can be.
    """

    @torch.no_grad()
    def __init__(
        self,
        network: FusedStudent,
        max_points: int,
        batch_size: int = 1,
        max_voxels: int | Sequence[int] | None = None,
    ) -> None:
        if max_points < 1 or batch_size < 1:
            raise ValueError(
                "CapturedStudent: `max_points` and `batch_size` must be positive, got "
                f"{max_points} and {batch_size}"
            )
        self.max_points = max_points
        self.batch_size = batch_size
        self.network = network
        self.capacity = self._capacity(max_voxels)
        self.device = network.classes.weight.device
        self._num_points = 0
        self._points = torch.full((max_points, 4), math.nan, device=self.device)
        self._batch_index = None
        if batch_size > 1:
            self._batch_index = torch.zeros(max_points, dtype=torch.int64, device=self.device)
        self._logits: Tensor  # of points outside the range too
        self._point_rows: Tensor
        self._labels: Tensor
        self._graph: torch.cuda.CUDAGraph | None = None
        if on_cuda(self._points):
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            with torch.cuda.device(self.device):
                self._record()

    def __call__(
        self,
        points: Tensor,  # [N, 4] float32: x, y, z (metres), remission
        batch_index: Tensor | None = None,  # [N] int64
    ) -> Tensor:  # [N] int64
        """The most likely class of each point, never class 0; 0 for points outside the range.

        On CUDA the call returns as soon as the work is in the queue of the current stream. It does
        not synchronise where `points` is on the device, or in pinned memory.

        Args:
            batch_index: which scan each point belongs to; needed for more than one.

        Raises:
            ValueError: if there are more points than `max_points`, or shapes don't fit; on the CPU
                also if there are more voxels than `max_voxels`. On CUDA `check` reports those.
        """
        self._check(points, batch_index)
        with self._in_turn():
            self._fill(points, batch_index)
            if self._graph is None:
                self._run()
            else:
                self._graph.replay()
            return self._labels[: self._num_points].clone()

    @property
    def logits(self) -> Tensor:  # [N, num_classes]
        """Of the last call, 0 outside the range; a new tensor, computed now."""
        with self._in_turn():
            return self._logits[: self._num_points] * self.valid[:, None]

    @property
    def valid(self) -> Tensor:  # [N] bool
        """Which points of the last call were inside the range; a new tensor, computed now."""
        with self._in_turn():
            return self._point_rows[: self._num_points] >= 0

    def check(self) -> None:
        """Waits for the last call, and raises if a kernel has reported bad input.

        The flag belongs to the device: with several objects in flight it may be another one's.

        Raises:
            IndexError: if there were more voxels than `max_voxels`, or an entry of `batch_index`
                was outside [0, batch_size). The flag is cleared.
        """
        if self._graph is not None:
            self._done.synchronize()
            check_device_errors(self.device)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Work on the buffers, after what other streams do with them and before what they will."""
        if self._graph is None:
            yield
            return
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._done)
            yield
            stream.record_event(self._done)

    def _capacity(self, max_voxels: int | Sequence[int] | None) -> list[int]:
        """Rows of each scale's buffers: no more than there are points, or cells."""
        config = self.network.config
        shapes = [[-(-n // scale) for n in config.spatial_shape] for scale in config.scales]
        most = [min(self.max_points, self.batch_size * math.prod(shape)) for shape in shapes]
        if max_voxels is None:
            return most
        given = [max_voxels] * len(most) if isinstance(max_voxels, int) else list(max_voxels)
        if len(given) != len(most) or min(given) < 1:
            raise ValueError(
                f"CapturedStudent: `max_voxels` must be positive, one number or one for each of "
                f"{len(most)} scales, got {max_voxels}"
            )
        return [min(pair) for pair in zip(given, most, strict=True)]

    def _check(self, points: Tensor, batch_index: Tensor | None) -> None:
        if points.dim() != 2 or points.shape[1] != 4:
            raise ValueError(
                f"CapturedStudent: `points` must be [N, 4], got shape {list(points.shape)}"
            )
        if len(points) > self.max_points:
            raise ValueError(
                f"CapturedStudent: `points` must be at most `max_points` ({self.max_points}), got "
                f"{len(points)}"
            )
        if (batch_index is None) != (self._batch_index is None):
            raise ValueError(
                "CapturedStudent: `batch_index` must be given for a `batch_size` above 1, and only "
                f"then; `batch_size` is {self.batch_size}"
            )
        if batch_index is not None and batch_index.shape != points.shape[:1]:
            raise ValueError(
                f"CapturedStudent: `batch_index` must be [{len(points)}], got shape "
                f"{list(batch_index.shape)}"
            )

    def _fill(self, points: Tensor, batch_index: Tensor | None) -> None:
        """Copies a scan in; the other points are NaN, outside of any range."""
        n = self._num_points = len(points)
        self._points[:n].copy_(points, non_blocking=True)
        self._points[n:].fill_(math.nan)
        if self._batch_index is not None and batch_index is not None:
            self._batch_index[:n].copy_(batch_index, non_blocking=True)
            self._batch_index[n:].zero_()

    @torch.no_grad()
    def _run(self) -> None:
        pyramid = self.network.pyramid(
            self._points, self._batch_index, self.batch_size, self.capacity
        )
        self._logits = self.network.logits(self._points, pyramid)
        self._point_rows = pyramid.point_rows
        self._labels = most_likely(self._logits, self._point_rows)

    def _record(self) -> None:
        """Records the graph, after a run on the same stream, as recording wants it.

        The stream is one of this device: torch's default for captures belongs to the device that
        was captured on first, and would record nothing here. Other threads may use CUDA meanwhile.
        """
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._run()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._run()
        torch.cuda.current_stream().record_event(self._done)
