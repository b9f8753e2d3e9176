import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from elite_ops import nearest_rows
from elite_ops.reference.nearest_rows import nearest_rows as reference

# Candidates: within and at the ends of boxes of 32 and of groups of 1024.
SIZES = [1, 31, 32, 33, 1023, 1024, 1025, 5000]
POINT_CLOUD_RANGE = torch.tensor([[-50.0, -50, -4], [50, 50, 2]])  # metres


def places(n: int, seed: int = 0) -> Tensor:
    """A walk, so that neighbouring rows lie near each other, as those of a scan do."""
    generator = torch.Generator().manual_seed(1000 * seed + n)
    return torch.randn(n, 3, generator=generator).cumsum(0)


def outside_and_inside(points: Tensor) -> tuple[Tensor, Tensor]:
    low, high = POINT_CLOUD_RANGE.to(points.device)
    inside = ((points[:, :3] > low) & (points[:, :3] < high)).all(dim=1)
    return points[~inside, :3], points[inside, :3]


def assert_nearest(rows: Tensor, queries: Tensor, candidates: Tensor) -> None:
    """In float64 no candidate is nearer, but for the rounding of float32."""
    for row, query in zip(rows, queries.double(), strict=True):
        squared = (candidates.double() - query).square().sum(dim=1)
        assert squared[row] <= squared.min() * (1 + 1e-6)


def test_by_hand(device):
    candidates = torch.tensor([[0.0, 0, 0], [10, 0, 0], [0, 3, 4]], device=device)
    queries = torch.tensor([[9.0, 0, 0], [1, 1, 1], [0, 5, 5], [-1e6, 0, 0]], device=device)
    rows = nearest_rows(queries, candidates)
    assert rows.dtype == torch.int64
    assert rows.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("num_candidates", SIZES)
@pytest.mark.parametrize("num_queries", [0, 1, 33, 300])
def test_equals_reference(device, num_queries, num_candidates):
    queries = places(num_queries, seed=1).to(device)
    candidates = places(num_candidates).to(device)
    rows = nearest_rows(queries, candidates)
    assert torch.equal(rows, reference(queries, candidates))
    assert_nearest(rows, queries, candidates)


def test_candidates_in_any_order(device):
    generator = torch.Generator().manual_seed(0)
    candidates = torch.rand(3000, 3, generator=generator).to(device)
    queries = torch.rand(300, 3, generator=generator).to(device)
    rows = nearest_rows(queries, candidates)
    assert torch.equal(rows, reference(queries, candidates))
    order = torch.randperm(300, generator=generator).to(device)
    assert torch.equal(nearest_rows(queries[order], candidates), rows[order])


def test_real_scan(device, real_points):
    queries, candidates = outside_and_inside(real_points.to(device))
    assert 1000 < len(queries) < 3000
    rows = nearest_rows(queries, candidates)
    assert torch.equal(rows, reference(queries, candidates))
    assert_nearest(rows[::10], queries[::10], candidates)


def test_every_point_is_nearest_to_itself(device, real_points):
    candidates = real_points[::10, :3].unique(dim=0).to(device)
    rows = torch.arange(len(candidates), device=device)
    assert torch.equal(nearest_rows(candidates, candidates), rows)


def test_of_equally_near_candidates_the_first(device):
    # Each place occurs in four boxes, and the guesses lead from the last row to the first.
    corners = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], device=device)
    candidates = corners.repeat_interleave(10, dim=0).repeat(4, 1)
    queries = torch.cat([corners.flip(0), torch.zeros(1, 3, device=device)])
    assert nearest_rows(queries, candidates).tolist() == [30, 20, 10, 0, 0]


def test_far_from_the_origin_centimetres_count(device):
    # |q|^2 - 2 q c + |c|^2 would lose them.
    candidates = torch.tensor([[80.0, 60, 0]], device=device).repeat(100, 1)
    candidates[:, 2] = torch.arange(100, device=device) / 100
    order = torch.arange(100, device=device).flip(0)
    assert torch.equal(nearest_rows(candidates[order], candidates), order)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_not_finite(device, axis, bad):
    candidates, queries = places(100).to(device), places(50, seed=1).to(device)
    # In a query it counts as 0.
    strange, plain = queries.clone(), queries.clone()
    strange[:, axis], plain[:, axis] = bad, 0
    assert torch.equal(nearest_rows(strange, candidates), nearest_rows(plain, candidates))
    # As a candidate it is infinitely far away, where many are and where one is.
    candidates[40:, axis] = bad
    candidates[0, axis] = bad
    want = 1 + nearest_rows(queries, candidates[1:40])
    assert torch.equal(nearest_rows(queries, candidates), want)
    assert torch.equal(reference(queries, candidates), want)
    # All are: the first.
    assert not nearest_rows(queries, candidates[40:]).any()
    assert not reference(queries, candidates[40:]).any()


def test_the_number_of_threads_changes_nothing(real_points, one_thread):
    queries, candidates = outside_and_inside(real_points)
    want = nearest_rows(queries, candidates)
    torch.set_num_threads(2)
    assert torch.equal(nearest_rows(queries, candidates), want)


@pytest.mark.parametrize("num_queries", [0, 33])
def test_opcheck(device, num_queries):
    queries, candidates = places(num_queries).to(device), places(50, seed=1).to(device)
    opcheck(torch.ops.elite_ops.nearest_rows.default, (queries, candidates))


def test_compiles_without_a_graph_break(device):
    queries, candidates = places(100).to(device), places(200, seed=1).to(device)
    compiled = torch.compile(nearest_rows, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(queries, candidates), nearest_rows(queries, candidates))


def test_non_contiguous(device):
    queries, candidates = places(100).to(device), places(200, seed=1).to(device)
    wide = torch.cat([candidates, torch.zeros_like(candidates)], dim=1)
    turned = queries.T.contiguous().T
    assert torch.equal(nearest_rows(turned, wide[:, :3]), nearest_rows(queries, candidates))


POINTS = places(5)
REJECTED = [
    (POINTS[0], POINTS, ValueError, r"`queries` must have 2 dimensions, got shape \[3\]"),
    (POINTS, POINTS[None], ValueError, r"`candidates` must have 2 dimensions"),
    (POINTS[:, :2], POINTS, ValueError, r"`queries` must have size 3 in dimension 1, .*\[5, 2\]"),
    (POINTS, POINTS[:, :2], ValueError, r"`candidates` must have size 3 in dimension 1"),
    (POINTS.double(), POINTS, TypeError, r"`queries` must be Float, got Double"),
    (POINTS, POINTS.half(), TypeError, r"`candidates` must be Float, got Half"),
    (POINTS, POINTS[:0], ValueError, r"`candidates` must have at least one row, .*\[0, 3\]"),
]


@pytest.mark.parametrize(("queries", "candidates", "error", "message"), REJECTED)
def test_rejects(queries, candidates, error, message):
    with pytest.raises(error, match=r"nearest_rows: " + message):
        nearest_rows(queries, candidates)
