"""The largest number of output voxels that a layer has seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.compat.spconv.pytorch.modules import SparseModule

__all__ = ["VoxelCount"]

BUFFER = "max_num_voxels_during_training"


class VoxelCount(SparseModule):
    """A layer that counts its output voxels, where `record_voxel_count` asks for it."""

    record_voxel_count: bool

    def record_voxels(self, record: bool, device: torch.device | str | None = None) -> None:
        """Registers the buffer."""
        self.record_voxel_count = record
        if record:
            self.register_buffer(BUFFER, torch.zeros(1, dtype=torch.int32, device=device))

    def count_voxels(self, number: int) -> None:
        if self.record_voxel_count:
            getattr(self, BUFFER).clamp_(min=number)

    def get_max_num_voxels(self) -> Tensor | None:
        return getattr(self, BUFFER, None)

    def adapt_state(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Weights of a layer that did not count have no such buffer."""
        super().adapt_state(state_dict, prefix)
        if self.record_voxel_count:
            state_dict.setdefault(f"{prefix}{BUFFER}", torch.zeros(1, dtype=torch.int32))
