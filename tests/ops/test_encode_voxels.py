import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from segment_cases import SIZES, random_inverse
from torch import Tensor
from torch.testing import assert_close

from elite_ops import build_segments, encode_voxels, voxelize
from elite_ops.reference.encode_voxels import encode_voxels as reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
    torch.float64: {"rtol": 1e-5, "atol": 1e-5},  # positions are float32
    torch.float16: {"rtol": 1e-3, "atol": 1e-3},  # the result is rounded once
    torch.bfloat16: {"rtol": 8e-3, "atol": 8e-3},
}
SHAPES = [(3, 1), (4, 64), (7, 20), (20, 33), (4, 0)]  # columns of the points, channels
GRID = {"voxel_size": (0.5, 0.25, 1.0), "origin": (-1.0, 0.0, 2.0)}
BACKWARD = torch.ops.elite_ops.encode_voxels_backward.default
RANGE = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)
each_case = pytest.mark.parametrize(
    ("num_points", "num_voxels", "columns", "channels", "dtype"),
    [(*size, *shape, dtype) for size in SIZES for shape in SHAPES for dtype in DTYPES],
)


def random_case(
    num_points: int, num_voxels: int, columns: int, channels: int, device: torch.device
) -> dict[str, Any]:
    """Points anywhere, in voxels anywhere: what the op computes doesn't need them to agree."""
    generator = torch.Generator().manual_seed(num_points)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    indices = torch.randint(0, 5, (num_voxels, 4), generator=generator, dtype=torch.int32)
    return {
        "points": normal(num_points, columns),
        "segments": build_segments(random_inverse(num_points, num_voxels).to(device), num_voxels),
        "indices": indices.to(device),
        "weight": normal(columns + 6, channels) / 3,
        "bias": normal(channels),
        **GRID,
    }


def in_float64(case: dict[str, Any]) -> dict[str, Any]:
    return case | {"weight": case["weight"].double(), "bias": case["bias"].double()}


def test_small_example(device: torch.device) -> None:
    points = torch.tensor([[1.0, 2, 3, 10], [3, 2, 5, 20], [7, 7, 7, 7]], device=device)
    inverse = torch.tensor([1, 1, -1], dtype=torch.int32, device=device)
    # Each channel copies one number: x, remission, y from the mean, z from the mean and the corner.
    weight = torch.zeros(10, 5, device=device)
    for channel, feature in enumerate([0, 3, 5, 6, 9]):
        weight[feature, channel] = 1
    got = encode_voxels(
        points,
        build_segments(inverse, 2),
        torch.tensor([[0, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.int32, device=device),
        weight,
        torch.tensor([0.0, 0, 0, 0, -1], device=device),
        voxel_size=(1, 1, 2),
        origin=(0, 0, 1),
    )
    # z: 3 and 5, mean 4, corner 3: offsets -1 and 1, of which ReLU leaves 1; 0 - 1 and 2 - 1.
    assert got.tolist() == [[0, 0, 0, 0, 0], [2, 15, 0, 0.5, 0.5]]


@each_case
def test_equals_reference(
    num_points: int,
    num_voxels: int,
    columns: int,
    channels: int,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    case = random_case(num_points, num_voxels, columns, channels, device)
    case |= {"weight": case["weight"].to(dtype), "bias": case["bias"].to(dtype)}
    got = encode_voxels(**case, negative_slope=0.1)
    assert got.dtype == dtype
    want = reference(**in_float64(case), negative_slope=0.1)
    assert_close(got.double(), want, **TOLERANCE[dtype])


def scan_case(points: Tensor) -> dict[str, Any]:
    (voxels,) = voxelize(points, point_cloud_range=RANGE, spatial_shape=(1000, 1000, 60))
    return random_case(1, 1, 4, 64, points.device) | {
        "points": points,
        "segments": build_segments(voxels.point_rows, len(voxels.indices)),
        "indices": voxels.indices,
        "voxel_size": (0.1, 0.1, 0.1),
        "origin": RANGE[:3],
    }


def test_equals_reference_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    case = scan_case(real_points.to(device))
    assert_close(encode_voxels(**case).double(), reference(**in_float64(case)), rtol=0, atol=1e-4)


def gradients(
    call: Callable[..., Tensor], case: dict[str, Any], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    weight = case["weight"].to(dtype).requires_grad_()
    bias = case["bias"].to(dtype).requires_grad_()
    out = call(**case | {"weight": weight, "bias": bias}, negative_slope=0.1)
    grad_out = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    grad_out = grad_out.to(case["weight"].dtype).to(out)  # rounded alike for the reference
    return torch.autograd.grad(out, (weight, bias), grad_out)


@each_case
def test_gradients_equal_the_reference(
    num_points: int,
    num_voxels: int,
    columns: int,
    channels: int,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    case = random_case(num_points, num_voxels, columns, channels, device)
    case |= {"weight": case["weight"].to(dtype), "bias": case["bias"].to(dtype)}
    got, want = gradients(encode_voxels, case, dtype), gradients(reference, case, torch.float64)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        tolerance = {"rtol": TOLERANCE[dtype]["rtol"], "atol": 10 * TOLERANCE[dtype]["atol"]}
        assert_close(g.double(), w, **tolerance)


def test_gradcheck(device: torch.device) -> None:
    case = random_case(33, 7, 4, 5, device)
    parameters = [case.pop(name).double().requires_grad_() for name in ("weight", "bias")]
    assert torch.autograd.gradcheck(
        lambda weight, bias: encode_voxels(**case, weight=weight, bias=bias), parameters
    )


def test_gradients_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    case = scan_case(real_points.to(device))
    got, want = (gradients(call, case, torch.float32) for call in (encode_voxels, reference))
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, rtol=1e-3, atol=1e-3 * float(w.abs().max()))


def test_reads_no_point_without_a_voxel(device: torch.device) -> None:
    case = random_case(33, 7, 4, 8, device)
    case["points"][case["segments"].inverse < 0] = torch.nan
    assert encode_voxels(**case).isfinite().all()


def arguments(case: dict[str, Any], negative_slope: float = 0.1) -> tuple[Any, ...]:
    segments = case["segments"]
    index = (segments.inverse, segments.order, segments.offsets, case["indices"])
    rest = (case["weight"], case["bias"], case["voxel_size"], case["origin"])
    return (case["points"], *index, *rest, negative_slope)


def test_opcheck(device: torch.device) -> None:
    case = random_case(33, 7, 4, 5, device)
    grad_out, num_rows = torch.ones(7, 5, device=device), torch.tensor(7, device=device)
    torch.library.opcheck(BACKWARD, (grad_out, *arguments(case), num_rows))
    case["weight"].requires_grad_()
    torch.library.opcheck(torch.ops.elite_ops.encode_voxels.default, arguments(case))
    torch.library.opcheck(torch.ops.elite_ops.encode_voxels.default, (*arguments(case), num_rows))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    case = random_case(33, 7, 4, 5, device)
    compiled = torch.compile(encode_voxels, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(**case), encode_voxels(**case))


def test_takes_strided_input(device: torch.device) -> None:
    case = random_case(33, 7, 4, 5, device)
    strided = case | {
        "points": case["points"].T.contiguous().T,
        "indices": case["indices"].repeat_interleave(2, 1)[:, ::2],
        "weight": case["weight"].T.contiguous().T,
        "bias": case["bias"].repeat_interleave(3)[::3],
    }
    assert torch.equal(encode_voxels(**strided), encode_voxels(**case))


def test_does_not_depend_on_the_number_of_threads() -> None:
    case = random_case(5000, 900, 4, 64, torch.device("cpu"))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            parts = [encode_voxels(**case), *gradients(encode_voxels, case, torch.float32)]
            results.append(torch.cat([part.flatten() for part in parts]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


def test_valid_rows_equal_those_of_a_buffer_of_their_size(device: torch.device) -> None:
    case = random_case(600, 90, 4, 33, device)
    padded = dataclasses.replace(case["segments"], num_rows=torch.tensor(40, device=device))
    got = encode_voxels(**case | {"segments": padded})
    assert torch.equal(got[:40], encode_voxels(**case)[:40])


def test_gradients_are_of_valid_rows_alone(device: torch.device) -> None:
    case = random_case(600, 90, 4, 33, device)
    padded = dataclasses.replace(case["segments"], num_rows=torch.tensor(40, device=device))
    grad_out = encode_voxels(**case)  # as good as any
    parameters = [case[name].requires_grad_() for name in ("weight", "bias")]
    grad_out[40:] = 0
    want = torch.autograd.grad(encode_voxels(**case), parameters, grad_out)
    grad_out[40:] = torch.nan
    got = torch.autograd.grad(encode_voxels(**case | {"segments": padded}), parameters, grad_out)
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, rtol=1e-4, atol=1e-4)


SEGMENTS = build_segments(torch.tensor([0, 0, 1], dtype=torch.int32), 2)
REJECTED = [
    ({"points": torch.zeros(3)}, ValueError, "`points` must have 2 dimensions"),
    ({"points": torch.zeros(3, 2)}, ValueError, "`points` must have at least 3 columns"),
    ({"points": torch.zeros(3, 4).double()}, TypeError, "`points` must be Float, got Double"),
    ({"points": torch.zeros(4, 4)}, ValueError, "`segments.inverse` must have size 4"),
    ({"indices": torch.zeros(3, 4).int()}, ValueError, "`indices` must have size 2 in dimension 0"),
    ({"indices": torch.zeros(2, 3).int()}, ValueError, "`indices` must have size 4 in dimension 1"),
    ({"indices": torch.zeros(2, 4).long()}, TypeError, "`indices` must be Int, got Long"),
    ({"weight": torch.zeros(9, 5)}, ValueError, "`weight` must have size 10 in dimension 0"),
    ({"weight": torch.zeros(10, 5).long()}, TypeError, "`weight` must be float32, .* got Long"),
    ({"bias": torch.zeros(4)}, ValueError, "`bias` must have size 5 in dimension 0"),
    ({"bias": torch.zeros(5).half()}, TypeError, "`bias` must be Float, got Half"),
    ({"voxel_size": (1.0, 1.0)}, ValueError, "`voxel_size` must have 3 entries"),
    ({"voxel_size": (1.0, 0.0, 1.0)}, ValueError, "`voxel_size` must be positive and .*, got 0"),
    ({"voxel_size": (-1.0, 1.0, 1.0)}, ValueError, "`voxel_size` must be positive and .*, got -1"),
    ({"voxel_size": (1.0, 1.0, math.nan)}, ValueError, "`voxel_size` must be positive .*, got nan"),
    ({"origin": (1.0, math.inf, 1.0)}, ValueError, "`origin` must be finite in float32, got inf"),
    ({"negative_slope": math.nan}, ValueError, "`negative_slope` must be finite .*, got nan"),
    ({"negative_slope": 1e39}, ValueError, "`negative_slope` must be finite .*, got 1e"),
    ({"segments": None}, TypeError, "`segments` must be Segments, got NoneType"),
    ({"origin": (1.0,)}, ValueError, "`origin` must have 3 entries"),
    ({"points": torch.zeros(3, 4).requires_grad_()}, ValueError, "`points` must not require a gr"),
]


@pytest.mark.parametrize(("change", "error", "message"), REJECTED)
def test_rejects(change: dict[str, Any], error: type[Exception], message: str) -> None:
    case = random_case(3, 2, 4, 5, torch.device("cpu")) | {"segments": SEGMENTS} | change
    with pytest.raises(error, match=f"encode_voxels: {message}"):
        encode_voxels(**case)


@pytest.mark.parametrize(
    ("grad_out", "error", "message"),
    [
        (torch.zeros(2), ValueError, "`grad_out` must have 2 dimensions"),
        (torch.zeros(3, 5), ValueError, "`grad_out` must have size 2 in dimension 0"),
        (torch.zeros(2, 4), ValueError, "`grad_out` must have size 5 in dimension 1"),
        (torch.zeros(2, 5).double(), TypeError, "`grad_out` must be Float, got Double"),
    ],
)
def test_backward_rejects(grad_out: Tensor, error: type[Exception], message: str) -> None:
    case = random_case(3, 2, 4, 5, torch.device("cpu"))
    with pytest.raises(error, match=f"encode_voxels_backward: {message}"):
        BACKWARD(grad_out, *arguments(case))


@pytest.mark.gpu
def test_gradients_of_many_columns_on_cuda(cuda: torch.device) -> None:
    """In double, whose sums take most of the shared memory."""
    assert all(
        g.isfinite().all()
        for g in gradients(encode_voxels, random_case(40, 9, 256, 5, cuda), torch.float64)
    )
    with pytest.raises(ValueError, match="`points` must have at most 256 columns for gradients"):
        gradients(encode_voxels, random_case(40, 9, 257, 5, cuda), torch.float64)
