"""Tensors of any shape as rows, one behind the other, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Which dimensions of a tensor number its rows, and which the channels of a row.

    Rows are numbered by the dimensions in which an index differs, and within by the one along which
    it points. All others are channels. Where an index is the same for all of them, as it nearly
    always is, a tensor [N, C] is its own rows.
    """

    shape: tuple[int, ...]  # of the values, whatever its size along `dim`
    dim: int
    outer: tuple[int, ...]  # the dimensions in which an index differs, but `dim`

    @staticmethod
    def of(values: Tensor, index: Tensor, dim: int) -> Layout:
        """That of values, given an index which has been expanded to their dimensions."""
        others = (d for d in range(values.dim()) if d != dim)
        outer = tuple(d for d in others if index.stride(d) != 0 and index.shape[d] != 1)
        return Layout(tuple(values.shape), dim, outer)

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(d for d in range(len(self.shape)) if d != self.dim and d not in self.outer)

    @property
    def num_outer(self) -> int:
        return math.prod([self.shape[d] for d in self.outer])

    @property
    def num_channels(self) -> int:
        return math.prod([self.shape[d] for d in self.channels])

    def with_size(self, size: int) -> tuple[int, ...]:
        """The shape with another size along `dim`."""
        return (*self.shape[: self.dim], size, *self.shape[self.dim + 1 :])

    def rows(self, values: Tensor) -> Tensor:
        """The rows of a tensor of this shape, of any size along `dim`: [num_outer * size, C]."""
        num_rows = self.num_outer * values.shape[self.dim]
        order = (*self.outer, self.dim, *self.channels)
        return values.permute(order).reshape(num_rows, self.num_channels)

    def numbers(self, index: Tensor) -> Tensor:
        """An expanded index, or list of offsets, without the channels: [num_outer, size]."""
        for d in reversed(self.channels):
            index = index.select(d, 0)
        left = sorted((*self.outer, self.dim))
        places = [left.index(d) for d in (*self.outer, self.dim)]
        return index.permute(places).reshape(self.num_outer, -1)

    def restore(self, rows: Tensor, size: int, *, channels: bool = True) -> Tensor:
        """The tensor of given rows, [num_outer * size, C]; or [num_outer * size], to broadcast."""
        inner = [self.shape[d] if channels else 1 for d in self.channels]
        outer = [self.shape[d] for d in self.outer]
        order = (*self.outer, self.dim, *self.channels)
        back = sorted(range(len(order)), key=order.__getitem__)
        return rows.reshape(*outer, size, *inner).permute(back)
