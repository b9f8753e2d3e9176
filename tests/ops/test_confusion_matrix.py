import pytest
import torch
from immediate import immediate_error
from torch import Tensor

import elite_ops
from elite_ops import confusion_matrix
from elite_ops.reference import confusion_matrix as reference


def random_case(num_points: int, num_classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (2, num_points), generator=generator).to(device)
    return labels[0], labels[1]


def test_small_example(device: torch.device) -> None:
    prediction = torch.tensor([0, 1, 1, 2, 0], device=device)
    target = torch.tensor([0, 0, 1, 1, 0], device=device)
    got = confusion_matrix(prediction, target, 3)
    assert got.dtype == torch.int64
    assert got.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("num_classes", [1, 2, 20, 200])
@pytest.mark.parametrize("num_points", [0, 1, 31, 33, 1023, 100_000])
def test_equals_reference(num_points: int, num_classes: int, device: torch.device) -> None:
    prediction, target = random_case(num_points, num_classes, device)
    got = confusion_matrix(prediction, target, num_classes)
    assert torch.equal(got, reference.confusion_matrix(prediction, target, num_classes))


def test_opcheck(device: torch.device) -> None:
    labels = random_case(50, 5, device)
    torch.library.opcheck(torch.ops.elite_ops.confusion_matrix.default, (*labels, 5))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    labels = random_case(50, 5, device)
    compiled = torch.compile(confusion_matrix, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*labels, 5), confusion_matrix(*labels, 5))


def test_takes_strided_input(device: torch.device) -> None:
    prediction, target = random_case(50, 5, device)
    table = torch.stack([prediction, target], 1)
    got = confusion_matrix(table[:, 0], table[:, 1], 5)
    assert torch.equal(got, confusion_matrix(prediction, target, 5))


def test_rejects_wrong_arguments() -> None:
    prediction, target = random_case(5, 3, torch.device("cpu"))
    with pytest.raises(TypeError, match=r"confusion_matrix: `prediction` must be Long, got Int"):
        confusion_matrix(prediction.int(), target, 3)
    with pytest.raises(TypeError, match=r"confusion_matrix: `target` must be Long, got Float"):
        confusion_matrix(prediction, target.float(), 3)
    with pytest.raises(ValueError, match=r"confusion_matrix: `prediction` must have 1 dimensions"):
        confusion_matrix(prediction[None], target, 3)
    with pytest.raises(ValueError, match=r"confusion_matrix: `target` must have size 5"):
        confusion_matrix(prediction, target[1:], 3)
    with pytest.raises(ValueError, match=r"`num_classes` must be at most 16384 \(a .* bytes\)"):
        confusion_matrix(prediction, target, 2**24)
    with pytest.raises(TypeError, match=r"confusion_matrix: `num_classes` must be an integer"):
        confusion_matrix(prediction, target, None)
    with pytest.raises(ValueError, match=r"`num_classes` must be positive, got -1"):
        confusion_matrix(prediction, target, -1)


@immediate_error
@pytest.mark.parametrize("bad", [-1, 3, 2**40])
def test_rejects_a_label_out_of_range(bad: int) -> None:
    good = torch.zeros(50_000, dtype=torch.int64)
    wrong = good.clone()
    wrong[[40_000, 45_000]] = bad
    with pytest.raises(IndexError, match=rf"in \[0, 3\), got {bad} and 0 in row 40000"):
        confusion_matrix(wrong, good, 3)
    with pytest.raises(IndexError, match=rf"in \[0, 3\), got 0 and {bad} in row 40000"):
        confusion_matrix(good, wrong, 3)


@pytest.mark.gpu
def test_leaves_out_a_label_out_of_range_on_cuda(cuda: torch.device) -> None:
    labels = torch.tensor([[0, 1, 2**40], [0, -1, 1]], device=cuda)
    assert confusion_matrix(labels[0], labels[1], 2).tolist() == [[1, 0], [0, 0]]
    with pytest.raises(IndexError, match="confusion_matrix: `prediction` and `target` must"):
        elite_ops.check_device_errors()


def test_rows_are_the_targets_and_columns_the_predictions(device: torch.device) -> None:
    prediction, target = random_case(1000, 6, device)
    got = confusion_matrix(prediction, target, 6)
    assert torch.equal(got.sum(1), torch.bincount(target, minlength=6))
    assert torch.equal(got.sum(0), torch.bincount(prediction, minlength=6))
    assert torch.equal(got.T, confusion_matrix(target, prediction, 6))


def test_every_point_in_one_cell(device: torch.device) -> None:
    labels = torch.full((70_000,), 2, device=device)
    want = torch.zeros(4, 4, dtype=torch.int64, device=device)
    want[2, 2] = 70_000
    assert torch.equal(confusion_matrix(labels, labels, 4), want)
