"""What a case of the smoke test is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from smoke_scene import Scene
from torch import Tensor

from elite_ops import Segments

__all__ = ["CASES", "FLOATS", "OPS", "Calls", "Case", "case", "every_row_of", "parts"]

Calls = Iterator[tuple[Any, ...]]
Function = Callable[[Scene, torch.dtype], Calls]
OPS = torch.ops.elite_ops
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Case:
    """Arguments of an op.

    Attributes:
        dtypes: those that are tried; none for an op whose arguments don't depend on it.
        by_norm: results are compared as vectors. Where a sort is inside, two entries that differ by
            less than rounding may swap, and take their neighbours' gradients.
    """

    calls: Function
    dtypes: tuple[torch.dtype, ...]
    by_norm: bool


CASES: dict[str, Case] = {}


def case(*dtypes: torch.dtype, by_norm: bool = False) -> Callable[[Function], Function]:
    def register(calls: Function) -> Function:
        CASES[calls.__name__] = Case(calls, dtypes, by_norm)
        return calls

    return register


def parts(segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
    return segments.inverse, segments.order, segments.offsets


def every_row_of(tensor: Tensor) -> Tensor:
    """The count, on the device, of a buffer that is full: no row of the result is undefined."""
    return torch.tensor(len(tensor))


# ---- voxels and who is near ----------------------------------------------------------------------
