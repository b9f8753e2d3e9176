"""Depthwise sparse convolution against dense convolution, the reference and itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from immediate import immediate
from kernel_tables import (
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

from elite_ops import check_device_errors, sparse_depthwise_conv
from elite_ops.reference import sparse_depthwise_conv as reference

OPS = torch.ops.elite_ops
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.float16: 3e-3, torch.bfloat16: 2e-2}


def random_inputs(
    tables: Tables, channels: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Features, weight and bias that want gradients."""
    shapes = [(tables.num_in, channels), (tables.in_rows.shape[0], channels), (channels,)]
    tensors = [torch.randn(s, generator=generator(i), dtype=dtype) for i, s in enumerate(shapes)]
    device = tables.in_rows.device
    features, weight, bias = (t.to(device).requires_grad_() for t in tensors)
    return features, weight, bias


def assert_equals_reference(tables: Tables, channels: int, dtype: torch.dtype) -> None:
    """Values and gradients, against float64."""
    features, weight, bias = inputs = random_inputs(tables, channels, dtype)
    wide = [t.detach().double().requires_grad_() for t in inputs]
    got = with_gradients(sparse_depthwise_conv(features, weight, tables, bias), *inputs)
    want = with_gradients(reference.sparse_depthwise_conv(wide[0], wide[1], tables, wide[2]), *wide)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        scale = float(w.detach().abs().max()) if w.numel() else 0.0
        tolerance = TOLERANCE[dtype]
        assert_close(g.double(), w, rtol=tolerance, atol=tolerance * max(scale, 1))


def test_example(device: torch.device) -> None:
    # Three voxels in a row; the kernel takes 10 x the left neighbour, 1 x itself, 100 x the right.
    in_rows = torch.tensor([[-1, 0, 1], [0, 1, 2], [1, 2, -1]], dtype=torch.int32, device=device)
    tables = Tables(in_rows, in_rows, symmetric=True)
    features = torch.tensor([[1.0, 4], [2, 5], [3, 6]], device=device)
    weight = torch.tensor([[10.0, 0], [1, 1], [100, 2]], device=device)
    bias = torch.tensor([0.5, 0], device=device)
    out = sparse_depthwise_conv(features, weight, tables, bias)
    assert out.tolist() == [[201.5, 14], [312.5, 17], [23.5, 6]]


@pytest.mark.parametrize("channels", [1, 3, 16, 70])
@pytest.mark.parametrize("size", [0, 1, 31, 33, 300])
def test_equals_reference(device: torch.device, size: int, channels: int) -> None:
    tables = submanifold_map(random_indices(size)).to(device)
    for dtype in DTYPES:
        assert_equals_reference(tables, channels, dtype)


@pytest.mark.parametrize(
    ("num_in", "num_out", "num_offsets"),
    [(40, 13, 8), (13, 40, 70), (0, 5, 3), (5, 0, 3)],
)
def test_map_between_two_grids(
    device: torch.device, num_in: int, num_out: int, num_offsets: int
) -> None:
    tables = random_tables(num_in, num_out, num_offsets).to(device)
    for dtype in DTYPES:
        assert_equals_reference(tables, 20, dtype)


def test_no_offsets(device: torch.device) -> None:
    tables = random_tables(4, 5, 0).to(device)
    features, weight, bias = inputs = random_inputs(tables, 3)
    out, *grads = with_gradients(sparse_depthwise_conv(features, weight, tables, bias), *inputs)
    assert torch.equal(out, bias.expand(5, 3))
    assert [list(grad.shape) for grad in grads] == [[4, 3], [0, 3], [3]]
    assert not grads[0].any()


def test_no_channels(device: torch.device) -> None:
    assert_equals_reference(random_tables(5, 6, 3).to(device), 0, torch.float32)


def test_real_scan(device: torch.device, real_points: Tensor) -> None:
    tables = real_tables(real_points).to(device)
    assert_equals_reference(tables, 32, torch.float32)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_is_torchs_convolution_with_a_group_a_channel(
    device: torch.device, geometry: Geometry
) -> None:
    indices = random_indices(90)
    tables = map_into_all_cells(indices, geometry).to(device)
    features, weight, bias = inputs = random_inputs(tables, 6, torch.float64)
    got = with_gradients(sparse_depthwise_conv(features, weight, tables, bias), *inputs)
    kernel = weight.T.reshape(6, 1, *geometry.kernel_size)
    grid = F.conv3d(dense(features, indices), kernel, bias, groups=6, **geometry.arguments)
    assert_close(got, with_gradients(rows_of(grid), *inputs))


def test_symmetric_map_is_torchs_convolution_at_the_voxels(device: torch.device) -> None:
    indices = random_indices(90)
    tables = submanifold_map(indices).to(device)
    features, weight, bias = inputs = random_inputs(tables, 6, torch.float64)
    got = with_gradients(sparse_depthwise_conv(features, weight, tables, bias), *inputs)
    kernel = weight.T.reshape(6, 1, 3, 3, 3)
    grid = F.conv3d(dense(features, indices), kernel, bias, padding=1, groups=6)
    b, x, y, z = indices.long().T
    assert_close(got, with_gradients(grid[b, :, x, y, z], *inputs))


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradcheck(device: torch.device, symmetric: bool) -> None:
    tables = submanifold_map(random_indices(9)) if symmetric else random_tables(9, 7, 5)
    tables = tables.to(device)
    inputs = random_inputs(tables, 3, torch.float64)

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return sparse_depthwise_conv(features, weight, tables, bias)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("symmetric", [True, False])
def test_opcheck(device: torch.device, symmetric: bool) -> None:
    tables = submanifold_map(random_indices(33)) if symmetric else random_tables(33, 20, 5)
    tables = tables.to(device)
    of_map = (tables.in_rows, tables.out_rows, tables.symmetric)
    features, weight, bias = random_inputs(tables, 5)
    opcheck(OPS.sparse_depthwise_conv.default, (features, weight, bias, *of_map))
    opcheck(OPS.sparse_depthwise_conv.default, (features.detach(), weight.detach(), None, *of_map))
    grad_out = torch.randn(tables.num_out, 5, device=device, requires_grad=True)
    opcheck(OPS.sparse_depthwise_conv_backward_weight.default, (features, grad_out, *of_map))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    tables = submanifold_map(random_indices(33)).to(device)
    inputs = random_inputs(tables, 16)

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return sparse_depthwise_conv(features, weight, tables, bias)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled(*inputs), *inputs), with_gradients(run(*inputs), *inputs))


def test_meta_tensors() -> None:
    tables = submanifold_map(random_indices(9)).to(torch.device("meta"))
    features, weight, bias = random_inputs(tables, 4, torch.float16)
    out = sparse_depthwise_conv(features, weight, tables, bias)
    assert (out.shape, out.dtype, out.device.type) == ((9, 4), torch.float16, "meta")


def test_autocast_is_that_of_a_convolution() -> None:
    """float64 stays what it is, as with torch's own."""
    tables = submanifold_map(random_indices(33))
    inputs = random_inputs(tables, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out = sparse_depthwise_conv(inputs[0], inputs[1], tables, inputs[2])
        wide = sparse_depthwise_conv(*(t.double() for t in inputs[:2]), tables)
    assert (out.dtype, wide.dtype) == (torch.bfloat16, torch.float64)
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(out.sum(), inputs))


def test_compiles_under_autocast(device: torch.device) -> None:
    tables = submanifold_map(random_indices(33)).to(device)
    features, weight, bias = random_inputs(tables, 16)

    def run(features: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return sparse_depthwise_conv(features, weight, tables, bias)

    got = torch.compile(run, fullgraph=True, backend="aot_eager")(features)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, run(features))


def test_non_contiguous(device: torch.device) -> None:
    tables = random_tables(33, 20, 5).to(device)
    features, weight, bias = (t.detach() for t in random_inputs(tables, 16))
    want = sparse_depthwise_conv(features, weight, tables, bias)
    strided = Tables(tables.in_rows.T.contiguous().T, tables.out_rows.T.contiguous().T, False)
    got = sparse_depthwise_conv(
        features.T.contiguous().T,
        weight.T.contiguous().T,
        strided,
        bias.repeat_interleave(2)[::2],
    )
    assert torch.equal(got, want)
    shifted = torch.cat([features.new_zeros(1), features.flatten()])[1:].view_as(features)
    assert torch.equal(sparse_depthwise_conv(shifted, weight, tables, bias), want)


def test_repeats_bit_by_bit(device: torch.device) -> None:
    """Whatever the number of threads, forward and backward; the weight's gradient in splits."""
    columns = torch.arange(6000, dtype=torch.int32)
    in_rows = torch.stack([columns.roll(shift) for shift in range(-2, 3)]).contiguous()
    tables = Tables(in_rows, in_rows, symmetric=True).to(device)
    inputs = random_inputs(tables, 20)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            out = sparse_depthwise_conv(inputs[0], inputs[1], tables, inputs[2])
            results.append(with_gradients(out, *inputs))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_numbers_that_are_not_finite_stay_where_they_belong(
    device: torch.device, value: float
) -> None:
    tables = random_tables(33, 20, 5).to(device)
    features, weight, _ = (t.detach() for t in random_inputs(tables, 16))
    want = sparse_depthwise_conv(features, weight, tables)
    weight[2, 3] = value
    got = sparse_depthwise_conv(features, weight, tables)
    same = torch.ones_like(got, dtype=torch.bool)
    same[tables.in_rows[2] >= 0, 3] = False
    assert not same.all()
    assert torch.equal(got[same], want[same])
    assert not got[~same].isfinite().any()


def call(**changes: object) -> object:
    table = torch.zeros(3, 4, dtype=torch.int32)
    arguments: dict[str, object] = {
        "features": torch.zeros(4, 2),
        "weight": torch.zeros(3, 2),
        "bias": torch.zeros(2),
        "in_rows": table,
        "out_rows": table,
        "symmetric": True,
    }
    return OPS.sparse_depthwise_conv(*(arguments | changes).values())


INT = torch.int32
OUTSIDE = [torch.full((3, 4), row, dtype=INT) for row in (4, -2)]
REJECTED = [
    ({"features": torch.zeros(4)}, ValueError, "`features` must have 2 dimensions"),
    ({"features": torch.zeros(4, 2, dtype=INT)}, TypeError, "`features` must be float32"),
    ({"weight": torch.zeros(3, 2, 1)}, ValueError, "`weight` must have 2 dimensions"),
    ({"weight": torch.zeros(2, 2)}, ValueError, "`weight` must have size 3 in dimension 0"),
    ({"weight": torch.zeros(3, 3)}, ValueError, "`weight` must have size 2 in dimension 1"),
    ({"weight": torch.zeros(3, 2).half()}, TypeError, "`weight` must be Float, got Half"),
    ({"bias": torch.zeros(1, 2)}, ValueError, "`bias` must have 1 dimensions"),
    ({"bias": torch.zeros(4)}, ValueError, "`bias` must have size 2 in dimension 0"),
    ({"bias": torch.zeros(2).double()}, TypeError, "`bias` must be Float, got Double"),
    ({"in_rows": torch.zeros(3, 4)}, TypeError, "`in_rows` must be Int, got Float"),
    ({"in_rows": torch.zeros(3, dtype=INT)}, ValueError, "`in_rows` must have 2 dimensions"),
    immediate({"in_rows": OUTSIDE[0]}, IndexError, "`in_rows` must be -1 or a row of `features`"),
    immediate({"in_rows": OUTSIDE[1]}, IndexError, "`in_rows` must be -1 or a row of `features`"),
    ({"out_rows": torch.zeros(2, 4, dtype=INT)}, ValueError, "`out_rows` must have size 3"),
    ({"out_rows": torch.zeros(3, 5, dtype=INT)}, ValueError, "`out_rows` must have size 4"),
    ({"out_rows": torch.zeros(3, 4)}, TypeError, "`out_rows` must be Int, got Float"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REJECTED)
def test_rejects(changes: dict[str, object], error: type[Exception], message: str) -> None:
    call()
    with pytest.raises(error, match="sparse_depthwise_conv: " + message):
        call(**changes)


def test_backward_weight_rejects() -> None:
    table, features = torch.zeros(3, 4, dtype=INT), torch.zeros(4, 2)
    for grad_out, error, message in [
        (torch.zeros(4), ValueError, "`grad_out` must have 2 dimensions"),
        (torch.zeros(3, 2), ValueError, "`grad_out` must have size 4 in dimension 0"),
        (torch.zeros(4, 3), ValueError, "`grad_out` must have size 2 in dimension 1"),
        (torch.zeros(4, 2).half(), TypeError, "`grad_out` must be Float, got Half"),
    ]:
        with pytest.raises(error, match="sparse_depthwise_conv_backward_weight: " + message):
            OPS.sparse_depthwise_conv_backward_weight(features, grad_out, table, table, True)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [5, 64])
@pytest.mark.parametrize("wrong", [-2, 4])
def test_rows_that_do_not_exist_add_nothing_on_cuda(
    cuda: torch.device, channels: int, wrong: int
) -> None:
    """In the forward op, and in the gradient of the weight."""
    none = torch.tensor([[0, -1, 2, 3], [3, 2, 1, -1], [-1] * 4], dtype=INT, device=cuda)
    table = none.where(none >= 0, torch.full_like(none, wrong))
    features, grad_out = (torch.randn(4, channels, device=cuda).half() for _ in range(2))
    weight = torch.randn(3, channels, device=cuda).half()

    def convolved(table: Tensor) -> Tensor:
        return OPS.sparse_depthwise_conv(features, weight, None, table, table, True)

    def weighed(table: Tensor) -> Tensor:
        rows = (table, table, True)
        return OPS.sparse_depthwise_conv_backward_weight(features, grad_out, *rows)

    for run in (convolved, weighed):
        assert torch.equal(run(table), run(none))
        with pytest.raises(IndexError, match="sparse_depthwise_conv: `in_rows` must be -1 or a"):
            check_device_errors()
