import pytest
import torch
from immediate import immediate_error
from segment_cases import SIZES, random_inverse, scan_inverse
from torch import Tensor

import elite_ops
from elite_ops import build_all_segments, build_segments
from elite_ops.reference import segments as reference


def assert_equals_reference(inverse: Tensor, num_segments: int, device: torch.device) -> None:
    segments = build_segments(inverse.to(device), num_segments)
    order, offsets = reference.build_segments(inverse, num_segments)
    assert segments.order.dtype == segments.offsets.dtype == torch.int32
    assert torch.equal(segments.order.cpu(), order)
    assert torch.equal(segments.offsets.cpu(), offsets)


def test_small_example(device: torch.device) -> None:
    inverse = torch.tensor([2, 0, -1, 2, 0, 2], dtype=torch.int32, device=device)
    segments = build_segments(inverse, 4)
    assert segments.order.tolist() == [1, 4, 0, 3, 5, 2]
    assert segments.offsets.tolist() == [0, 2, 2, 5, 5]
    assert segments.counts.tolist() == [2, 0, 3, 0]
    assert segments.num_segments == 4
    assert segments.inverse is inverse


@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_equals_reference(num_points: int, num_segments: int, device: torch.device) -> None:
    assert_equals_reference(random_inverse(num_points, num_segments), num_segments, device)


@pytest.mark.parametrize("voxel_size", [0.1, 1.6])
def test_equals_reference_on_a_real_scan(
    voxel_size: float, real_points: Tensor, device: torch.device
) -> None:
    assert_equals_reference(*scan_inverse(real_points, voxel_size), device)


def test_several_lists_equal_one_after_the_other(device: torch.device) -> None:
    inverse = [random_inverse(n, m, seed=m).to(device) for n, m in SIZES]
    num_segments = [m for _, m in SIZES]
    num_rows = [torch.tensor(m, device=device) for m in num_segments]
    together = build_all_segments(inverse, num_segments, num_rows)
    for got, i, m, n in zip(together, inverse, num_segments, num_rows, strict=True):
        alone = build_segments(i, m)
        assert got.inverse is i
        assert got.num_rows is n
        assert torch.equal(got.order, alone.order)
        assert torch.equal(got.offsets, alone.offsets)


def test_points_in_no_segment_keep_their_order(device: torch.device) -> None:
    assert_equals_reference(torch.full((100,), -1, dtype=torch.int32), 5, device)


def test_opcheck(device: torch.device) -> None:
    inverse = random_inverse(50, 7).to(device)
    op = torch.ops.elite_ops.build_segments.default
    torch.library.opcheck(op, ([inverse], [7]))
    torch.library.opcheck(op, ([inverse, inverse[:9]], [7, 20]))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def counts(inverse: Tensor) -> Tensor:
        return build_segments(inverse, 7).counts

    inverse = random_inverse(50, 7).to(device)
    compiled = torch.compile(counts, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(inverse), counts(inverse))


def test_takes_a_column_of_a_table(device: torch.device) -> None:
    table = torch.stack([random_inverse(50, 7), random_inverse(50, 7, seed=1)], 1).to(device)
    segments = build_segments(table[:, 1], 7)
    assert torch.equal(segments.order, build_segments(table[:, 1].contiguous(), 7).order)


def test_rejects_wrong_arguments() -> None:
    inverse = random_inverse(5, 3)
    with pytest.raises(TypeError, match=r"build_segments: `inverse` must be Int, got Long"):
        build_segments(inverse.long(), 3)
    with pytest.raises(ValueError, match=r"build_segments: `inverse` must have 1 dimensions"):
        build_segments(inverse[None], 3)
    with pytest.raises(ValueError, match=r"`num_segments` must be in \[0, 2\^31 - 1\), got -1"):
        build_segments(inverse, -1)
    with pytest.raises(ValueError, match=r"`inverse` must hold between 1 and 32 lists, got 33"):
        build_all_segments([inverse] * 33, [3] * 33)
    with pytest.raises(ValueError, match=r"`num_segments` must have one entry for each list"):
        build_all_segments([inverse] * 2, [3])


@immediate_error
@pytest.mark.parametrize("bad", [-2, 3, 2**31 - 1])
def test_rejects_a_segment_out_of_range(bad: int) -> None:
    inverse = torch.tensor([0, -1, bad, 2], dtype=torch.int32)
    with pytest.raises(IndexError, match=rf"`inverse` must be in \[-1, 3\), got {bad} for point 2"):
        build_segments(inverse, 3)


@pytest.mark.gpu
def test_leaves_out_a_segment_out_of_range_on_cuda(cuda: torch.device) -> None:
    inverse = torch.tensor([0, 7, -2, 2], dtype=torch.int32, device=cuda)
    segments = build_segments(inverse, 3)
    assert segments.order.tolist() == [0, 3, 1, 2]
    assert segments.offsets.tolist() == [0, 1, 1, 2]
    with pytest.raises(IndexError, match="build_segments: `inverse` must be in"):
        elite_ops.check_device_errors()


@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_every_point_is_listed_once_under_its_segment(
    num_points: int, num_segments: int, device: torch.device
) -> None:
    inverse = random_inverse(num_points, num_segments).to(device)
    segments = build_segments(inverse, num_segments)
    assert segments.order.sort().values.tolist() == list(range(num_points))
    segment = torch.repeat_interleave(segments.counts)
    listed = segments.order[: segment.shape[0]].long()
    assert torch.equal(inverse[listed].long(), segment)
    assert (inverse[segments.order[segment.shape[0] :].long()] == -1).all()
