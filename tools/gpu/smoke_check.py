"""One op on a device against the same op on the CPU in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from smoke_case import Case
from smoke_scene import Scene
from torch import Tensor

from elite_ops import check_device_errors

__all__ = ["Wrong", "check_op"]

# Of the largest number of a result, by the dtype of what goes in.
LIMITS = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
LIMIT_OF_NORM = 2e-3  # of the length of a result, where a case compares vectors


class Wrong(Exception):
    """Says which call is off, and by how much."""


def check_op(op: Callable[..., Any], case: Case, scene: Scene, device: torch.device) -> float:
    """The largest error in all calls of a case, as a part of what is allowed.

    Each call is made twice and has to repeat its bits.

    Raises:
        Wrong: if a result is off, or differs from the next.
        IndexError: if a kernel reported bad input.
    """
    worst = 0.0
    for dtype in case.dtypes or (torch.float32,):
        exact = torch.float64 if case.dtypes else dtype
        calls = zip(case.calls(scene, dtype), case.calls(scene, exact), strict=True)
        for number, (arguments, exact_arguments) in enumerate(calls):
            call = f"{scene.name}, call {number} in {name_of(dtype)}"
            on_device = moved(arguments, device)
            got, again = (list(flat(op(*on_device))) for _ in range(2))
            check_device_errors(device)
            want = list(flat(op(*exact_arguments)))
            limit = LIMIT_OF_NORM if case.by_norm and dtype == torch.float32 else LIMITS[dtype]
            same_shapes(call, got, want)
            for pair in zip(got, want, strict=True):
                worst = max(worst, error_of(call, *pair, case.by_norm, limit))
            if not all(map(torch.equal, got, again)):
                raise Wrong(f"{call}: the second call has other bits than the first")
    return worst


def same_shapes(call: str, got: list[Tensor], want: list[Tensor]) -> None:
    shapes = [list(tensor.shape) for tensor in got], [list(tensor.shape) for tensor in want]
    if shapes[0] != shapes[1]:
        raise Wrong(f"{call}: results have shapes {shapes[0]} instead of {shapes[1]}")


def error_of(call: str, got: Tensor, want: Tensor, by_norm: bool, limit: float) -> float:
    """Relative to the size of the result, as a part of the limit; whole numbers must be equal."""
    got = got.cpu()
    if not want.is_floating_point():
        differing = int((got != want).sum())
        if differing:
            raise Wrong(f"{call}: {differing} of {want.numel()} whole numbers differ")
        return 0.0
    if want.numel() == 0:
        return 0.0
    difference, want = got.double() - want, want.double()
    if by_norm:
        error = float(difference.norm() / want.norm())
    else:
        error = float(difference.abs().max() / want.abs().max().clamp(min=1e-30))
    if not error <= limit:  # nor is NaN
        raise Wrong(f"{call}: the error is {error:.2g}, above the limit of {limit:g}")
    return error / limit


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def moved(value: Any, device: torch.device) -> Any:
    """The same arguments with their tensors on the device, in whatever lists they are."""
    if isinstance(value, (list, tuple)):
        return [moved(part, device) for part in value]
    return value.to(device) if isinstance(value, Tensor) else value


def flat(result: Any) -> Iterator[Tensor]:
    """The tensors of a result, in whatever lists they are."""
    if isinstance(result, Tensor):
        yield result
    else:
        for part in result:
            yield from flat(part)
