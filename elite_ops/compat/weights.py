"""Weights that other libraries trained, for the layers of `elite_ops.nn`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from elite_ops.nn.convolution import SparseConvolution

__all__ = ["Layout", "Source", "convert_weights"]

Source = Literal["spconv", "torchsparse", "minkowski"]
Layout = Literal["KRSC", "RSKC", "RSCK"]

COUNTER = "max_num_voxels_during_training"  # a buffer of spconv's that has no counterpart
WRAPPED = ("bn", "linear")  # MinkowskiEngine keeps torch's layers of these names in its own


def convert_weights(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: Source,
    *,
    layout: Layout | None = None,
    reverse_axes: bool = False,
) -> dict[str, Tensor]:
    """The state of a network made of `elite_ops.nn`, from that of its twin in another library.

    Modules must have the same names in both. The weight of each convolution is brought into
    [*kernel_size, C_in, C_out]; all else, such as norms, must fit as it is.

    - "spconv": `weight` is [C_out, *kernel_size, C_in] since 2.2 ("KRSC"), [*kernel_size, C_out,
      C_in] in 2.0 and 2.1 ("RSKC"), [*kernel_size, C_in, C_out] in 1.x ("RSCK"). With a kernel of
      one cell and stride 1 spconv reads it as [C_in, C_out] whatever its shape; so does this.
    - "torchsparse": `kernel` is [K, C_in, C_out]; x is the fastest axis if the number K of offsets
      is odd, else z.
    - "minkowski": `kernel` is [K, C_in, C_out], the first axis the fastest, or [K, C] of a
      channelwise convolution; `bias` is [1, C_out]. What its norms and linear layers wrap is found.

    `kernel` may be [C_in, C_out] where there is one offset.

    Args:
        module: the network, or a part of one.
        state: what `state_dict()` gave there.
        source: where it comes from.
        layout: that of spconv's weights; by default the one that fits all of them.
        reverse_axes: whether the voxels have their axes the other way round here, such as x, y, z
            where spconv had z, y, x. Kernel sizes are those of `module`.

    Returns:
        A state for `module.load_state_dict`; its tensors may share memory with those of `state`.

    Raises:
        ValueError: if names are missing or unexpected, shapes are wrong, or several layouts fit;
            it names them.
    """
    _check_choice("source", source, get_args(Source))
    if layout is not None:
        _check_choice("layout", layout, get_args(Layout))
        if source != "spconv":
            raise ValueError(f"convert_weights: `layout` is for spconv, got {layout!r} of {source}")
    wanted = module.state_dict()
    kernels = _kernels(module, reverse_axes)
    names = {key: _their_name(key, kernels, state, source) for key in wanted}
    problems = _differences(set(names.values()), state, source)
    present = {key: name for key, name in names.items() if name in state}
    if source == "spconv" and layout is None:
        layouts = {
            name: kernels[key].layouts(state[name])
            for key, name in present.items()
            if key in kernels
        }
        it_matters = not all(kernel.is_matrix for kernel in kernels.values())
        layout = _only_layout(layouts, it_matters=it_matters)
    result = {}
    for key, name in present.items():
        value, shape = state[name], tuple(wanted[key].shape)
        shapes = kernels[key].shapes(source, layout) if key in kernels else [shape]
        if source == "minkowski" and key.endswith("bias"):
            shapes.append((1, *shape))
        if tuple(value.shape) not in shapes:
            expected = " or ".join(map(str, shapes))
            problems.append(f"`{name}` must be {expected}, got {tuple(value.shape)}")
        elif key in kernels:
            result[key] = kernels[key].converted(value, source, layout)
        else:
            result[key] = value.reshape(shape)
    if problems:
        raise ValueError("convert_weights: `state` must fit `module`: " + "; ".join(problems))
    return result


@dataclass(frozen=True)
class _Kernel:
    """A convolution's weight, as other libraries have it."""

    size: tuple[int, ...]  # in their order of axes
    channels: tuple[int, int]  # the weight's last two dimensions here
    reverse_axes: bool
    is_matrix: bool  # spconv reads it as [C_in, C_out]

    def shapes(self, source: str, layout: str | None) -> list[tuple[int, ...]]:
        """Those that it may have."""
        (c_in, c_out), volume = self.channels, math.prod(self.size)
        if source == "spconv":
            every = {
                "KRSC": (c_out, *self.size, c_in),
                "RSKC": (*self.size, c_out, c_in),
                "RSCK": (*self.size, c_in, c_out),
            }
            return list(every.values()) if layout is None else [every[layout]]
        found: list[tuple[int, ...]] = [(volume, c_in, c_out)]
        if volume == 1:
            found.append((c_in, c_out))
        elif source == "minkowski" and c_in == 1:
            found.append((volume, c_out))
        return found

    def layouts(self, weight: Tensor) -> set[Layout]:
        """Those of spconv's that a weight may have."""
        every: tuple[Layout, ...] = get_args(Layout)
        return {name for name in every if tuple(weight.shape) in self.shapes("spconv", name)}

    def converted(self, weight: Tensor, source: str, layout: str | None) -> Tensor:
        """[*kernel_size, C_in, C_out], of a weight that fits."""
        num_axes = len(self.size)
        if source == "spconv" and not self.is_matrix:
            if layout == "KRSC":
                weight = weight.movedim(0, -1)
            elif layout == "RSKC":
                weight = weight.transpose(-1, -2)
        elif source == "spconv" or (source == "torchsparse" and math.prod(self.size) % 2 == 0):
            weight = weight.reshape(*self.size, *self.channels)
        else:  # the first axis is the fastest
            weight = _axes_reversed(weight.reshape(*self.size[::-1], *self.channels), num_axes)
        return _axes_reversed(weight, num_axes) if self.reverse_axes else weight


def _axes_reversed(weight: Tensor, num_axes: int) -> Tensor:
    return weight.permute(*range(num_axes)[::-1], num_axes, num_axes + 1)


def _kernels(module: nn.Module, reverse_axes: bool) -> dict[str, _Kernel]:
    """Those of the convolutions, by the names of their weights."""
    found = {}
    for prefix, conv in module.named_modules():
        if isinstance(conv, SparseConvolution):
            size = conv.kernel_size[::-1] if reverse_axes else conv.kernel_size
            c_in, c_out = conv.weight.shape[-2:]
            is_matrix = math.prod(size) == math.prod(conv.geometry.stride) == 1
            key = f"{prefix}.weight" if prefix else "weight"
            found[key] = _Kernel(size, (c_in, c_out), reverse_axes, is_matrix)
    return found


def _their_name(
    key: str, kernels: Mapping[str, _Kernel], state: Mapping[str, Tensor], source: str
) -> str:
    """What a tensor is called there."""
    prefix, dot, name = key.rpartition(".")
    if source == "spconv":
        return key
    if key in kernels:
        return f"{prefix}{dot}kernel"
    inner = [f"{prefix}{dot}{wrapped}.{name}" for wrapped in WRAPPED]
    return next((n for n in inner if source == "minkowski" and n in state), key)


def _differences(names: set[str], state: Mapping[str, Tensor], source: str) -> list[str]:
    """What to say about names."""
    unexpected = set(state) - names
    if source == "spconv":
        unexpected = {name for name in unexpected if not name.endswith(COUNTER)}
    parts = {"missing": sorted(names - set(state)), "unexpected": sorted(unexpected)}
    return [f"{what}: {', '.join(found)}" for what, found in parts.items() if found]


def _only_layout(layouts: Mapping[str, set[Layout]], *, it_matters: bool) -> Layout | None:
    """The one that fits all weights which have any."""
    fitting = {name: found for name, found in layouts.items() if found}
    if not fitting:
        return None
    common = set.intersection(*fitting.values())
    if not common:
        found = (f"`{name}` is {' or '.join(sorted(fits))}" for name, fits in fitting.items())
        raise ValueError(
            "convert_weights: the weights in `state` must have one layout: " + "; ".join(found)
        )
    if len(common) > 1 and it_matters:
        raise ValueError(
            "convert_weights: `layout` must be given, since several fit all weights in `state`: "
            + ", ".join(sorted(common))
        )
    return min(common)


def _check_choice(argument: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"convert_weights: `{argument}` must be one of {', '.join(choices)}, got {value!r}"
        )
