"""Samples to batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from elite_ops.compat.torchsparse.tensor import SparseTensor
from elite_ops.compat.torchsparse.versions import convention

__all__ = ["sparse_collate", "sparse_collate_fn"]


def sparse_collate(inputs: Sequence[SparseTensor]) -> SparseTensor:
    """One tensor of several whose coordinates are x, y, z, with the number of each for the batch.

    Raises:
        ValueError: if there are none, or strides differ.
    """
    strides = {x.stride for x in inputs}
    if len(strides) != 1:
        raise ValueError(
            f"sparse_collate: `inputs` must be tensors of one stride, got {sorted(strides)}"
        )
    coords, feats = [], []
    for number, x in enumerate(inputs):
        cells = torch.as_tensor(x.coords)
        batch = torch.full((len(cells), 1), number, dtype=torch.int32, device=cells.device)
        coords.append(convention().join(batch, cells))
        feats.append(torch.as_tensor(x.feats))
    return SparseTensor(torch.cat(feats), torch.cat(coords), strides.pop())


def sparse_collate_fn(inputs: list[Any]) -> Any:
    """The `collate_fn` of a data loader: dictionaries entry by entry, all else as it is.

    Sparse tensors become one, as do tensors and NumPy arrays, which are stacked.
    """
    if not isinstance(inputs[0], dict):
        return inputs
    return {name: _collate([x[name] for x in inputs]) for name in inputs[0]}


def _collate(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return sparse_collate_fn(values)
    if isinstance(first, SparseTensor):
        return sparse_collate(values)
    if isinstance(first, np.ndarray | torch.Tensor):
        return torch.stack([torch.as_tensor(value) for value in values])
    return values
