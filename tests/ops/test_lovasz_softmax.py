import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck
from torch.testing import assert_close

from elite_ops import lovasz_softmax
from elite_ops.reference.lovasz_softmax import lovasz_softmax as reference

SIZES = [0, 1, 31, 33, 1023]
NUM_CLASSES = 20


def inputs(
    n: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    num_classes: int = NUM_CLASSES,
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    logits = 2 * torch.randn(n, num_classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(num_classes, (n,), generator=generator)
    return logits.to(device, dtype).requires_grad_(), labels.to(device)


def set_function_loss(
    logits: Tensor, labels: Tensor, classes: str, ignore_label: int | None
) -> float:
    """The definition: the Lovász extension of the Jaccard loss, as a set function, at the errors.

    The extension of a set function D with D(empty set) = 0 at m >= 0 is the integral over t of
    D({i: m_i >= t}). The integrand is constant between two neighbouring values of m.
    """
    kept = [i for i, label in enumerate(labels.tolist()) if label != ignore_label]
    probabilities = logits.softmax(1)[kept].tolist()
    labels = labels[kept].tolist()
    losses = []
    for c in range(logits.shape[1]):
        truth = {i for i, label in enumerate(labels) if label == c}
        if classes == "present" and not truth:
            continue
        errors = [1 - p[c] if i in truth else p[c] for i, p in enumerate(probabilities)]
        loss = lower = 0.0
        for level in sorted(set(errors)):
            mispredicted = {i for i, error in enumerate(errors) if error >= level}
            predicted = truth ^ mispredicted
            jaccard_loss = 1 - len(truth & predicted) / len(truth | predicted)
            loss += (level - lower) * jaccard_loss
            lower = level
        losses.append(loss)
    return sum(losses) / len(losses) if losses else 0.0


def test_by_hand(device):
    # Two classes, probabilities (3/4, 1/4) and (1/2, 1/2). Class 0 has the first point: errors 1/4
    # and 1/2, so the second, a background point, comes first: 1/2 * 1/2 + 1/4 * 1/2. Class 1 has
    # the second: errors 1/2 (itself) and 1/4, so 1/2 * 1 + 1/4 * 0.
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.0]], device=device).log()
    labels = torch.tensor([0, 1], device=device)
    loss = lovasz_softmax(logits, labels, ignore_label=None)
    assert loss.item() == pytest.approx((3 / 8 + 1 / 2) / 2)


def test_classes_without_a_point(device):
    logits = torch.tensor([[2.0, 1.0, 1.0], [6.0, 1.0, 1.0]], device=device).log()
    labels = torch.tensor([1, 1], device=device)
    present = lovasz_softmax(logits, labels)
    assert present.item() == pytest.approx(3 / 4 * 1 / 2 + 7 / 8 * 1 / 2)
    every = lovasz_softmax(logits, labels, classes="all")
    assert every.item() == pytest.approx((3 / 4 + present.item() + 1 / 4) / 3)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("ignore_label", [None, 0, 3, 255])
@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_equals_the_extension_of_the_set_function(device, n, ignore_label, classes):
    logits, labels = inputs(n, device=device, num_classes=4)
    loss = lovasz_softmax(logits, labels, ignore_label=ignore_label, classes=classes)
    want = set_function_loss(logits, labels, classes, ignore_label)
    assert loss.item() == pytest.approx(want, rel=1e-12, abs=1e-12)


def test_equal_errors_equal_the_set_function(device):
    logits = torch.zeros(30, 3, dtype=torch.float64, device=device)
    labels = torch.arange(30, device=device) % 3
    loss = lovasz_softmax(logits, labels, ignore_label=None)
    assert loss.item() == pytest.approx(set_function_loss(logits, labels, "present", None))


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", SIZES)
def test_equals_reference(device, n, dtype, classes):
    logits, labels = inputs(n, dtype, device)
    loss = lovasz_softmax(logits, labels, classes=classes)
    want = reference(logits, labels, classes=classes)
    assert_close(loss, want)
    assert_close(torch.autograd.grad(3 * loss, logits)[0], torch.autograd.grad(3 * want, logits)[0])


def test_real_scan(device, real_points):
    # Classes by height, logits that roughly know them: large and small classes, mixed errors.
    points = real_points.to(device)
    labels = ((points[:, 2] + 4) * 3).long().clamp(0, NUM_CLASSES - 1)
    noise = torch.randn(len(points), NUM_CLASSES, generator=torch.Generator().manual_seed(0))
    logits = noise.to(device) + 4 * torch.nn.functional.one_hot(labels, NUM_CLASSES)
    logits = logits.double().requires_grad_()
    loss = lovasz_softmax(logits, labels)
    want = reference(logits, labels)
    assert_close(loss, want)
    (got,), (want,) = torch.autograd.grad(loss, logits), torch.autograd.grad(want, logits)
    assert_close(got, want, rtol=1e-7, atol=1e-15)
    # In float32, neighbours in the sorted order may swap: compare the gradients as vectors.
    single = logits.detach().float().requires_grad_()
    (got,) = torch.autograd.grad(lovasz_softmax(single, labels), single)
    assert (got - want).norm() < 1e-3 * want.norm()


def test_gradcheck(device):
    logits, labels = inputs(25, device=device, num_classes=5)
    for classes in ("present", "all"):
        torch.autograd.gradcheck(lambda x, c=classes: lovasz_softmax(x, labels, classes=c), logits)


def test_only_one_labelled_point(device):
    logits, _ = inputs(40, torch.float32, device)
    labels = torch.zeros(40, dtype=torch.int64, device=device)
    labels[17] = 5
    loss = lovasz_softmax(logits, labels)
    assert_close(loss, 1 - logits[17].softmax(0)[5])
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[17].norm() > 0
    assert (gradient[torch.arange(40, device=device) != 17] == 0).all()


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("n", [0, 1, 300])
def test_nothing_labelled_is_zero_with_zero_gradient(device, n, classes):
    logits, _ = inputs(n, torch.float32, device)
    loss = lovasz_softmax(logits, torch.zeros(n, dtype=torch.int64, device=device), classes=classes)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert gradient.shape == logits.shape
    assert (gradient == 0).all()


def test_perfect_prediction_is_zero(device):
    labels = torch.arange(100, device=device) % NUM_CLASSES
    logits = 1e4 * torch.nn.functional.one_hot(labels, NUM_CLASSES).float()
    assert lovasz_softmax(logits, labels).item() == 0


def test_ignored_rows_do_not_matter(device):
    logits, labels = inputs(200, torch.float32, device)
    changed = torch.where((labels == 0)[:, None], torch.nan, logits.detach()).requires_grad_()
    loss, same = lovasz_softmax(logits, labels), lovasz_softmax(changed, labels)
    assert torch.equal(loss, same)
    (want,), (got,) = torch.autograd.grad(loss, logits), torch.autograd.grad(same, changed)
    assert torch.equal(got, want)


def test_nan_in_a_labelled_row_makes_the_loss_nan(device):
    logits, labels = inputs(200, torch.float32, device)
    row = labels.nonzero()[50, 0]
    for column in (labels[row], labels[row] - 1):
        bad = logits.detach().clone()
        bad[row, column] = torch.nan
        assert lovasz_softmax(bad, labels).isnan()


def test_same_bits_again(device):
    logits, labels = inputs(5000, torch.float32, device)
    losses = [lovasz_softmax(logits, labels) for _ in range(2)]
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("n", [0, 40])
def test_opcheck(device, n):
    logits, labels = inputs(n, torch.float32, device, num_classes=5)
    opcheck(torch.ops.elite_ops.lovasz_softmax.default, (logits, labels, 0, "present"))
    grad_out, grad_probabilities = torch.ones((), device=device), logits.detach().T.contiguous()
    arguments = (grad_out, logits.detach(), grad_probabilities)
    opcheck(torch.ops.elite_ops.lovasz_softmax_backward.default, arguments)


def test_compiles_without_a_graph_break(device):
    logits, labels = inputs(100, torch.float32, device)
    compiled = torch.compile(lovasz_softmax, fullgraph=True, backend="aot_eager")
    got, want = compiled(logits, labels), lovasz_softmax(logits, labels)
    assert torch.equal(got, want)
    assert torch.equal(torch.autograd.grad(got, logits)[0], torch.autograd.grad(want, logits)[0])


def test_non_contiguous(device):
    logits, labels = inputs(100, torch.float32, device)
    want = lovasz_softmax(logits, labels)
    assert torch.equal(lovasz_softmax(logits.T.contiguous().T, labels), want)
    wide = torch.stack([labels, labels + 100], dim=1)
    assert torch.equal(lovasz_softmax(logits, wide[:, 0]), want)


LOGITS, LABELS = torch.zeros(4, 3), torch.tensor([0, 1, 2, 1])
REJECTED = [
    (LOGITS[0], LABELS, {}, ValueError, r"`logits` must have 2 dimensions, got shape \[3\]"),
    (LOGITS, LABELS[None], {}, ValueError, r"`labels` must have 1 dimensions"),
    (LOGITS, LABELS[:3], {}, ValueError, r"`labels` must have size 4 in dimension 0"),
    (LOGITS.long(), LABELS, {}, TypeError, r"`logits` must be float32, .* got Long"),
    (LOGITS, LABELS.int(), {}, TypeError, r"`labels` must be Long, got Int"),
    (LOGITS, LABELS, {"classes": "some"}, ValueError, r"`classes` must be \"present\" or \"all\""),
    immediate(
        LOGITS, LABELS + 1, {}, IndexError, r"`labels` must lie in \[0, 3\) .* got 3 at row 2"
    ),
    immediate(LOGITS, LABELS - 1, {}, IndexError, r".* got -1 at row 0"),
    immediate(LOGITS, LABELS - 1, {"ignore_label": None}, IndexError, r".* got -1 at row 0"),
]


@pytest.mark.parametrize(("logits", "labels", "options", "error", "message"), REJECTED)
def test_rejects(logits, labels, options, error, message):
    with pytest.raises(error, match=r"lovasz_softmax: " + message):
        lovasz_softmax(logits, labels, **options)


BACKWARD = (torch.ones(()), LOGITS, torch.zeros(3, 4))
REJECTED_BACKWARD = [
    (0, torch.ones(1), ValueError, r"`grad_out` must have 0 dimensions"),
    (0, torch.ones(()).double(), TypeError, r"`grad_out` must be Float, got Double"),
    (1, LOGITS[0], ValueError, r"`logits` must have 2 dimensions"),
    (1, LOGITS.long(), TypeError, r"`logits` must be float32"),
    (2, torch.zeros(3), ValueError, r"`grad_probabilities` must have 2 dimensions"),
    (2, torch.zeros(2, 4), ValueError, r"`grad_probabilities` must have size 3 in dimension 0"),
    (2, torch.zeros(3, 5), ValueError, r"`grad_probabilities` must have size 4 in dimension 1"),
    (2, torch.zeros(3, 4).half(), TypeError, r"`grad_probabilities` must be Float, got Half"),
]


@pytest.mark.parametrize(("position", "argument", "error", "message"), REJECTED_BACKWARD)
def test_backward_rejects(position, argument, error, message):
    arguments = list(BACKWARD)
    arguments[position] = argument
    with pytest.raises(error, match=r"lovasz_softmax_backward: " + message):
        torch.ops.elite_ops.lovasz_softmax_backward(*arguments)


@pytest.mark.gpu
def test_label_out_of_range_on_cuda_is_left_out_and_reported(cuda):
    import elite_ops

    logits, labels = inputs(50, torch.float32, cuda)
    bad = labels.clone()
    bad[7] = NUM_CLASSES
    labels[7] = 0
    assert torch.equal(lovasz_softmax(logits, bad), lovasz_softmax(logits, labels))
    with pytest.raises(IndexError, match="lovasz_softmax: `labels` must lie in"):
        elite_ops.check_device_errors()
