"""This library."""

from __future__ import annotations

from torch import Tensor

from elite_ops import KernelMap, build_kernel_map, order_rows, sparse_conv
from peers.contestant import Contestant, Missing

__all__ = ["Ours", "OursOrdered"]


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


class OursOrdered(Ours):
    """With a map whose rows are ordered by what they meet, as spconv's are."""

    def prepare(self) -> None:
        super().prepare()
        if self.on_cpu:
            raise Missing("elite_ops_ordered: the order of rows is for CUDA alone")

    def build_map(self) -> KernelMap:
        return order_rows(super().build_map())
