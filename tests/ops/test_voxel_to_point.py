import pytest
import torch
from segment_cases import SIZES, SUM_TOLERANCE, random_inverse, scan_inverse
from torch import Tensor
from torch.testing import assert_close

from elite_ops import Segments, build_segments, gather_segments, segment_sum, voxel_to_point
from elite_ops.reference import voxel_to_point as reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def random_case(
    num_points: int, num_voxels: int, channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Segments]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(num_voxels, channels, dtype=torch.float64, generator=generator)
    inverse = random_inverse(num_points, num_voxels).to(device)
    return features.to(device, dtype).requires_grad_(), build_segments(inverse, num_voxels)


def assert_equals_reference(features: Tensor, segments: Segments) -> None:
    """Values exactly, gradients against the reference in float32 or float64."""
    computed = torch.float64 if features.dtype == torch.float64 else torch.float32
    wide = features.detach().to(computed).requires_grad_()
    out = voxel_to_point(features, segments)
    want = reference.voxel_to_point(wide, segments.inverse)
    assert out.dtype == features.dtype
    assert torch.equal(out, want.to(features.dtype))
    grad_out = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, features, grad_out)
    (want_grad,) = torch.autograd.grad(want, wide, grad_out.to(computed))
    assert_close(grad, want_grad.to(features.dtype), **SUM_TOLERANCE.get(features.dtype, {}))


def test_small_example(device: torch.device) -> None:
    features = torch.tensor([[1.0, 2], [3, 4]], device=device)
    inverse = torch.tensor([1, -1, 0, 1], dtype=torch.int32, device=device)
    out = voxel_to_point(features, build_segments(inverse, 2))
    assert out.tolist() == [[3, 4], [0, 0], [1, 2], [3, 4]]
    assert gather_segments is voxel_to_point


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_points", "num_voxels"), SIZES)
def test_equals_reference(
    dtype: torch.dtype, num_points: int, num_voxels: int, device: torch.device
) -> None:
    for channels in (0, 1, 3, 64):
        assert_equals_reference(*random_case(num_points, num_voxels, channels, dtype, device))


def test_equals_reference_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    inverse, num_voxels = scan_inverse(real_points, voxel_size=0.2)
    features = torch.randn(num_voxels, 64, generator=torch.Generator().manual_seed(0))
    assert_equals_reference(
        features.to(device).requires_grad_(), build_segments(inverse.to(device), num_voxels)
    )


def test_gradcheck(device: torch.device) -> None:
    features, segments = random_case(30, 8, 3, torch.float64, device)
    assert torch.autograd.gradcheck(lambda x: voxel_to_point(x, segments), features)
    assert torch.autograd.gradgradcheck(lambda x: voxel_to_point(x, segments), features)


def test_opcheck(device: torch.device) -> None:
    features, segments = random_case(50, 7, 3, torch.float32, device)
    torch.library.opcheck(
        torch.ops.elite_ops.voxel_to_point.default,
        (features, segments.inverse, segments.order, segments.offsets),
    )


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    features, segments = random_case(50, 7, 3, torch.float32, device)
    compiled = torch.compile(voxel_to_point, fullgraph=True, backend="aot_eager")
    out, want = compiled(features, segments), voxel_to_point(features, segments)
    assert torch.equal(out, want)
    grads = [torch.autograd.grad(y.square().sum(), features)[0] for y in (out, want)]
    assert torch.equal(*grads)


def test_takes_strided_input(device: torch.device) -> None:
    features, segments = random_case(50, 7, 6, torch.float32, device)
    view = features[:, ::2]
    out, want = voxel_to_point(view, segments), voxel_to_point(view.contiguous(), segments)
    assert torch.equal(out, want)
    grad_out = torch.randn(3, 50, device=device).T
    got = torch.autograd.grad(out, features, grad_out)[0]
    assert torch.equal(got, torch.autograd.grad(want, features, grad_out.contiguous())[0])


def test_rejects_wrong_arguments() -> None:
    features, segments = random_case(5, 3, 2, torch.float32, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"voxel_to_point: `features` must have 2 dimensions"):
        voxel_to_point(features[0], segments)
    with pytest.raises(ValueError, match=r"voxel_to_point: `features` must have size 3 in dim"):
        voxel_to_point(features[1:], segments)
    with pytest.raises(TypeError, match=r"voxel_to_point: `features` must be float32, .* Long"):
        voxel_to_point(features.long(), segments)
    wrong = Segments(segments.inverse.long(), segments.order, segments.offsets)
    with pytest.raises(TypeError, match=r"voxel_to_point: `segments.inverse` must be Int"):
        voxel_to_point(features, wrong)


def test_is_the_transpose_of_segment_sum(device: torch.device) -> None:
    """<to_point(x), y> = <x, sum(y)> for all x and y."""
    features, segments = random_case(300, 40, 5, torch.float64, device)
    at_points = torch.randn(300, 5, dtype=torch.float64, device=device)
    assert_close(
        (voxel_to_point(features, segments) * at_points).sum(),
        (features * segment_sum(at_points, segments)).sum(),
    )
