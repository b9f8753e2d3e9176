"""Steps that are left out because a gradient was not finite, and what is kept if they persist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from elite.errors import EliteError
from elite.files import replacing
from elite.types import Batch

__all__ = ["SkippedSteps"]


class SkippedSteps:
    """Ends a run after `limit` skipped steps in a row, and leaves in `folder` what they met."""

    def __init__(self, limit: int, folder: Path, process: int) -> None:
        self.limit = limit
        self.path = folder / f"non_finite_{process}.pt"
        self.in_a_row = 0

    def count(
        self, finite: bool, step: int, task: torch.nn.Module, batches: Sequence[Batch]
    ) -> None:
        """Takes note of a step.

        Raises:
            EliteError: if it is one skipped step too many.
        """
        self.in_a_row = 0 if finite else self.in_a_row + 1
        if self.in_a_row < self.limit:
            return
        dump = {
            "step": step,
            "task": task.state_dict(),
            "batches": [asdict(batch) for batch in batches],
        }
        with replacing(self.path) as temporary:
            torch.save(dump, temporary)
        names = ", ".join(name for batch in batches for name in batch.names)
        raise EliteError(
            f"the gradients of {self.limit} steps in a row are not finite",
            f"Lower optimizer.lr, or look at the data with `elite data check`. The last scans were "
            f"{names}; they and the weights are in {self.path}.",
        )
