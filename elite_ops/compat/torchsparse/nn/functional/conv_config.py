"""What says how a convolution of torchsparse 2.1 is computed.

Here `kmap_mode` and `downsample_mode` count, since results depend on them; the rest is kept only.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

__all__ = [
    "ConvConfig",
    "Dataflow",
    "clear_global_conv_config",
    "get_default_conv_config",
    "get_global_conv_config",
    "set_global_conv_config",
]


class Dataflow(Enum):
    ImplicitGEMM = 0
    GatherScatter = 1
    FetchOnDemand = 2
    CodedCSR = 3


class ConvConfig(dict[str, Any]):
    """A dictionary whose entries are attributes too.

    `kmap_mode` is "hashmap_on_the_fly" or "hashmap". With the first, a convolution has all outputs
    that an input reaches, as torch's of the dense grid; even kernels of stride 1 begin at their
    output. With the second, kernels are centred on the first cell of their output, and padding
    counts for the outputs alone, which are those reached, or, where the stride is the kernel's size
    or `downsample_mode` is "minkowski", the cells of the stride that hold an input.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"ConvConfig: there is no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def copy(self) -> ConvConfig:
        return ConvConfig(self)


DEFAULTS = {
    "dataflow": Dataflow.ImplicitGEMM,
    "ifsort": False,
    "kmap_mode": "hashmap_on_the_fly",
    "downsample_mode": "spconv",
    "split_mask_num": 1,
    "split_mask_num_bwd": 3,
    "epsilon": 0.0,
    "mm_thresh": 0,
    "FOD_fusion": True,
}
CHOICES = {
    "kmap_mode": ("hashmap_on_the_fly", "hashmap"),
    "downsample_mode": ("spconv", "minkowski"),
}
_global: ConvConfig | None = None


def get_default_conv_config(conv_mode: Any = None, training: bool = False) -> ConvConfig:
    return ConvConfig(DEFAULTS)


def get_global_conv_config() -> ConvConfig | None:
    return _global


def set_global_conv_config(conv_config: dict[str, Any]) -> None:
    """Has all convolutions without a config of their own use this one; what it lacks is added."""
    global _global
    _global = complete(conv_config)


def clear_global_conv_config() -> None:
    global _global
    _global = None


def complete(config: dict[str, Any] | None) -> ConvConfig:
    """A config with all entries: those given, or the global ones.

    Raises:
        ValueError: if a mode is none of torchsparse's.
    """
    given = config if config is not None else _global
    found = ConvConfig(DEFAULTS | dict(given or {}))
    for name, choices in CHOICES.items():
        if found[name] not in choices:
            raise ValueError(f"conv3d: `{name}` must be one of {choices}, got {found[name]!r}")
    return found
