"""Weights of other versions of spconv."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from elite_ops.compat.spconv import constants

__all__ = ["in_layout_of_2"]


def in_layout_of_2(weight: Tensor, shape: Sequence[int], is_matrix: bool) -> Tensor:
    """A saved weight as [C_out, *kernel_size, C_in], the layout of spconv 2.2 and later.

    1.x has [*kernel_size, C_in, C_out], 2.0 and 2.1 [*kernel_size, C_out, C_in]. They are told
    apart by their shapes; where several fit, it is the first one of these that does, or what
    `constants.SAVED_WEIGHT_LAYOUT` says.

    Args:
        weight: the saved weight.
        shape: of the layer's weight.
        is_matrix: whether the layer reads its weight as [C_in, C_out] whatever its shape, as it is
            with kernels of one cell.

    Returns:
        The weight in its new layout, or as it is if it fits none: torch then names it.
    """
    shape = tuple(shape)
    out_channels, *kernel_size, in_channels = shape
    num_axes = len(kernel_size)
    layouts = {
        "KRSC": (shape, range(num_axes + 2)),
        "RSCK": (
            (*kernel_size, in_channels, out_channels),
            (num_axes + 1, *range(num_axes), num_axes),
        ),
        "RSKC": (
            (*kernel_size, out_channels, in_channels),
            (num_axes, *range(num_axes), num_axes + 1),
        ),
    }
    asked = constants.SAVED_WEIGHT_LAYOUT
    if asked and asked not in layouts:
        raise ValueError(
            f"spconv: SAVED_WEIGHT_LAYOUT must be one of {', '.join(layouts)}, got {asked!r}"
        )
    for saved_shape, order in [layouts[asked]] if asked else layouts.values():
        if tuple(weight.shape) == saved_shape:
            return weight.reshape(shape) if is_matrix else weight.permute(*order).contiguous()
    return weight
