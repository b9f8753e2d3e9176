"""Scenes for the tests of `elite_ops.compat.spconv`, and spconv itself where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

SHAPES = {1: (40,), 2: (9, 8), 3: (9, 8, 7)}
BATCH_SIZE = 3  # the middle sample is empty


def scene(num_axes: int = 3, channels: int = 4, share: float = 0.2) -> tuple[Tensor, Tensor]:
    """Features, and indices in an order of chance."""
    generator = torch.Generator().manual_seed(num_axes)
    occupied = torch.rand(BATCH_SIZE, *SHAPES[num_axes], generator=generator) < share
    occupied[1] = False
    indices = occupied.nonzero().int()
    indices = indices[torch.randperm(len(indices), generator=generator)].contiguous()
    return torch.randn(len(indices), channels, generator=generator), indices


def tensor_of(spconv: Any, features: Tensor, indices: Tensor, **options: Any) -> Any:
    shape = list(SHAPES[indices.shape[1] - 1])
    return spconv.SparseConvTensor(features, indices, shape, BATCH_SIZE, **options)


def in_order(indices: Tensor) -> Tensor:
    """The rows by voxel."""
    factors = torch.tensor([2 ** (10 * place) for place in range(indices.shape[1])][::-1])
    return (indices.long() @ factors).argsort()


def the_real_one(name: str = "spconv.pytorch") -> Any:
    """spconv, repaired so that it runs on the CPU; without it the test is skipped."""
    module = pytest.importorskip(name, exc_type=ImportError)
    if "elite_ops" in (module.__file__ or ""):
        pytest.skip("spconv is this library's")
    importlib.import_module("peers.spconv_on_cpu").repair()
    return module


@contextmanager
def one_thread() -> Iterator[None]:
    """spconv's CPU half loses sums on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
