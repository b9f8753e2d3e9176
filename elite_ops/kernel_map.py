"""Which input row meets which output row under each offset of a convolution kernel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["KernelMap", "RowGroups"]


@dataclass(frozen=True)
class RowGroups:
    """The output rows in an order in which neighbours meet much the same offsets."""

    order: Tensor  # [num_out] int32: a permutation
    neighbors: Tensor  # [K, num_out] int32: the table's columns in this order


@dataclass(frozen=True)
class KernelMap:
    """The neighbour table of one sparse convolution.

    Offset k = (i_x * k_y + i_y) * k_z + i_z stands for the displacement
    ((i_x, i_y, i_z) - kernel_size // 2) * dilation from an output voxel to an input voxel.

    `transposed` is the same relation seen from the input rows. In a submanifold map it is the table
    itself read from the last offset to the first (`mirrored`), so nothing is stored twice.
    """

    neighbors: Tensor  # [K, num_out] int32: input row, -1 where there is none
    transposed: Tensor  # [K, num_in] int32: output row, -1 where there is none
    mirrored: bool
    kernel_size: tuple[int, int, int]
    groups: RowGroups | None = None  # from `group_rows`; results are the same with and without
    num_rows: Tensor | None = None  # [] int64, on the device: true output rows; None: all

    @property
    def num_in(self) -> int:
        return self.transposed.shape[1]

    @property
    def num_out(self) -> int:
        return self.neighbors.shape[1]
