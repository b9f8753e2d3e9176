"""Arguments as ops take them, or one clear error."""

from __future__ import annotations

import operator
from typing import Any, cast

import torch

__all__ = ["integer"]


def integer(op: str, name: str, value: Any) -> int:
    """Anything that Python takes for an index, such as a NumPy integer or a tensor with one.

    Args:
        op: who asks, for the error.
        name: the argument, for the error.
        value: what came. A tensor on a GPU is waited for; a symbolic integer stays one.

    Raises:
        TypeError: if `value` is no integer.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, torch.SymInt):
        return cast(int, value)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{op}: `{name}` must be an integer, got {value!r} of type {type(value).__name__}"
        ) from None
