import pytest
import torch

from elite_ops import confusion_matrix
from elite_ops.reference.confusion_matrix import confusion_matrix as reference

IMPLEMENTATIONS = {"elite_ops": confusion_matrix, "reference": reference}
NUM_CLASSES = 20


@pytest.mark.benchmark(group="confusion_matrix")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("points", [120_000, 1_200_000])
def bench_confusion_matrix(timed, device, implementation, points):
    target = torch.randint(NUM_CLASSES, (points,))
    is_right = torch.rand(points) < 0.9
    prediction = torch.where(is_right, target, torch.randint(NUM_CLASSES, (points,)))
    timed(
        IMPLEMENTATIONS[implementation],
        *(prediction.to(device), target.to(device), NUM_CLASSES),
        bytes_moved=prediction.nbytes + target.nbytes,
        points=points,
    )
