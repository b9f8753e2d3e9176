"""Pooling over kernel maps against dense pooling, the reference and itself; and over samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from immediate import immediate, immediate_error
from kernel_tables import (
    BATCH_SIZE,
    GEOMETRIES,
    Geometry,
    Tables,
    dense,
    generator,
    map_into_all_cells,
    random_indices,
    random_tables,
    real_tables,
    rows_of,
    submanifold_map,
    with_gradients,
)
from torch import Tensor
from torch.library import opcheck
from torch.testing import assert_close

from elite_ops import (
    check_device_errors,
    global_avg_pool,
    global_max_pool,
    sparse_avg_pool,
    sparse_max_pool,
)
from elite_ops.reference import sparse_pool as reference

Pool = Callable[[Tensor, Tables], Tensor]
OPS = torch.ops.elite_ops
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.float16: 2e-3, torch.bfloat16: 2e-2}
UNDILATED = [g for g in GEOMETRIES if g.dilation == (1, 1, 1)]

each_pool = pytest.mark.parametrize(
    "pool", [sparse_max_pool, sparse_avg_pool], ids=lambda f: f.__name__
)
each_global = pytest.mark.parametrize(
    "pool", [global_max_pool, global_avg_pool], ids=lambda f: f.__name__
)


def random_features(
    rows: int, channels: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Numbers that differ in every dtype, in a channel: nobody wins by rounding."""
    numbers = torch.stack(
        [torch.randperm(rows, generator=generator(c)) for c in range(channels)] or [torch.empty(0)]
    )
    features = (numbers.T.reshape(rows, channels) - rows // 2).to(torch.float64) / 64
    return features.to(device, dtype).requires_grad_()


def assert_equals_reference(
    pool: Pool, tables: Tables, channels: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Values and gradients, against float64."""
    features = random_features(tables.num_in, channels, device, dtype)
    wide = features.detach().double().requires_grad_()
    got = with_gradients(pool(features, tables), features)
    want = with_gradients(getattr(reference, pool.__name__)(wide, tables), wide)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        assert_close(g.double(), w, rtol=TOLERANCE[dtype], atol=8 * TOLERANCE[dtype])


def example(device: torch.device) -> Tables:
    """The first output row meets inputs 0 and 2, the second 1 and 0, the third nothing."""
    in_rows = torch.tensor([[0, 1, -1], [-1, 0, -1], [2, -1, -1]], dtype=torch.int32)
    out_rows = torch.tensor([[0, 1, -1], [1, -1, -1], [-1, -1, 0]], dtype=torch.int32)
    return Tables(in_rows, out_rows, symmetric=False).to(device)


def test_max_example(device: torch.device) -> None:
    features = torch.tensor([[-1.0, 4, 0], [-2, 4, 1], [-3, 5, 1]], device=device)
    out = sparse_max_pool(features.requires_grad_(), example(device))
    assert out.tolist() == [[-1, 5, 1], [-1, 4, 1], [0, 0, 0]]
    # Where both inputs of the second row are 4, the first offset's is taken.
    grad_out = torch.tensor([[1.0], [10], [100]]).expand(3, 3).to(out)
    (grad,) = torch.autograd.grad(out, features, grad_out)
    assert grad.tolist() == [[11, 0, 0], [0, 10, 10], [0, 1, 1]]


def test_avg_example(device: torch.device) -> None:
    features = torch.tensor([[2.0], [4], [8]], device=device, requires_grad=True)
    out = sparse_avg_pool(features, example(device))
    assert out.tolist() == [[5], [3], [0]]
    (grad,) = torch.autograd.grad(out, features, torch.tensor([[2.0], [20], [200]]).to(out))
    assert grad.tolist() == [[11], [10], [1]]


@each_pool
@pytest.mark.parametrize("channels", [1, 3, 16, 70])
@pytest.mark.parametrize("size", [0, 1, 31, 33, 300])
def test_equals_reference(device: torch.device, pool: Pool, size: int, channels: int) -> None:
    tables = submanifold_map(random_indices(size)).to(device)
    for dtype in DTYPES:
        assert_equals_reference(pool, tables, channels, dtype, device)


@each_pool
@pytest.mark.parametrize(
    ("num_in", "num_out", "num_offsets"),
    [(40, 13, 8), (13, 40, 70), (0, 5, 3), (5, 0, 3)],
)
def test_map_between_two_grids(
    device: torch.device, pool: Pool, num_in: int, num_out: int, num_offsets: int
) -> None:
    tables = random_tables(num_in, num_out, num_offsets).to(device)
    for dtype in DTYPES:
        assert_equals_reference(pool, tables, 24, dtype, device)


@each_pool
def test_no_offsets(device: torch.device, pool: Pool) -> None:
    tables = random_tables(4, 5, 0).to(device)
    features = random_features(4, 3, device)
    out, grad = with_gradients(pool(features, tables), features)
    assert (out.shape, grad.shape) == ((5, 3), (4, 3))
    assert not out.any()
    assert not grad.any()


@each_pool
def test_no_channels(device: torch.device, pool: Pool) -> None:
    assert_equals_reference(pool, random_tables(5, 6, 3).to(device), 0, torch.float32, device)


@each_pool
def test_real_scan(device: torch.device, pool: Pool, real_points: Tensor) -> None:
    tables = real_tables(real_points).to(device)
    assert_equals_reference(pool, tables, 16, torch.float32, device)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_max_is_torchs_over_cells_without_voxel_at_minus_infinity(
    device: torch.device, geometry: Geometry
) -> None:
    indices = random_indices(90)
    tables = map_into_all_cells(indices, geometry).to(device)
    features = random_features(90, 6, device, torch.float64)
    got = with_gradients(sparse_max_pool(features, tables), features)
    # torch pads with less than a kernel: here with cells, as many as it takes.
    padding = [p for side in reversed(geometry.padding) for p in (side, side)]
    grid = F.pad(dense(features, indices, -torch.inf), padding, value=-torch.inf)
    arguments = geometry.arguments | {"padding": 0}
    pooled = rows_of(F.max_pool3d(grid, geometry.kernel_size, **arguments))
    pooled = torch.where(pooled.isinf(), 0, pooled)
    assert_close(got, with_gradients(pooled, features))


@pytest.mark.parametrize("geometry", UNDILATED)
def test_avg_is_torchs_sum_divided_by_the_voxels_there(
    device: torch.device, geometry: Geometry
) -> None:
    indices = random_indices(90)
    tables = map_into_all_cells(indices, geometry).to(device)
    features = random_features(90, 6, device, torch.float64)
    got = with_gradients(sparse_avg_pool(features, tables), features)

    def summed(grid: Tensor) -> Tensor:
        places = (geometry.kernel_size, geometry.stride, geometry.padding)
        return rows_of(F.avg_pool3d(grid, *places, divisor_override=1))

    voxels = dense(torch.ones_like(features), indices)
    means = summed(dense(features, indices)) / summed(voxels).clamp(min=1)
    assert_close(got, with_gradients(means, features))


def test_nan_wins_and_so_does_the_first_of_equals(device: torch.device) -> None:
    in_rows = torch.tensor([[0], [1], [2]], dtype=torch.int32, device=device)
    out_rows = torch.tensor([[0, -1, -1], [-1, 0, -1], [-1, -1, 0]], dtype=torch.int32)
    tables = Tables(in_rows, out_rows.to(device), False)
    rows = [[1, 2, -5, -torch.inf], [1, torch.nan, -4, -torch.inf], [0, torch.nan, -4, -torch.inf]]
    for channels in (4, 64):
        features = torch.tensor(rows, device=device).repeat(1, channels // 4).requires_grad_()
        out = sparse_max_pool(features, tables)
        want = torch.tensor([[1, torch.nan, -4, -torch.inf]], device=device)
        assert torch.equal(out.isnan(), want.isnan().repeat(1, channels // 4))
        assert torch.equal(out.nan_to_num(7), want.nan_to_num(7).repeat(1, channels // 4))
        (grad,) = torch.autograd.grad(out.sum(), features)
        winners = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]], device=device)
        assert torch.equal(grad, winners.repeat(1, channels // 4))


@each_pool
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradcheck(device: torch.device, pool: Pool, symmetric: bool) -> None:
    tables = submanifold_map(random_indices(9)) if symmetric else random_tables(9, 7, 5)
    tables = tables.to(device)
    features = random_features(9, 3, device, torch.float64)
    assert torch.autograd.gradcheck(lambda f: pool(f, tables), features)
    assert torch.autograd.gradgradcheck(lambda f: pool(f, tables), features)


def test_third_derivatives(device: torch.device) -> None:
    """Of the cube of a pooled value: 6 times the gradient of what won, and of the mean."""
    tables = random_tables(9, 7, 5).to(device)
    for pool in (sparse_max_pool, sparse_avg_pool):
        features = random_features(9, 2, device, torch.float64)
        results = []
        for function in (pool, getattr(reference, pool.__name__)):
            value = (function(features, tables) ** 3).sum()
            for _ in range(3):
                (gradient,) = torch.autograd.grad(value, features, create_graph=True)
                value = (gradient * torch.arange(1.0, 3, device=device)).sum()
            results.append(gradient)
        assert results[0].abs().max() > 0
        assert_close(results[0], results[1])


def test_opcheck(device: torch.device) -> None:
    tables = random_tables(33, 20, 5).to(device)
    of_map = (tables.in_rows, tables.out_rows)
    features = random_features(33, 5, device)
    grad_out = torch.randn(20, 5, device=device, requires_grad=True)
    opcheck(OPS.sparse_max_pool.default, (features, *of_map))
    opcheck(OPS.sparse_avg_pool.default, (features, *of_map))
    argmax = OPS.sparse_max_pool(features.detach(), *of_map)[1]
    opcheck(OPS.sparse_max_pool_backward.default, (grad_out, argmax, tables.out_rows))
    opcheck(OPS.sparse_max_pool_take.default, (features, argmax, tables.out_rows))
    counts = OPS.sparse_avg_pool(features.detach(), *of_map)[1]
    assert torch.equal(counts, (tables.in_rows >= 0).sum(0).int())
    opcheck(OPS.sparse_avg_pool_backward.default, (grad_out, counts, *of_map))


@each_pool
def test_compiles_without_a_graph_break(device: torch.device, pool: Pool) -> None:
    tables = submanifold_map(random_indices(33)).to(device)
    features = random_features(33, 16, device)
    compiled = torch.compile(lambda f: pool(f, tables), fullgraph=True, backend="aot_eager")
    got = with_gradients(compiled(features), features)
    assert_close(got, with_gradients(pool(features, tables), features))


@each_pool
def test_meta_tensors(pool: Pool) -> None:
    meta = torch.device("meta")
    tables = random_tables(9, 7, 5).to(meta)
    out = pool(torch.empty(9, 4, dtype=torch.float16, device=meta), tables)
    assert (out.shape, out.dtype, out.device.type) == ((7, 4), torch.float16, "meta")


@each_pool
def test_autocast_leaves_the_dtype_alone(pool: Pool) -> None:
    tables = submanifold_map(random_indices(33))
    features = random_features(33, 16, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        assert pool(features, tables).dtype == torch.float32


@each_pool
def test_non_contiguous(device: torch.device, pool: Pool) -> None:
    tables = random_tables(33, 20, 5).to(device)
    features = random_features(33, 16, device)
    want = with_gradients(pool(features, tables), features)
    strided = Tables(tables.in_rows.T.contiguous().T, tables.out_rows.T.contiguous().T, False)
    got = with_gradients(pool(features.T.contiguous().T, strided), features)
    assert all(map(torch.equal, got, want))
    shifted = torch.cat([features.new_zeros(1), features.flatten()])[1:].view_as(features)
    assert torch.equal(pool(shifted, tables), want[0])


@each_pool
def test_repeats_bit_by_bit(device: torch.device, pool: Pool) -> None:
    """Whatever the number of threads, forward and backward."""
    columns = torch.arange(3000, dtype=torch.int32)
    in_rows = torch.stack([columns.roll(shift) for shift in range(-2, 3)]).contiguous()
    tables = Tables(in_rows, in_rows, symmetric=True).to(device)
    features = random_features(3000, 20, device)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            results.append(with_gradients(pool(features, tables), features))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


# ---- all voxels of a sample ----------------------------------------------------------------------


@each_global
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 33, 300])
def test_global_pool(
    device: torch.device, pool: Callable[..., Tensor], size: int, dtype: torch.dtype
) -> None:
    """Against torch's over each sample; the last one has no voxels and gets 0."""
    indices = random_indices(size).to(device)
    features = random_features(size, 20, device, dtype)
    got = with_gradients(pool(features, indices, BATCH_SIZE + 1), features)
    wide = features.detach().double().requires_grad_()
    zero = wide.sum(0) * 0
    samples = [wide[indices[:, 0] == sample] for sample in range(BATCH_SIZE + 1)]
    reduce = torch.amax if pool is global_max_pool else torch.mean
    want = with_gradients(torch.stack([reduce(s, 0) if len(s) else zero for s in samples]), wide)
    of_reference = getattr(reference, pool.__name__)(wide, indices, BATCH_SIZE + 1)
    assert_close(of_reference, want[0])
    assert not got[0][-1].any()
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        assert_close(g.double(), w, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@each_global
def test_global_pool_is_differentiable(device: torch.device, pool: Callable[..., Tensor]) -> None:
    indices = random_indices(9).to(device)
    features = random_features(9, 3, device, torch.float64)
    assert torch.autograd.gradcheck(lambda f: pool(f, indices, 3), features)


@each_global
def test_global_pool_compiles(device: torch.device, pool: Callable[..., Tensor]) -> None:
    indices = random_indices(33).to(device)
    features = random_features(33, 4, device)
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(features, indices, 2), pool(features, indices, 2))


GLOBAL_REJECTED = [
    ((torch.zeros(4), torch.zeros(4, 4).int(), 1), ValueError, "`features` must have 2 dimensions"),
    (
        (torch.zeros(4, 2).int(), torch.zeros(4, 4).int(), 1),
        TypeError,
        "`features` must be of a fl",
    ),
    ((torch.zeros(4, 2), torch.zeros(3, 4).int(), 1), ValueError, r"`indices` must .* \[4, 4\]"),
    ((torch.zeros(4, 2), torch.zeros(4).int(), 1), ValueError, r"`indices` must have shape"),
    ((torch.zeros(4, 2), torch.zeros(4, 4), 1), TypeError, "`indices` must be int32"),
    ((torch.zeros(4, 2), torch.zeros(4, 4).int(), -1), ValueError, "`batch_size` must be at least"),
]


@each_global
@pytest.mark.parametrize(("arguments", "error", "message"), GLOBAL_REJECTED)
def test_global_pool_rejects(
    pool: Callable[..., Tensor],
    arguments: tuple[object, ...],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=f"{pool.__name__}: {message}"):
        pool(*arguments)


@immediate_error
@each_global
def test_global_pool_rejects_samples_that_do_not_exist(pool: Callable[..., Tensor]) -> None:
    with pytest.raises(IndexError, match="build_segments: `inverse` must be"):
        pool(torch.zeros(4, 2), torch.full((4, 4), 2).int(), 2)


# ---- what is refused -----------------------------------------------------------------------------

INT = torch.int32
TABLE = torch.zeros(3, 4, dtype=INT)
FORWARD = {"features": torch.zeros(4, 2), "in_rows": TABLE, "out_rows": TABLE}
MAX_BACKWARD = {
    "grad_out": torch.zeros(4, 2),
    "argmax": torch.zeros(4, 2, dtype=INT),
    "out_rows": TABLE,
}
MAX_TAKE = {
    "features": torch.zeros(4, 2),
    "argmax": torch.zeros(4, 2, dtype=INT),
    "out_rows": TABLE,
}
AVG_BACKWARD = {
    "grad_out": torch.zeros(4, 2),
    "counts": torch.ones(4, dtype=INT),
    "in_rows": TABLE,
    "out_rows": TABLE,
}
OF_FORWARD = [
    ({"features": torch.zeros(4)}, ValueError, "`features` must have 2 dimensions"),
    ({"features": torch.zeros(4, 2, dtype=INT)}, TypeError, "`features` must be float32"),
    ({"in_rows": torch.zeros(3, 4)}, TypeError, "`in_rows` must be Int, got Float"),
    ({"in_rows": TABLE[0]}, ValueError, "`in_rows` must have 2 dimensions"),
    ({"out_rows": TABLE[:2]}, ValueError, "`out_rows` must have size 3 in dimension 0"),
    ({"out_rows": TABLE[:, :3]}, ValueError, "`out_rows` must have size 4 in dimension 1"),
    ({"out_rows": TABLE.long()}, TypeError, "`out_rows` must be Int, got Long"),
]
IMMEDIATE = [
    ({"in_rows": TABLE + 4}, IndexError, "`in_rows` must be -1 or a row of `features`"),
    ({"in_rows": TABLE - 2}, IndexError, "`in_rows` must be -1 or a row of `features`"),
]
OF_BACKWARD = [
    ({"grad_out": torch.zeros(4)}, ValueError, "`grad_out` must have 2 dimensions"),
    ({"grad_out": torch.zeros(4, 2, dtype=INT)}, TypeError, "`grad_out` must be float32"),
    ({"out_rows": TABLE.long()}, TypeError, "`out_rows` must be Int, got Long"),
    ({"out_rows": TABLE[0]}, ValueError, "`out_rows` must have 2 dimensions"),
]
BEYOND = [({"out_rows": TABLE + 4}, IndexError, "`out_rows` must be -1 or a row of `grad_out`")]
OF_ARGMAX = [
    ({"argmax": torch.zeros(4, 2)}, TypeError, "`argmax` must be Int, got Float"),
    ({"argmax": torch.zeros(4, 1, dtype=INT)}, ValueError, "`argmax` must have size 2"),
    ({"argmax": torch.zeros(4, dtype=INT)}, ValueError, "`argmax` must have 2 dimensions"),
]
REJECTED = [
    *((name, FORWARD, *c) for name in ("sparse_max_pool", "sparse_avg_pool") for c in OF_FORWARD),
    *(
        immediate(name, FORWARD, *c)
        for name in ("sparse_max_pool", "sparse_avg_pool")
        for c in IMMEDIATE
    ),
    *(("sparse_max_pool_backward", MAX_BACKWARD, *c) for c in (*OF_BACKWARD, *OF_ARGMAX)),
    *(immediate("sparse_max_pool_backward", MAX_BACKWARD, *c) for c in BEYOND),
    (
        "sparse_max_pool_backward",
        MAX_BACKWARD,
        {"argmax": torch.zeros(3, 2, dtype=INT)},
        ValueError,
        "`argmax` must have size 4 in dimension 0",
    ),
    *(("sparse_max_pool_take", MAX_TAKE, *c) for c in (OF_FORWARD[0], OF_FORWARD[5], *OF_ARGMAX)),
    immediate(
        "sparse_max_pool_take",
        MAX_TAKE,
        {"argmax": torch.full((4, 2), 4, dtype=INT)},
        IndexError,
        "`argmax` must be -1 or a row of `features`",
    ),
    *(("sparse_avg_pool_backward", AVG_BACKWARD, *c) for c in OF_BACKWARD),
    *(immediate("sparse_avg_pool_backward", AVG_BACKWARD, *c) for c in BEYOND),
    *(
        ("sparse_avg_pool_backward", AVG_BACKWARD, *c)
        for c in [
            ({"counts": torch.ones(4)}, TypeError, "`counts` must be Int, got Float"),
            ({"counts": torch.ones(3, dtype=INT)}, ValueError, "`counts` must have size 4"),
            ({"in_rows": TABLE[:2]}, ValueError, "`in_rows` must have size 3 in dimension 0"),
            ({"in_rows": TABLE[:, :3]}, ValueError, "`in_rows` must have size 4 in dimension 1"),
        ]
    ),
]


@pytest.mark.parametrize(("name", "arguments", "changes", "error", "message"), REJECTED)
def test_rejects(
    name: str,
    arguments: dict[str, Tensor],
    changes: dict[str, Tensor],
    error: type[Exception],
    message: str,
) -> None:
    op = getattr(OPS, name)
    op(*arguments.values())
    with pytest.raises(error, match=f"{name}: {message}"):
        op(*(arguments | changes).values())


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [5, 64])
@pytest.mark.parametrize("wrong", [-2, 4])
@each_pool
def test_rows_that_do_not_exist_count_as_none_on_cuda(
    cuda: torch.device, pool: Pool, wrong: int, channels: int
) -> None:
    """Forward and backward."""
    none = torch.tensor([[0, -1, 2, 3], [3, 2, 1, -1], [-1] * 4], dtype=INT, device=cuda)
    table = none.where(none >= 0, torch.full_like(none, wrong))
    features = random_features(4, channels, cuda, torch.float16)
    got, want = (
        with_gradients(pool(features, Tables(t, t, False)), features) for t in (table, none)
    )
    assert all(map(torch.equal, got, want))
    with pytest.raises(IndexError, match=f"{pool.__name__}: `in_rows` must be -1 or a row"):
        check_device_errors()
