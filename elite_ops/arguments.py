"""Arguments as ops want them."""

from __future__ import annotations

import operator

__all__ = ["integer"]


def integer(op: str, name: str, value: object) -> int:
    """A whole number, of whatever type it is.

    Raises:
        TypeError: if it is not one.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{op}: `{name}` must be an integer, got {type(value).__name__}") from None
