"""What the training engine asks of a kind of training; the engine itself knows no other detail."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from elite.data import DatasetSpec, TrainingScans
from elite.types import Batch

__all__ = ["Plan", "Recipe", "Task", "Terms", "named_terms"]


class Terms(Protocol):
    """The loss of a batch: a dataclass of scalars, whose field `total` is what is minimized."""

    total: torch.Tensor  # []


def named_terms(terms: Terms) -> dict[str, torch.Tensor]:
    """The terms by name as they are recorded: `total` is called loss."""
    fields = dataclasses.fields(terms)  # type: ignore[arg-type]
    named = {field.name: getattr(terms, field.name).detach() for field in fields}
    return {"loss": named.pop("total"), **named}


class Task(torch.nn.Module):
    """The student with all that its training needs beside it, as one module.

    The engine wraps the whole, so that one call of `forward` reaches every trained weight (which is
    what distributed training needs). Its `state_dict` goes into the checkpoints: state that is no
    weight or buffer belongs into `get_extra_state`, frozen weights that can be had elsewhere may be
    left out.

    Attributes:
        student: the network that is validated, and whose weights are the result. It has
            `fused()`, its inference form.
    """

    student: Any

    def __init__(self, student: torch.nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, batch: Batch) -> Terms:
        """The loss of a batch, computed in float32 whatever the networks compute in."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimizer; a group's `lr_scale` multiplies the scheduled learning rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def after_step(self, step: int, updated: bool) -> None:
        """Called after each step of the optimizer, while the gradients are still there.

        Args:
            step: of the run, from 0.
            updated: False where the step was left out, because a gradient was not finite.
        """


@dataclass(frozen=True)
class Plan:
    """What only the engine knows when a task is made: it follows from the data."""

    spec: DatasetSpec
    class_weights: torch.Tensor  # [num_classes] float32
    total_steps: int


class Recipe(Protocol):
    """One kind of training: which data, and which loss."""

    def training_scans(self, spec: DatasetSpec) -> TrainingScans:
        """The scans to train on, augmented."""

    def task(self, plan: Plan) -> Task:
        """The modules and the loss, made on the CPU; the engine moves them."""
