"""A teacher with the interface of the real one that runs in a millisecond."""

from __future__ import annotations

import torch


class StandInTeacher(torch.nn.Module):
    """One frozen convolution to stride 4 and a trained one a stage.

    Attributes:
        steps: the arguments of `after_step`, whether every gradient was still there, and whether
            the optimizer had changed the weights already.
    """

    num_stages = 4
    patch_channels = 12

    def __init__(self, seed: int = 0, stages: tuple[int, ...] = (1, 2, 3, 4)) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = torch.nn.Conv2d(3, 8, 4, stride=4).requires_grad_(False)
        self.decoders = torch.nn.ModuleList(
            torch.nn.Conv2d(8, self.patch_channels, 1) for _ in stages
        )
        self.steps: list[tuple[int, bool, bool, bool]] = []
        self._remember()

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        assert images.dtype == torch.uint8
        self._remember()
        encoded = self.encoder(images.float() / 255).relu()
        return [decoder(encoded) for decoder in self.decoders]

    def regularization(self) -> torch.Tensor:
        return torch.zeros(())

    def after_step(self, step: int, updated: bool) -> None:
        has_gradients = all(p.grad is not None for p in self.decoders.parameters())
        now = self.decoders.parameters()
        changed = [not p.equal(seen) for p, seen in zip(now, self._seen, strict=True)]
        self.steps.append((step, updated, has_gradients, all(changed)))

    def _remember(self) -> None:
        self._seen = [p.detach().clone() for p in self.decoders.parameters()]
