"""What callers of `Point2VoxelCPU3d` need of `cumm.tensorview`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["from_numpy"]


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor that shares the array's memory. Like spconv's results it has a `numpy()`."""
    return torch.from_numpy(array)
