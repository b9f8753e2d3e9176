import dataclasses
from collections.abc import Callable

import pytest
import torch
from segment_cases import SIZES, SUM_TOLERANCE, random_inverse, scan_inverse
from torch import Tensor
from torch.testing import assert_close

from elite_ops import (
    Segments,
    build_segments,
    segment_max,
    segment_mean,
    segment_min,
    segment_sum,
)
from elite_ops.reference import segment_reduce as reference

Reduce = Callable[[Tensor, Segments], Tensor]
REDUCTIONS = [segment_sum, segment_mean, segment_max, segment_min]
LINEAR = [segment_sum, segment_mean]
EXTREMES = [segment_max, segment_min]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]

each_reduction = pytest.mark.parametrize("reduce", REDUCTIONS, ids=lambda f: f.__name__)
each_extreme = pytest.mark.parametrize("reduce", EXTREMES, ids=lambda f: f.__name__)
each_linear = pytest.mark.parametrize("reduce", LINEAR, ids=lambda f: f.__name__)


def random_case(
    num_points: int, num_segments: int, channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Segments]:
    generator = torch.Generator().manual_seed(1)
    src = torch.randn(num_points, channels, dtype=torch.float64, generator=generator)
    inverse = random_inverse(num_points, num_segments).to(device)
    return src.to(device, dtype).requires_grad_(), build_segments(inverse, num_segments)


def assert_equals_reference(reduce: Reduce, src: Tensor, segments: Segments) -> None:
    """Values and gradients; half types against the reference in float32."""
    computed = torch.float64 if src.dtype == torch.float64 else torch.float32
    wide = src.detach().to(computed).requires_grad_()
    definition = getattr(reference, reduce.__name__)
    want = definition(wide, segments.inverse, segments.num_segments)
    out = reduce(src, segments)
    assert out.dtype == src.dtype
    assert_close(out, want.to(src.dtype), **SUM_TOLERANCE.get(src.dtype, {}))

    grad_out = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, src, grad_out)
    (want_grad,) = torch.autograd.grad(want, wide, grad_out.to(computed))
    assert grad.dtype == src.dtype
    assert_close(grad, want_grad.to(src.dtype))


def test_small_example(device: torch.device) -> None:
    src = torch.tensor([[1.0, 8], [2, 7], [3, 6], [4, 5], [5, -4]], device=device)
    inverse = torch.tensor([2, 0, 2, -1, 2], dtype=torch.int32, device=device)
    segments = build_segments(inverse, 3)
    assert segment_sum(src, segments).tolist() == [[2, 7], [0, 0], [9, 10]]
    assert segment_max(src, segments).tolist() == [[2, 7], [0, 0], [5, 8]]
    assert segment_min(src, segments).tolist() == [[2, 7], [0, 0], [1, -4]]
    mean = torch.tensor([[2, 7], [0, 0], [3, 10 / 3]], device=device)
    assert_close(segment_mean(src, segments), mean)


@each_reduction
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_equals_reference(
    reduce: Reduce, dtype: torch.dtype, num_points: int, num_segments: int, device: torch.device
) -> None:
    for channels in (0, 1, 3, 64):
        assert_equals_reference(
            reduce, *random_case(num_points, num_segments, channels, dtype, device)
        )


@each_reduction
def test_equals_reference_on_a_real_scan(
    reduce: Reduce, real_points: Tensor, device: torch.device
) -> None:
    inverse, num_voxels = scan_inverse(real_points, voxel_size=0.1)
    segments = build_segments(inverse.to(device), num_voxels)
    noise = torch.randn(real_points.shape[0], 64, generator=torch.Generator().manual_seed(0))
    assert_equals_reference(reduce, noise.to(device).requires_grad_(), segments)


# Segments of more than 1024 points are cut into pieces on the CPU.
LENGTHS = (1024, 1025, 0, 5000, 3, 2048)


@each_reduction
def test_equals_reference_with_long_segments(reduce: Reduce, device: torch.device) -> None:
    inverse = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS)).int()
    mixed = inverse[torch.randperm(len(inverse), generator=torch.Generator().manual_seed(0))]
    for rows in (inverse, mixed):
        segments = build_segments(rows.to(device), len(LENGTHS))
        for dtype in DTYPES[:2]:
            src = torch.randn(len(rows), 5, dtype=dtype, generator=torch.Generator().manual_seed(1))
            assert_equals_reference(reduce, src.to(device).requires_grad_(), segments)


@each_extreme
def test_the_first_of_equals_wins_in_long_segments(reduce: Reduce, device: torch.device) -> None:
    """Few values, each of which thousands of points have; a NaN in the third piece, and later."""
    src = torch.randint(3, (6000, 4), generator=torch.Generator().manual_seed(0)).float()
    src[2500, 1] = src[2501, 1] = src[5000, 1] = torch.nan
    src[:, 2] = torch.tensor([0.0, -0.0]).repeat(3000)
    segments = build_segments(torch.zeros(6000, dtype=torch.int32, device=device), 1)
    out, points = reduce(src.to(device), segments, return_indices=True)  # type: ignore[call-arg]
    extreme = src.amax(0) if reduce is segment_max else src.amin(0)
    first = [int((src[:, c] == extreme[c]).nonzero()[0]) for c in (0, 2, 3)]
    assert points.tolist() == [[first[0], 2500, *first[1:]]]
    assert_close(out.cpu()[0], extreme, rtol=0, atol=0, equal_nan=True)
    assert not out[0, 2].signbit()


@each_reduction
def test_long_segments_repeat_bit_by_bit_on_any_number_of_threads(reduce: Reduce) -> None:
    src, segments = random_case(20_000, 3, 40, torch.float32, torch.device("cpu"))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(reduce(src.detach(), segments))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@each_reduction
def test_gradcheck(reduce: Reduce, device: torch.device) -> None:
    src, segments = random_case(30, 8, 3, torch.float64, device)
    assert torch.autograd.gradcheck(lambda x: reduce(x, segments), src)
    assert torch.autograd.gradgradcheck(lambda x: reduce(x, segments), src)


@each_extreme
def test_second_derivative_of_an_extreme(reduce: Reduce, device: torch.device) -> None:
    """That of the squares is 2 at the points that were taken."""
    src, segments = random_case(200, 20, 3, torch.float64, device)
    (grad,) = torch.autograd.grad(reduce(src, segments).square().sum(), src, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), src)
    taken = torch.autograd.grad(reduce(src, segments).sum(), src)[0]
    assert taken.sum() == 20 * 3
    assert torch.equal(second, 2 * taken)


@each_extreme
@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_indices_are_of_the_values(
    reduce: Callable[..., tuple[Tensor, Tensor]],
    num_points: int,
    num_segments: int,
    device: torch.device,
) -> None:
    src, segments = random_case(num_points, num_segments, 3, torch.float64, device)
    values, points = reduce(src, segments, return_indices=True)
    assert points.dtype == torch.int32
    assert torch.equal(points >= 0, (segments.counts > 0)[:, None].expand(-1, 3))
    padded = torch.cat([src, src.new_zeros(1, 3)])  # -1 is the last row
    assert torch.equal(padded.gather(0, points.long() % len(padded)), values)
    beyond = torch.amax if reduce is segment_max else torch.amin
    for v in segments.counts.nonzero()[:, 0].tolist():
        assert torch.equal(values[v], beyond(src[segments.inverse == v], 0))


@pytest.mark.parametrize("name", ["segment_sum", "segment_mean", "segment_max", "segment_min"])
def test_opcheck(name: str, device: torch.device) -> None:
    src, segments = random_case(50, 7, 3, torch.float32, device)
    op = getattr(torch.ops.elite_ops, name).default
    torch.library.opcheck(op, (src, segments.inverse, segments.order, segments.offsets))


def test_opcheck_backward(device: torch.device) -> None:
    _, segments = random_case(50, 7, 3, torch.float32, device)
    grad_out = torch.randn(7, 3, device=device, requires_grad=True)
    tensors = segments.inverse, segments.order, segments.offsets
    ops = torch.ops.elite_ops
    torch.library.opcheck(ops.segment_mean_backward.default, (grad_out, *tensors))
    argmax = torch.full((7, 3), -1, dtype=torch.int32, device=device)
    torch.library.opcheck(ops.segment_max_backward.default, (grad_out, argmax, segments.inverse))
    grad_src = torch.randn(50, 3, device=device, requires_grad=True)
    torch.library.opcheck(ops.segment_take.default, (grad_src, argmax, segments.inverse))


@each_reduction
def test_compiles_without_a_graph_break(reduce: Reduce, device: torch.device) -> None:
    src, segments = random_case(50, 7, 3, torch.float32, device)
    compiled = torch.compile(reduce, fullgraph=True, backend="aot_eager")
    out, want = compiled(src, segments), reduce(src, segments)
    assert torch.equal(out, want)
    grads = [torch.autograd.grad(y.square().sum(), src)[0] for y in (out, want)]
    assert torch.equal(*grads)


@each_reduction
def test_takes_strided_input(reduce: Reduce, device: torch.device) -> None:
    src, segments = random_case(50, 7, 6, torch.float32, device)
    for view in (src[:, ::2], src.T.contiguous().T):
        out, want = reduce(view, segments), reduce(view.contiguous(), segments)
        assert torch.equal(out, want)
        grad_out = torch.randn(6, 7, device=device).T[:, : out.shape[1]]
        got = torch.autograd.grad(out, src, grad_out)[0]
        assert torch.equal(got, torch.autograd.grad(want, src, grad_out.contiguous())[0])


@each_reduction
def test_rejects_wrong_arguments(reduce: Reduce) -> None:
    name = reduce.__name__
    src, segments = random_case(5, 3, 2, torch.float32, torch.device("cpu"))
    inverse, order, offsets = segments.inverse, segments.order, segments.offsets
    with pytest.raises(ValueError, match=rf"{name}: `src` must have 2 dimensions"):
        reduce(src[0], segments)
    with pytest.raises(ValueError, match=rf"{name}: `src` must have size 5 in dimension 0"):
        reduce(src[1:], segments)
    with pytest.raises(TypeError, match=rf"{name}: `src` must be float32, .*, got Int"):
        reduce(src.int(), segments)
    with pytest.raises(TypeError, match=rf"{name}: `segments.order` must be Int, got Long"):
        reduce(src, Segments(inverse, order.long(), offsets))
    with pytest.raises(ValueError, match=rf"{name}: `segments.order` must have size 5"):
        reduce(src, Segments(inverse, order[1:], offsets))
    with pytest.raises(ValueError, match=rf"{name}: `segments.offsets` must have num_segments"):
        reduce(src, Segments(inverse, order, offsets[:0]))


@each_reduction
def test_rejects_offsets_that_end_behind_the_points(reduce: Reduce) -> None:
    src, segments = random_case(5, 3, 2, torch.float32, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"`segments.offsets` must end in \[0, 5\], got 9"):
        reduce(src, dataclasses.replace(segments, offsets=segments.offsets.clamp(max=0) + 9))


INT = {"dtype": torch.int32}
GRAD, ARGMAX, INVERSE = torch.ones(3, 2), torch.zeros(3, 2, **INT), torch.zeros(5, **INT)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((GRAD[0], ARGMAX, INVERSE), ValueError, "`grad_out` must have 2 dimensions"),
        ((GRAD.int(), ARGMAX, INVERSE), TypeError, "`grad_out` must be float32"),
        ((GRAD[:2], ARGMAX, INVERSE), ValueError, "`grad_out` must have size 3 in dimension 0"),
        ((GRAD, ARGMAX[:, :1], INVERSE), ValueError, "`argmax` must have size 2 in dimension 1"),
        ((GRAD, ARGMAX[0], INVERSE), ValueError, "`argmax` must have 2 dimensions"),
        ((GRAD, ARGMAX.long(), INVERSE), TypeError, "`argmax` must be Int, got Long"),
        ((GRAD, ARGMAX, INVERSE.long()), TypeError, "`inverse` must be Int, got Long"),
        ((GRAD, ARGMAX, INVERSE[None]), ValueError, "`inverse` must have 1 dimensions"),
        ((GRAD, ARGMAX.to("meta"), INVERSE), ValueError, "`argmax` must be on the device of"),
        ((GRAD, ARGMAX, INVERSE.to("meta")), ValueError, "`inverse` must be on the device of"),
    ],
)
def test_the_gradient_of_a_maximum_rejects_wrong_arguments(
    arguments: tuple[Tensor, ...], error: type[Exception], message: str
) -> None:
    # By its name on the CPU: dispatch would send a meta tensor to the fake.
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    with pytest.raises(error, match=f"segment_max_backward: {message}"):
        torch.ops.elite_ops.segment_max_backward.default.redispatch(keys, *arguments)


def test_other_gradients_reject_wrong_arguments() -> None:
    _, segments = random_case(5, 3, 2, torch.float32, torch.device("cpu"))
    tensors = segments.inverse, segments.order, segments.offsets
    ops = torch.ops.elite_ops
    with pytest.raises(ValueError, match="segment_mean_backward: `grad_out` must have size 3"):
        ops.segment_mean_backward(GRAD[:2], *tensors)
    with pytest.raises(ValueError, match=r"segment_mean_backward: `segments.order` must have"):
        ops.segment_mean_backward(GRAD, tensors[0], tensors[1][:2], tensors[2])
    with pytest.raises(ValueError, match="segment_take: `src` must have size 5 in dimension 0"):
        ops.segment_take(GRAD, ARGMAX, INVERSE)
    with pytest.raises(ValueError, match="segment_take: `argmax` must have size 2 in dimension 1"):
        ops.segment_take(torch.ones(5, 2), ARGMAX[:, :1], INVERSE)


def test_points_that_are_not_there_give_0(device: torch.device) -> None:
    argmax = torch.tensor([[7, -3], [1, 0]], dtype=torch.int32, device=device)
    src = torch.ones(2, 2, device=device)
    taken = torch.ops.elite_ops.segment_take(src, argmax, argmax[:, 0].contiguous())
    assert taken.tolist() == [[0, 0], [1, 1]]


@each_reduction
@pytest.mark.parametrize("count", [1, 2, 5, 100, 20_000])
def test_constants_in_one_segment(reduce: Reduce, count: int, device: torch.device) -> None:
    inverse = torch.zeros(count, dtype=torch.int32, device=device)
    src = torch.full((count, 8), 0.25, device=device)
    expected = 0.25 * count if reduce is segment_sum else 0.25
    assert torch.equal(
        reduce(src, build_segments(inverse, 1)), torch.full((1, 8), expected, device=device)
    )


def test_half_types_are_accumulated_in_float32(device: torch.device) -> None:
    """In float16 a running sum of ones would stop at 2048."""
    ones = torch.ones(5000, 4, dtype=torch.float16, device=device)
    segments = build_segments(torch.zeros(5000, dtype=torch.int32, device=device), 1)
    assert segment_sum(ones, segments).tolist() == [[5000.0] * 4]
    assert segment_mean(ones, segments).tolist() == [[1.0] * 4]


def test_max_prefers_nan_and_the_first_of_equals(device: torch.device) -> None:
    nan = float("nan")
    src = torch.tensor([[1.0, 2, -5], [1, nan, -4], [0, nan, -4]], device=device)
    src.requires_grad_()
    out = segment_max(src, build_segments(torch.zeros(3, dtype=torch.int32, device=device), 1))
    assert_close(out, torch.tensor([[1.0, nan, -4]], device=device), equal_nan=True)
    (grad,) = torch.autograd.grad(out.sum(), src)
    assert grad.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_min_prefers_nan_and_the_first_of_equals(device: torch.device) -> None:
    nan = float("nan")
    src = torch.tensor([[1.0, 2, -5], [1, nan, -6], [3, nan, -6]], device=device)
    segments = build_segments(torch.zeros(3, dtype=torch.int32, device=device), 1)
    values, points = segment_min(src, segments, return_indices=True)
    assert_close(values, torch.tensor([[1.0, nan, -6]], device=device), equal_nan=True)
    assert points.tolist() == [[0, 1, 1]]


@each_reduction
def test_two_runs_agree_bit_by_bit(reduce: Reduce, device: torch.device) -> None:
    src, segments = random_case(20_000, 300, 16, torch.float32, device)
    runs = [reduce(src, segments) for _ in range(3)]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


@each_linear
def test_only_valid_rows_are_defined(reduce: Reduce, device: torch.device) -> None:
    src, segments = random_case(600, 90, 8, torch.float32, device)
    want = reduce(src, segments)
    padded = dataclasses.replace(segments, num_rows=torch.tensor(80, device=device))
    got = reduce(src, padded)
    assert torch.equal(got[:80], want[:80])
    grad_out = torch.randn_like(want) * (torch.arange(90, device=device) < 80)[:, None]
    grads = [torch.autograd.grad(out, src, grad_out)[0] for out in (got, want)]
    assert torch.equal(*grads)


@each_linear
def test_rejects_a_number_of_rows_that_makes_no_sense(reduce: Reduce) -> None:
    src, segments = random_case(60, 9, 8, torch.float32, torch.device("cpu"))
    for num_rows, error, message in [
        (torch.ones(2).long(), ValueError, r"`num_rows` must have one element, got shape \[2\]"),
        (torch.tensor(3.0), TypeError, "`num_rows` must be Long, got Float"),
        (torch.tensor(-1), ValueError, r"`num_rows` must be in \[0, 9\], got -1"),
        (torch.tensor(10), ValueError, r"`num_rows` must be in \[0, 9\], got 10"),
    ]:
        with pytest.raises(error, match=message):
            reduce(src, dataclasses.replace(segments, num_rows=num_rows))
