"""Points grouped by segment: built once, and shared by every reduction over it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Segments", "build_segments"]


@dataclass(frozen=True)
class Segments:
    """Which points belong to which segment (voxel), seen from both sides.

    Made by `build_segments`; the ops that take one rely on its three tensors fitting together.
    """

    inverse: Tensor  # [N] int32: segment of each point, -1 = none
    order: Tensor  # [N] int32: points by segment, then by number; those in no segment last
    offsets: Tensor  # [M + 1] int32: segment v owns order[offsets[v] : offsets[v + 1]]

    @property
    def num_segments(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def counts(self) -> Tensor:  # [M] int32
        """How many points each segment has."""
        return self.offsets[1:] - self.offsets[:-1]


def build_segments(
    inverse: Tensor,  # [N] int32
    num_segments: int,
) -> Segments:
    """Groups points by segment.

    Args:
        inverse: segment of each point in [0, num_segments), -1 for a point in no segment.
        num_segments: how many segments there are, M; they may be empty.

    Returns:
        The segments, on the device of `inverse`.

    Raises:
        TypeError: if `inverse` is not int32.
        ValueError: if `inverse` is not one-dimensional or `num_segments` is negative.
        IndexError: if a segment is outside [-1, num_segments). On CUDA such a point counts as -1
            and the error is reported by `check_device_errors`.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* stable counting sort (CPU), stable radix sort (CUDA).
    """
    order, offsets = torch.ops.elite_ops.build_segments(inverse, num_segments)
    return Segments(inverse, order, offsets)


def _fake(inverse: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    return inverse.new_empty(inverse.shape), inverse.new_empty(num_segments + 1)


torch.library.register_fake("elite_ops::build_segments", _fake)
