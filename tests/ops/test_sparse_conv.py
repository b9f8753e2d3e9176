"""Sparse convolution against dense convolution, the reference and itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from forced_variant import forced_variant
from immediate import immediate
from maps import move, symmetric_map
from torch import Tensor
from torch.library import opcheck
from torch.testing import assert_close

from elite_ops import KernelGeometry, KernelMap, check_device_errors, sparse_conv, sparse_conv_fused
from elite_ops.reference import sparse_conv as reference

SHAPE = (16, 16, 9)
BATCH_SIZE = 2
SIZES = [0, 1, 31, 33, 1023]
OPS = torch.ops.elite_ops


def random_indices(size: int, seed: int = 0) -> Tensor:
    """`size` different voxels [V, 4] of a small grid, in random order."""
    cells = torch.randperm(BATCH_SIZE * SHAPE[0] * SHAPE[1] * SHAPE[2], generator=generator(seed))
    axes = torch.unravel_index(cells[:size], (BATCH_SIZE, *SHAPE))
    return torch.stack(axes, 1).int()


def submanifold_map(indices: Tensor, kernel_size: tuple[int, int, int] = (3, 3, 3)) -> KernelMap:
    """A kernel map by search in a sorted list of voxels."""
    margin = 8
    steps = torch.tensor([2**48, 2**32, 2**16, 1])
    keys = ((indices.long() + margin) * steps).sum(1)
    sorted_keys, order = torch.sort(keys)
    rows = []
    for offset in itertools.product(*(range(-(k // 2), k // 2 + 1) for k in kernel_size)):
        wanted = keys + (torch.tensor([0, *offset]) * steps).sum()
        place = torch.searchsorted(sorted_keys, wanted).clamp(max=max(len(keys) - 1, 0))
        rows.append(torch.where(sorted_keys[place] == wanted, order[place], -1))
    table = torch.stack(rows).int()
    return symmetric_map(table, kernel_size)


def random_map(num_in: int, num_out: int, num_offsets: int) -> KernelMap:
    """Every offset pairs some input rows with some output rows, as in strided maps."""
    in_rows = torch.full((num_offsets, num_out), -1, dtype=torch.int32)
    out_rows = torch.full((num_offsets, num_in), -1, dtype=torch.int32)
    for k in range(num_offsets):
        pairs = (k * 7) % (min(num_in, num_out) + 1)
        rows_in = torch.randperm(num_in, generator=generator(k))[:pairs]
        rows_out = torch.randperm(num_out, generator=generator(k + 100))[:pairs]
        in_rows[k, rows_out] = rows_in.int()
        out_rows[k, rows_in] = rows_out.int()
    size = (num_offsets, 1, 1) if num_offsets <= 7 else (2, 2, num_offsets // 4)
    geometry = KernelGeometry.of(size)
    return KernelMap(in_rows, num_in, geometry, out_rows=out_rows)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_inputs(
    kernel_map: KernelMap, c_in: int, c_out: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Features, weight and bias that want gradients."""
    num_offsets = kernel_map.in_rows.shape[0]
    shapes = [(kernel_map.num_in, c_in), (num_offsets, c_in, c_out), (c_out,)]
    tensors = [torch.randn(s, generator=generator(i), dtype=dtype) for i, s in enumerate(shapes)]
    tensors[1] /= max(c_in * num_offsets, 1) ** 0.5
    device = kernel_map.in_rows.device
    features, weight, bias = (t.to(device).requires_grad_() for t in tensors)
    return features, weight, bias


def with_gradients(out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    grad_out = torch.randn(out.shape, generator=generator(9), dtype=torch.float64)
    return (out, *torch.autograd.grad(out, inputs, grad_out.to(out)))


def dense_conv(
    features: Tensor, weight: Tensor, bias: Tensor, indices: Tensor, kernel_size: tuple[int, ...]
) -> Tensor:
    """torch's dense convolution of the densified voxels, read at the voxels."""
    b, x, y, z = indices.long().T
    grid = features.new_zeros(BATCH_SIZE, *SHAPE, features.shape[1])
    grid = grid.index_put((b, x, y, z), features).permute(0, 4, 1, 2, 3)
    kernel = weight.unflatten(0, kernel_size).permute(4, 3, 0, 1, 2)
    padding = tuple(k // 2 for k in kernel_size)
    return F.conv3d(grid, kernel, bias, padding=padding)[b, :, x, y, z]


def test_example() -> None:
    # Three voxels in a row; the kernel takes 10 x the left neighbour, 1 x itself, 100 x the right.
    table = torch.tensor([[-1, 0, 1], [0, 1, 2], [1, 2, -1]], dtype=torch.int32)
    kernel_map = symmetric_map(table, (3, 1, 1))
    features = torch.tensor([[1.0], [2.0], [3.0]])
    weight = torch.tensor([10.0, 1.0, 100.0]).reshape(3, 1, 1)
    out = sparse_conv(features, weight, kernel_map, torch.tensor([0.5]))
    assert out.tolist() == [[201.5], [312.5], [23.5]]


@pytest.mark.parametrize("kernel_size", [(1, 1, 1), (3, 3, 3), (3, 1, 1), (1, 5, 3)])
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 3), (3, 16), (20, 20), (64, 96)])
def test_equals_dense_convolution(
    device: torch.device, kernel_size: tuple[int, int, int], c_in: int, c_out: int
) -> None:
    indices = random_indices(700)
    kernel_map = move(submanifold_map(indices, kernel_size), device)
    inputs = random_inputs(kernel_map, c_in, c_out, torch.float64)
    want = dense_conv(*inputs, indices.to(device), kernel_size)
    got = sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2])
    assert_close(with_gradients(got, *inputs), with_gradients(want, *inputs))


@pytest.mark.parametrize("channels", [(1, 1), (3, 16), (16, 3), (20, 64), (64, 64), (96, 80)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_equals_reference(
    device: torch.device, dtype: torch.dtype, size: int, channels: tuple[int, int]
) -> None:
    kernel_map = move(submanifold_map(random_indices(size)), device)
    inputs = random_inputs(kernel_map, *channels, dtype)
    wide = [t.detach().double().requires_grad_() for t in inputs]
    got = with_gradients(sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs)
    want = with_gradients(reference.sparse_conv(wide[0], wide[1], kernel_map, wide[2]), *wide)
    # Bounds of the rounding of a result to `dtype`, relative to the sizes that occur.
    tolerance = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        scale = float(w.detach().abs().max()) if w.numel() else 1.0
        assert_close(g.double(), w, rtol=tolerance, atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize("channels", [(256, 64), (64, 256), (136, 72)])
def test_many_channels(device: torch.device, channels: tuple[int, int]) -> None:
    kernel_map = move(submanifold_map(random_indices(65)), device)
    inputs = random_inputs(kernel_map, *channels)
    got = with_gradients(sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs)
    want = with_gradients(
        reference.sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs
    )
    assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("num_in", "num_out"), [(40, 13), (13, 40), (0, 5), (5, 0)])
def test_map_between_two_grids(device: torch.device, num_in: int, num_out: int) -> None:
    kernel_map = move(random_map(num_in, num_out, 8), device)
    inputs = random_inputs(kernel_map, 20, 16, torch.float64)
    got = with_gradients(sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs)
    want = with_gradients(
        reference.sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs
    )
    assert_close(got, want)


def real_map(points: Tensor) -> KernelMap:
    """The map of the 0.1 m voxels of a scan."""
    near = points[(points[:, :2].abs() < 50).all(1) & (points[:, 2] > -4) & (points[:, 2] < 2), :3]
    cells = torch.unique(torch.floor((near + torch.tensor([50.0, 50.0, 4.0])) * 10).int(), dim=0)
    return submanifold_map(F.pad(cells, (1, 0)))


def test_real_scan(device: torch.device, real_points: Tensor) -> None:
    kernel_map = move(real_map(real_points), device)
    inputs = random_inputs(kernel_map, 16, 16)
    got = with_gradients(sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs)
    want = with_gradients(
        reference.sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2]), *inputs
    )
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, rtol=1e-4, atol=1e-5 * float(w.detach().abs().max()))


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("negative_slope", [1.0, 0.1, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_fused(
    device: torch.device, dtype: torch.dtype, negative_slope: float, with_residual: bool
) -> None:
    kernel_map = move(submanifold_map(random_indices(333)), device)
    features, weight, bias = (t.detach() for t in random_inputs(kernel_map, 20, 32, dtype))
    residual = None
    if with_residual:
        residual = torch.randn(333, 32, generator=generator(5)).to(device, dtype)
    arguments = {"residual": residual, "negative_slope": negative_slope}
    got = sparse_conv_fused(features, weight, kernel_map, bias, **arguments)
    want = reference.sparse_conv_fused(features, weight, kernel_map, bias, **arguments)
    tolerance = 1e-2 if dtype == torch.float16 else 1e-5
    assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("variant", range(1, 4))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_variant(device: torch.device, dtype: torch.dtype, variant: int) -> None:
    """Those of csrc/cuda/sparse_conv_variant.h; the CPU has one way."""
    kernel_map = move(submanifold_map(random_indices(333), (3, 3, 1)), device)
    inputs = random_inputs(kernel_map, 128, 48, dtype)
    features, weight, bias = (t.detach() for t in inputs)
    want = reference.sparse_conv_fused(features, weight, kernel_map, bias, negative_slope=0.1)

    def run() -> Tensor:
        table = kernel_map.in_rows
        with forced_variant(variant):
            return OPS.sparse_conv_fused(features, weight, bias, table, None, 0.1)

    got = run()
    assert_close(got, want, rtol=2e-2, atol=2e-2)
    assert torch.equal(got, run())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("has_residual", [False, True])
def test_fused_shortcut(device: torch.device, size: int, has_residual: bool) -> None:
    """A linear map of other features, with other channels, on the output's voxels."""
    kernel_map = move(submanifold_map(random_indices(size)), device)
    inputs = random_inputs(kernel_map, 16, 20, torch.float64)
    features, weight, bias = (t.detach() for t in inputs)
    shortcut = torch.randn(size, 7, generator=generator(5), dtype=torch.float64).to(device)
    shortcut_weight = torch.randn(7, 20, generator=generator(6), dtype=torch.float64).to(device)
    arguments = {
        "residual": torch.randn_like(shortcut @ shortcut_weight) if has_residual else None,
        "shortcut": (shortcut, shortcut_weight),
        "negative_slope": 0.1,
    }
    got = sparse_conv_fused(features, weight, kernel_map, bias, **arguments)
    want = reference.sparse_conv_fused(features, weight, kernel_map, bias, **arguments)
    assert_close(got, want)


FUSED_TOLERANCE = {torch.float32: 2e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("channels", [(16, 16, 48), (64, 64, 64), (64, 24, 16), (20, 32, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_fused_shortcut_rounds_once(
    device: torch.device, dtype: torch.dtype, channels: tuple[int, int, int]
) -> None:
    """Against float64: no intermediate result is rounded to `dtype`."""
    c_in, c_out, c_shortcut = channels
    kernel_map = move(submanifold_map(random_indices(700)), device)
    inputs = [t.detach() for t in random_inputs(kernel_map, c_in, c_out, dtype)]
    shapes = [(700, c_out), (700, c_shortcut), (c_shortcut, c_out)]
    added = [torch.randn(s, generator=generator(i)).to(device, dtype) for i, s in enumerate(shapes)]
    added[2] /= c_shortcut**0.5

    def run(function: Callable[..., Tensor], tensors: list[Tensor]) -> Tensor:
        features, weight, bias, residual, *shortcut = tensors
        terms = {"residual": residual, "shortcut": tuple(shortcut), "negative_slope": 0.1}
        return function(features, weight, kernel_map, bias, **terms)

    got = run(sparse_conv_fused, [*inputs, *added])
    want = run(reference.sparse_conv_fused, [t.double() for t in (*inputs, *added)])
    tolerance = FUSED_TOLERANCE[dtype]
    assert_close(got.double(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 333])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_valid_rows_have_the_bits_of_an_exact_buffer(
    device: torch.device, dtype: torch.dtype, count: int
) -> None:
    """Whatever stands in the rows past the count, wrong row numbers included."""
    kernel_map = submanifold_map(random_indices(count))
    table = torch.full((27, 333), 1000, dtype=torch.int32)
    table[:, :count] = kernel_map.in_rows
    num_rows = torch.tensor(count, device=device)
    padded = move(symmetric_map(table, num_rows=num_rows), device)
    features, weight, bias = (t.detach() for t in random_inputs(padded, 64, 64, dtype))
    features[count:] = torch.nan
    shortcut_weight = torch.randn(64, 64, generator=generator(3)).to(device, dtype)

    def run(features: Tensor, kernel_map: KernelMap) -> Tensor:
        terms = {"shortcut": (features, shortcut_weight), "negative_slope": 0.1}
        return sparse_conv_fused(features, weight, kernel_map, bias, residual=features, **terms)

    got, want = run(features, padded), run(features[:count], move(kernel_map, device))
    assert got.shape == (333, 64)
    assert torch.equal(got[:count], want)
    check_device_errors(device)


def test_fused_refuses_gradients() -> None:
    kernel_map = submanifold_map(random_indices(5))
    features, weight, bias = random_inputs(kernel_map, 2, 3)
    with pytest.raises(RuntimeError, match="sparse_conv_fused: has no gradient"):
        sparse_conv_fused(features, weight, kernel_map, bias)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradcheck(device: torch.device, symmetric: bool) -> None:
    kernel_map = submanifold_map(random_indices(9)) if symmetric else random_map(9, 7, 5)
    kernel_map = move(kernel_map, device)
    inputs = random_inputs(kernel_map, 3, 2, torch.float64)

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return sparse_conv(features, weight, kernel_map, bias)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_opcheck(device: torch.device) -> None:
    kernel_map = move(submanifold_map(random_indices(33)), device)
    features, weight, bias = random_inputs(kernel_map, 3, 5)
    tables = (kernel_map.in_rows, kernel_map.out_rows, kernel_map.symmetric)
    opcheck(OPS.sparse_conv.default, (features, weight, bias, *tables))
    opcheck(OPS.sparse_conv.default, (features.detach(), weight.detach(), None, *tables))
    grad_out = torch.randn(33, 5, device=device)
    opcheck(OPS.sparse_conv_backward_weight.default, (features, grad_out, *tables))
    plain = (features.detach(), weight.detach(), bias.detach(), kernel_map.in_rows)
    opcheck(OPS.sparse_conv_fused.default, (*plain, grad_out, 0.1))
    shortcut = {"shortcut": torch.randn(33, 4), "shortcut_weight": torch.randn(4, 5)}
    shortcut = {name: tensor.to(device) for name, tensor in shortcut.items()}
    shortcut["num_rows"] = torch.tensor(33, device=device)  # all rows, as others are undefined
    opcheck(OPS.sparse_conv_fused.default, (*plain, None, 0.1), shortcut)
    order = OPS.order_rows(kernel_map.in_rows, (3, 3, 3))
    opcheck(OPS.sparse_conv.default, (features, weight, bias, *tables, *order))
    opcheck(OPS.sparse_conv_fused.default, (*plain, grad_out, 0.1, *order))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    kernel_map = move(submanifold_map(random_indices(33)), device)
    inputs = random_inputs(kernel_map, 16, 16)

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return sparse_conv(features, weight, kernel_map, bias)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled(*inputs), *inputs), with_gradients(run(*inputs), *inputs))


def test_autocast() -> None:
    kernel_map = submanifold_map(random_indices(33))
    features, weight, bias = random_inputs(kernel_map, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out = sparse_conv(features, weight, kernel_map, bias)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert features.grad is not None
    assert features.grad.dtype == torch.float32


def test_non_contiguous(device: torch.device) -> None:
    kernel_map = move(submanifold_map(random_indices(33)), device)
    features, weight, bias = random_inputs(kernel_map, 16, 16)
    want = sparse_conv(features, weight, kernel_map, bias)
    table = kernel_map.in_rows.T.contiguous().T
    strided = symmetric_map(table)
    got = sparse_conv(
        torch.stack([features, features], 2)[..., 0],
        weight.transpose(1, 2).contiguous().transpose(1, 2),
        strided,
        bias.repeat_interleave(2)[::2],
    )
    assert torch.equal(got, want)


@pytest.mark.parametrize("size", [33, 6000])
def test_repeats_bit_by_bit(device: torch.device, size: int) -> None:
    """Whatever the number of threads, forward and backward."""
    cells = torch.randint(40, (size, 3), generator=generator(1))
    indices = F.pad(torch.unique(cells, dim=0), (1, 0)).int()
    kernel_map = move(submanifold_map(indices), device)
    inputs = random_inputs(kernel_map, 32, 48)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            out = sparse_conv(inputs[0], inputs[1], kernel_map, inputs[2])
            results.append(with_gradients(out, *inputs))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def call(**changes: object) -> object:
    table = torch.zeros(3, 4, dtype=torch.int32)
    arguments: dict[str, object] = {
        "features": torch.zeros(4, 2),
        "weight": torch.zeros(3, 2, 5),
        "bias": torch.zeros(5),
        "in_rows": table,
        "out_rows": table,
        "symmetric": True,
    }
    return OPS.sparse_conv(*(arguments | changes).values())


INT = torch.int32
REJECTED = [
    ({"features": torch.zeros(4)}, ValueError, "`features` must have 2 dimensions"),
    ({"features": torch.zeros(4, 2, dtype=INT)}, TypeError, "`features` must be float32"),
    ({"weight": torch.zeros(3, 2)}, ValueError, "`weight` must have 3 dimensions"),
    ({"weight": torch.zeros(2, 2, 5)}, ValueError, "`weight` must have size 3 in dimension 0"),
    ({"weight": torch.zeros(3, 3, 5)}, ValueError, "`weight` must have size 2 in dimension 1"),
    ({"weight": torch.zeros(3, 2, 5).half()}, TypeError, "`weight` must be Float, got Half"),
    ({"bias": torch.zeros(1, 5)}, ValueError, "`bias` must have 1 dimensions"),
    ({"bias": torch.zeros(4)}, ValueError, "`bias` must have size 5 in dimension 0"),
    ({"bias": torch.zeros(5).double()}, TypeError, "`bias` must be Float, got Double"),
    ({"in_rows": torch.zeros(3, 4)}, TypeError, "`in_rows` must be Int, got Float"),
    ({"in_rows": torch.zeros(3, dtype=INT)}, ValueError, "`in_rows` must have 2 dimensions"),
    immediate({"in_rows": torch.full((3, 4), 4, dtype=INT)}, IndexError, "`in_rows` must be -1 or"),
    immediate(
        {"in_rows": torch.full((3, 4), -2, dtype=INT)}, IndexError, "`in_rows` must be -1 or"
    ),
    ({"out_rows": torch.zeros(2, 4, dtype=INT)}, ValueError, "`out_rows` must have size 3"),
    ({"out_rows": torch.zeros(3, 5, dtype=INT)}, ValueError, "`out_rows` must have size 4"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REJECTED)
def test_rejects(changes: dict[str, object], error: type[Exception], message: str) -> None:
    call()
    with pytest.raises(error, match="sparse_conv: " + message):
        call(**changes)


def test_rejects_padded_maps() -> None:
    table = submanifold_map(random_indices(4)).in_rows
    kernel_map = symmetric_map(table, num_rows=torch.tensor(3))
    with pytest.raises(ValueError, match="sparse_conv: `kernel_map` must have valid rows alone"):
        sparse_conv(*random_inputs(kernel_map, 2, 5)[:2], kernel_map)


def test_rejects_in_the_other_ops() -> None:
    table = torch.zeros(3, 4, dtype=torch.int32)
    features, weight, bias = torch.zeros(4, 2), torch.zeros(3, 2, 5), torch.zeros(5)
    with pytest.raises(ValueError, match="backward_weight: `grad_out` must have size 4"):
        OPS.sparse_conv_backward_weight(features, torch.zeros(3, 5), table, table, True)
    with pytest.raises(ValueError, match="sparse_conv_fused: `residual` must have size 5"):
        OPS.sparse_conv_fused(features, weight, bias, table, torch.zeros(4, 2), 1.0)
    fused = partial(OPS.sparse_conv_fused, features, weight, bias, table, None, 1.0)
    with pytest.raises(ValueError, match="sparse_conv_fused: `shortcut` must have size 4 in dim"):
        fused(shortcut=torch.zeros(3, 7), shortcut_weight=torch.zeros(7, 5))
    with pytest.raises(ValueError, match="sparse_conv_fused: `shortcut weight` must have size 7"):
        fused(shortcut=torch.zeros(4, 7), shortcut_weight=torch.zeros(6, 5))
    with pytest.raises(ValueError, match="sparse_conv_fused: `shortcut` and its weight must be"):
        fused(shortcut=torch.zeros(4, 7))
    with pytest.raises(ValueError, match="sparse_conv_fused: `num_rows` must have one element"):
        fused(num_rows=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(TypeError, match="sparse_conv_fused: `num_rows` must be Long, got Int"):
        fused(num_rows=torch.tensor(4, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"sparse_conv_fused: `num_rows` must be .* got 5"):
        fused(num_rows=torch.tensor(5))


def test_rejects_a_row_order_that_does_not_fit() -> None:
    table, order = torch.zeros(3, 4, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
    inputs = (torch.zeros(4, 2), torch.zeros(3, 2, 5), None, table, table, True)
    for row_order, error, message in [
        ((order, None), ValueError, "`order` and `ordered_rows` must be given together"),
        ((order[:3], table), ValueError, "`order` must have size 4"),
        ((order.long(), table), TypeError, "`order` must be Int, got Long"),
        ((order, table[:2]), ValueError, "`ordered_rows` must have size 3"),
        ((order, table[:, :2]), ValueError, "`ordered_rows` must have size 4"),
    ]:
        with pytest.raises(error, match="sparse_conv: " + message):
            OPS.sparse_conv(*inputs, *row_order)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [(2, 5), (64, 64)])
@pytest.mark.parametrize("wrong", [-2, 4])
def test_rows_that_do_not_exist_add_nothing_on_cuda(
    cuda: torch.device, channels: tuple[int, int], wrong: int
) -> None:
    """In the forward op, and in the gradient of the weight."""
    none = torch.tensor([[0, -1, 2, 3], [3, 2, 1, -1], [-1] * 4], dtype=INT, device=cuda)
    table = none.where(none >= 0, torch.full_like(none, wrong))
    features, grad_out = (torch.randn(4, c, device=cuda).half() for c in channels)
    weight = torch.randn(3, *channels, device=cuda).half()

    def results(table: Tensor) -> list[Tensor]:
        return [
            OPS.sparse_conv(features, weight, None, table, table, True),
            OPS.sparse_conv_backward_weight(features, grad_out, table, table, True),
        ]

    for got, want in zip(results(table), results(none), strict=True):
        assert torch.equal(got, want)
    with pytest.raises(IndexError, match="sparse_conv: `in_rows` must be -1 or a row"):
        check_device_errors()
