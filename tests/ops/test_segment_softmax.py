from collections.abc import Callable

import pytest
import torch
from segment_cases import SIZES, random_inverse, scan_inverse
from torch import Tensor
from torch.testing import assert_close

from elite_ops import Segments, build_segments, segment_logsumexp, segment_softmax
from elite_ops.reference import segment_softmax as reference

Op = Callable[[Tensor, Segments], Tensor]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
# Of a value and of a gradient, which for logsumexp is rounded twice.
TOLERANCE = {
    torch.float32: {"rtol": 2e-6, "atol": 2e-6},
    torch.float16: {"rtol": 2e-3, "atol": 1e-3},
    torch.bfloat16: {"rtol": 2e-2, "atol": 1e-2},
}
INF = float("inf")

each_op = pytest.mark.parametrize(
    "op", [segment_softmax, segment_logsumexp], ids=lambda f: f.__name__
)


def random_case(
    num_points: int, num_segments: int, channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Segments]:
    generator = torch.Generator().manual_seed(1)
    src = 3 * torch.randn(num_points, channels, dtype=torch.float64, generator=generator)
    inverse = random_inverse(num_points, num_segments).to(device)
    return src.to(device, dtype).requires_grad_(), build_segments(inverse, num_segments)


def of_full_segments(op: Op, src: Tensor, segments: Segments) -> Tensor:
    """Without the -inf of empty segments, of which nothing depends on anything."""
    out = op(src, segments)
    return out[segments.counts > 0] if op is segment_logsumexp else out


def dense_truth(op: Op, src: Tensor, segments: Segments) -> Tensor:
    """Segment by segment, with torch's functions on its points."""
    out = torch.zeros_like(src)
    if op is segment_logsumexp:
        out = src.new_full((segments.num_segments, src.shape[1]), -INF)
    for v in segments.counts.nonzero()[:, 0].tolist():
        points = segments.inverse == v
        if op is segment_softmax:
            out[points] = src[points].softmax(0)
        else:
            out[v] = src[points].logsumexp(0)
    return out


def test_small_example(device: torch.device) -> None:
    src = torch.tensor([[0.0], [3], [0], [7], [100]], device=device).log()
    inverse = torch.tensor([2, 0, 2, 0, -1], dtype=torch.int32, device=device)
    src[0], src[2] = 1000, 1000
    segments = build_segments(inverse, 3)
    half = torch.tensor([[0.5], [0.3], [0.5], [0.7], [0]], device=device)
    assert_close(segment_softmax(src, segments), half)
    sums = torch.tensor([[2.302585], [-INF], [1000.693147]], device=device)
    assert_close(segment_logsumexp(src, segments), sums)


@each_op
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_equals_the_dense_truth_and_the_reference(
    op: Op, dtype: torch.dtype, num_points: int, num_segments: int, device: torch.device
) -> None:
    for channels in (0, 1, 3, 64):
        src, segments = random_case(num_points, num_segments, channels, dtype, device)
        wide = src.detach().double().requires_grad_()
        out = op(src, segments)
        assert out.dtype == dtype
        want = dense_truth(op, wide.detach(), segments)
        assert_close(out, want.to(dtype), **TOLERANCE.get(dtype, {}))

        definition = getattr(reference, op.__name__)
        defined = definition(wide, segments.inverse, num_segments)
        assert_close(defined, want)
        grad_out = torch.randn_like(out)
        (grad,) = torch.autograd.grad(out, src, grad_out)
        (want_grad,) = torch.autograd.grad(defined, wide, grad_out.double())
        assert grad.dtype == dtype
        assert_close(grad, want_grad.to(dtype), **TOLERANCE.get(dtype, {}))


@each_op
def test_equals_reference_on_a_real_scan(op: Op, real_points: Tensor, device: torch.device) -> None:
    inverse, num_voxels = scan_inverse(real_points, voxel_size=0.4)
    segments = build_segments(inverse.to(device), num_voxels)
    noise = torch.randn(real_points.shape[0], 8, generator=torch.Generator().manual_seed(0))
    want = getattr(reference, op.__name__)(noise.double(), inverse, num_voxels)
    assert_close(op(noise.to(device), segments).cpu(), want.float(), **TOLERANCE[torch.float32])


@each_op
def test_gradcheck(op: Op, device: torch.device) -> None:
    src, segments = random_case(30, 8, 3, torch.float64, device)
    assert torch.autograd.gradcheck(lambda x: of_full_segments(op, x, segments), src)
    assert torch.autograd.gradgradcheck(lambda x: of_full_segments(op, x, segments), src)


def test_opcheck(device: torch.device) -> None:
    src, segments = random_case(50, 7, 3, torch.float32, device)
    tensors = segments.inverse, segments.order, segments.offsets
    ops = torch.ops.elite_ops
    torch.library.opcheck(ops.segment_softmax.default, (src, *tensors))
    torch.library.opcheck(ops.segment_logsumexp.default, (src, *tensors))
    grad_out = torch.randn(50, 3, device=device, requires_grad=True)
    out = segment_softmax(src, segments).detach().requires_grad_()
    torch.library.opcheck(ops.segment_softmax_backward.default, (grad_out, out, *tensors))


@each_op
def test_compiles_without_a_graph_break(op: Op, device: torch.device) -> None:
    src, segments = random_case(50, 7, 3, torch.float32, device)
    compiled = torch.compile(op, fullgraph=True, backend="aot_eager")
    out, want = compiled(src, segments), op(src, segments)
    assert torch.equal(out, want)
    grads = [torch.autograd.grad(y.square().sum(), src)[0] for y in (out, want)]
    assert torch.equal(*grads)


@each_op
def test_takes_strided_input(op: Op, device: torch.device) -> None:
    src, segments = random_case(50, 7, 6, torch.float32, device)
    view = src[:, ::2]
    out, want = op(view, segments), op(view.contiguous(), segments)
    assert torch.equal(out, want)
    grad_out = torch.randn(3, out.shape[0], device=device).T
    got = torch.autograd.grad(out, src, grad_out)[0]
    assert torch.equal(got, torch.autograd.grad(want, src, grad_out.contiguous())[0])


@each_op
def test_rejects_wrong_arguments(op: Op) -> None:
    name = op.__name__
    src, segments = random_case(5, 3, 2, torch.float32, torch.device("cpu"))
    with pytest.raises(ValueError, match=rf"{name}: `src` must have 2 dimensions"):
        op(src[0], segments)
    with pytest.raises(ValueError, match=rf"{name}: `src` must have size 5 in dimension 0"):
        op(src[1:], segments)
    with pytest.raises(TypeError, match=rf"{name}: `src` must be float32, .*, got Int"):
        op(src.int(), segments)
    with pytest.raises(TypeError, match=rf"{name}: `segments.order` must be Int, got Long"):
        op(src, Segments(segments.inverse, segments.order.long(), segments.offsets))


def test_the_gradient_rejects_wrong_arguments() -> None:
    src, segments = random_case(5, 3, 2, torch.float32, torch.device("cpu"))
    tensors = segments.inverse, segments.order, segments.offsets
    backward = torch.ops.elite_ops.segment_softmax_backward
    with pytest.raises(ValueError, match="segment_softmax_backward: `grad_out` must have size 5"):
        backward(src[1:], src, *tensors)
    with pytest.raises(ValueError, match="segment_softmax_backward: `out` must have size 2 in dim"):
        backward(src, src[:, :1], *tensors)
    with pytest.raises(
        TypeError, match="segment_softmax_backward: `out` must be Float, got Double"
    ):
        backward(src, src.double(), *tensors)


@each_op
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4, 1e30, -3e38])
def test_huge_values_are_no_trouble(op: Op, shift: float, device: torch.device) -> None:
    src = torch.tensor([[0.0, 1], [1, -2], [0.5, 3]], device=device) + shift
    segments = build_segments(torch.zeros(3, dtype=torch.int32, device=device), 1)
    out = op(src, segments)
    assert out.isfinite().all()
    assert_close(out, dense_truth(op, src.double(), segments).float())


@each_op
@pytest.mark.parametrize(
    "column", [[-INF, 1], [INF, 1], [-INF, -INF], [INF, INF], [1, float("nan")], [-INF, INF]]
)
def test_what_is_not_finite_gives_what_torch_makes_of_it(
    op: Op, column: list[float], device: torch.device
) -> None:
    """In either order, and only in its channel and segment."""
    for values in (column, column[::-1]):
        src = torch.tensor([[values[0], 1], [values[1], 2], [3, 4]], device=device)
        inverse = torch.tensor([0, 0, 1], dtype=torch.int32, device=device)
        segments = build_segments(inverse, 2)
        assert_close(op(src, segments), dense_truth(op, src, segments), equal_nan=True)


def test_points_in_no_segment_give_0_whatever_they_hold(device: torch.device) -> None:
    src = torch.full((3, 2), float("nan"), device=device, requires_grad=True)
    out = segment_softmax(src, build_segments(torch.full((3,), -1, device=device).int(), 2))
    assert torch.equal(out, torch.zeros(3, 2, device=device))
    assert torch.equal(torch.autograd.grad(out.sum(), src)[0], torch.zeros(3, 2, device=device))


def test_sums_to_one(device: torch.device) -> None:
    src, segments = random_case(2000, 60, 5, torch.float64, device)
    sums = torch.zeros(60, 5, dtype=torch.float64, device=device)
    inside = segments.inverse >= 0
    softmax = segment_softmax(src, segments)[inside]
    sums.index_add_(0, segments.inverse[inside].long(), softmax.detach())
    assert_close(sums, torch.ones_like(sums))


@each_op
def test_threads_and_runs_agree_bit_by_bit(op: Op, device: torch.device) -> None:
    src, segments = random_case(20_000, 300, 16, torch.float32, device)
    before, runs = torch.get_num_threads(), []
    for threads in (1, 2, 5, 1):
        torch.set_num_threads(threads)
        out = op(src, segments)
        runs.append((out, torch.autograd.grad(out, src, torch.ones_like(out))[0]))
    torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(map(torch.equal, run, runs[0]))
