import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck
from torch.nn.functional import interpolate
from torch.testing import assert_close

import elite_ops
from elite_ops import patch_to_point
from elite_ops.reference.patch_to_point import patch_to_point as reference

SIZES = [0, 1, 31, 33, 1023]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
IMAGE_SIZE = (20, 64)
PATCHES = (5, 16)  # stride 4

# Patches and image: stride 4, one patch, equal, more patches than pixels, fractional strides.
GRIDS = [
    ((5, 16), (20, 64)),
    ((1, 1), (7, 9)),
    ((6, 8), (6, 8)),
    ((40, 30), (16, 12)),
    ((7, 11), (23, 17)),
    ((3, 1), (4, 50)),
]


def inputs(
    n: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    channels: int = 6,
    batch: int = 3,
    patches: tuple[int, int] = PATCHES,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> tuple[Tensor, Tensor, Tensor]:
    """A map, and pixels in no order, many of them more than once; image 1 has none."""
    generator = torch.Generator().manual_seed(n)
    features = torch.randn(batch, channels, *patches, generator=generator, dtype=torch.float64)
    rows = torch.randint(image_size[0], (n,), generator=generator)
    cols = torch.randint(image_size[1], (n,), generator=generator)
    pixel = torch.stack([rows, cols], dim=1).int()
    batch_index = 2 * torch.randint((batch + 1) // 2, (n,), generator=generator)
    features = features.to(device, dtype).requires_grad_()
    return features, pixel.to(device), batch_index.to(device)


def gradients(out: Tensor, features: Tensor) -> Tensor:
    # Multiples of 1/64 in [-2, 2): exact in every dtype.
    grad_out = (torch.arange(out.numel(), device=out.device) % 256 - 128) / 64
    return torch.autograd.grad(out, features, grad_out.to(out.dtype).view_as(out))[0]


def assert_equals_reference(features, pixel, batch_index, image_size):
    out = patch_to_point(features, pixel, batch_index, image_size)
    assert out.dtype == features.dtype
    # In float64 for half types too: they are rounded once, at the end.
    wide = features.detach().double().requires_grad_()
    want = reference(wide, pixel, batch_index, image_size)
    gradient, want_gradient = gradients(out, features), gradients(want, wide)
    if features.dtype == torch.float32:
        assert_close(out.double(), want, rtol=1e-5, atol=1e-5)
        assert_close(gradient.double(), want_gradient, rtol=1e-5, atol=1e-5)
    else:
        assert_close(out, want.to(out.dtype))
        assert_close(gradient, want_gradient.to(out.dtype))


def test_by_hand(device):
    # Two patches over eight columns: their centres are at columns 1.5 and 5.5.
    features = torch.tensor([[[[0.0, 4.0]]]], device=device)
    pixel = torch.tensor([[0, 0], [0, 1], [3, 2], [0, 4], [0, 5], [0, 7]], device=device).int()
    batch_index = torch.zeros(6, dtype=torch.int64, device=device)
    out = patch_to_point(features, pixel, batch_index, (4, 8))
    assert out.flatten().tolist() == [0.0, 0.0, 0.5, 2.5, 3.5, 4.0]


def test_gradient_by_hand(device):
    features = torch.zeros(1, 1, 1, 2, device=device, requires_grad=True)
    pixel = torch.tensor([[0, 2], [0, 2], [0, 7]], device=device).int()
    batch_index = torch.zeros(3, dtype=torch.int64, device=device)
    out = patch_to_point(features, pixel, batch_index, (4, 8))
    out.backward(torch.tensor([[1.0], [2.0], [10.0]], device=device))
    assert features.grad.flatten().tolist() == [3 * 7 / 8, 3 * 1 / 8 + 10]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_equals_reference(device, n, dtype, layout):
    features, pixel, batch_index = inputs(n, dtype, device)
    features = features.detach().to(memory_format=layout).requires_grad_()
    assert_equals_reference(features, pixel, batch_index, IMAGE_SIZE)


@pytest.mark.parametrize(("patches", "image_size"), GRIDS)
def test_every_pixel_of_any_grid(device, patches, image_size):
    features, _, _ = inputs(0, torch.float64, device, patches=patches, image_size=image_size)
    shape = (3, *image_size)
    pixel = torch.cartesian_prod(*(torch.arange(s, device=device) for s in shape))
    batch_index, pixel = pixel[:, 0].contiguous(), pixel[:, 1:].int()
    out = patch_to_point(features, pixel, batch_index, image_size)
    want = interpolate(features, image_size, mode="bilinear", align_corners=False)
    assert_close(out.view(*shape, -1), want.permute(0, 2, 3, 1))
    assert_equals_reference(features, pixel, batch_index, image_size)


@pytest.mark.parametrize("channels", [1, 31, 96])
def test_any_number_of_channels(device, channels):
    features, pixel, batch_index = inputs(200, torch.float32, device, channels=channels)
    assert_equals_reference(features, pixel, batch_index, IMAGE_SIZE)


def test_all_points_at_one_pixel(device):
    features, pixel, batch_index = inputs(500, torch.float64, device)
    pixel, batch_index = pixel[:1].expand(500, 2), batch_index[:1].expand(500)
    assert_equals_reference(features, pixel, batch_index, IMAGE_SIZE)


def test_constant_patches_give_the_constant_and_each_gradient_its_share(device):
    features, pixel, batch_index = inputs(777, torch.float64, device)
    constant = torch.full_like(features, 2.5).requires_grad_()
    out = patch_to_point(constant, pixel, batch_index, IMAGE_SIZE)
    assert_close(out, torch.full_like(out, 2.5))
    # The four weights of a pixel add up to one: the gradient keeps the sum, image by image.
    grad_out = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
    gradient = torch.autograd.grad(out, constant, grad_out)[0].sum(dim=(2, 3))
    assert_close(gradient, torch.zeros_like(gradient).index_add(0, batch_index, grad_out))


def test_real_scan(device, real_points):
    camera = [[256.0, -350, 0, 0], [80.0, 0, -350, 0], [1.0, 0, 0, 0]]
    image_size = (160, 512)
    points = real_points.to(device)
    pixel, valid = elite_ops.project_points(points, torch.tensor(camera).to(device), image_size)
    pixel = pixel[valid]
    assert len(pixel) > 15_000
    features, _, _ = inputs(0, torch.float32, device, channels=8, batch=1, patches=(40, 128))
    batch_index = torch.zeros(len(pixel), dtype=torch.int64, device=device)
    assert_equals_reference(features, pixel, batch_index, image_size)


def test_gradcheck(device):
    features, pixel, batch_index = inputs(40, device=device, channels=2, patches=(2, 3))
    for layout in (torch.contiguous_format, torch.channels_last):
        x = features.detach().to(memory_format=layout).requires_grad_()
        torch.autograd.gradcheck(patch_to_point, (x, pixel, batch_index, IMAGE_SIZE))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n", [0, 40])
def test_opcheck(device, n, layout):
    features, pixel, batch_index = inputs(n, torch.float32, device)
    features = features.detach().to(memory_format=layout).requires_grad_()
    opcheck(torch.ops.elite_ops.patch_to_point.default, (features, pixel, batch_index, 20, 64))
    by_cell = elite_ops.build_segments(pixel[:, 0].contiguous(), 3 * 5 * 16)
    last = layout is torch.channels_last
    tables = (pixel, batch_index, by_cell.order, by_cell.offsets)
    arguments = (torch.ones(n, 6, device=device), *tables)
    op = torch.ops.elite_ops.patch_to_point_backward.default
    opcheck(op, (*arguments, [3, 6, 5, 16], 20, 64, last))


def test_second_derivatives(device):
    features, pixel, batch_index = inputs(20, torch.float64, device)
    torch.autograd.gradgradcheck(
        lambda f: patch_to_point(f, pixel, batch_index, IMAGE_SIZE).square(),
        features.requires_grad_(),
    )


def test_compiles_without_a_graph_break(device):
    features, pixel, batch_index = inputs(100, torch.float32, device)
    compiled = torch.compile(patch_to_point, fullgraph=True, backend="aot_eager")
    got = compiled(features, pixel, batch_index, IMAGE_SIZE)
    want = patch_to_point(features, pixel, batch_index, IMAGE_SIZE)
    assert torch.equal(got, want)
    assert torch.equal(gradients(got, features), gradients(want, features))


def test_non_contiguous(device):
    features, pixel, batch_index = inputs(100, torch.float32, device)
    want = patch_to_point(features, pixel, batch_index, IMAGE_SIZE)
    sliced = features.repeat(1, 2, 2, 2)[:, ::2, 5:, 1:17]
    same = patch_to_point(sliced, pixel, batch_index, IMAGE_SIZE)
    copied = patch_to_point(sliced.contiguous(), pixel, batch_index, IMAGE_SIZE)
    assert torch.equal(same, copied)
    assert torch.equal(gradients(same, features), gradients(copied, features))
    wide = torch.stack([batch_index, batch_index + 9], dim=1)
    turned = pixel.T.contiguous().T
    assert torch.equal(patch_to_point(features, turned, wide[:, 0], IMAGE_SIZE), want)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_has_the_layout_of_the_patches(device, layout):
    features, pixel, batch_index = inputs(100, torch.float32, device)
    features = features.detach().to(memory_format=layout).requires_grad_()
    gradient = gradients(patch_to_point(features, pixel, batch_index, IMAGE_SIZE), features)
    assert gradient.is_contiguous(memory_format=layout)


def test_same_bits_again(device):
    features, pixel, batch_index = inputs(5000, torch.float32, device)
    outs = [patch_to_point(features, pixel, batch_index, IMAGE_SIZE) for _ in range(2)]
    assert torch.equal(*outs)
    assert torch.equal(*(gradients(out, features) for out in outs))


FEATURES, PIXEL, BATCH_INDEX = inputs(5, torch.float32)
FEATURES = FEATURES.detach()
REJECTED = [
    (FEATURES[0], PIXEL, BATCH_INDEX, ValueError, r"`patch_features` must have 4 dimensions"),
    (
        FEATURES.int(),
        PIXEL,
        BATCH_INDEX,
        TypeError,
        r"`patch_features` must be float32, .* got Int",
    ),
    (FEATURES[:, :0], PIXEL, BATCH_INDEX, ValueError, r"`patch_features` must have at least one"),
    (FEATURES[..., :0], PIXEL, BATCH_INDEX, ValueError, r"`patch_features` must have at least one"),
    (FEATURES, PIXEL[0], BATCH_INDEX, ValueError, r"`pixel` must have 2 dimensions"),
    (FEATURES, PIXEL[:, :1], BATCH_INDEX, ValueError, r"`pixel` must have size 2 in dimension 1"),
    (FEATURES, PIXEL.long(), BATCH_INDEX, TypeError, r"`pixel` must be Int, got Long"),
    (FEATURES, PIXEL, BATCH_INDEX[None], ValueError, r"`batch_index` must have 1 dimensions"),
    (FEATURES, PIXEL, BATCH_INDEX[1:], ValueError, r"`batch_index` must have size 5"),
    (FEATURES, PIXEL, BATCH_INDEX.int(), TypeError, r"`batch_index` must be Long, got Int"),
    immediate(
        FEATURES, PIXEL, BATCH_INDEX + 3, IndexError, r"`pixel` must lie inside one of 3 images"
    ),
    immediate(
        FEATURES, PIXEL, BATCH_INDEX - 3, IndexError, r"`pixel` must lie inside one of 3 images"
    ),
    immediate(
        FEATURES,
        PIXEL - 64,
        BATCH_INDEX,
        IndexError,
        r"images of 20 x 64 pixels, got \(-.* in row 0",
    ),
    immediate(
        FEATURES,
        PIXEL + 64,
        BATCH_INDEX,
        IndexError,
        r"images of 20 x 64 pixels, got \(.* in row 0",
    ),
]


@pytest.mark.parametrize(("features", "pixel", "batch_index", "error", "message"), REJECTED)
def test_rejects(features, pixel, batch_index, error, message):
    with pytest.raises(error, match=r"patch_to_point: .*" + message):
        patch_to_point(features, pixel, batch_index, IMAGE_SIZE)


def test_rejects_an_image_without_pixels():
    with pytest.raises(ValueError, match=r"patch_to_point: `image_size` must be between 1"):
        patch_to_point(FEATURES, PIXEL, BATCH_INDEX, (0, 64))


BACKWARD = (torch.ones(5, 6), PIXEL, torch.zeros(5).long(), torch.arange(5).int())
BACKWARD += (torch.zeros(241).int(), [3, 6, 5, 16])
REJECTED_BACKWARD = [
    (0, torch.ones(5, 7), ValueError, r"`grad_out` must have size 6 in dimension 1"),
    (0, torch.ones(5, 6).int(), TypeError, r"`grad_out` must be float32"),
    (1, PIXEL[1:], ValueError, r"`pixel` must have size 5 in dimension 0"),
    (3, torch.arange(4).int(), ValueError, r"`order` must have size 5 in dimension 0"),
    (3, torch.arange(5), TypeError, r"`order` must be Int, got Long"),
    (4, torch.zeros(240).int(), ValueError, r"`offsets` must have size 241 in dimension 0"),
    (4, torch.zeros(241), TypeError, r"`offsets` must be Int, got Float"),
    (5, [3, 6, 80], ValueError, r"`patch_shape` must have 4 sizes"),
    (5, [3, 6, 2**31, 2**31], ValueError, r"`patch_shape` must have fewer than 2\^31 - 1 rows"),
    (5, [-1, 6, 5, 16], ValueError, r"`patch_shape` must have at least one"),
    (2, torch.zeros(4).long(), ValueError, r"`batch_index` must have size 5 in dimension 0"),
    (2, torch.zeros(5), TypeError, r"`batch_index` must be Long, got Float"),
]


@pytest.mark.parametrize(("position", "argument", "error", "message"), REJECTED_BACKWARD)
def test_backward_rejects(position, argument, error, message):
    arguments = list(BACKWARD)
    arguments[position] = argument
    with pytest.raises(error, match=r"patch_to_point_backward: " + message):
        torch.ops.elite_ops.patch_to_point_backward(*arguments, *IMAGE_SIZE, False)


@pytest.mark.gpu
def test_pixels_outside_on_cuda_are_zero_and_reported(cuda):
    features, pixel, batch_index = inputs(50, torch.float32, cuda)
    want = patch_to_point(features, pixel, batch_index, IMAGE_SIZE)
    pixel[7, 0], batch_index[9] = 20, 3
    want[[7, 9]] = 0
    out = patch_to_point(features, pixel, batch_index, IMAGE_SIZE)
    assert torch.equal(out, want)
    assert gradients(out, features).isfinite().all()
    with pytest.raises(IndexError, match="patch_to_point: `pixel` must lie inside its image"):
        elite_ops.check_device_errors()
