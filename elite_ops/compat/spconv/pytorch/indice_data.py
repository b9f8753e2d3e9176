"""What a layer with an `indice_key` leaves for others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.pytorch.sites import Sites
from elite_ops.kernel_map import KernelMap

__all__ = ["ImplicitGemmIndiceData", "IndiceData", "pairs_of"]


class IndiceData:
    """The pairs of a layer, its input and output voxels, and its kernel.

    spconv has two classes, one for each algorithm; this one has the tables of both, which are made
    when they are first read.

    Attributes:
        indices, spatial_shape: of the input.
        out_indices, out_spatial_shape: of the output.
        kernel_map: the pairs, as ops take them.
    """

    def __init__(
        self,
        kernel_map: KernelMap,
        sites: tuple[Sites, Sites],
        indices: tuple[Tensor, Tensor],
        spatial_shapes: tuple[Sequence[int], Sequence[int]],
        *,
        is_subm: bool,
        algo: ConvAlgo,
        ksize: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        padding: Sequence[int],
    ) -> None:
        self.kernel_map = kernel_map
        self.sites, self.out_sites = sites
        self.indices, self.out_indices = indices
        self.spatial_shape, self.out_spatial_shape = map(list, spatial_shapes)
        self.is_subm = is_subm
        self.algo = algo
        self.ksize = list(ksize)
        self.stride = list(stride)
        self.dilation = list(dilation)
        self.padding = list(padding)
        self.voxel_num = self.in_voxel_num = self.out_voxel_num = None  # of TensorRT

    @property
    def pair_fwd(self) -> Tensor:  # [K, V_out] int32
        """The input row that meets each output row under each offset, -1 for none."""
        return self.kernel_map.in_rows

    @property
    def pair_bwd(self) -> Tensor:  # [K, V_in] int32
        """The output row that meets each input row under each offset, -1 for none."""
        rows = self.kernel_map.out_rows
        return rows.flip(0) if self.kernel_map.symmetric else rows

    @cached_property
    def indice_pairs(self) -> Tensor:  # [2, K, V_in] int32
        """The input and output rows that meet under each offset, then -1."""
        return pairs_of(self.kernel_map)

    @cached_property
    def indice_pair_num(self) -> Tensor:  # [K] int32
        """How many rows meet under each offset."""
        return (self.pair_fwd >= 0).sum(1, dtype=torch.int32)


ImplicitGemmIndiceData = IndiceData


def pairs_of(kernel_map: KernelMap) -> Tensor:  # [2, K, V_in] int32
    """A map as lists of pairs, in order of the output rows."""
    in_rows = kernel_map.in_rows
    met = in_rows >= 0
    place = met.cumsum(1)[met] - 1
    offset, out_row = met.nonzero().unbind(1)
    pairs = in_rows.new_full((2, kernel_map.num_offsets, kernel_map.num_in), -1)
    pairs[0, offset, place] = in_rows[met]
    pairs[1, offset, place] = out_row.int()
    return pairs
