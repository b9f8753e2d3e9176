import math

import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck
from torch.nn.functional import kl_div, log_softmax, one_hot, softmax
from torch.testing import assert_close

import elite_ops
from elite_ops import distillation_loss
from elite_ops.reference.distillation_loss import distillation_loss as reference

SIZES = [0, 1, 31, 33, 1023]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
REDUCTIONS = ["mean", "batchmean", "sum"]
NUM_CLASSES = 20


def inputs(
    n: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    num_classes: int = NUM_CLASSES,
    num_voxels: int = 40,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student, teacher, index, weight: n points, some in no voxel, some of no weight."""
    generator = torch.Generator().manual_seed(n)

    def randn(rows: int) -> Tensor:
        logits = 2 * torch.randn(rows, num_classes, generator=generator, dtype=torch.float64)
        return logits.to(device, dtype)

    student, teacher = randn(num_voxels).requires_grad_(), randn(n)
    index = torch.randint(-1, num_voxels, (n,), generator=generator, dtype=torch.int32)
    weight = torch.rand(n, generator=generator).clamp(min=0.1) - 0.1
    weight = weight.to(device, torch.promote_types(dtype, torch.float32))
    return student, teacher, index.to(device), weight


def gradient(loss: Tensor, student: Tensor) -> Tensor:
    return torch.autograd.grad(3 * loss, student)[0]


def assert_equals_reference(student: Tensor, *arguments: Tensor | None, **options) -> None:
    loss = distillation_loss(student, *arguments, **options)
    want = reference(student, *arguments, **options)
    assert loss.dtype == torch.promote_types(student.dtype, torch.float32)
    assert_close(loss, want)
    got, want_gradient = gradient(loss, student), gradient(want, student)
    # A gradient is as precise as the probabilities that it subtracts.
    single = student.dtype == torch.float32
    scale = want_gradient.abs().max().item() if want_gradient.numel() else 0
    assert_close(got, want_gradient, **({"rtol": 1e-5, "atol": 1e-6 * scale} if single else {}))


def test_by_hand(device):
    # The student says (1/2, 1/2) on voxel 0 and (3/4, 1/4) on voxel 1.
    student = torch.tensor([[1.0, 1.0], [3.0, 1.0]], device=device).log().requires_grad_()
    teacher = torch.tensor([[1.0, 3.0], [3.0, 1.0], [1.0, 1.0]], device=device).log()
    index = torch.tensor([0, 1, 1], dtype=torch.int32, device=device)
    loss = distillation_loss(student, teacher, index, reduction="sum")
    first = 1 / 4 * math.log(1 / 2) + 3 / 4 * math.log(3 / 2)
    third = 1 / 2 * math.log(2 / 3) + 1 / 2 * math.log(2)
    assert loss.item() == pytest.approx(first + third)
    (grad,) = torch.autograd.grad(loss, student)
    assert_close(grad, torch.tensor([[1 / 4, -1 / 4], [1 / 4, -1 / 4]], device=device))


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 6), ("batchmean", 3), ("sum", 1)])
def test_what_divides(device, reduction, divisor):
    # Three points have a voxel; the one of no weight is among them, the one of no voxel is not.
    student = torch.zeros(1, 2, device=device)
    teacher = torch.tensor([[100.0, 0.0]] * 4, device=device)
    index = torch.tensor([0, 0, -1, 0], dtype=torch.int32, device=device)
    weight = torch.tensor([1.0, 2.0, 4.0, 0.0], device=device)
    loss = distillation_loss(student, teacher, index, weight=weight, reduction=reduction)
    assert loss.item() == pytest.approx(3 * math.log(2) / divisor)


@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_equals_reference(device, n, dtype, with_weight):
    student, teacher, index, weight = inputs(n, dtype, device)
    weight = weight if with_weight else None
    assert_equals_reference(student, teacher, index, weight=weight, temperature=2.5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("num_classes", [1, 2, 32, 33, 256, 300])
def test_any_number_of_classes_and_reduction(device, num_classes, reduction):
    student, teacher, index, weight = inputs(50, torch.float64, device, num_classes)
    assert_equals_reference(student, teacher, index, weight=weight, reduction=reduction)


@pytest.mark.parametrize("n", SIZES)
def test_without_an_index(device, n):
    student, teacher, _, weight = inputs(n, torch.float64, device, num_voxels=n)
    assert_equals_reference(student, teacher)
    assert_equals_reference(student, teacher, weight=weight, temperature=0.5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_equals_kl_div(device, temperature, reduction):
    student, teacher, index, _ = inputs(200, torch.float64, device)
    kept = index >= 0
    log_q = log_softmax(student[index[kept].long()] / temperature, dim=1)
    p = softmax(teacher[kept] / temperature, dim=1)
    terms = kl_div(log_q, p, reduction="none")
    want = {"mean": terms.mean(), "batchmean": terms.sum() / len(p), "sum": terms.sum()}[reduction]
    options = {"temperature": temperature, "reduction": reduction}
    loss = distillation_loss(student, teacher, index, **options)
    assert_close(loss, want)
    assert_close(gradient(loss, student), gradient(want, student))


def test_real_scan(device, real_points):
    # Voxels of two metres, and points that agree with their voxel's class by height, mostly.
    points = real_points.to(device)
    cells = (points[:, :3] / 2).floor().long()
    voxels, index = cells.unique(dim=0, return_inverse=True)
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(len(voxels), NUM_CLASSES, generator=generator).to(device)
    noise = torch.randn(len(points), NUM_CLASSES, generator=generator).to(device)
    label = ((points[:, 2] + 4) * 3).long().clamp(0, NUM_CLASSES - 1)
    teacher = noise + 4 * one_hot(label, NUM_CLASSES)
    assert_equals_reference(student.requires_grad_(), teacher, index.int())


def test_gradcheck(device):
    student, teacher, index, weight = inputs(30, device=device, num_classes=4, num_voxels=8)
    for reduction in REDUCTIONS:
        options = {"temperature": 1.5, "weight": weight, "reduction": reduction}
        torch.autograd.gradcheck(
            lambda s, o=options: distillation_loss(s, teacher, index, **o), student
        )
    torch.autograd.gradcheck(lambda s: distillation_loss(s, teacher[:8]), student)


def test_equal_logits_have_no_loss_and_no_gradient(device):
    student, _, index, _ = inputs(300, torch.float32, device)
    index = index.clamp(min=0)
    loss = distillation_loss(student, student.detach()[index.long()], index)
    assert loss.item() == 0
    assert (gradient(loss, student) == 0).all()


def test_adding_a_constant_to_a_row_changes_nothing(device):
    student, teacher, index, _ = inputs(100, device=device)
    moved = (student.detach() + torch.arange(40, device=device)[:, None]).requires_grad_()
    want, got = (distillation_loss(s, teacher, index) for s in (student, moved))
    assert_close(got, want)
    assert_close(gradient(got, moved), gradient(want, student))


def test_uniform_rows_give_the_entropy(device):
    student, teacher, index, _ = inputs(100, device=device)
    index = index.clamp(min=0)
    entropy = -(softmax(teacher, 1) * log_softmax(teacher, 1)).sum(1).mean()
    flat = torch.zeros_like(student)
    loss = distillation_loss(flat, teacher, index, reduction="batchmean")
    assert_close(loss, math.log(NUM_CLASSES) - entropy)
    loss = distillation_loss(student, torch.zeros_like(teacher), index, reduction="batchmean")
    log_q = log_softmax(student.detach(), 1).mean(1)[index.long()]
    assert_close(loss.detach(), -math.log(NUM_CLASSES) - log_q.mean())


def test_points_without_a_voxel_might_as_well_not_be_there(device):
    student, teacher, index, weight = inputs(200, torch.float64, device)
    kept = index >= 0
    got = distillation_loss(student, teacher, index, weight=weight)
    want = distillation_loss(student, teacher[kept], index[kept], weight=weight[kept])
    assert_close(got, want)
    assert_close(gradient(got, student), gradient(want, student))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("n", [0, 7])
def test_no_points_are_zero_with_zero_gradient(device, n, reduction):
    student, teacher, index, _ = inputs(n, torch.float32, device)
    loss = distillation_loss(student, teacher, index.fill_(-1), reduction=reduction)
    assert loss.item() == 0
    assert (gradient(loss, student) == 0).all()


def test_all_points_in_one_voxel(device):
    student, teacher, index, weight = inputs(3000, torch.float32, device)
    assert_equals_reference(student, teacher, index.fill_(3), weight=weight)


def test_large_logits(device):
    student, teacher, index, _ = inputs(100, torch.float64, device)
    student = (10 * student.detach() + 1e4).float().requires_grad_()
    teacher = (10 * teacher - 1e4).float()
    loss = distillation_loss(student, teacher, index)
    wide = student.detach().double().requires_grad_()
    want = reference(wide, teacher.double(), index)
    assert_close(loss.double(), want, rtol=1e-5, atol=0)
    assert_close(gradient(loss, student).double(), gradient(want, wide), rtol=1e-4, atol=1e-8)


def test_a_class_without_mass_contributes_nothing(device):
    student, teacher, index, _ = inputs(100, device=device)
    barred = teacher.clone()
    barred[:, ::3] = -torch.inf
    assert_equals_reference(student, barred, index)
    # Even where the student rules it out too; the other classes are as if it did not exist.
    ruled_out = student.detach().clone()
    ruled_out[:, ::3] = -torch.inf
    ruled_out.requires_grad_()
    loss = distillation_loss(ruled_out, barred, index, reduction="batchmean")
    rest = [c for c in range(NUM_CLASSES) if c % 3]
    fewer = student.detach()[:, rest].contiguous().requires_grad_()
    want = distillation_loss(fewer, teacher[:, rest], index, reduction="batchmean")
    assert_close(loss, want)
    assert_close(gradient(loss, ruled_out)[:, rest], gradient(want, fewer))


def test_weight_zero_leaves_out_an_infinite_divergence(device):
    student, teacher, index, weight = inputs(50, torch.float64, device)
    student.data[5, 2] = -torch.inf
    index[7] = 5
    assert distillation_loss(student, teacher, index).isinf()
    weight[index == 5] = 0
    loss = distillation_loss(student, teacher, index, weight=weight)
    assert loss.isfinite()
    assert (gradient(loss, student)[5] == 0).all()
    assert_equals_reference(student, teacher, index, weight=weight)


def test_nan_is_not_hidden(device):
    student, teacher, index, _ = inputs(50, torch.float32, device)
    bad = teacher.clone()
    bad[(index >= 0).nonzero()[0], 4] = torch.nan
    assert distillation_loss(student, bad, index).isnan()


def test_only_the_student_gets_a_gradient(device):
    student, teacher, index, weight = inputs(50, torch.float32, device)
    teacher.requires_grad_()
    weight.requires_grad_()
    distillation_loss(student, teacher, index, weight=weight).backward()
    assert student.grad is not None
    assert teacher.grad is None
    assert weight.grad is None


def test_same_bits_again(device):
    student, teacher, index, weight = inputs(5000, torch.float32, device)
    losses = [distillation_loss(student, teacher, index, weight=weight) for _ in range(2)]
    assert torch.equal(*losses)
    assert torch.equal(*(gradient(loss, student) for loss in losses))


def test_as_many_threads_as_you_like():
    student, teacher, index, weight = inputs(5000, torch.float32)
    threads, results = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        loss = distillation_loss(student, teacher, index, weight=weight)
        results.append((loss, gradient(loss, student)))
    torch.set_num_threads(threads)
    for loss, grad in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert torch.equal(grad, results[0][1])


@pytest.mark.parametrize("n", [0, 40])
def test_opcheck(device, n):
    student, teacher, index, weight = inputs(n, torch.float32, device)
    op = torch.ops.elite_ops.distillation_loss.default
    opcheck(op, (student, teacher, index, weight, 2.0, "mean"))
    opcheck(op, (teacher.clone().requires_grad_(), teacher, None, None, 1.0, "sum"))
    by_row = elite_ops.build_segments(index, len(student))
    scalar = torch.ones((), device=device)
    arguments = (scalar, scalar, student.detach(), teacher, by_row.order, by_row.offsets)
    op = torch.ops.elite_ops.distillation_loss_backward.default
    opcheck(op, (*arguments, weight, 2.0))


def test_compiles_without_a_graph_break(device):
    student, teacher, index, weight = inputs(100, torch.float32, device)
    compiled = torch.compile(distillation_loss, fullgraph=True, backend="aot_eager")
    got = compiled(student, teacher, index, weight=weight)
    want = distillation_loss(student, teacher, index, weight=weight)
    assert torch.equal(got, want)
    assert torch.equal(gradient(got, student), gradient(want, student))


def test_non_contiguous(device):
    student, teacher, index, weight = inputs(100, torch.float32, device)
    want = distillation_loss(student, teacher, index, weight=weight)
    turned = student.T.contiguous().T
    wide_index, wide_weight = torch.stack([index, index], 1), torch.stack([weight, weight], 1)
    got = distillation_loss(
        turned, teacher.T.contiguous().T, wide_index[:, 0], weight=wide_weight[:, 0]
    )
    assert torch.equal(got, want)
    assert torch.equal(gradient(got, student), gradient(want, student))


STUDENT, TEACHER, INDEX, WEIGHT = inputs(5, torch.float32, num_voxels=3)
STUDENT, INDEX = STUDENT.detach(), INDEX.clamp(min=0)
REJECTED = [
    (STUDENT[0], TEACHER, INDEX, {}, ValueError, r"`student_logits` must have 2 dimensions"),
    (STUDENT[:, :0], TEACHER, INDEX, {}, ValueError, r"`student_logits` must have at least one"),
    (STUDENT.int(), TEACHER, INDEX, {}, TypeError, r"`student_logits` must be float32, .* got Int"),
    (STUDENT, TEACHER[0], INDEX, {}, ValueError, r"`teacher_logits` must have 2 dimensions"),
    (STUDENT, TEACHER[:, 1:], INDEX, {}, ValueError, r"`teacher_logits` must have size 20 in dim"),
    (STUDENT, TEACHER.half(), INDEX, {}, TypeError, r"`teacher_logits` must be Float, got Half"),
    (STUDENT, TEACHER, INDEX[None], {}, ValueError, r"`index` must have 1 dimensions"),
    (STUDENT, TEACHER, INDEX[1:], {}, ValueError, r"`index` must have size 5 in dimension 0"),
    (STUDENT, TEACHER, INDEX.long(), {}, TypeError, r"`index` must be Int, got Long"),
    immediate(
        STUDENT,
        TEACHER,
        INDEX + 3,
        {},
        IndexError,
        r"`index` must be in \[-1, 3\), got values from",
    ),
    immediate(
        STUDENT,
        TEACHER,
        INDEX - 4,
        {},
        IndexError,
        r"`index` must be in \[-1, 3\), got values from",
    ),
    (STUDENT, TEACHER, None, {}, ValueError, r"`index` must be given unless .* got 3 and 5 rows"),
    (STUDENT, TEACHER, INDEX, {"weight": WEIGHT[1:]}, ValueError, r"`weight` must have size 5"),
    (STUDENT, TEACHER, INDEX, {"weight": WEIGHT[None]}, ValueError, r"`weight` must have 1 dim"),
    (STUDENT, TEACHER, INDEX, {"weight": WEIGHT.half()}, TypeError, r"`weight` must be Float"),
    (STUDENT, TEACHER, INDEX, {"temperature": 0.0}, ValueError, r"`temperature` must be positive"),
    (STUDENT, TEACHER, INDEX, {"temperature": 1e-46}, ValueError, r"`temperature` must be pos"),
    (STUDENT, TEACHER, INDEX, {"temperature": math.inf}, ValueError, r"`temperature` must be pos"),
    (STUDENT, TEACHER, INDEX, {"temperature": math.nan}, ValueError, r"`temperature` must be pos"),
    (
        STUDENT,
        TEACHER,
        INDEX,
        {"reduction": "none"},
        ValueError,
        r"`reduction` must be .* \"none\"",
    ),
]


@pytest.mark.parametrize(("student", "teacher", "index", "options", "error", "message"), REJECTED)
def test_rejects(student, teacher, index, options, error, message):
    with pytest.raises(error, match=r"distillation_loss: " + message):
        distillation_loss(student, teacher, index, **options)


ONE = torch.ones(())
BACKWARD = (ONE, ONE, STUDENT, TEACHER, torch.arange(5).int(), torch.zeros(4).int(), WEIGHT)
REJECTED_BACKWARD = [
    (0, torch.ones(1), ValueError, r"`grad_loss` must have 0 dimensions"),
    (1, ONE.double(), TypeError, r"`scale` must be Float, got Double"),
    (2, STUDENT.int(), TypeError, r"`student_logits` must be float32"),
    (3, TEACHER[:, 1:], ValueError, r"`teacher_logits` must have size 20"),
    (4, torch.arange(4).int(), ValueError, r"`order` must have size 5 in dimension 0"),
    (4, torch.arange(5), TypeError, r"`order` must be Int, got Long"),
    (4, None, ValueError, r"`order` must be given together with `offsets`"),
    (5, torch.zeros(5).int(), ValueError, r"`offsets` must have size 4 in dimension 0"),
    (5, torch.zeros(4), TypeError, r"`offsets` must be Int, got Float"),
    (6, WEIGHT[1:], ValueError, r"`weight` must have size 5 in dimension 0"),
]


@pytest.mark.parametrize(("position", "argument", "error", "message"), REJECTED_BACKWARD)
def test_backward_rejects(position, argument, error, message):
    arguments = list(BACKWARD)
    arguments[position] = argument
    with pytest.raises(error, match=r"distillation_loss_backward: " + message):
        torch.ops.elite_ops.distillation_loss_backward(*arguments, 1.0)


@pytest.mark.gpu
def test_index_out_of_range_on_cuda_is_left_out_and_reported(cuda):
    student, teacher, index, _ = inputs(50, torch.float32, cuda)
    none, wrong = index.clone(), index.clone()
    none[7], wrong[7] = -1, len(student)
    want = distillation_loss(student, teacher, none)
    got = distillation_loss(student, teacher, wrong)
    assert torch.equal(got, want)
    assert torch.equal(gradient(got, student), gradient(want, student))
    with pytest.raises(IndexError, match="distillation_loss: `index` must be -1 or a row"):
        elite_ops.check_device_errors()


@pytest.mark.parametrize("temperature", [1.2e-38, 1e-30, 3e38])
def test_extreme_temperatures_give_numbers(temperature, device):
    student = torch.tensor([[0.0, 1.0], [2.0, 2.0]], device=device, requires_grad=True)
    loss = distillation_loss(student, student.detach(), temperature=temperature)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.eq(0).all()
