"""spconv's CPU half, used so that it runs and is right.

Two things stand in the way, in spconv 2.3.8:

- Its scatter loses additions now and then when several threads run it (a data race), so its
  convolutions run on one thread here, whatever the number of threads is for everything else.
- Its backward pass asks torch for the current CUDA stream, which it does not use on the CPU, and
  which a torch without CUDA does not have.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

import torch

__all__ = ["one_thread", "repair"]


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def repair() -> None:
    """Makes both passes of spconv's convolution run, and be right, on tensors of the CPU."""
    ops = importlib.import_module("spconv.pytorch.ops")
    for name in ("indice_conv", "indice_conv_backward"):
        setattr(ops, name, _on_one_thread(getattr(ops, name)))
    if not torch.backends.cuda.is_built():
        ops.get_current_stream = lambda: 0


def _on_one_thread(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def run(features: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if features.is_cuda:
            return call(features, *args, **kwargs)
        with one_thread():
            return call(features, *args, **kwargs)

    return run
