"""Which release of torchsparse the face behaves like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["Convention", "convention", "in_order_of_1_4", "use_version", "using_version"]

Call = TypeVar("Call", bound=Callable[..., Any])


@dataclass(frozen=True)
class Convention:
    """How coordinates are written.

    In 2.1 a row is (batch, x, y, z), counted in cells of its tensor's stride. In 1.4, and in the
    2.0 that came between, it is (x, y, z, batch), counted in cells of stride 1: x, y and z are
    multiples of the tensor's stride.
    """

    name: str
    batch_first: bool
    counts_strides: bool  # coordinates are divided by the stride

    @property
    def batch_column(self) -> int:
        return 0 if self.batch_first else 3

    @property
    def cell_columns(self) -> slice:
        return slice(1, 4) if self.batch_first else slice(0, 3)

    def join(self, batch: Tensor, cells: Tensor) -> Tensor:
        """Coordinates [V, 4] of batch [V, 1] and cells [V, 3]."""
        return torch.cat([batch, cells] if self.batch_first else [cells, batch], dim=1)

    def first(self, coords: Tensor) -> Tensor:
        """Coordinates with the batch in front."""
        return coords if self.batch_first else coords[:, [3, 0, 1, 2]]

    def back(self, coords: Tensor, stride: Sequence[int]) -> Tensor:
        """Coordinates of this convention, from (batch, x, y, z) in cells of a stride."""
        if self.counts_strides:
            return coords
        scale = coords.new_tensor([1, *stride])
        return (coords * scale)[:, [1, 2, 3, 0]]


VERSIONS = {
    "2.1.0": Convention("2.1.0", batch_first=True, counts_strides=True),
    "1.4.0": Convention("1.4.0", batch_first=False, counts_strides=False),
}
_current = VERSIONS["2.1.0"]


def convention() -> Convention:
    """The one in use."""
    return _current


def use_version(name: str) -> None:
    """Chooses the release whose behaviour code expects, for the whole process.

    Args:
        name: "2.1", the default, or "1.4", which counts for 2.0 too.

    Raises:
        ValueError: if there is no such one.
    """
    global _current
    found = [v for full, v in VERSIONS.items() if name in (full, full.removesuffix(".0"))]
    if not found:
        raise ValueError(f'torchsparse: `version` must be "2.1" or "1.4", got {name!r}')
    _current = found[0]


@contextmanager
def using_version(name: str) -> Iterator[None]:
    """`use_version` for a while."""
    before = _current.name
    use_version(name)
    try:
        yield
    finally:
        use_version(before)


def in_order_of_1_4(*names: str) -> Callable[[Call], Call]:
    """For functions whose arguments stand in another order in 1.4: as its programs pass them."""

    def decorate(call: Any) -> Any:
        @wraps(call)
        def ordered(*args: Any, **kwargs: Any) -> Any:
            if convention().counts_strides:
                return call(*args, **kwargs)
            if len(args) > len(names):
                raise TypeError(
                    f"{call.__qualname__}: torchsparse {convention().name} has up to {len(names)} "
                    f"arguments by position, got {len(args)}"
                )
            return call(**dict(zip(names, args, strict=False)), **kwargs)

        return ordered

    return decorate
