"""warpconvnet 1.8: tuned at its first calls, with sums in float32."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from peers.contestant import Contestant, Missing

__all__ = ["WarpConvNet"]


class WarpConvNet(Contestant):
    @classmethod
    def library(cls) -> str:
        return f"warpconvnet {importlib.import_module('warpconvnet').__version__}"

    def prepare(self) -> None:
        super().prepare()
        case = self.case
        if self.on_cpu:
            raise Missing("warpconvnet: needs a GPU")
        self.functional = importlib.import_module("warpconvnet.nn.functional.sparse_conv")
        self.voxels = importlib.import_module("warpconvnet.geometry.types.voxels").Voxels
        counts = torch.bincount(case.indices[:, 0], minlength=case.batch_size).cpu()
        self.offsets = torch.cat([torch.zeros(1), counts.cumsum(0)]).int()
        self.coordinates = case.indices[:, 1:].contiguous()

    def build_map(self) -> Any:
        """Voxels whose cache holds the map."""
        voxels = self.voxels(self.coordinates, self.case.features, offsets=self.offsets)
        self.functional.generate_output_coords_and_kernel_map(
            voxels, kernel_size=(3, 3, 3), kernel_dilation=(1, 1, 1), stride=(1, 1, 1)
        )
        return voxels

    def convolve(self, kernel_map: Any) -> Tensor:
        out: Tensor = self.functional.spatially_sparse_conv(
            kernel_map.replace(batched_features=self.features),
            self.weight,
            kernel_size=3,
            use_fp16_accum=False,
            fwd_algo="auto",
            dgrad_algo="auto",
            wgrad_algo="auto",
        ).feature_tensor
        return out
