"""One number per axis."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["triple"]


def triple(op: str, name: str, value: int | Sequence[int]) -> tuple[int, int, int]:
    """The numbers along x, y and z; one alone counts for all three.

    Raises:
        ValueError: if there are neither one nor three.
    """
    if isinstance(value, int):
        return value, value, value
    if len(value) != 3:
        raise ValueError(f"{op}: `{name}` must have 3 entries or be one, got {tuple(value)}")
    x, y, z = value
    return x, y, z
