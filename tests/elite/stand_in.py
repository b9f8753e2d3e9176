"""A network with the student's interface that trains in milliseconds."""

from __future__ import annotations

import torch

from elite.types import StudentOutput


class StandIn(torch.nn.Module):
    """A point-wise MLP with batch norm and dropout, so that random numbers matter.

    Attributes:
        stop_at: the forward pass that raises KeyboardInterrupt, as a killed process would.
        poison_at: the forward pass whose logits are NaN.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 16),
            torch.nn.BatchNorm1d(16),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(16, 20),
        )
        self.calls = 0
        self.stop_at: int | None = None
        self.poison_at: range = range(0)

    def forward(
        self, points: torch.Tensor, batch_index: torch.Tensor, batch_size: int
    ) -> StudentOutput:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        valid = (points[:, :2].abs() < 19).all(dim=1)
        logits = self.layers(points) * valid[:, None]
        if self.calls in self.poison_at:
            logits = logits * torch.nan
        return StudentOutput(logits, valid, [])

    def fused(self):
        @torch.no_grad()
        def network(points, batch_index, batch_size):
            self.eval()
            output = self.forward(points, batch_index, batch_size)
            self.train()
            return output.logits, output.valid

        return network
