"""This library."""

from __future__ import annotations

from torch import Tensor

from elite_ops import KernelMap, build_kernel_map, sparse_conv
from peers.contestant import Contestant

__all__ = ["Ours"]


class Ours(Contestant):
    @classmethod
    def library(cls) -> str:
        return "this commit"

    def build_map(self) -> KernelMap:
        case = self.case
        return build_kernel_map(
            case.indices, spatial_shape=case.spatial_shape, batch_size=case.batch_size
        )

    def convolve(self, kernel_map: KernelMap) -> Tensor:
        return sparse_conv(self.features, self.weight, kernel_map)

    def pairs(self, kernel_map: KernelMap) -> int:
        return int((kernel_map.in_rows >= 0).sum())
