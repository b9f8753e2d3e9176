"""Batch normalization over the points of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

__all__ = ["SyncBatchNorm", "synchronize_batch_norms"]


def synchronize_batch_norms(module: nn.Module, device: torch.device) -> None:
    """Replaces every `BatchNorm1d` below `module`; weights and running figures stay as they are.

    Torch's own layer is faster, and knows CUDA only.
    """
    for name, child in module.named_children():
        if not isinstance(child, nn.BatchNorm1d):
            synchronize_batch_norms(child, device)
        elif device.type == "cuda":
            convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
            setattr(module, name, convert(child))
        else:
            setattr(module, name, SyncBatchNorm.like(child))


class SyncBatchNorm(nn.BatchNorm1d):
    """`BatchNorm1d` whose mean and variance in training are those of all processes together.

    A process weighs as much as it has points, and may have none.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm1d) -> SyncBatchNorm:
        assert norm.affine
        assert norm.track_running_stats
        made = cls(norm.num_features, norm.eps, norm.momentum)
        made.load_state_dict(norm.state_dict())
        return made

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # [N, C] -> [N, C]
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            x = input if input.dtype == torch.float64 else input.float()
            sums = _sum_over_processes(torch.cat([x.sum(dim=0), x.new_tensor([len(x)])]))
            count = sums[-1].detach().clamp_min(1)
            mean = sums[:-1] / count
            # In a second exchange, because the mean of squares less the squared mean loses digits.
            centred = x - mean
            variance = _sum_over_processes(centred.square().sum(dim=0)) / count
            self._follow(mean.detach(), variance.detach(), count)
            scale = (variance + self.eps).rsqrt() * self.weight
            return (centred * scale + self.bias).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Moves the running figures; theirs is the unbiased variance."""
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1).clamp_min(1), self.momentum)


class _Sum(torch.autograd.Function):
    """The sum over processes; the gradient of each process's part is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(local: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _Sum.apply(local)  # type: ignore[no-untyped-call]
    return total
