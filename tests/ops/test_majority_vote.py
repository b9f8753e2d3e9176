from collections import Counter

import pytest
import torch
from immediate import immediate_error
from segment_cases import SIZES, random_inverse, scan_inverse
from torch import Tensor

import elite_ops
from elite_ops import Segments, build_segments, majority_vote
from elite_ops.reference import majority_vote as reference


def random_case(
    num_points: int, num_segments: int, num_classes: int, device: torch.device
) -> tuple[Tensor, Segments]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(num_classes, (num_points,), generator=generator).to(device)
    return labels, build_segments(random_inverse(num_points, num_segments).to(device), num_segments)


def assert_equals_reference(labels: Tensor, segments: Segments, num_classes: int) -> None:
    got = majority_vote(labels, segments, num_classes, ignore_label=-7)
    want = reference.majority_vote(
        labels, segments.inverse, segments.num_segments, num_classes, ignore_label=-7
    )
    assert got.dtype == torch.int64
    assert torch.equal(got, want)


def test_small_example(device: torch.device) -> None:
    inverse = torch.tensor([2, 0, 2, 2, 0, -1, 2], dtype=torch.int32, device=device)
    labels = torch.tensor([4, 3, 1, 4, 2, 99, 1], device=device)
    segments = build_segments(inverse, 3)
    assert majority_vote(labels, segments, 5).tolist() == [2, 0, 1]
    assert majority_vote(labels, segments, 5, ignore_label=-1).tolist() == [2, -1, 1]


@pytest.mark.parametrize("num_classes", [1, 2, 20, 33, 5000, 70_000])
@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_equals_reference(
    num_points: int, num_segments: int, num_classes: int, device: torch.device
) -> None:
    labels, segments = random_case(num_points, num_segments, num_classes, device)
    assert_equals_reference(labels, segments, num_classes)


@pytest.mark.parametrize("voxel_size", [0.1, 1.6])
def test_equals_reference_on_a_real_scan(
    voxel_size: float, real_points: Tensor, device: torch.device
) -> None:
    """The height stands in for a label, so that neighbours agree as they do in truth."""
    inverse, num_voxels = scan_inverse(real_points, voxel_size)
    labels = ((real_points[:, 2] + 4) * 10).long().clamp(0, 19).to(device)
    assert_equals_reference(labels, build_segments(inverse.to(device), num_voxels), 20)


def test_opcheck(device: torch.device) -> None:
    labels, segments = random_case(50, 7, 5, device)
    tensors = segments.inverse, segments.order, segments.offsets
    torch.library.opcheck(torch.ops.elite_ops.majority_vote.default, (labels, *tensors, 5, 0))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    labels, segments = random_case(50, 7, 5, device)
    compiled = torch.compile(majority_vote, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(labels, segments, 5), majority_vote(labels, segments, 5))


def test_takes_strided_input(device: torch.device) -> None:
    labels, segments = random_case(50, 7, 5, device)
    table = torch.stack([labels, labels + 1], 1)
    assert torch.equal(majority_vote(table[:, 0], segments, 5), majority_vote(labels, segments, 5))


def test_rejects_wrong_arguments() -> None:
    labels, segments = random_case(5, 3, 4, torch.device("cpu"))
    with pytest.raises(TypeError, match=r"majority_vote: `labels` must be Long, got Int"):
        majority_vote(labels.int(), segments, 4)
    with pytest.raises(ValueError, match=r"majority_vote: `labels` must have 1 dimensions"):
        majority_vote(labels[None], segments, 4)
    with pytest.raises(ValueError, match=r"majority_vote: `labels` must have size 5"):
        majority_vote(labels[1:], segments, 4)
    with pytest.raises(
        ValueError, match=r"majority_vote: `num_classes` must be in \[1, 2\^31\), got 0"
    ):
        majority_vote(labels, segments, 0)


@immediate_error
@pytest.mark.parametrize("bad", [-1, 4, 2**40])
def test_rejects_a_label_out_of_range(bad: int) -> None:
    segments = build_segments(torch.zeros(3, dtype=torch.int32), 1)
    with pytest.raises(IndexError, match=rf"`labels` must be in \[0, 4\), got {bad} for point 1"):
        majority_vote(torch.tensor([0, bad, 1]), segments, 4)


@pytest.mark.gpu
def test_a_label_out_of_range_has_no_vote_on_cuda(cuda: torch.device) -> None:
    segments = build_segments(torch.zeros(3, dtype=torch.int32, device=cuda), 1)
    labels = torch.tensor([2**40, 2**40, 1], device=cuda)
    assert majority_vote(labels, segments, 4).tolist() == [1]
    with pytest.raises(IndexError, match="majority_vote: `labels` must be in"):
        elite_ops.check_device_errors()


def test_equals_a_count_by_hand(device: torch.device) -> None:
    labels, segments = random_case(500, 60, 4, device)
    want = []
    for segment in range(60):
        votes = Counter(labels[segments.inverse == segment].tolist())
        want.append(min(votes, key=lambda label: (-votes[label], label), default=0))
    assert majority_vote(labels, segments, 4).tolist() == want


def test_all_points_in_one_voxel(device: torch.device) -> None:
    labels = torch.arange(30_000, device=device) % 7 + 3
    segments = build_segments(torch.zeros(30_000, dtype=torch.int32, device=device), 1)
    assert majority_vote(labels, segments, 20).tolist() == [3]


def test_memory_is_needed_for_classes_that_occur_alone(device: torch.device) -> None:
    """A counter for each of 2^31 - 1 classes would be 8.6 GB."""
    last = 2**31 - 2
    labels = torch.tensor([7, last, 5000, last, 5000, 3, last - 2000, 0], device=device)
    inverse = torch.tensor([0, 0, 0, 0, 0, 2, 2, -1], dtype=torch.int32, device=device)
    segments = build_segments(inverse, 3)
    assert majority_vote(labels, segments, last + 1, ignore_label=-1).tolist() == [5000, -1, 3]


def test_takes_any_integer(device: torch.device) -> None:
    labels, segments = random_case(50, 7, 5, device)
    want = majority_vote(labels, segments, 5)
    assert torch.equal(majority_vote(labels, segments, torch.tensor(5)), want)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"majority_vote: `num_classes` must be an integer, got"):
        majority_vote(labels, segments, 5.0)  # type: ignore[arg-type]
