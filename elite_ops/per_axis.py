"""One number per axis."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["per_axis"]


def per_axis(op: str, name: str, value: int | Sequence[int], num_axes: int = 3) -> tuple[int, ...]:
    """The numbers along each axis; one alone counts for all.

    Raises:
        ValueError: if there are neither one nor `num_axes`.
        TypeError: if they are not integers.
    """
    if isinstance(value, int):
        return (value,) * num_axes
    try:
        entries: Sequence[Any] = value if hasattr(value, "__len__") else [value]
        numbers = tuple(map(operator.index, entries))
    except TypeError:
        raise TypeError(
            f"{op}: `{name}` must be an integer or a sequence of integers, got {value!r}"
        ) from None
    if not hasattr(value, "__len__"):
        return numbers * num_axes
    if len(numbers) != num_axes:
        raise ValueError(
            f"{op}: `{name}` must have {num_axes} entries or be one number, got {numbers}"
        )
    return numbers
