"""What the benchmarks ask of a library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from submanifold import Submanifold
from torch import Tensor

__all__ = ["Contestant", "Missing"]


class Missing(Exception):
    """A library, or a part of it, that is not there; the message says why."""


class Contestant(ABC):
    """One library's submanifold convolution of a case, in its own layout.

    Conversions between layouts happen in the constructor and in the `from_` methods, outside of
    what is timed.

    Raises:
        Missing: if the library can't compute the case.
    """

    leniency: float = 1.0  # a factor of the error that is allowed

    def __init__(self, case: Submanifold) -> None:
        self.case = case
        self.prepare()
        self.features = self.to_rows(case.features).contiguous().requires_grad_()
        self.weight = self.to_weight(case.weight).contiguous().requires_grad_()
        self.grad_out = self.to_rows(case.grad_out).contiguous()

    @classmethod
    @abstractmethod
    def library(cls) -> str:
        """Imports the library and returns its version."""

    def prepare(self) -> None:
        """Sets what computing and the layouts depend on."""
        self.on_cpu = self.case.features.device.type == "cpu"

    @abstractmethod
    def build_map(self) -> Any:
        """The kernel map, built anew at every call."""

    @abstractmethod
    def convolve(self, kernel_map: Any) -> Tensor:
        """`self.features` convolved with `self.weight`; differentiable where autograd is on."""

    def pairs(self, kernel_map: Any) -> int | None:
        """How many pairs of voxels the map holds, or None if the library doesn't tell."""
        return None

    def to_rows(self, rows: Tensor) -> Tensor:
        """Rows in the library's order of voxels."""
        return rows

    def from_rows(self, rows: Tensor) -> Tensor:
        return rows

    def to_weight(self, weight: Tensor) -> Tensor:
        """A weight [27, C_in, C_out] in the library's layout."""
        return weight

    def from_weight(self, weight: Tensor) -> Tensor:
        return weight

    @staticmethod
    def without_gradient(call: Callable[..., Any]) -> Callable[..., Any]:
        """The call as at inference."""
        return torch.no_grad()(call)

    def backward(self, out: Tensor) -> tuple[Tensor, ...]:
        """Gradients of features and weight; the graph of `out` is kept."""
        inputs = (self.features, self.weight)
        return torch.autograd.grad(out, inputs, self.grad_out, retain_graph=True)
