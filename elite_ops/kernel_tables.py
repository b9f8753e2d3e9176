"""What an op over a kernel map needs of it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

__all__ = ["KernelTables"]


class KernelTables(Protocol):
    """The two tables of a kernel map: which rows meet under each of K offsets.

    For a fixed offset an input row meets one output row at most, and two rows meet under one offset
    at most.
    """

    @property
    def in_rows(self) -> Tensor:  # [K, V_out] int32
        """The input row that each output row meets under an offset, -1 where there is none."""

    @property
    def out_rows(self) -> Tensor:  # [K, V_in] int32
        """The same relation seen from the input rows; of a symmetric map `in_rows` itself."""

    @property
    def symmetric(self) -> bool:
        """Whether `out_rows` is to be read from the last offset to the first."""
