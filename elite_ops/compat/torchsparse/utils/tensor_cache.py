"""What tensors of one network share: coordinates and kernel maps by stride."""

from __future__ import annotations

from enum import Enum
from typing import Any

__all__ = [
    "TensorCache",
    "TensorCacheMode",
    "clear_global_tensor_cache",
    "get_global_tensor_cache",
    "get_tensor_cache_mode",
    "new_cache",
    "set_global_tensor_cache",
    "set_tensor_cache_mode",
]


class TensorCacheMode(Enum):
    SEPARATE_TENSOR_CACHE = 0
    GLOBAL_TENSOR_CACHE = 1


class TensorCache:
    """Coordinates by stride, kernel maps by geometry; programs may add what they like."""

    def __init__(self) -> None:
        self.cmaps: dict[tuple[int, ...], Any] = {}
        self.kmaps: dict[tuple[Any, ...], Any] = {}
        self.hashmaps: dict[tuple[int, ...], Any] = {}


_mode = TensorCacheMode.SEPARATE_TENSOR_CACHE
_global: TensorCache | None = None


def set_tensor_cache_mode(mode: TensorCacheMode) -> None:
    """Whether every new tensor has a cache of its own, or all share one until it is cleared."""
    global _mode
    if not isinstance(mode, TensorCacheMode):
        raise TypeError(f"set_tensor_cache_mode: `mode` must be a TensorCacheMode, got {mode!r}")
    _mode = mode


def get_tensor_cache_mode() -> TensorCacheMode:
    return _mode


def get_global_tensor_cache() -> TensorCache | None:
    return _global


def set_global_tensor_cache(tensor_cache: TensorCache | None) -> None:
    global _global
    _global = tensor_cache


def clear_global_tensor_cache() -> None:
    set_global_tensor_cache(None)


def new_cache() -> TensorCache:
    """That of a new tensor."""
    if _mode == TensorCacheMode.SEPARATE_TENSOR_CACHE:
        return TensorCache()
    if _global is None:
        set_global_tensor_cache(TensorCache())
    assert _global is not None
    return _global
