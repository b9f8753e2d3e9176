"""spconv's layers in the place of the student's convolutions."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from elite.student import Student
from peers.spconv_on_cpu import repair

__all__ = ["SpconvLayers"]

KEY = "neighbours"  # under which a scale's convolutions share their kernel map


class SpconvLayers:
    """What `AuthorsParts` takes: `SubMConv3d` layers with the student's weights."""

    def __init__(self) -> None:
        self.spconv = importlib.import_module("spconv.pytorch")
        repair()

    def prepare(self, student: Student) -> None:
        for block in student.blocks:
            for residual in block.voxel_branch:
                for name in ("conv1", "conv2"):
                    setattr(residual, name, self._layer(getattr(residual, name)))

    def _layer(self, ours: Any) -> nn.Module:
        channels = ours.in_channels, ours.out_channels
        layer: Any = self.spconv.SubMConv3d(*channels, 3, bias=False, indice_key=KEY)
        layer = layer.to(ours.weight.device)
        with torch.no_grad():  # [C_out, 3, 3, 3, C_in], the axes in the order of the indices
            layer.weight.copy_(ours.weight.permute(4, 0, 1, 2, 3))
        module: nn.Module = layer
        return module

    def of_scale(
        self, indices: Tensor, shape: tuple[int, ...], batch_size: int
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        indices, kept = indices.int(), {}

        def convolve(layer: nn.Module, rows: Tensor) -> Tensor:
            tensor = self.spconv.SparseConvTensor(
                rows, indices, list(shape), batch_size, indice_dict=dict(kept)
            )
            out = layer(tensor)
            kept.update(out.indice_dict)
            features: Tensor = out.features
            return features

        return convolve
