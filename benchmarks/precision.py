"""The precisions that are compared, and how exact a result of each must be to count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PRECISIONS", "Precision", "rms_error"]


@dataclass(frozen=True)
class Precision:
    """A dtype, and whether float32 products may be rounded to tf32.

    `limit` is the largest relative root mean square error of a result, against float64 on the same
    rounded inputs. Rounding the result itself costs 2e-4 (float16) and 2e-3 (bfloat16); the limits
    leave room for sums in float32, and none for sums in float16.
    """

    dtype: torch.dtype
    tf32: bool
    limit: float

    @contextmanager
    def set(self) -> Iterator[None]:
        """Makes torch's own matrix products, and with them ours, keep to this precision."""
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


PRECISIONS = {
    "fp32": Precision(torch.float32, False, 1e-5),
    "tf32": Precision(torch.float32, True, 2e-3),
    "fp16": Precision(torch.float16, False, 4e-4),
    "bf16": Precision(torch.bfloat16, False, 3e-3),
}


def rms_error(result: Tensor, truth: Tensor) -> float:
    """Root mean square of the error, relative to that of the truth."""
    return float((result.double() - truth).norm() / truth.norm())
