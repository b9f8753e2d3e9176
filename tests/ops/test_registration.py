"""What holds for every op where it meets torch: devices, derivatives, tracing, autocast."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad

from elite_ops import (
    build_segments,
    confusion_matrix,
    distillation_loss,
    encode_voxels,
    lovasz_softmax,
    nearest_rows,
    nms,
    patch_to_point,
    project_points,
    segment_max,
    segment_mean,
    segment_sum,
    voxel_to_point,
)


def ints(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


SEGMENTS = build_segments(ints(0, 0, 1), 2)
LABELS = torch.tensor([0, 2, 1])
PIXELS = ints([0, 0], [1, 2], [2, 2])
IMAGES = torch.tensor([0, 1, 1])


def encoded(weight: Tensor) -> Tensor:
    points = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.1, 0.2], [1.5, 0.5, 0.5]])
    cells = ints([0, 0, 0, 0], [0, 1, 0, 0])
    size, origin = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    bias = torch.zeros(weight.shape[1], dtype=weight.dtype)
    return encode_voxels(points, SEGMENTS, cells, weight, bias, voxel_size=size, origin=origin)


def distilled(logits: Tensor) -> Tensor:
    return distillation_loss(logits, logits.detach().flip(0), ints(0, 2, 1))


# A function of one tensor for each op with a derivative, and that tensor's shape.
DIFFERENTIABLE: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "distillation_loss": (distilled, (3, 4)),
    "encode_voxels": (encoded, (9, 2)),
    "lovasz_softmax": (lambda t: lovasz_softmax(t, LABELS, ignore_label=None), (3, 4)),
    "patch_to_point": (lambda t: patch_to_point(t, PIXELS, IMAGES, (3, 3)), (2, 3, 2, 2)),
    "segment_max": (lambda t: segment_max(t, SEGMENTS), (3, 2)),
    "segment_mean": (lambda t: segment_mean(t, SEGMENTS), (3, 2)),
    "segment_sum": (lambda t: segment_sum(t, SEGMENTS), (3, 2)),
    "voxel_to_point": (lambda t: voxel_to_point(t, SEGMENTS), (2, 2)),
}
ONCE = ["distillation_loss", "encode_voxels", "lovasz_softmax"]
each_derivative = pytest.mark.parametrize("op", DIFFERENTIABLE)

# Arguments of each op.
CALLS: dict[str, tuple[Any, ...]] = {
    "confusion_matrix": (LABELS, LABELS, 3),
    "distillation_loss": (*torch.ones(2, 3, 4), ints(0, 1, 2), torch.ones(3), 1.0, "mean"),
    "lovasz_softmax": (torch.ones(3, 4), LABELS, None, "present"),
    "nearest_rows": (torch.ones(2, 3), torch.ones(4, 3)),
    "nms": (torch.ones(2, 4), torch.ones(2), 0.5),
    "patch_to_point": (torch.ones(2, 3, 2, 2), PIXELS, IMAGES, 3, 3),
    "project_points": (torch.ones(3, 4), torch.ones(2, 3, 4), IMAGES, 8, 8),
}
CASES = [
    (op, i)
    for op, arguments in CALLS.items()
    for i, value in enumerate(arguments)
    if isinstance(value, Tensor)
]


def op_and_name(op: str, i: int) -> tuple[Any, str]:
    overload = getattr(torch.ops.elite_ops, op).default
    return overload, overload._schema.arguments[i].name


@pytest.mark.parametrize(("op", "i"), CASES)
def test_one_meta_tensor_among_others_is_refused(op: str, i: int) -> None:
    overload, name = op_and_name(op, i)
    arguments = list(CALLS[op])
    arguments[i] = arguments[i].to("meta")
    with pytest.raises(
        ValueError, match=rf"^{op}: `\w+` must be on the device of `\w+` \("
    ) as error:
        overload(*arguments)
    assert f"`{name}`" in str(error.value)


@pytest.mark.parametrize(("op", "i"), CASES)
def test_one_fake_tensor_of_another_device_is_refused(op: str, i: int) -> None:
    overload, name = op_and_name(op, i)
    with FakeTensorMode() as mode:
        arguments = [mode.from_tensor(v) if isinstance(v, Tensor) else v for v in CALLS[op]]
        arguments[i] = torch.empty_like(arguments[i], device="meta")
        with pytest.raises(ValueError, match=f"^{op}: .*`{name}`"):
            overload(*arguments)


@pytest.mark.parametrize("op", [op for op in CALLS if op != "nms"])  # its size depends on the data
def test_shapes_on_the_meta_device(op: str) -> None:
    overload, _ = op_and_name(op, 0)
    meta = [v.to("meta") if isinstance(v, Tensor) else v for v in CALLS[op]]
    got, expected = overload(*meta), overload(*CALLS[op])
    for g, e in zip(*((t,) if isinstance(t, Tensor) else t for t in (got, expected)), strict=True):
        assert (g.device.type, g.shape, g.dtype) == ("meta", e.shape, e.dtype)


@each_derivative
def test_forward_mode_is_refused(op: str) -> None:
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape)
    refusal = pytest.raises(NotImplementedError, match=f"^{op}: has no forward-mode derivative")
    with refusal:
        torch.func.jvp(function, (x,), (torch.ones_like(x),))
    with forward_ad.dual_level(), refusal:
        function(forward_ad.make_dual(x, torch.ones_like(x)))


@each_derivative
def test_forward_over_reverse_is_refused(op: str) -> None:
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape, requires_grad=True)
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match=r"jvp|forward"):
        function(forward_ad.make_dual(x, torch.ones_like(x)))


def test_numbers_that_have_no_derivative_have_no_tangent() -> None:
    points = torch.randn(4, 3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(points, torch.ones_like(points))
        assert nearest_rows(dual, points).tolist() == [0, 1, 2, 3]
        projection = torch.eye(4)[:3]
        pixel, valid = project_points(dual, projection, (8, 8))
        assert torch.equal(pixel, project_points(points, projection, (8, 8))[0])
        assert nms(torch.cat([dual, dual], 1)[:, :4], dual[:, 0], 1.0).numel() == 4
    assert valid.dtype == torch.bool


@each_derivative
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # an op is called for each
def test_transforms_of_functions_are_right(op: str) -> None:
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def loss(t: Tensor) -> Tensor:
        return function(t).square().sum()

    (want,) = torch.autograd.grad(loss(x), x)
    assert torch.equal(torch.func.grad(loss)(x.detach()), want)
    both = torch.stack([2 * x.detach(), x.detach()])
    if op == "patch_to_point":  # its derivative orders the pixels, of each sample alone
        with pytest.raises(RuntimeError, match="Batching rule not implemented"):
            torch.func.vmap(torch.func.grad(loss))(both)
        return
    assert torch.equal(torch.func.vmap(torch.func.grad(loss))(both)[1], want)


@each_derivative
def test_nested_transforms_are_refused_or_right(op: str) -> None:
    """None gives a second derivative of zero because the inner transform has hidden it."""
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def loss(t: Tensor) -> Tensor:
        return function(t).square().sum()

    def slope(t: Tensor) -> Tensor:
        return torch.func.grad(loss)(t).square().sum()

    if op in ONCE:
        with pytest.raises(RuntimeError, match=f"^{op}: has no second derivative"):
            torch.func.grad(slope)(x.detach())
        return
    (first,) = torch.autograd.grad(loss(x), x, create_graph=True)
    (want,) = torch.autograd.grad(first.square().sum(), x)
    torch.testing.assert_close(torch.func.grad(slope)(x.detach()), want)


@pytest.mark.parametrize("op", ONCE)
def test_a_second_derivative_that_is_missing_is_not_zero(op: str) -> None:
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=f"^{op}: has no second derivative"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("op", ONCE)
def test_a_graph_of_the_gradient_harms_nobody_who_does_not_use_it(op: str) -> None:
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape, requires_grad=True)
    (plain,) = torch.autograd.grad(function(x).sum(), x)
    (gradient,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    assert torch.equal(gradient, plain)


def test_no_op_gives_a_derivative_of_zero_by_omission() -> None:
    names = torch._C._dispatch_get_all_op_names()
    ours = [name for name in names if name.startswith("elite_ops::")]
    assert len(ours) > len(CALLS)
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    assert [name for name in ours if not has_kernel(name, "Autograd")] == []


@pytest.mark.parametrize("op", [*CALLS, *DIFFERENTIABLE])
def test_tracing_is_refused(op: str) -> None:
    if op in DIFFERENTIABLE:
        function, shape = DIFFERENTIABLE[op]
        call, inputs = function, (torch.randn(shape),)
    else:
        overload, _ = op_and_name(op, 0)
        inputs = tuple(v for v in CALLS[op] if isinstance(v, Tensor))
        rest = CALLS[op][len(inputs) :]
        call = lambda *tensors: overload(*tensors, *rest)  # noqa: E731
    with pytest.raises(NotImplementedError, match=rf"^{op}: torch\.jit\.trace .* torch\.export"):
        torch.jit.trace(call, inputs, check_trace=False)


@pytest.mark.parametrize("op", ["distillation_loss", "lovasz_softmax"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_losses_under_autocast_are_those_of_float32_logits(op: str, dtype: torch.dtype) -> None:
    function, shape = DIFFERENTIABLE[op]
    logits = torch.randn(shape, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = function(logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    wide = logits.detach().to(torch.promote_types(dtype, torch.float32)).requires_grad_()
    expected = function(wide)
    assert torch.equal(loss, expected)
    assert loss.dtype == wide.dtype
    assert torch.equal(gradient, torch.autograd.grad(expected, wide)[0].to(dtype))


@pytest.mark.parametrize(
    "op", [op for op in DIFFERENTIABLE if "loss" not in op and "lov" not in op]
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_others_keep_their_dtype_under_autocast(op: str, dtype: torch.dtype) -> None:
    function, shape = DIFFERENTIABLE[op]
    x = torch.randn(shape, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        out = function(x)
    assert torch.equal(out, function(x))
    assert out.dtype == dtype


def test_autocast_takes_logits_of_several_dtypes() -> None:
    student, teacher = torch.randn(3, 4).bfloat16(), torch.randn(3, 4)
    weight = torch.rand(3).half()
    with torch.autocast("cpu", torch.bfloat16):
        loss = distillation_loss(student, teacher, weight=weight)
    assert torch.equal(loss, distillation_loss(student.float(), teacher, weight=weight.float()))
    with pytest.raises(TypeError, match="`teacher_logits` must be BFloat16, got Float"):
        distillation_loss(student, teacher)


def test_compiled_losses_follow_autocast() -> None:
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return distillation_loss(student, teacher)

    student, teacher = torch.randn(3, 4).bfloat16(), torch.randn(3, 4)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(student, teacher), loss(student, teacher))
    assert confusion_matrix(LABELS, LABELS, 3).sum() == 3
