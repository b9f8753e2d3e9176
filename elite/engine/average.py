"""The running average of the weights, often a better network than the latest ones."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

__all__ = ["averaged"]

Weights = tuple[torch.Tensor, ...] | list[torch.Tensor]


def averaged(network: torch.nn.Module, decay: float) -> AveragedModel:
    """A copy of `network` that follows it: w <- d w + (1 - d) latest, after each step.

    d rises from 0.1 to `decay` over the first steps, so that the weights of the beginning are
    forgotten in a short run too. Running means and variances are the latest ones.
    """

    @torch.no_grad()
    def follow(average: Weights, latest: Weights, count: Any) -> None:
        n = float(count)
        torch._foreach_lerp_(average, latest, 1.0 - min(decay, (1.0 + n) / (10.0 + n)))

    return AveragedModel(network, multi_avg_fn=follow)
