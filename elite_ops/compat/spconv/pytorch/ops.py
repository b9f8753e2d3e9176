"""Maps of plain indices, as spconv's own functions return them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.placeholder import placeholder
from elite_ops.compat.spconv.pytorch.connect import connect, geometry_of
from elite_ops.compat.spconv.pytorch.core import SparseConvTensor
from elite_ops.compat.spconv.pytorch.functional import (
    indice_avgpool_implicit_gemm,
    indice_conv,
    indice_maxpool,
    indice_maxpool_implicit_gemm,
)
from elite_ops.compat.spconv.pytorch.indice_data import IndiceData

__all__ = [
    "ConvAlgo",
    "fused_indice_conv",
    "get_conv_output_size",
    "get_deconv_output_size",
    "get_indice_pairs",
    "get_indice_pairs_implicit_gemm",
    "global_pool_rearrange",
    "implicit_gemm",
    "implicit_gemm_backward",
    "indice_avgpool_implicit_gemm",
    "indice_avgpool_implicit_gemm_backward",
    "indice_conv",
    "indice_conv_backward",
    "indice_maxpool",
    "indice_maxpool_backward",
    "indice_maxpool_implicit_gemm",
    "indice_maxpool_implicit_gemm_backward",
    "maximum_value_int_",
]

BACKWARD = "the functions of spconv.pytorch.functional are differentiable themselves"
implicit_gemm = placeholder("implicit_gemm", "call spconv.pytorch.functional.implicit_gemm")
implicit_gemm_backward = placeholder("implicit_gemm_backward", BACKWARD)
indice_conv_backward = placeholder("indice_conv_backward", BACKWARD)
indice_maxpool_backward = placeholder("indice_maxpool_backward", BACKWARD)
indice_maxpool_implicit_gemm_backward = placeholder(
    "indice_maxpool_implicit_gemm_backward", BACKWARD
)
indice_avgpool_implicit_gemm_backward = placeholder(
    "indice_avgpool_implicit_gemm_backward", BACKWARD
)
fused_indice_conv = placeholder("fused_indice_conv", "call indice_conv, which adds a bias")


def get_conv_output_size(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """The cells of a convolution's output along each axis."""
    axes = zip(input_size, kernel_size, stride, padding, dilation, strict=True)
    return [
        1 if size == -1 else (cells + 2 * pad - gap * (size - 1) - 1) // step + 1
        for cells, size, step, pad, gap in axes
    ]


def get_deconv_output_size(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> list[int]:
    """The cells of a transposed convolution's output; spconv leaves the dilation out."""
    axes = zip(input_size, kernel_size, stride, padding, output_padding, strict=True)
    return [(cells - 1) * step - 2 * pad + size + more for cells, size, step, pad, more in axes]


def get_indice_pairs(
    indices: Tensor,  # [V, D + 1] int32
    batch_size: int,
    spatial_shape: Sequence[int],
    algo: ConvAlgo,
    ksize: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    out_padding: Sequence[int],
    subm: bool = False,
    transpose: bool = False,
    num_out_act_bound: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output's indices, the pairs [2, K, V] and their numbers [K] of a convolution."""
    sizes = (ksize, stride, padding, dilation, out_padding)
    data = _connect(indices, batch_size, spatial_shape, algo, sizes, subm, transpose)
    return data.out_indices, data.indice_pairs, data.indice_pair_num


def get_indice_pairs_implicit_gemm(
    indices: Tensor,  # [V, D + 1] int32
    batch_size: int,
    spatial_shape: Sequence[int],
    algo: ConvAlgo,
    ksize: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    out_padding: Sequence[int],
    subm: bool = False,
    transpose: bool = False,
    is_train: bool = True,
    alloc: Any = None,
    timer: Any = None,
    num_out_act_bound: int = -1,
    direct_table: bool = True,
    do_sort: bool = True,
) -> tuple[Any, ...]:
    """The output's indices, numbers of pairs, and the tables of both directions.

    spconv's masks and orders, five lists more, are empty: nothing here needs them.
    """
    sizes = (ksize, stride, padding, dilation, out_padding)
    data = _connect(indices, batch_size, spatial_shape, algo, sizes, subm, transpose)
    tables = (data.out_indices, data.indice_pair_num, data.pair_fwd, data.pair_bwd)
    return (*tables, [], [], [], [], [])


def maximum_value_int_(ten: Tensor, value: int) -> None:
    """Raises the entries to a value, in place."""
    ten.clamp_(min=value)


def global_pool_rearrange(coords: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """The rows of each sample, [B, V] with its own first, and how many are its own, [B]."""
    sample = coords[:, 0].long()
    counts = torch.bincount(sample, minlength=batch_size)
    order = sample.argsort(stable=True)
    first = (counts.cumsum(0) - counts)[sample[order]]
    place = torch.arange(len(order), device=coords.device) - first
    rows = order.new_zeros(batch_size, len(order))
    rows[sample[order], place] = order
    return rows, counts.int()


def _connect(
    indices: Tensor,
    batch_size: int,
    spatial_shape: Sequence[int],
    algo: ConvAlgo,
    sizes: tuple[Sequence[int], ...],
    subm: bool,
    transpose: bool,
) -> IndiceData:
    ksize, stride, padding, dilation, out_padding = (list(numbers) for numbers in sizes)
    layer: Any = SimpleNamespace(
        ndim=len(spatial_shape),
        kernel_size=ksize,
        stride=stride,
        padding=padding,
        dilation=dilation,
        subm=subm,
        indice_key=None,
        algo=algo,
    )
    x = SparseConvTensor(indices.new_empty(len(indices), 0), indices, spatial_shape, batch_size)
    return connect(layer, x, geometry_of(layer, transposed=transpose, output_padding=out_padding))
