"""Has convolutions on CUDA use one of the kernels in csrc/cuda/sparse_conv_variant.h."""

from collections.abc import Iterator
from contextlib import contextmanager

from elite_ops import _C


@contextmanager
def forced_variant(variant: int) -> Iterator[None]:
    """By its number there; 0 is what `choose_variant` says."""
    _C.force_sparse_conv_variant(variant)
    try:
        yield
    finally:
        _C.force_sparse_conv_variant(0)
