"""Errors that kernels report asynchronously."""

from __future__ import annotations

import torch

from elite_ops import _C

__all__ = ["check_device_errors"]

# The bits of csrc/common/error_flag.h.
_MESSAGES = {
    1: "an index or a coordinate was outside its range",
    2: "two rows of `indices` were equal where rows must be unique",
    4: "a label was outside [0, num_classes)",
    8: "a grid had more voxels than its capacity",
}


def check_device_errors(device: torch.device | str | int | None = None) -> None:
    """Raises if a kernel has reported bad input on a CUDA device since the last check.

    Kernels don't stop the host: they leave out what is out of range and set a flag on the device.
    Ops that read a size from the device check the flag then, since they wait anyway.

    Args:
        device: a CUDA device; the current one by default.

    Raises:
        IndexError: if the flag was set. The flag is cleared.
    """
    if not torch.cuda.is_available():
        return
    index = torch.cuda._utils._get_device_index(device, optional=True)
    bits = _C.take_device_errors(index)
    messages = [text for bit, text in _MESSAGES.items() if bits & bit]
    if messages:
        raise IndexError(f"elite_ops: on cuda:{index}, " + "; ".join(messages))
