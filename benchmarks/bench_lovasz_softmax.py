"""lovasz_softmax against the loop over classes, on the labels of one scan."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from workloads import scan_labels

from elite_ops import lovasz_softmax
from elite_ops.reference.lovasz_softmax import lovasz_softmax as reference

NUM_CLASSES = 20
IMPLEMENTATIONS = {"elite_ops": lovasz_softmax, "reference": reference}
# How much larger the logit of the true class is: before training, and late in it. It decides how
# many errors of a class can change its loss.
MARGINS = {"untrained": 0.0, "trained": 8.0}


def inputs(margin: float, device: torch.device) -> tuple[Tensor, Tensor]:
    truth = scan_labels(0)
    noise = torch.randn(len(truth), NUM_CLASSES, generator=torch.Generator().manual_seed(0))
    logits = 2 * noise + margin * torch.nn.functional.one_hot(truth, NUM_CLASSES)
    return logits.to(device).requires_grad_(), truth.to(device)


@pytest.mark.benchmark(group="lovasz_softmax forward")
@pytest.mark.parametrize("prediction", MARGINS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_forward(timed, device, implementation, prediction):
    logits, truth = inputs(MARGINS[prediction], device)
    timed(IMPLEMENTATIONS[implementation], logits.detach(), truth, points=len(truth))


@pytest.mark.benchmark(group="lovasz_softmax forward and backward")
@pytest.mark.parametrize("prediction", MARGINS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_training(timed, device, implementation, prediction):
    logits, truth = inputs(MARGINS[prediction], device)

    def step() -> Tensor:
        loss = IMPLEMENTATIONS[implementation](logits, truth)
        return torch.autograd.grad(loss, logits)[0]

    timed(step, points=len(truth))
