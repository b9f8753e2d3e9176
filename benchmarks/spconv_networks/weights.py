"""Weights of a network on `elite_ops.nn` in the layouts of its twin on spconv."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["carry_weights", "in_spconv_layout"]


def in_spconv_layout(ours: Tensor, shape: torch.Size, *, reversed_axes: bool) -> Tensor:
    """A parameter, or its gradient, as spconv keeps it.

    Args:
        ours: of a convolution [*kernel_size, C_in, C_out], of a `Linear` [C_out, C_in]; anything
            else stays as it is.
        shape: in spconv.
        reversed_axes: whether the twin's axes are z, y, x; two axes are y, x in both.
    """
    if ours.dim() > 3:
        axes = range(ours.dim() - 2)
        turned = reversed_axes and ours.dim() == 5
        ours = ours.permute(-1, *(reversed(axes) if turned else axes), -2)
    elif len(shape) > ours.dim():  # a kernel of one cell, which spconv reads as [C_in, C_out]
        ours = ours.t().reshape(shape)
    if ours.shape != shape:
        raise ValueError(f"shape {tuple(ours.shape)} does not fit {tuple(shape)}")
    return ours


@torch.no_grad()
def carry_weights(ours: nn.Module, twin: nn.Module, *, reversed_axes: bool) -> None:
    """Parameters and buffers, each by its name."""
    theirs = twin.state_dict()
    state = {
        name: in_spconv_layout(value, theirs[name].shape, reversed_axes=reversed_axes)
        for name, value in ours.state_dict().items()
    }
    twin.load_state_dict(state)
