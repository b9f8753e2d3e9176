import pytest
import torch
from segment_cases import SIZES, random_inverse, scan_inverse
from torch import Tensor

from elite_ops import Segments, build_segments, intersect_segments
from elite_ops.reference import segments as reference


def assert_equals_reference(inverse: list[Tensor], sizes: list[int], device: torch.device) -> None:
    segments = [build_segments(i.to(device), n) for i, n in zip(inverse, sizes, strict=True)]
    groups, rows = intersect_segments(segments)
    want = reference.intersect_segments(inverse)
    for got, wanted in zip((groups.inverse, groups.order, groups.offsets, rows), want, strict=True):
        assert got.dtype == torch.int32
        assert torch.equal(got.cpu(), wanted)


def test_small_example(device: torch.device) -> None:
    """Points 0 and 4 share both segments; point 2 has none in the second grouping."""
    inverse = ([1, 0, 0, 1, 1, 0], [0, 2, -1, 1, 0, 0])
    segments = [
        build_segments(torch.tensor(i, dtype=torch.int32, device=device), n)
        for i, n in zip(inverse, (2, 3), strict=True)
    ]
    groups, rows = intersect_segments(segments)
    assert rows.tolist() == [[0, 0, 1, 1], [0, 2, 0, 1]]
    assert groups.inverse.tolist() == [2, 1, -1, 3, 2, 0]
    assert groups.order.tolist() == [5, 1, 0, 4, 3, 2]
    assert groups.offsets.tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("num_groupings", [1, 2, 5])
@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_equals_reference(
    num_points: int, num_segments: int, num_groupings: int, device: torch.device
) -> None:
    """Groupings of different sizes, so that groups of one and of many points occur."""
    sizes = [max(num_segments // (g + 1), min(num_segments, 1)) for g in range(num_groupings)]
    inverse = [random_inverse(num_points, n, seed=g) for g, n in enumerate(sizes)]
    assert_equals_reference(inverse, sizes, device)


def test_equals_reference_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    """Voxels of sizes that cut each other."""
    inverse, sizes = zip(*(scan_inverse(real_points, s) for s in (0.2, 0.43, 1.1)), strict=True)
    assert_equals_reference(list(inverse), list(sizes), device)


def test_groups_hold_what_lies_together(device: torch.device) -> None:
    inverse = [random_inverse(400, n, seed=n).tolist() for n in (30, 7)]
    segments = [
        build_segments(torch.tensor(i, dtype=torch.int32, device=device), n)
        for i, n in zip(inverse, (30, 7), strict=True)
    ]
    groups, rows = intersect_segments(segments)
    wanted: dict[tuple[int, int], list[int]] = {}
    for point, pair in enumerate(zip(*inverse, strict=True)):
        if min(pair) >= 0:
            wanted.setdefault(pair, []).append(point)
    pairs = list(zip(*rows.tolist(), strict=True))
    assert pairs == sorted(wanted)
    points = groups.order[: sum(map(len, wanted.values()))].split(groups.counts.tolist())
    assert [p.tolist() for p in points] == [wanted[pair] for pair in pairs]


def test_one_grouping_is_itself_without_its_empty_segments(device: torch.device) -> None:
    segments = build_segments(random_inverse(33, 200).to(device), 200)
    groups, rows = intersect_segments([segments])
    assert torch.equal(rows[0], segments.counts.nonzero()[:, 0].int())
    assert torch.equal(groups.order, segments.order)


def test_opcheck(device: torch.device) -> None:
    segments = [build_segments(random_inverse(50, n).to(device), n) for n in (7, 3)]
    inverse = [s.inverse for s in segments]
    arguments = (inverse, segments[0].order, segments[0].offsets)
    torch.library.opcheck(torch.ops.elite_ops.intersect_segments.default, arguments)


def test_takes_columns_of_a_table(device: torch.device) -> None:
    table = torch.stack([random_inverse(50, 7), random_inverse(50, 7, seed=1)], 1).to(device)
    columns = [build_segments(table[:, c], 7) for c in range(2)]
    copies = [build_segments(table[:, c].contiguous(), 7) for c in range(2)]
    assert torch.equal(intersect_segments(columns)[1], intersect_segments(copies)[1])


def test_rejects_wrong_arguments() -> None:
    segments = build_segments(random_inverse(5, 3), 3)
    with pytest.raises(ValueError, match=r"`segments` must hold one or more, got none"):
        intersect_segments([])
    with pytest.raises(ValueError, match=r"`segments.order` must have size 4 in dimension 0"):
        intersect_segments([segments, build_segments(random_inverse(4, 3), 3)])
    long = Segments(segments.inverse.long(), segments.order, segments.offsets)
    with pytest.raises(TypeError, match=r"`segments.inverse` must be Int, got Long"):
        intersect_segments([segments, long])
