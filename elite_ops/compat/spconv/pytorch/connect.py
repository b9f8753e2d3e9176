"""How layers find their maps: by the voxels, and by `indice_key`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol

from elite_ops.compat.spconv import constants
from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.pytorch.core import SparseConvTensor
from elite_ops.compat.spconv.pytorch.indice_data import IndiceData
from elite_ops.compat.spconv.pytorch.sites import Sites, indices_of
from elite_ops.kernel_geometry import KernelGeometry

__all__ = ["Layer", "check_inverse", "connect", "geometry_of", "inverse_of", "remember", "reuse"]


class Layer(Protocol):
    """What convolution and pooling have in common."""

    ndim: int
    kernel_size: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    subm: bool
    indice_key: str | None
    algo: ConvAlgo


def geometry_of(
    layer: Layer, *, transposed: bool = False, output_padding: Sequence[int] | None = None
) -> KernelGeometry:
    """Which cells the layer's kernel connects; along two axes at least, as voxel sets have them.

    Raises:
        NotImplementedError: if there are more than three axes, or a kernel of -1, that is, of all.
        ValueError: if a number makes no sense.
    """
    name = type(layer).__name__
    if layer.ndim > 3:
        raise NotImplementedError(f"{name}: layers have up to three axes, got {layer.ndim}")
    if min(layer.kernel_size) < 0:
        raise NotImplementedError(
            f"{name}: `kernel_size` must be the number of cells, got {layer.kernel_size}"
        )
    missing = max(2 - layer.ndim, 0)

    def lifted(numbers: Sequence[int], filler: int) -> tuple[int, ...]:
        return (filler,) * missing + tuple(numbers)

    num_axes = layer.ndim + missing
    size, dilation = lifted(layer.kernel_size, 1), lifted(layer.dilation, 1)
    if layer.subm:
        if any(cells % 2 == 0 for cells in size):
            raise ValueError(
                f"{name}: `kernel_size` must be odd along each axis, got {layer.kernel_size}"
            )
        return KernelGeometry.of_submanifold(size, dilation=dilation, num_axes=num_axes, op=name)
    geometry = KernelGeometry.of(
        size,
        stride=lifted(layer.stride, 1),
        padding=lifted(layer.padding, 0),
        dilation=dilation,
        output_padding=lifted(output_padding or [0] * layer.ndim, 0) if transposed else 0,
        transposed=transposed,
        num_axes=num_axes,
        op=name,
    )
    return _as_if_not_dilated(geometry) if transposed else geometry


def _as_if_not_dilated(geometry: KernelGeometry) -> KernelGeometry:
    """spconv's output of a transposed convolution is as large as if its kernel had no gaps."""
    sides = zip(geometry.output_padding, geometry.dilation, geometry.kernel_size, strict=True)
    return replace(
        geometry, output_padding=tuple(more - (gap - 1) * (size - 1) for more, gap, size in sides)
    )


def connect(layer: Layer, x: SparseConvTensor, geometry: KernelGeometry) -> IndiceData:
    """The layer's map from the voxels of `x`."""
    _check_rows(layer, x)
    voxels, kernel_map = x.voxels.kernel_map(geometry)
    if voxels is x.voxels:
        sites, indices, shape = x.sites, x.indices, x.spatial_shape
    else:
        indices = indices_of(voxels, layer.ndim)
        shape = list(voxels.spatial_shape[-layer.ndim :])
        sites = Sites.of(voxels, indices, shape)
    return IndiceData(
        kernel_map,
        (x.sites, sites),
        (x.indices, indices),
        (x.spatial_shape, shape),
        is_subm=layer.subm,
        algo=layer.algo,
        ksize=layer.kernel_size,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
    )


def remember(layer: Layer, x: SparseConvTensor, data: IndiceData) -> dict[object, IndiceData]:
    """What the layer's output knows by key; with `LEGACY_INDICE_REUSE`, its input too.

    Raises:
        ValueError: if there is something by this key that is not a submanifold convolution's.
    """
    known = x.indice_dict if constants.LEGACY_INDICE_REUSE else dict(x.indice_dict)
    if layer.indice_key is not None:
        found = known.get(layer.indice_key, data)
        if found.kernel_map is not data.kernel_map and not layer.subm:
            raise ValueError(
                f"{type(layer).__name__}: `indice_key` {layer.indice_key!r} is in use already; "
                "submanifold and inverse convolutions alone may share one"
            )
        if found is data or found.kernel_map is not data.kernel_map:  # of voxels that changed
            known[layer.indice_key] = data
    return known


def reuse(layer: Layer, x: SparseConvTensor) -> IndiceData | None:
    """Checks what a submanifold convolution finds by its key, and shares the voxels' maps.

    Returns:
        What to use as it is, in place of the layer's own map: with `LEGACY_INDICE_REUSE`, that of
        another kernel.

    Raises:
        ValueError: if it does not fit.
    """
    data = x.find_indice_pair(layer.indice_key)
    if data is None:
        return None
    name, key = type(layer).__name__, layer.indice_key
    if not data.is_subm:
        raise ValueError(f"{name}: `indice_key` {key!r} is not that of a submanifold convolution")
    _check_same(layer, "spatial_shape", data.spatial_shape, x.spatial_shape)
    _check_same(layer, "number of voxels", data.indices.shape[0], x.indices.shape[0])
    fits = (data.ksize, data.dilation) == (layer.kernel_size, layer.dilation)
    if not fits and constants.LEGACY_INDICE_REUSE and len(data.pair_fwd) <= _num_offsets(layer):
        _warn_of_reuse(key, tuple(data.ksize), tuple(layer.kernel_size))
        return data
    advice = "; spconv 1.x used the first one's map: see install(legacy_indice_reuse=True)"
    _check_same(layer, "kernel_size", data.ksize, layer.kernel_size, advice)
    _check_same(layer, "dilation", data.dilation, layer.dilation, advice)
    x.adopt(data.sites)
    return None


def inverse_of(layer: Layer, x: SparseConvTensor) -> IndiceData:
    """What an inverse convolution undoes.

    Raises:
        ValueError: if there is nothing by its key, or it does not fit.
    """
    _check_rows(layer, x)
    data = x.find_indice_pair(layer.indice_key)
    if data is None or data.is_subm:
        raise ValueError(
            f"{type(layer).__name__}: `indice_key` must be that of a convolution or pooling which "
            f"made the voxels, got {layer.indice_key!r}"
        )
    check_inverse(layer, x, data)
    return data


def check_inverse(layer: Layer, x: SparseConvTensor, data: IndiceData) -> None:
    """Makes sure that `x` may be the output of what is undone."""
    _check_same(layer, "kernel_size", data.ksize, layer.kernel_size)
    _check_same(layer, "spatial_shape", data.out_spatial_shape, x.spatial_shape)
    _check_same(layer, "number of voxels", data.out_indices.shape[0], x.indices.shape[0])


def _check_same(layer: Layer, what: str, first: object, here: object, advice: str = "") -> None:
    if first != here:
        raise ValueError(
            f"{type(layer).__name__}: layers that share the `indice_key` {layer.indice_key!r} must "
            f"have the same {what}, got {here} after {first}{advice}"
        )


def _check_rows(layer: Layer, x: SparseConvTensor) -> None:
    if x.features.shape[0] != x.indices.shape[0]:
        raise ValueError(
            f"{type(layer).__name__}: `features` must have one row per voxel, got "
            f"{x.features.shape[0]} rows for {x.indices.shape[0]} voxels"
        )


def _num_offsets(layer: Layer) -> int:
    number = 1
    for size in layer.kernel_size:
        number *= size
    return number


@cache
def _warn_of_reuse(key: str, first: tuple[int, ...], here: tuple[int, ...]) -> None:
    """Says it once for each key and pair of kernels."""
    warnings.warn(
        f"spconv: the layers with `indice_key` {key!r} have kernels {first} and {here}; the map of "
        "the first is used for both (legacy_indice_reuse)",
        stacklevel=2,
    )
