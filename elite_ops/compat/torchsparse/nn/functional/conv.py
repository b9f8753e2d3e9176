"""Sparse convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from elite_ops.compat.torchsparse._maps import Connection, connect
from elite_ops.compat.torchsparse.nn.functional.conv_config import complete
from elite_ops.compat.torchsparse.tensor import SparseTensor
from elite_ops.compat.torchsparse.utils import make_ntuple
from elite_ops.compat.torchsparse.versions import convention, in_order_of_1_4
from elite_ops.ops.sparse_conv import sparse_conv

__all__ = ["conv3d"]

Ints = tuple[int, ...]
Key = tuple[Ints, Ints, Ints, Ints]


@in_order_of_1_4("input", "weight", "kernel_size", "bias", "stride", "dilation", "transposed")
def conv3d(
    input: SparseTensor,
    weight: Tensor,  # [K, C_in, C_out]; [C_in, C_out] will do for one offset
    kernel_size: int | Sequence[int],
    bias: Tensor | None = None,  # [C_out]
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    config: dict[str, Any] | None = None,
    transposed: bool = False,
    generative: bool = False,
    training: bool = False,
) -> SparseTensor:
    """Convolves as torchsparse does, with its order of offsets.

    Which voxels come out depends on the version, and on the configuration
    (`elite_ops.compat.torchsparse`). As in torchsparse, the dilation is part of a map's name only,
    and a transposed convolution goes back to the voxels and along the map of the one with the same
    kernel, stride and dilation. In 1.4 what stands behind `stride` is `dilation`, `transposed`.

    Args:
        input: features on voxels.
        weight: a matrix for each offset.
        kernel_size: between 1 and 7; like the next three one number, or one per axis.
        bias: added to every row.
        stride: cells between neighbouring outputs.
        padding: cells of zeros around the grid (2.1), of strided convolutions.
        dilation: without effect.
        config: see `ConvConfig` (2.1).
        transposed: whether this is the way back.
        generative: not supported.
        training: without effect.

    Raises:
        NotImplementedError: if `generative`.
        ValueError: if a number makes no sense, there is no way back, or caches are of other voxels.

    *Differentiable:* in features, weight and bias, any number of times.
    *Sync:* where a map is built.
    *Deterministic:* yes, bit for bit.
    """
    if generative:
        raise NotImplementedError(
            "conv3d: generative convolutions have no face here; elite_ops.nn.SparseConvTranspose3d "
            "makes voxels where there were none"
        )
    size, stride = make_ntuple(kernel_size, ndim=3), make_ntuple(stride, ndim=3)
    padding, dilation = make_ntuple(padding, ndim=3), make_ntuple(dilation, ndim=3)
    if size == stride == dilation == (1, 1, 1):
        feats = input.feats.matmul(weight.flatten(0, -2))
        output = input.replace(feats if bias is None else feats + bias)
        _remember(output, output)
        return output
    weight = weight if weight.dim() == 3 else weight[None]
    if transposed:
        return _back(input, weight, bias, size, stride, dilation)
    key = (input.stride, size, stride, dilation)
    connection = input._caches.kmaps.get(key)
    if connection is None or connection.padding != padding:
        connection = connect(
            input.coords, input.stride, input.spatial_range, size, stride, padding, complete(config)
        )
        input._caches.kmaps[key] = connection
    _check(input, connection.kernel_map.num_in)
    feats = sparse_conv(input.feats, weight, connection.kernel_map, bias)
    out_stride = tuple(t * s for t, s in zip(input.stride, stride, strict=True))
    output = SparseTensor(feats, connection.coords, out_stride, connection.spatial_range)
    _remember(output, input)
    return output


def _back(
    input: SparseTensor,
    weight: Tensor,
    bias: Tensor | None,
    size: Ints,
    stride: Ints,
    dilation: Ints,
) -> SparseTensor:
    """Along the map of an earlier convolution, the other way."""
    finer = tuple(t // s for t, s in zip(input.stride, stride, strict=True))
    key: Key = (finer, size, stride, dilation)
    connection: Connection | None = input._caches.kmaps.get(key)
    if connection is None or finer not in input._caches.cmaps:
        raise ValueError(
            "conv3d: a transposed convolution goes back along a convolution with the same kernel "
            f"{size}, stride {stride} and dilation {dilation} that led to stride {input.stride}, "
            "and there was none"
        )
    _check(input, connection.kernel_map.num_out)
    feats = sparse_conv(input.feats, weight, connection.kernel_map.swapped(), bias)
    cached = input._caches.cmaps[finer]
    coords, spatial_range = cached if isinstance(cached, tuple) else (cached, None)
    output = SparseTensor(feats, coords, finer, spatial_range)
    _remember(output, input)
    return output


def _remember(output: SparseTensor, input: SparseTensor) -> None:
    """Caches go on, with the coordinates of both, which a transposed convolution goes back to."""
    output._caches = input._caches
    for x in (input, output):
        cached = (x.coords, x.spatial_range) if convention().counts_strides else x.coords
        output._caches.cmaps.setdefault(x.stride, cached)


def _check(input: SparseTensor, num_rows: int) -> None:
    if len(input.feats) != num_rows:
        raise ValueError(
            f"conv3d: the caches of `input` are of {num_rows} other voxels, got {len(input.feats)} "
            "rows; give new voxels a tensor, and a cache, of their own"
        )
