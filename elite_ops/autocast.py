"""What autocast does to an op's arguments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["autocast"]

# Those that have kernels. `torch.amp.is_autocast_available` would know, but Dynamo of torch 2.11
# doesn't trace it.
_DEVICE_TYPES = ("cpu", "cuda")


def autocast(*tensors: Tensor | None) -> tuple[Any, ...]:
    """The tensors of a product in the dtype of autocast, where it is on for the first one's device.

    As with torch's own products, float64 stays as it is.
    """
    first = tensors[0]
    assert first is not None
    kind = first.device.type
    if kind not in _DEVICE_TYPES or not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    return tuple(t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors)
