"""Labels of a scan's points from the student's logits, 20 of 24 columns."""

import pytest
import torch
from precision import PRECISIONS
from workloads import scan

from elite_ops import most_likely


def by_torch(logits, valid):
    return (logits[:, 1:].argmax(1) + 1) * valid


def by_op(logits, valid):
    return most_likely(logits, valid, ignore_label=0)


IMPLEMENTATIONS = {"elite_ops": by_op, "torch": by_torch}


@pytest.mark.benchmark(group="most_likely")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def bench_most_likely(timed, device, implementation, precision):
    workload, points = scan()
    generator = torch.Generator().manual_seed(0)
    padded = torch.randn(len(points), 24, generator=generator)
    logits = padded.to(device, PRECISIONS[precision].dtype)[:, :20]
    valid = (points[:, 0].abs() < 50).to(device)
    moved = logits.numel() * logits.element_size() + valid.nbytes + 8 * len(points)
    timed(IMPLEMENTATIONS[implementation], logits, valid, bytes_moved=moved, workload=workload)
