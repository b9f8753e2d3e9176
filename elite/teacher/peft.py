"""Adapters on a frozen encoder: AdaLoRA or LoRA, by the `peft` library."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elite.teacher.backbone import Backbone
from elite.teacher.config import PeftConfig
from elite.teacher.rank_allocator import RankAllocator, RankSchedule

__all__ = ["Adapters"]

LORA_TARGETS = ("q", "v")


class Adapters(nn.Module):
    """Puts adapters into a backbone, and keeps AdaLoRA going.

    The adapters become parts of the backbone itself; everything else in it is frozen. Fresh
    adapters change nothing that it computes.

    Args:
        backbone: is changed in place.
        config: which adapters.
        total_steps: of the run; AdaLoRA's schedule needs it.

    Raises:
        ValueError: if AdaLoRA is not told `total_steps`.
    """

    def __init__(self, backbone: Backbone, config: PeftConfig, total_steps: int | None) -> None:
        super().__init__()
        self.config = config
        self.allocator: RankAllocator | None = None
        backbone.requires_grad_(False)
        if config.kind == "none":
            return
        if config.kind == "lora":
            _inject_lora(backbone, config)
            return
        if total_steps is None or total_steps < 1:
            raise ValueError(
                f"Teacher: AdaLoRA needs `total_steps` of at least 1, got {total_steps}"
            )
        layers = _inject_adalora(backbone, config)
        schedule = RankSchedule.of(config, total_steps, len(layers))
        self.allocator = RankAllocator(layers, schedule, config.beta1, config.beta2)
        self._right = [a for layer in layers for a in layer.lora_A.values()]  # type: ignore[operator]
        self._left = [b for layer in layers for b in layer.lora_B.values()]  # type: ignore[operator]

    def regularization(self) -> Tensor | None:
        """AdaLoRA's orthogonality term: the mean over all singular vectors of |P Pᵀ - I|."""
        if self.allocator is None:
            return None
        # In full precision also under autocast: the term measures small deviations.
        with torch.autocast(self._right[0].device.type, enabled=False):
            grams = torch.stack([a @ a.T for a in self._right] + [b.T @ b for b in self._left])
            deviation = grams - torch.eye(grams.shape[-1], device=grams.device)
            mean: Tensor = torch.linalg.matrix_norm(deviation).mean()
        return self.config.orthogonality_weight * mean

    def after_step(self, step: int, updated: bool) -> None:
        if self.allocator is not None:
            self.allocator.after_step(step, updated)


def _inject_lora(backbone: Backbone, config: PeftConfig) -> None:
    import peft

    lora = peft.LoraConfig(
        r=config.target_rank,
        lora_alpha=config.alpha,
        target_modules=_pattern(backbone, LORA_TARGETS),
    )
    peft.inject_adapter_in_model(lora, backbone)


def _inject_adalora(backbone: Backbone, config: PeftConfig) -> list[nn.Module]:
    """Returns the layers that were put in, in the order of the backbone."""
    import peft
    from peft.tuners.adalora import SVDLinear

    adalora = peft.AdaLoraConfig(
        init_r=config.init_rank,
        target_r=config.target_rank,
        lora_alpha=config.alpha,
        target_modules=_pattern(backbone, tuple(backbone.adaptable)),
        total_step=1,  # of its own allocator, which is not used
    )
    peft.inject_adapter_in_model(adalora, backbone)
    return [module for module in backbone.modules() if isinstance(module, SVDLinear)]


def _pattern(backbone: Backbone, words: tuple[str, ...]) -> str:
    """Whole names only: "proj" alone would also be the convolution that cuts the image up."""
    return "|".join(f"(?:{backbone.adaptable[word]})" for word in words)
