"""Convolution and pooling of plain features over pairs of rows, and sums of sparse tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.compat.spconv.placeholder import placeholder
from elite_ops.compat.spconv.pytorch.core import SparseConvTensor
from elite_ops.compat.spconv.pytorch.sites import Sites, indices_of
from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap
from elite_ops.ops.sparse_conv import sparse_conv
from elite_ops.ops.sparse_pool import sparse_avg_pool, sparse_max_pool
from elite_ops.sparse_tensor import SparseTensor

__all__ = [
    "SparseAvgPoolImplicitGemmFunction",
    "SparseConvFunction",
    "SparseImplicitGemmFunction",
    "SparseInverseConvFunction",
    "SparseMaxPoolFunction",
    "SparseMaxPoolImplicitGemmFunction",
    "SubMConvFunction",
    "implicit_gemm",
    "indice_avgpool_implicit_gemm",
    "indice_conv",
    "indice_inverse_conv",
    "indice_maxpool",
    "indice_maxpool_implicit_gemm",
    "indice_subm_conv",
    "sparse_add",
    "sparse_add_hash_based",
]

REASON = "the functions of this module are differentiable themselves"
SparseConvFunction = placeholder("SparseConvFunction", REASON)
SparseInverseConvFunction = placeholder("SparseInverseConvFunction", REASON)
SubMConvFunction = placeholder("SubMConvFunction", REASON)
SparseImplicitGemmFunction = placeholder("SparseImplicitGemmFunction", REASON)
SparseMaxPoolFunction = placeholder("SparseMaxPoolFunction", REASON)
SparseMaxPoolImplicitGemmFunction = placeholder("SparseMaxPoolImplicitGemmFunction", REASON)
SparseAvgPoolImplicitGemmFunction = placeholder("SparseAvgPoolImplicitGemmFunction", REASON)


def indice_conv(
    features: Tensor,  # [V_in, C_in]
    filters: Tensor,  # [C_out, *kernel_size, C_in]
    indice_pairs: Tensor,  # [2, K, N] int32
    indice_pair_num: Tensor | None,
    num_activate_out: int,
    algo: Any = None,
    timer: Any = None,
    bias: Tensor | None = None,  # [C_out]
    *rest: Any,
) -> Tensor:  # [V_out, C_out]
    """The convolution over lists of pairs; all that is not -1 is one."""
    kernel_map = _map_of_pairs(indice_pairs, features.shape[0], num_activate_out)
    return sparse_conv(features, _by_offset(filters), kernel_map, bias)


indice_subm_conv = indice_conv


def indice_inverse_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor | None,
    num_activate_out: int,
    algo: Any = None,
    timer: Any = None,
    bias: Tensor | None = None,
    *rest: Any,
) -> Tensor:
    """`indice_conv` from the pairs' outputs to their inputs."""
    pairs = indice_pairs.flip(0)
    return indice_conv(
        features, filters, pairs, indice_pair_num, num_activate_out, algo, timer, bias
    )


def indice_maxpool(
    features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor | None, num_activate_out: int
) -> Tensor:
    """The maximum over lists of pairs."""
    return sparse_max_pool(
        features, _map_of_pairs(indice_pairs, features.shape[0], num_activate_out)
    )


def implicit_gemm(
    features: Tensor,  # [V_in, C_in]
    filters: Tensor,  # [C_out, *kernel_size, C_in]
    pair_fwd: Tensor,  # [K, V_out] int32
    pair_bwd: Tensor | None = None,
    pair_mask_fwd_splits: Any = None,
    pair_mask_bwd_splits: Any = None,
    mask_argsort_fwd_splits: Any = None,
    mask_argsort_bwd_splits: Any = None,
    num_activate_out: int | None = None,
    masks: Any = None,
    is_train: bool = True,
    is_subm: bool = False,
    timer: Any = None,
    fp32_accum: bool | None = None,
    bias: Tensor | None = None,  # [C_out]
    *rest: Any,
) -> Tensor:  # [V_out, C_out]
    """The convolution over a table of the input rows that output rows meet, and over it alone."""
    kernel_map = _map_of_table(pair_fwd, features.shape[0])
    return sparse_conv(features, _by_offset(filters), kernel_map, bias)


def indice_maxpool_implicit_gemm(
    features: Tensor, indice_pairs: Tensor, indice_pairs_bwd: Tensor, num_activate_out: int
) -> Tensor:
    """The maximum over a table of the input rows that output rows meet."""
    return sparse_max_pool(features, _map_of_table(indice_pairs, features.shape[0]))


def indice_avgpool_implicit_gemm(
    features: Tensor,
    indice_pairs: Tensor,
    indice_pairs_bwd: Tensor,
    num_activate_out: int,
    calc_count: bool = True,
) -> Tensor:
    """The mean over a table of the input rows that output rows meet."""
    return sparse_avg_pool(features, _map_of_table(indice_pairs, features.shape[0]))


def sparse_add(*tens: SparseConvTensor) -> SparseConvTensor:
    """The sum on the voxels of all; a tensor counts as zero where it has none.

    The voxels come in order of their indices. The result knows maps by key only where one of the
    tensors has the very voxels of the result.

    Raises:
        ValueError: if grids or samples differ.
    """
    first, *others = tens
    total = SparseTensor(first.features, first.voxels)
    for x in others:
        total = total.union(SparseTensor(x.features, x.voxels))
    shape = first.spatial_shape
    indices = indices_of(total.voxels, len(shape))
    out = first.at(Sites.of(total.voxels, indices, shape), indices, shape, total.features)
    same = [x for x in tens if torch.equal(x.indices, indices)]
    out.indice_dict = same[0].indice_dict if same else {}
    return out


sparse_add_hash_based = sparse_add


def _by_offset(filters: Tensor) -> Tensor:  # [K, C_in, C_out]
    return filters.flatten(1, -2).permute(1, 2, 0)


def _map_of_table(in_rows: Tensor, num_in: int) -> KernelMap:
    num_offsets = in_rows.shape[0]
    # Where the offsets lead is not known; ops ask for their number alone.
    geometry = KernelGeometry(
        kernel_size=(1, 1, num_offsets),
        stride=(1, 1, 1),
        padding=(0, 0, 0),
        dilation=(1, 1, 1),
        output_padding=(0, 0, 0),
    )
    return KernelMap(in_rows, num_in, geometry)


def _map_of_pairs(indice_pairs: Tensor, num_in: int, num_out: int) -> KernelMap:
    in_rows, out_rows = indice_pairs
    met = in_rows >= 0
    offset = met.nonzero()[:, 0]
    table = in_rows.new_full((in_rows.shape[0], num_out), -1)
    table[offset, out_rows[met].long()] = in_rows[met]
    return _map_of_table(table, num_in)
