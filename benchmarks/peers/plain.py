"""The definitions in plain PyTorch: a sort and a search for the map, 27 matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops import KernelMap
from elite_ops.reference.kernel_map import build_kernel_map
from elite_ops.reference.sparse_conv import sparse_conv
from peers.ours import Ours

__all__ = ["Plain"]


class Plain(Ours):
    @classmethod
    def library(cls) -> str:
        return f"torch {torch.__version__}"

    def build_map(self) -> KernelMap:
        case = self.case
        return build_kernel_map(
            case.indices, spatial_shape=case.spatial_shape, batch_size=case.batch_size
        )

    def convolve(self, kernel_map: KernelMap) -> Tensor:
        return sparse_conv(self.features, self.weight, kernel_map)
