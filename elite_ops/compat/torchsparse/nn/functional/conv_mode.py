"""Modes of torchsparse 2.1's convolutions. As there, they have no part in a result."""

from __future__ import annotations

from enum import Enum

from elite_ops.compat.torchsparse.nn.functional.conv_config import CHOICES

__all__ = [
    "ConvMode",
    "get_conv_mode",
    "get_downsample_mode",
    "get_kmap_mode",
    "set_conv_mode",
    "set_downsample_mode",
    "set_kmap_mode",
]


class ConvMode(Enum):
    mode0 = 0
    mode1 = 1
    mode2 = 2


_modes = {"kmap_mode": "hashmap_on_the_fly", "downsample_mode": "spconv"}
_conv_mode = ConvMode.mode0


def get_conv_mode() -> ConvMode:
    return _conv_mode


def set_conv_mode(conv_mode: int | ConvMode) -> None:
    global _conv_mode
    _conv_mode = ConvMode(conv_mode)


def get_kmap_mode() -> str:
    return _modes["kmap_mode"]


def set_kmap_mode(kmap_mode: str) -> None:
    _set("kmap_mode", kmap_mode)


def get_downsample_mode() -> str:
    return _modes["downsample_mode"]


def set_downsample_mode(downsample_mode: str) -> None:
    _set("downsample_mode", downsample_mode)


def _set(name: str, mode: str) -> None:
    if mode not in CHOICES[name]:
        raise ValueError(f"set_{name}: `{name}` must be one of {CHOICES[name]}, got {mode!r}")
    _modes[name] = mode
