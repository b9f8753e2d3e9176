"""AdaLoRA's rank allocator: which singular values of the adapters stay.

The arithmetic is that of `peft`'s own allocator, which a long training would end up with as well.
Written anew because that one fails where training is not ideal: a gradient that is not there, or
not finite; a skipped step on which it would have set the final ranks; a budget equal to the initial
one; and scores that tie, as they all do before the first gradient, when it drops everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elite.teacher.config import PeftConfig

__all__ = ["RankAllocator", "RankSchedule"]


@dataclass(frozen=True)
class RankSchedule:
    """How many singular values stay after a step, over all adapters.

    Attributes:
        warmup: steps before the number begins to fall.
        settled: the step from which on it has its last value.
        interval: steps between two allocations.
        initial: values at first.
        target: values at the end.
    """

    warmup: int
    settled: int
    interval: int
    initial: int
    target: int

    @classmethod
    def of(cls, config: PeftConfig, total_steps: int, num_adapters: int) -> RankSchedule:
        """The schedule of a run of `total_steps`, however short."""
        return cls(
            warmup=int(config.warmup * total_steps),
            settled=total_steps - int(config.final * total_steps),
            interval=max(int(config.interval * total_steps), 1),
            initial=config.init_rank * num_adapters,
            target=config.target_rank * num_adapters,
        )

    def budget(self, step: int) -> int:
        """Values that stay after `step` finished steps: falls as a cubic."""
        if step <= self.warmup:
            return self.initial
        if step >= self.settled:
            return self.target
        left = 1 - (step - self.warmup) / (self.settled - self.warmup)
        return int((self.initial - self.target) * left**3 + self.target)

    def allocates(self, step: int) -> bool:
        """Whether ranks are chosen anew after `step` finished steps, before they are settled."""
        return self.warmup < step < self.settled and step % self.interval == 0


class RankAllocator(nn.Module):
    """Scores every singular value, and zeroes those beyond the budget.

    Everything it remembers is in its `state_dict`: a resumed run goes on as if undisturbed.

    Args:
        layers: `peft`'s AdaLoRA layers, of one rank.
        schedule: how many values stay when.
        beta1: see `PeftConfig`.
        beta2: see `PeftConfig`.
    """

    kept: Tensor  # [L, r] bool, of the last allocation

    def __init__(
        self, layers: Sequence[nn.Module], schedule: RankSchedule, beta1: float, beta2: float
    ) -> None:
        super().__init__()
        self.schedule, self.beta1, self.beta2 = schedule, beta1, beta2
        # A [r, in], E [r, 1], B [out, r]: parameters of the encoder, not of this module.
        self._triplets = [_triplet(layer) for layer in layers]
        for i, triplet in enumerate(self._triplets):
            for part, parameter in zip("aeb", triplet, strict=True):
                self.register_buffer(f"importance_{part}{i}", torch.zeros_like(parameter))
                self.register_buffer(f"variation_{part}{i}", torch.zeros_like(parameter))
        rank = len(self._triplets[0][1])
        self.register_buffer("kept", torch.ones(len(layers), rank, dtype=torch.bool))
        self._settled = False

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self._settled)

    def set_extra_state(self, state: Any) -> None:
        self._settled = bool(state)

    @torch.no_grad()
    def after_step(self, step: int, updated: bool) -> None:
        """Follows one step of the optimizer, with its gradients still there.

        Args:
            step: the number of finished steps, this one included.
            updated: whether the optimizer changed the weights. After a skipped step nothing is
                learned from its gradients, and whatever was due happens after the next.
        """
        if not updated:
            return
        if self._settled:
            self._zero_dropped()
        elif step >= self.schedule.settled:
            self._allocate(self.schedule.target)
            self._settled = True
        else:
            self._observe()
            if self.schedule.allocates(step):
                self._allocate(self.schedule.budget(step))

    def _observe(self) -> None:
        """Smooths each element's importance |w * dL/dw|, and how much it varies."""
        for i, triplet in enumerate(self._triplets):
            for part, parameter in zip("aeb", triplet, strict=True):
                if parameter.grad is None:  # a stage that is switched off
                    continue
                now = (parameter * parameter.grad).abs()
                importance = self.get_buffer(f"importance_{part}{i}")
                variation = self.get_buffer(f"variation_{part}{i}")
                importance.mul_(self.beta1).add_(now, alpha=1 - self.beta1)
                variation.mul_(self.beta2).add_((now - importance).abs(), alpha=1 - self.beta2)

    def scores(self) -> Tensor:  # [L, r]
        """The score of every singular value: its own, plus the means over its two vectors."""
        rows = []
        for i in range(len(self._triplets)):
            a, e, b = (
                self.get_buffer(f"importance_{p}{i}") * self.get_buffer(f"variation_{p}{i}")
                for p in "aeb"
            )
            rows.append(e[:, 0] + a.mean(dim=1) + b.mean(dim=0))
        return torch.stack(rows)

    def _allocate(self, budget: int) -> None:
        scores = self.scores().T  # [r, L]: where scores tie, every layer keeps its first ones
        best = scores.flatten().argsort(descending=True, stable=True)[:budget]
        kept = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
        kept[best] = True
        self.kept.copy_(kept.view_as(scores).T)
        self._zero_dropped()

    def _zero_dropped(self) -> None:
        for (_, e, _), kept in zip(self._triplets, self.kept, strict=True):
            e.masked_fill_(~kept[:, None], 0.0)


def _triplet(layer: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    parts = (layer.lora_A, layer.lora_E, layer.lora_B)
    a, e, b = (part["default"] for part in parts)  # type: ignore[index]
    return a, e, b
