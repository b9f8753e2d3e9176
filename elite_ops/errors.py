"""Errors that kernels report asynchronously."""

from __future__ import annotations

import torch

from elite_ops import _C

__all__ = ["check_device_errors"]


def check_device_errors(device: torch.device | str | int | None = None) -> None:
    """Raises if a kernel has reported bad input on a CUDA device since the last check.

    Kernels don't stop the host: they leave out what is out of range and set a flag on the device.
    Ops that read a size from the device check the flags then, since they wait anyway. This waits
    for all of the device's streams; it can't be called while one of them is being captured.

    Args:
        device: a CUDA device; the current one by default.

    Raises:
        IndexError: if a flag was set, naming ops and arguments. All flags are cleared.
    """
    if _C.emulates_cuda:
        index = 0
    elif torch.cuda.is_available():
        index = torch.cuda._utils._get_device_index(device, optional=True)
    else:
        return
    if messages := _C.take_device_errors(index):
        raise IndexError(
            f"elite_ops: kernels on cuda:{index} have reported bad input: " + "; ".join(messages)
        )
