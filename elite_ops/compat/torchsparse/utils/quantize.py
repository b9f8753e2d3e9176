"""Points to cells, before they become tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["sparse_quantize"]


def sparse_quantize(
    coords: Any,  # [N, 3], of NumPy
    voxel_size: float | Sequence[float] = 1,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
) -> Any:
    """The occupied cells of points, in order of x, y, z.

    Args:
        coords: the points.
        voxel_size: the length of a cell; one number, or one per axis.
        return_index: whether to return also the first point of each cell.
        return_inverse: whether to return also the cell of each point.

    Returns:
        The cells [V, 3] int32; or a list of them and what was asked for.
    """
    size = np.asarray(voxel_size, dtype=np.float64)
    if size.shape not in ((), (3,)):
        raise ValueError(
            f"sparse_quantize: `voxel_size` must be one number or three, got {voxel_size!r}"
        )
    cells = np.floor(np.asarray(coords) / size).astype(np.int32)
    lowest, highest = cells.min(0, initial=0), cells.max(0, initial=0)
    shape = highest.astype(np.int64) - lowest + 1
    numbers = ((cells[:, 0] - lowest[0]) * shape[1] + cells[:, 1] - lowest[1]) * shape[2]
    numbers += cells[:, 2] - lowest[2]
    _, index, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    outputs: list[Any] = [cells[index]]
    if return_index:
        outputs.append(index)
    if return_inverse:
        outputs.append(inverse)
    return outputs[0] if len(outputs) == 1 else outputs
