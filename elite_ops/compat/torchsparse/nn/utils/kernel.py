"""The offsets of a kernel, in the order of its weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from elite_ops.compat.torchsparse.utils import make_ntuple

__all__ = ["get_kernel_offsets"]


def get_kernel_offsets(
    size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    device: Any = "cpu",
) -> Tensor:  # [K, 3] int32: x, y, z
    """Where a kernel reaches from its output, in cells.

    The offsets of each axis rise from -(size - 1) // 2, and their order is MinkowskiEngine's: with
    an odd number of them x is the fastest, else z.
    """
    sizes, strides, dilations = (make_ntuple(n, ndim=3) for n in (size, stride, dilation))
    axes = [
        [(i - (n - 1) // 2) * s * d for i in range(n)]
        for n, s, d in zip(sizes, strides, dilations, strict=True)
    ]
    if math.prod(sizes) % 2 == 1:
        offsets = [offset[::-1] for offset in itertools.product(*axes[::-1])]
    else:
        offsets = list(itertools.product(*axes))
    return torch.tensor(offsets, dtype=torch.int32, device=device)
