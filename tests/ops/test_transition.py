import dataclasses
from collections.abc import Callable

import pytest
import torch
from segment_cases import SIZES, random_inverse, scan_inverse
from torch import Tensor
from torch.testing import assert_close

from elite_ops import (
    PointTransition,
    Segments,
    Transition,
    build_segments,
    build_transition,
    segment_mean,
    transition,
    voxel_to_point,
)
from elite_ops.ops.transition import CsrMatrix
from elite_ops.reference import transition as reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def random_segments(
    num_points: int, num_fine: int, device: torch.device
) -> tuple[Segments, Segments]:
    num_coarse = (num_fine + 3) // 4
    fine = random_inverse(num_points, num_fine, seed=0).to(device)
    coarse = random_inverse(num_points, num_coarse, seed=1).to(device)
    return build_segments(fine, num_fine), build_segments(coarse, num_coarse)


def random_features(rows: int, channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(rows, channels, dtype=torch.float64, generator=generator)
    return values.to(device, dtype).requires_grad_()


def dense(matrix: CsrMatrix, num_columns: int) -> Tensor:
    """The matrix, entry by entry, with the checks that its layout promises."""
    offsets, entries = matrix.offsets.tolist(), int(matrix.offsets[-1])
    out = torch.zeros(len(offsets) - 1, num_columns)
    for row in range(out.shape[0]):
        columns = matrix.columns[offsets[row] : offsets[row + 1]].tolist()
        assert columns == sorted(set(columns)), "columns rise within a row"
        out[row, columns] = matrix.weights[offsets[row] : offsets[row + 1]].cpu()
    assert (matrix.columns[entries:] == -1).all()
    assert (matrix.weights[entries:] == 0).all()
    return out


def dense_truth(fine: Segments, coarse: Segments) -> Tensor:
    """[V_coarse, V_fine]: the part of a coarse voxel's points that lie in a fine voxel."""
    shared = torch.zeros(coarse.num_segments, fine.num_segments, dtype=torch.float64)
    for f, c in zip(fine.inverse.tolist(), coarse.inverse.tolist(), strict=True):
        if f >= 0 and c >= 0:
            shared[c, f] += 1
    return (shared / shared.sum(1, keepdim=True).clamp(min=1)).float()


def assert_equals_reference(features: Tensor, fine: Segments, coarse: Segments) -> None:
    """Values and gradients, up to the rounding of the float32 weights."""
    computed = torch.float64 if features.dtype == torch.float64 else torch.float32
    wide = features.detach().to(computed).requires_grad_()
    out = transition(features, build_transition(fine, coarse))
    want = reference.transition(wide, fine.inverse, coarse.inverse, coarse.num_segments)
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if computed == torch.float64 else {}
    assert out.dtype == features.dtype
    assert_close(out, want.to(features.dtype), **tolerance)
    grad_out = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, features, grad_out)
    (want_grad,) = torch.autograd.grad(want, wide, grad_out.to(computed))
    assert_close(grad, want_grad.to(features.dtype), **tolerance)


def test_small_example(device: torch.device) -> None:
    """Five points count: coarse 0 has fine 0, 0, 2; coarse 1 has fine 2, 1."""
    fine = torch.tensor([2, 0, 0, -1, 2, 1, 1], dtype=torch.int32, device=device)
    coarse = torch.tensor([0, 0, 0, 1, 1, 1, -1], dtype=torch.int32, device=device)
    operator = build_transition(build_segments(fine, 3), build_segments(coarse, 2))
    assert (operator.num_fine, operator.num_coarse) == (3, 2)
    assert operator.matrix.offsets.tolist() == [0, 2, 4]
    assert operator.matrix.columns.tolist() == [0, 2, 1, 2, -1, -1, -1]
    weights = torch.tensor([2 / 3, 1 / 3, 0.5, 0.5, 0, 0, 0], device=device)
    assert_close(operator.matrix.weights, weights)
    assert operator.transposed.offsets.tolist() == [0, 1, 2, 4]
    assert operator.transposed.columns.tolist() == [0, 1, 0, 1, -1, -1, -1]
    features = torch.tensor([[3.0], [10], [6]], device=device)
    assert_close(transition(features, operator), torch.tensor([[4.0], [8]], device=device))


@pytest.mark.parametrize(("num_points", "num_fine"), SIZES)
def test_both_directions_equal_the_dense_matrix(
    num_points: int, num_fine: int, device: torch.device
) -> None:
    fine, coarse = random_segments(num_points, num_fine, device)
    operator = build_transition(fine, coarse)
    truth = dense_truth(fine, coarse)
    assert torch.equal(dense(operator.matrix, fine.num_segments), truth)
    assert torch.equal(dense(operator.transposed, coarse.num_segments), truth.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_points", "num_fine"), SIZES)
def test_equals_reference(
    dtype: torch.dtype, num_points: int, num_fine: int, device: torch.device
) -> None:
    fine, coarse = random_segments(num_points, num_fine, device)
    for channels in (0, 1, 3, 64):
        features = random_features(num_fine, channels, dtype, device)
        assert_equals_reference(features, fine, coarse)


def test_equals_reference_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    """Voxels of 0.1 m and of 0.23 m, which cut each other."""
    fine, coarse = (
        build_segments(inverse.to(device), num_voxels)
        for inverse, num_voxels in (scan_inverse(real_points, s) for s in (0.1, 0.23))
    )
    features = random_features(fine.num_segments, 64, torch.float32, device)
    assert_equals_reference(features, fine, coarse)


def test_gradcheck(device: torch.device) -> None:
    operator = build_transition(*random_segments(60, 12, device))
    features = random_features(12, 3, torch.float64, device)
    assert torch.autograd.gradcheck(lambda x: transition(x, operator), features)
    assert torch.autograd.gradgradcheck(lambda x: transition(x, operator), features)


def arguments(operator: Transition) -> tuple[Tensor, ...]:
    return tuple(
        t for m in (operator.matrix, operator.transposed) for t in (m.offsets, m.columns, m.weights)
    )


def test_opcheck(device: torch.device) -> None:
    fine, coarse = random_segments(60, 12, device)
    tensors = tuple(t for s in (fine, coarse) for t in (s.inverse, s.order, s.offsets))
    torch.library.opcheck(torch.ops.elite_ops.build_transition.default, tensors)
    features = random_features(12, 3, torch.float32, device)
    operator = build_transition(fine, coarse)
    torch.library.opcheck(torch.ops.elite_ops.transition.default, (features, *arguments(operator)))


def test_the_transpose_is_for_the_gradient_alone(device: torch.device) -> None:
    operator = build_transition(*random_segments(60, 12, device))
    matrix, op = arguments(operator)[:3], torch.ops.elite_ops.transition
    features = random_features(12, 3, torch.float32, device)
    out = op(features, *matrix)
    assert torch.equal(out, transition(features, operator))
    torch.library.opcheck(op.default, (features.detach(), *matrix))
    message = "transition: `transposed_offsets` must be given where a gradient is needed, got None"
    with pytest.raises(ValueError, match=message):
        out.sum().backward()
    with pytest.raises(ValueError, match="`transposed_weights` must be given together"):
        op(features, *matrix, *arguments(operator)[3:5])


def test_an_entry_of_no_column_counts_for_none(device: torch.device) -> None:
    """Whatever its weight, and what stands in the rows beside."""
    offsets = torch.tensor([0, 3, 3, 5], dtype=torch.int32, device=device)
    columns = torch.tensor([-1, 1, -1, -1, -1], dtype=torch.int32, device=device)
    weights = torch.tensor([3.0, 0.5, 7.0, 1.0, torch.nan], device=device)
    features = torch.tensor([[torch.inf] * 4, [2.0] * 4, [torch.nan] * 4], device=device)
    for dtype in DTYPES:
        out = torch.ops.elite_ops.transition(features.to(dtype), offsets, columns, weights)
        assert out.tolist() == [[1.0] * 4, [0.0] * 4, [0.0] * 4]


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def both(features: Tensor, fine: Segments, coarse: Segments) -> Tensor:
        return transition(features, build_transition(fine, coarse))

    fine, coarse = random_segments(60, 12, device)
    features = random_features(12, 3, torch.float32, device)
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    out, want = compiled(features, fine, coarse), both(features, fine, coarse)
    assert torch.equal(out, want)
    grads = [torch.autograd.grad(y.square().sum(), features)[0] for y in (out, want)]
    assert torch.equal(*grads)


def test_takes_strided_input(device: torch.device) -> None:
    operator = build_transition(*random_segments(60, 12, device))
    features = random_features(12, 6, torch.float32, device)
    view = features[:, ::2]
    assert torch.equal(transition(view, operator), transition(view.contiguous(), operator))


def test_rejects_wrong_arguments() -> None:
    cpu = torch.device("cpu")
    fine, coarse = random_segments(20, 8, cpu)
    operator = build_transition(fine, coarse)
    features = random_features(8, 2, torch.float32, cpu)
    with pytest.raises(ValueError, match=r"`fine` and `coarse` must have the same points, got 20"):
        build_transition(fine, build_segments(coarse.inverse[1:], 2))
    with pytest.raises(ValueError, match=r"transition: `features` must have 2 dimensions"):
        transition(features[0], operator)
    with pytest.raises(ValueError, match=r"transition: `features` must have size 8 in dimension 0"):
        transition(features[1:], operator)
    with pytest.raises(TypeError, match=r"transition: `features` must be float32, .*, got Int"):
        transition(features.int(), operator)


@pytest.mark.parametrize("num_points", [1, 50, 20_000])
def test_one_coarse_voxel_takes_the_mean_of_all_points(
    num_points: int, device: torch.device
) -> None:
    fine = build_segments(torch.arange(num_points, dtype=torch.int32, device=device), num_points)
    coarse = build_segments(torch.zeros(num_points, dtype=torch.int32, device=device), 1)
    features = random_features(num_points, 4, torch.float32, device).detach()
    out = transition(features, build_transition(fine, coarse))
    assert_close(out, features.double().mean(0, keepdim=True).float(), rtol=1e-4, atol=1e-5)


def test_an_empty_sample_of_a_batch_changes_nothing(device: torch.device) -> None:
    """Voxels without points give 0 and take no part."""
    fine, coarse = random_segments(60, 12, device)
    padded_fine = build_segments(fine.inverse, 20)
    padded_coarse = build_segments(coarse.inverse, 9)
    features = random_features(20, 3, torch.float32, device)
    out = transition(features, build_transition(padded_fine, padded_coarse))
    want = transition(features[:12], build_transition(fine, coarse))
    assert torch.equal(out[: want.shape[0]], want)
    assert (out[want.shape[0] :] == 0).all()


def test_equals_gather_then_mean_when_every_point_counts(device: torch.device) -> None:
    fine, coarse = random_segments(500, 60, device)
    fine = build_segments(fine.inverse.clamp(min=0), 60)
    coarse = build_segments(coarse.inverse.clamp(min=0), coarse.num_segments)
    features = random_features(60, 8, torch.float32, device)
    gathered = segment_mean(voxel_to_point(features, fine), coarse)
    assert_close(transition(features, build_transition(fine, coarse)), gathered)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_points", "num_fine"), SIZES)
def test_without_a_matrix_equals_reference(
    dtype: torch.dtype, num_points: int, num_fine: int, device: torch.device
) -> None:
    fine, coarse = random_segments(num_points, num_fine, device)
    for channels in (0, 1, 3, 64):
        features = random_features(num_fine, channels, dtype, device).detach()
        out = transition(features, PointTransition(fine, coarse))
        wide = features.float() if dtype != torch.float64 else features
        want = reference.transition(wide, fine.inverse, coarse.inverse, coarse.num_segments)
        assert_close(out, want.to(dtype))


def test_without_a_matrix_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    fine, coarse = (
        build_segments(inverse.to(device), num_voxels)
        for inverse, num_voxels in (scan_inverse(real_points, s) for s in (0.8, 1.6))
    )
    features = random_features(fine.num_segments, 64, torch.float32, device).detach()
    want = transition(features, build_transition(fine, coarse))
    assert_close(transition(features, PointTransition(fine, coarse)), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("has_matrix", [False, True])
def test_only_valid_rows_are_defined(has_matrix: bool, device: torch.device) -> None:
    fine, coarse = random_segments(600, 60, device)
    features = random_features(60, 8, torch.float32, device).detach()
    make = build_transition if has_matrix else PointTransition
    want = transition(features, make(fine, coarse))
    padded = dataclasses.replace(coarse, num_rows=torch.tensor(11, device=device))
    assert torch.equal(transition(features, make(fine, padded))[:11], want[:11])


def test_without_a_matrix_there_is_no_gradient(device: torch.device) -> None:
    fine, coarse = random_segments(60, 12, device)
    with pytest.raises(RuntimeError, match="a PointTransition has no gradient"):
        transition(random_features(12, 3, torch.float32, device), PointTransition(fine, coarse))


def test_opcheck_without_a_matrix(device: torch.device) -> None:
    fine, coarse = random_segments(60, 12, device)
    features = random_features(12, 3, torch.float32, device).detach()
    points = (coarse.inverse, coarse.order, coarse.offsets)
    op = torch.ops.elite_ops.transition_by_points
    torch.library.opcheck(op.default, (features, fine.inverse, fine.offsets, *points))
    with pytest.raises(ValueError, match="transition_by_points: `fine` and `coarse` must have"):
        op(features, fine.inverse[:-1], torch.zeros(13, dtype=torch.int32, device=device), *points)


def test_without_a_matrix_the_features_are_those_of_the_fine_voxels() -> None:
    """A row of a voxel that isn't there is not read."""
    fine = build_segments(torch.tensor([0, 9], dtype=torch.int32), 10)
    coarse = build_segments(torch.tensor([0, 1], dtype=torch.int32), 2)
    operator = PointTransition(fine, coarse)
    with pytest.raises(ValueError, match="`features` must have size 10 in dimension 0, got shape"):
        transition(torch.ones(1, 4), operator)
    with pytest.raises(
        ValueError, match="`fine` and `coarse` must have the same points, got 2 and 3"
    ):
        transition(
            torch.ones(10, 4), PointTransition(fine, build_segments(fine.inverse.new_zeros(3), 2))
        )


@pytest.mark.parametrize("side", ["matrix", "transposed"])
@pytest.mark.parametrize(
    ("field", "change", "error", "message"),
    [
        ("weights", lambda t: t[:3], ValueError, "weights` must have size 20 in dimension 0"),
        ("weights", lambda t: t[None], ValueError, "weights` must have 1 dimensions"),
        ("weights", Tensor.double, TypeError, "weights` must be Float, got Double"),
        ("columns", lambda t: t[:3], ValueError, r"offsets` must end in \[0, 3\], got"),
        ("columns", lambda t: t[None], ValueError, "columns` must have 1 dimensions"),
        ("columns", Tensor.long, TypeError, "columns` must be Int, got Long"),
        ("offsets", lambda t: t[None], ValueError, "offsets` must have 1 dimensions"),
        ("offsets", lambda t: t[:0], ValueError, r"offsets` must have num_segments \+ 1 entries"),
        ("offsets", lambda t: t + 100, ValueError, r"offsets` must end in \[0, 20\], got"),
        ("offsets", Tensor.long, TypeError, "offsets` must be Int, got Long"),
    ],
)
def test_rejects_a_forged_matrix(
    side: str,
    field: str,
    change: Callable[[Tensor], Tensor],
    error: type[Exception],
    message: str,
) -> None:
    operator = build_transition(*random_segments(20, 8, torch.device("cpu")))
    matrix = getattr(operator, side)
    forged = dataclasses.replace(matrix, **{field: change(getattr(matrix, field))})
    with pytest.raises(error, match=f"transition: `(transposed_)?{message}"):
        transition(torch.ones(8, 2), dataclasses.replace(operator, **{side: forged}))
