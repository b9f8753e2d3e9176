"""The part of torchsparse's extension that programs call themselves."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from elite_ops.compat.torchsparse.nn.functional.hash import sphash
from elite_ops.compat.torchsparse.nn.functional.query import sphashquery

__all__ = ["GPUHashTable"]

BLOCK = 128  # results have a multiple of as many rows


class GPUHashTable:
    """Rows by number or by coordinates, on any device.

    Args:
        keys, values: the buffers, or the capacity alone, which torchsparse takes; not needed here.

    All results are rows and one, 0 for none, of a multiple of 128 lines.
    """

    def __init__(self, keys: Tensor | int, values: Tensor | None = None) -> None:
        self._numbers: Tensor | None = None

    def insert_vals(self, keys: Tensor) -> None:  # [V] int64
        """Numbers the rows of the table."""
        self._numbers = keys

    def lookup_vals(self, keys: Tensor) -> Tensor:  # [N'] int32
        return _padded(self._find(keys))

    def insert_coords(self, coords: Tensor) -> None:  # [V, 4] int32: x, y, z, batch
        """Has the table's rows found by coordinates."""
        self._numbers = sphash(coords)

    def lookup_coords(
        self,
        coords: Tensor,  # [N, 4] int32: x, y, z, batch
        kernel_sizes: Tensor,  # [3]
        tensor_strides: Tensor,  # [3]
        kernel_volume: int,
    ) -> Tensor:  # [N', K] int32
        """The rows that a kernel meets at each of the coordinates, times the strides.

        As in the functions of 2.1, x is the fastest axis of an odd number of offsets, else z.
        """
        axes = [[i - (n - 1) // 2 for i in range(n)] for n in kernel_sizes.tolist()]
        if kernel_volume % 2 == 1:
            offsets = [offset[::-1] for offset in itertools.product(*axes[::-1])]
        else:
            offsets = list(itertools.product(*axes))
        scale = torch.cat([tensor_strides.to(coords), coords.new_ones(1)])
        numbers = sphash((coords * scale).int(), coords.new_tensor(offsets).int())
        return _padded(self._find(numbers).T)

    def _find(self, keys: Tensor) -> Tensor:
        if self._numbers is None:
            raise ValueError("GPUHashTable: nothing was inserted")
        return (sphashquery(keys, self._numbers) + 1).int()


def _padded(rows: Tensor) -> Tensor:
    padded = rows.new_zeros(-(-len(rows) // BLOCK) * BLOCK, *rows.shape[1:])
    padded[: len(rows)] = rows
    return padded
