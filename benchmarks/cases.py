"""Which sizes are measured: a grid on a GPU, a few on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

__all__ = ["convolutions", "on_devices", "student_precisions"]

CHANNELS = (16, 32, 64, 128, 256)


def convolutions(on_cpu: Iterable[tuple[int, int]] | None = None) -> pytest.MarkDecorator:
    """Parametrizes over device, channels, batch and precision.

    Args:
        on_cpu: channels and batch; all widths, and a batch, where none are named.
    """
    sizes = on_cpu or [*((channels, 1) for channels in CHANNELS), (64, 4)]
    small = [("cpu", channels, batch, "fp32") for channels, batch in sizes]
    grid = [
        ("cuda", channels, batch, precision)
        for precision in ("fp16", "bf16", "tf32", "fp32")
        for batch in (1, 4)
        for channels in CHANNELS
    ]
    names = ("device", "channels", "batch", "precision")
    return _over(names, small + grid, lambda d, c, b, p: f"{d}-c{c}-b{b}-{p}")


def on_devices(names: tuple[str, ...], values: Iterable[tuple[Any, ...]]) -> pytest.MarkDecorator:
    """Parametrizes over the devices, and over `values` on each of them."""
    rows = [(device, *value) for device in ("cpu", "cuda") for value in values]

    def label(device: str, *rest: Any) -> str:
        initials = [f"{name[0]}{value}" for name, value in zip(names, rest, strict=True)]
        return "-".join([device, *initials])

    return _over(("device", *names), rows, label)


def student_precisions(*on_gpu: str) -> pytest.MarkDecorator:
    """Parametrizes over device and precision: float32 on the CPU, the given ones on a GPU."""
    rows = [("cpu", "fp32"), *(("cuda", precision) for precision in on_gpu)]
    return _over(("device", "precision"), rows, lambda d, p: f"{d}-{p}")


def _over(names: tuple[str, ...], rows: list[tuple[Any, ...]], label: Any) -> pytest.MarkDecorator:
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    here = [row for row in rows if row[0] in devices]
    ids = [label(*row) for row in here]
    return pytest.mark.parametrize(names, here, ids=ids, indirect=["device"])
