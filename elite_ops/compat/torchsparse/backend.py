"""The part of torchsparse's extension that programs call themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.compat.torchsparse._maps import rows_around
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
        self._coords: Tensor | None = None

    def insert_vals(self, keys: Tensor) -> None:  # [V] int64
        """Has the table's rows found by number."""
        self._numbers = keys

    def lookup_vals(self, keys: Tensor) -> Tensor:  # [N'] int32
        """The first row with each number."""
        return _padded(sphashquery(keys, _inserted(self._numbers)))

    def insert_coords(self, coords: Tensor) -> None:  # [V, 4] int32: x, y, z, batch; each once
        """Has the table's rows found by coordinates."""
        self._coords = coords

    def lookup_coords(
        self,
        coords: Tensor,  # [N, 4] int32: x, y, z, batch
        kernel_sizes: Tensor,  # [3]
        tensor_strides: Tensor,  # [3]
        kernel_volume: int,
    ) -> Tensor:  # [N', K] int32
        """The rows that a kernel meets at each of the coordinates, times the strides.

        As in convolutions, x is the fastest axis of an odd number of offsets, else z; the offsets
        of each axis begin at -(size - 1) // 2.
        """
        table = _inserted(self._coords)
        first, place = _distinct(sphash(coords))
        rows = rows_around(
            table[:, [3, 0, 1, 2]],
            coords[first][:, [3, 0, 1, 2]],
            tuple(kernel_sizes.tolist()),
            tuple(tensor_strides.tolist()),
        )
        return _padded(rows.T[place])


def _inserted(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("GPUHashTable: nothing was inserted")
    return tensor


def _distinct(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """A row that has each of the distinct ones, and which of them each row has."""
    distinct, place = torch.unique(numbers, return_inverse=True)
    first = place.new_zeros(len(distinct))
    return first.scatter_(0, place, torch.arange(len(place), device=place.device)), place


def _padded(rows: Tensor) -> Tensor:
    """Rows and one, in whole blocks."""
    num_lines = -(-len(rows) // BLOCK) * BLOCK
    padded = torch.zeros(num_lines, *rows.shape[1:], dtype=torch.int32, device=rows.device)
    padded[: len(rows)] = rows + 1
    return padded
