"""How ops meet torch: shapes without data, derivatives, autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.forward_ad import _set_fwd_grad_enabled

from elite_ops import _C

__all__ = [
    "DIFFERENTIABLE",
    "compute_in_float32_under_autocast",
    "refuse_missing_derivatives",
    "register_autograd",
    "register_fake",
]

# The ops that have a derivative.
DIFFERENTIABLE: set[str] = set()

_KERNELS = torch.library.Library("elite_ops", "IMPL")  # type: ignore[no-untyped-call]

_AUTOCAST_KEYS = ("AutocastCPU", "AutocastCUDA")
_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU).add(
    torch._C.DispatchKey.AutocastCUDA
)

# What the extension says about every op: no forward-mode derivative, no torch.jit.trace.
refuse_missing_derivatives: Callable[[], None] = _C.refuse_missing_derivatives


def register_fake(op: str, fake: Callable[..., Any]) -> None:
    """Registers what an op returns where tensors have no data: on meta, in compiled graphs.

    One meta tensor among others takes an op there too, so the fake raises a ValueError unless all
    tensors are on one device.
    """
    arguments = _schema(op).arguments
    names = [argument.name for argument in arguments]
    required = [argument.name for argument in arguments if str(argument.type) == "Tensor"]

    def checked(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        for name in required:
            if given[name] is None:
                raise ValueError(f"{op}: `{name}` must be a tensor, got None")
        _check_one_device(op, given)
        return fake(*args, **kwargs)

    torch.library.register_fake(f"elite_ops::{op}", checked)


def register_autograd(
    op: str,
    backward: Callable[..., Any],
    *,
    setup_context: Callable[..., None] | None = None,
) -> None:
    """Registers an op's derivative. Where a backward op has none of its own, it can't be derived.

    `refuse_missing_derivatives` sees to the ops for which this is never called.
    """
    kernel = _autograd_kernel(getattr(torch.ops.elite_ops, op).default, backward, setup_context)
    _KERNELS.impl(op, kernel, "Autograd", with_keyset=True)  # type: ignore[no-untyped-call]
    DIFFERENTIABLE.add(op)


def compute_in_float32_under_autocast(op: str) -> None:
    """Has autocast widen an op's half tensors to float32, as it does for torch's losses.

    Ops that never call this keep the dtypes that they get.
    """
    overload = getattr(torch.ops.elite_ops, op).default

    # Not by `torch.library.register_autocast`: in torch 2.11 the last device that is registered
    # counts for all when a graph is traced.
    def kernel(_: Any, *args: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            return overload(*map(_in_float32, args))

    for key in _AUTOCAST_KEYS:
        _KERNELS.impl(op, kernel, key, with_keyset=True)  # type: ignore[no-untyped-call]


def _in_float32(arg: Any) -> Any:
    """A floating tensor in float32, unless it is of float64; all else as it is."""
    is_cast = isinstance(arg, Tensor) and arg.is_floating_point() and arg.dtype != torch.float64
    return arg.float() if is_cast else arg


class _Derivative(torch.autograd.function._SingleLevelFunction):
    """A step of the backward pass that is recorded inside the dispatcher.

    There, transforms such as `torch.func.grad` have already peeled off their level of the tensors;
    a Function would have them do so again, and asks for another interface.
    """

    @classmethod
    def apply(cls, *args: Any) -> Any:
        with enable_single_level_autograd_function():
            return super().apply(*args)  # type: ignore[misc]


def _autograd_kernel(
    op: Any, backward: Callable[..., Any], setup_context: Callable[..., None] | None
) -> Callable[..., Any]:
    """What `torch.library.register_autograd` registers, for transforms of `torch.func` as well."""

    def redispatch(keys: Any, args: tuple[Any, ...]) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keys & torch._C._after_autograd_keyset, *args)

    def forward(ctx: Any, *args_and_keys: Any) -> Any:
        *args, keys = args_and_keys
        # A Function records nothing in its forward, where transforms around this one want to.
        with torch.enable_grad(), _set_fwd_grad_enabled(True):
            out = redispatch(keys, tuple(args))
        if setup_context is not None:
            # The dispatcher has removed arguments that equal their defaults.
            rest = [argument.default_value for argument in op._schema.arguments[len(args) :]]
            setup_context(ctx, (*args, *rest), out)
        return out

    def backward_of_all(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return (*backward(ctx, *grads), None)  # for the keys

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward_of_all)}
    derivative = type(op._opname, (_Derivative,), members)

    def kernel(keys: Any, *args: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return derivative.apply(*args, keys)  # type: ignore[attr-defined]
        return redispatch(keys, args)

    return kernel


def _schema(op: str) -> Any:
    return getattr(torch.ops.elite_ops, op).default._schema


def _tensors(arguments: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in arguments.items():
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, Tensor):
                yield name, item


def _check_one_device(op: str, arguments: dict[str, Any]) -> None:
    first_name, first = "", None
    for name, tensor in _tensors(arguments):
        if first is None:
            first_name, first = name, tensor
        elif tensor.device != first.device:
            raise ValueError(
                f"{op}: `{name}` must be on the device of `{first_name}` ({first.device}), "
                f"got {tensor.device}"
            )
