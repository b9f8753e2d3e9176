"""Which cells of two grids a convolution kernel connects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from elite_ops.per_axis import per_axis

__all__ = ["KernelGeometry"]

MAX_KERNEL_SIZE = 7
MAX_CELLS = 2**24  # along an axis


@dataclass(frozen=True)
class KernelGeometry:
    """The relation between a convolution's input and output cells, as `torch.nn.Conv3d` has it.

    Offset k of the kernel connects, along each axis,

        input = stride * output - padding + dilation * k

    and the other way round where `transposed`. Offsets of several axes are numbered with the last
    axis fastest: k = (k_x * size_y + k_y) * size_z + k_z.

    `KernelGeometry.of` makes one from numbers that may count for all axes.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]  # cells more at the end of a transposed convolution's output
    submanifold: bool = False  # the outputs are the input voxels
    transposed: bool = False

    @classmethod
    def of(
        cls,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        output_padding: int | Sequence[int] = 0,
        transposed: bool = False,
        num_axes: int = 3,
        op: str = "KernelGeometry",
    ) -> KernelGeometry:
        """The geometry of a convolution, or of a transposed one.

        Args:
            kernel_size: between 1 and 7; like all of these one number, or one per axis.
            stride: cells between neighbouring outputs.
            padding: cells of zeros around the input; of a transposed convolution, cells that the
                output lacks.
            dilation: cells between neighbouring offsets.
            output_padding: smaller than stride or dilation; of transposed convolutions alone.
            num_axes: 2 or 3.
            op: who asks, for messages.

        Raises:
            ValueError: if a number makes no sense.
            TypeError: if one is not an integer.
        """
        geometry = cls(
            per_axis(op, "kernel_size", kernel_size, num_axes),
            per_axis(op, "stride", stride, num_axes),
            per_axis(op, "padding", padding, num_axes),
            per_axis(op, "dilation", dilation, num_axes),
            per_axis(op, "output_padding", output_padding, num_axes),
            transposed=transposed,
        )
        geometry._check(op)
        return geometry

    @classmethod
    def of_submanifold(
        cls,
        kernel_size: int | Sequence[int],
        *,
        dilation: int | Sequence[int] = 1,
        num_axes: int = 3,
        op: str = "KernelGeometry",
    ) -> KernelGeometry:
        """The geometry of a convolution whose outputs are its inputs.

        It pads as torch does for `padding="same"`: of an even kernel the longer side is the end.
        """
        geometry = cls.of(kernel_size, dilation=dilation, num_axes=num_axes, op=op)
        sides = zip(geometry.kernel_size, geometry.dilation, strict=True)
        padding = tuple((size - 1) * step // 2 for size, step in sides)
        return replace(geometry, padding=padding, submanifold=True)

    @property
    def num_axes(self) -> int:
        return len(self.kernel_size)

    @property
    def num_offsets(self) -> int:
        return math.prod(self.kernel_size)

    @property
    def symmetric(self) -> bool:
        """Whether offset K-1-k connects the same cells as offset k, the other way round."""
        return self.submanifold and all(size % 2 == 1 for size in self.kernel_size)

    def output_shape(self, spatial_shape: Sequence[int]) -> tuple[int, ...]:
        """The output's cells along each axis; zero or less where the kernel doesn't fit."""
        return tuple(self._output_size(axis, size) for axis, size in enumerate(spatial_shape))

    def swapped(self) -> KernelGeometry:
        """The same relation with inputs and outputs exchanged."""
        return replace(self, transposed=not self.transposed)

    def in_3d(self) -> KernelGeometry:
        """The same with axes of one cell in front, up to three."""
        missing = 3 - self.num_axes
        names = ("kernel_size", "stride", "dilation", "padding", "output_padding")
        values = (1, 1, 1, 0, 0)
        return replace(
            self,
            **{
                name: (value,) * missing + getattr(self, name)
                for name, value in zip(names, values, strict=True)
            },
        )

    def _output_size(self, axis: int, size: int) -> int:
        if self.submanifold:
            return size
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        stride, padding = self.stride[axis], self.padding[axis]
        if self.transposed:
            return (size - 1) * stride - 2 * padding + reach + self.output_padding[axis] + 1
        return (size + 2 * padding - reach - 1) // stride + 1

    def _check(self, op: str) -> None:
        bounds = {
            "kernel_size": (1, MAX_KERNEL_SIZE),
            "stride": (1, MAX_CELLS),
            "padding": (0, MAX_CELLS),
            "dilation": (1, MAX_CELLS),
        }
        for name, (least, most) in bounds.items():
            numbers = getattr(self, name)
            if not all(least <= number <= most for number in numbers):
                raise ValueError(
                    f"{op}: `{name}` must be between {least} and {most} along each axis, "
                    f"got {numbers}"
                )
        for axis, extra in enumerate(self.output_padding):
            most = max(self.stride[axis], self.dilation[axis]) - 1 if self.transposed else 0
            if not 0 <= extra <= most:
                raise ValueError(
                    f"{op}: `output_padding` must be smaller than stride or dilation, and is for "
                    f"transposed convolutions, got {self.output_padding}"
                )
