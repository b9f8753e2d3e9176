"""Numbers per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["make_divisible", "make_ntuple", "make_tensor"]


def make_ntuple(x: int | Sequence[int] | Tensor, ndim: int) -> tuple[int, ...]:
    """One number for each axis; one alone counts for all.

    Raises:
        ValueError: if there are neither one nor `ndim`.
    """
    if isinstance(x, Tensor):
        x = x.flatten().tolist()
    numbers = (x,) * ndim if isinstance(x, int) else tuple(x)
    if len(numbers) != ndim:
        raise ValueError(f"make_ntuple: `x` must be one number or {ndim}, got {numbers}")
    return numbers


def make_tensor(x: Sequence[int], dtype: torch.dtype, device: Any) -> Tensor:
    return torch.tensor(x, dtype=dtype, device=device)


def make_divisible(x: int, divisor: int) -> int:
    """The smallest multiple of the divisor that is not smaller."""
    return -(-x // divisor) * divisor
