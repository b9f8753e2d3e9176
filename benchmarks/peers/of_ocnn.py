"""ocnn 2.3: octrees, whose voxels are in Morton order; Triton on a GPU, blocked GEMM on a CPU."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from peers.contestant import Contestant

__all__ = ["Ocnn"]


class Ocnn(Contestant):
    @classmethod
    def library(cls) -> str:
        return f"ocnn {importlib.import_module('ocnn').__version__}"

    def prepare(self) -> None:
        super().prepare()
        case = self.case
        self.octrees = importlib.import_module("ocnn.octree")
        self.layers = importlib.import_module("ocnn.nn")
        self.depth = max(max(case.spatial_shape) - 1, 1).bit_length()
        if not self.on_cpu:
            config = importlib.import_module("ocnn.nn.kernels.config")
            config.allow_tf32 = case.precision.tf32
        # Centres of the cells of a cube of 2^depth cells, from -1 to 1.
        centres = (case.indices[:, 1:].float() + 0.5) / 2 ** (self.depth - 1) - 1
        self.points = self.octrees.Points(
            centres, batch_id=case.indices[:, :1].long(), batch_size=case.batch_size
        )
        x, y, z, b = self._octree().xyzb(self.depth, nempty=True)
        theirs, ours = torch.stack([b, x, y, z]).t(), case.indices.long()
        shape = torch.tensor([2**self.depth] * 3, device=ours.device)
        self.order = torch.argsort(_keys(theirs, shape))  # ours are sorted
        if not torch.equal(theirs[self.order], ours):
            raise AssertionError("the octree holds other voxels")
        channels = case.weight.shape[1:]
        self.layer = self.layers.OctreeConv(*channels, [3], nempty=True).to(case.features)

    def _octree(self) -> Any:
        case = self.case
        octree = self.octrees.Octree(
            self.depth, full_depth=2, batch_size=case.batch_size, device=case.features.device
        )
        octree.build_octree(self.points)
        return octree

    def to_rows(self, rows: Tensor) -> Tensor:
        return torch.empty_like(rows).index_copy_(0, self.order, rows)

    def from_rows(self, rows: Tensor) -> Tensor:
        return rows[self.order]

    def build_map(self) -> Any:
        """The tree and its neighbours: the tree is to ocnn what the hash table is to others."""
        octree = self._octree()
        octree.construct_all_neigh()
        octree.get_neigh(self.depth, "333", 1, nempty=True)
        return octree

    def convolve(self, kernel_map: Any) -> Tensor:
        replaced = {"weights": self.weight}
        arguments = (self.features, kernel_map, self.depth)
        return torch.func.functional_call(self.layer, replaced, arguments)

    def pairs(self, kernel_map: Any) -> int:
        return int((kernel_map.get_neigh(self.depth, "333", 1, nempty=True) >= 0).sum())


def _keys(indices: Tensor, shape: Tensor) -> Tensor:
    """Numbers in the order of (batch, x, y, z)."""
    key = indices[:, 0]
    for axis in range(3):
        key = key * shape[axis] + indices[:, axis + 1]
    return key
