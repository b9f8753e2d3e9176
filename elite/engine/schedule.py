"""The learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from elite.engine.train_config import OptimizerConfig

__all__ = ["learning_rate"]


def learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up from lr / steps, then half a cosine down to 0 after the last step.

    `step` counts from 0.
    """
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
