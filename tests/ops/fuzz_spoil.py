"""How arguments of ops are spoilt."""

import random
from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64)
DTYPES += (torch.bool, torch.uint8, torch.complex64)
INTS = (-(2**63), -(2**31) - 1, -7, -1, 0, 1, 2, 3, 17, 2**20, 2**31 - 1, 2**31, 2**62, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e-46, 1e-320, 1e39, 1e300)
WORDS = ("", "mean", "sum", "all", "nonsense")


def spoil(rng: random.Random, arguments: dict[str, Any]) -> None:
    """Changes one argument."""
    key = rng.choice(list(arguments))
    arguments[key] = spoilt(rng, arguments[key])


def spoilt(rng: random.Random, value: Any) -> Any:
    if rng.random() < 0.04:
        return rng.choice((None, [], "text", 1.5, 3, torch.zeros(2)))
    if isinstance(value, Tensor):
        return rng.choice(TENSOR_FAULTS)(rng, value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(INTS)
    if isinstance(value, float):
        return rng.choice(FLOATS)
    if isinstance(value, str):
        return rng.choice(WORDS)
    if isinstance(value, (list, tuple)):
        return spoilt_list(rng, list(value))
    return rng.choice((None, torch.zeros(1, dtype=rng.choice(DTYPES)), 1))


def spoilt_list(rng: random.Random, values: list[Any]) -> list[Any]:
    if not values or rng.random() < 0.3:
        return rng.choice(([], values[:-1], values + values[-1:], values * 20))
    i = rng.randrange(len(values))
    values[i] = spoilt(rng, values[i])
    return values


def resized(rng: random.Random, t: Tensor) -> Tensor:
    if t.dim() == 0:
        return t.expand(rng.choice((0, 1, 3)))
    sizes = list(t.shape)
    dim = rng.randrange(t.dim())
    sizes[dim] = rng.choice((0, 1, max(0, sizes[dim] - 1), sizes[dim] + 1, 33))
    return t.new_zeros(sizes) if t.numel() == 0 else t.flatten()[:1].expand(sizes).clone()


def redimensioned(rng: random.Random, t: Tensor) -> Tensor:
    return rng.choice(
        (
            lambda: t[None],
            lambda: t[..., None],
            lambda: t.flatten(),
            lambda: t.sum(dtype=t.dtype) if t.dtype != torch.bool else t.any(),
        )
    )()


def strided(rng: random.Random, t: Tensor) -> Tensor:
    if t.dim() == 0:
        return torch.stack([t, t])[1]
    if rng.random() < 0.3 and t.numel() > 0:
        return t[:1].expand(t.shape) if t.shape[0] else t
    axis = rng.randrange(t.dim())
    twice = torch.stack([t, t], axis + 1).flatten(axis, axis + 1)
    return twice[(slice(None),) * axis + (slice(1, None, 2),)]


def filled(rng: random.Random, t: Tensor) -> Tensor:
    if t.is_floating_point():
        return torch.full_like(t, rng.choice((*FLOATS[:5], 6e4)))
    if t.dtype == torch.int64:
        return torch.full_like(t, rng.choice(INTS))
    return t.clone()


def huge(rng: random.Random, t: Tensor) -> Tensor:
    """As many rows as no memory holds, by a stride of 0."""
    if t.dim() == 0 or t.numel() == 0:
        return t.clone()
    return t[:1].expand(rng.choice((2**31 - 1, 2**31, 2**40)), *t.shape[1:])


TENSOR_FAULTS = [resized, resized, redimensioned, strided, strided, filled, filled]
TENSOR_FAULTS += [
    lambda rng, t: t.to(rng.choice(DTYPES)),
    lambda rng, t: t.to("meta"),
    lambda rng, t: t[:0].clone() if t.dim() else t.clone(),
    lambda rng, t: t.detach().clone().requires_grad_(t.is_floating_point()),
]


def without_rows(name: str, value: Any) -> Any:
    """Tables beside spoilt arguments name no rows: the ops that trust them need valid ones."""
    if isinstance(value, (list, tuple)):
        return type(value)(without_rows(name, v) for v in value)
    if not isinstance(value, Tensor) or value.dtype != torch.int32 or value.is_meta:
        return value
    return torch.full_like(value, 0 if "offsets" in name or "order" in name else -1)
