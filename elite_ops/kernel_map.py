"""Which input row meets which output row under each offset of a convolution kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elite_ops.gradients import may_need_gradient
from elite_ops.kernel_geometry import KernelGeometry

__all__ = ["KernelMap", "RowOrder"]


@dataclass(frozen=True, eq=False)
class RowOrder:
    """The output rows in an order in which neighbours meet much the same offsets."""

    order: Tensor  # [num_out] int32: a permutation
    in_rows: Tensor  # [K, num_out] int32: the table's columns in this order


class KernelMap:
    """The pairs of rows that meet in a sparse convolution.

    Made by `VoxelSet.kernel_map` or `build_kernel_map`. A map is a table of the input rows that
    output rows meet; the table from the other side is made when a gradient, or `swapped`, first
    needs it. How pairs are kept may change; what ops promise does not.

    Args:
        in_rows: the input row that meets each output row under each offset, -1 where there is none.
        num_in: the number of input rows.
        geometry: the kernel's.
        symmetric: whether the table read from the last offset to the first is its own swap, as in
            submanifold convolutions of odd kernels.
        out_rows: the output row that meets each input row; None: made when needed.
        row_order: from `order_rows`; results are the same with and without.
        num_rows: valid output rows, on the device; None: all.
    """

    def __init__(
        self,
        in_rows: Tensor,  # [K, num_out] int32
        num_in: int,
        geometry: KernelGeometry,
        *,
        symmetric: bool = False,
        out_rows: Tensor | None = None,  # [K, num_in] int32
        row_order: RowOrder | None = None,
        num_rows: Tensor | None = None,  # [] int64
    ) -> None:
        self.in_rows = in_rows
        self.num_in = num_in
        self.geometry = geometry
        self.symmetric = symmetric
        self.row_order = row_order
        self.num_rows = num_rows
        self._out_rows = in_rows if symmetric else out_rows

    @property
    def num_out(self) -> int:
        return self.in_rows.shape[1]

    @property
    def num_offsets(self) -> int:
        return self.in_rows.shape[0]

    @property
    def out_rows(self) -> Tensor:  # [K, num_in] int32
        """The output row that meets each input row under each offset, -1 where there is none.

        Of a symmetric map it is `in_rows` itself, to be read from the last offset to the first.
        """
        if self._out_rows is None:
            self._out_rows = outside_inference_mode(
                torch.ops.elite_ops.swap_kernel_map, self.in_rows, self.num_in
            )
        return self._out_rows

    def out_rows_for(self, features: Tensor) -> Tensor | None:
        """`out_rows` where the features on input rows want a gradient; None where nobody needs it.

        A symmetric map has them in any case.
        """
        wanted = self.symmetric or may_need_gradient(features)
        return self.out_rows if wanted else None

    def check_not_padded(self, op: str) -> None:
        """Raises a ValueError in the op's name if not all output rows are valid."""
        if self.num_rows is not None:
            raise ValueError(f"{op}: `kernel_map` must have valid rows alone, got a padded one")

    def swapped(self) -> KernelMap:
        """The map with inputs and outputs exchanged: that of the inverse convolution.

        Raises:
            ValueError: if not all output rows are valid.
        """
        self.check_not_padded("KernelMap.swapped")
        in_rows = self.out_rows.flip(0) if self.symmetric else self.out_rows
        return KernelMap(in_rows, self.num_out, self.geometry.swapped(), out_rows=self.in_rows)

    def replace(self, row_order: RowOrder) -> KernelMap:
        """The same map with its rows in another order of work."""
        return KernelMap(
            self.in_rows,
            self.num_in,
            self.geometry,
            symmetric=self.symmetric,
            out_rows=self._out_rows,
            row_order=row_order,
            num_rows=self.num_rows,
        )


def given_out_rows(op: str, out_rows: Tensor | None) -> Tensor:
    """The table that a gradient in the input rows needs, which a call may have left out."""
    if out_rows is None:
        raise ValueError(f"{op}: `out_rows` must be given where a gradient is needed, got None")
    return out_rows


def outside_inference_mode(op: Callable[..., Any], *arguments: object) -> Any:
    """Calls an op whose integers outlive inference mode: gradients may need them later."""
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return op(*arguments)
    with torch.inference_mode(False):
        return op(*arguments)
