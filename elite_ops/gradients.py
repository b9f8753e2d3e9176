"""Whether a derivative may be asked for, so that what it alone needs is made only then."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["may_need_gradient"]


def may_need_gradient(tensor: Tensor) -> bool:
    """Whether a gradient may flow back to a tensor.

    Inside of `torch.func`'s transforms a tensor does not know what those around it want.
    """
    if not torch.is_grad_enabled():
        return False
    if tensor.requires_grad or torch.compiler.is_compiling():
        return tensor.requires_grad
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)
