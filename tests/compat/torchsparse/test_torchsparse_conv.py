"""Convolutions of both releases against dictionaries of coordinates, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from dictionaries import (
    Cell,
    brought_back,
    convolved,
    floored,
    offset_from,
    offsets_in_order,
    random_cells,
    reached,
)
from torch import Tensor
from torch.testing import assert_close

from elite_ops.compat import torchsparse
from elite_ops.compat.torchsparse import nn as spnn
from elite_ops.compat.torchsparse.nn import functional as F
from elite_ops.compat.torchsparse.nn.utils import get_kernel_offsets
from elite_ops.compat.torchsparse.versions import convention

Ints = tuple[int, int, int]
KERNELS: list[Ints] = [(3, 3, 3), (2, 2, 2), (5, 3, 1), (1, 3, 3), (3, 1, 2), (4, 2, 2), (1, 1, 3)]
STRIDED: list[tuple[Ints, Ints]] = [
    ((2, 2, 2), (2, 2, 2)),
    ((3, 3, 3), (2, 2, 2)),
    ((3, 1, 3), (2, 1, 1)),
    ((4, 4, 4), (2, 2, 2)),
    ((1, 1, 1), (2, 2, 2)),
    ((3, 3, 3), (3, 3, 3)),
    ((2, 3, 2), (1, 2, 2)),
]
IN, OUT = 3, 4

each_version = pytest.mark.parametrize("release", ["2.1", "1.4"])
each_low = pytest.mark.parametrize("low", [0, -4, 2])


@pytest.fixture(autouse=True)
def the_default_again() -> Iterator[None]:
    yield
    torchsparse.use_version("2.1")
    F.conv_config.clear_global_conv_config()
    torchsparse.tensor.set_allow_negative_coordinates(False)


def tensor_of(cells: list[Cell], feats: Tensor, stride: int = 1) -> torchsparse.SparseTensor:
    """In the convention of the release."""
    coords = convention().back(torch.tensor(cells, dtype=torch.int32).view(-1, 4), (stride,) * 3)
    return torchsparse.SparseTensor(feats, coords.to(feats.device), stride)


def cells_of(x: torchsparse.SparseTensor) -> list[Cell]:
    """Batch first, counted in cells of the stride."""
    coords = convention().first(x.coords).long().cpu()
    if not convention().counts_strides:
        coords = coords // torch.tensor([1, *x.stride])
    return [tuple(row) for row in coords.tolist()]


def random_feats(cells: list[Cell], device: torch.device) -> Tensor:
    return torch.randn(len(cells), IN, dtype=torch.float64, device=device, requires_grad=True)


def conv_of(size: Ints, stride: Ints = (1, 1, 1), **options: object) -> spnn.Conv3d:
    return spnn.Conv3d(IN, OUT, size, stride, bias=True, **options).double()


def weight_of(conv: spnn.Conv3d) -> Tensor:
    return conv.kernel.cpu().view(conv.kernel_volume, *conv.kernel.shape[-2:])


def assert_same_gradients(out: Tensor, want: Tensor, inputs: list[Tensor]) -> None:
    assert_close(out.cpu(), want)
    grad = torch.randn_like(want)
    options = {"allow_unused": True, "materialize_grads": True}  # without outputs, of nothing
    ours = torch.autograd.grad(out, inputs, grad.to(out.device), retain_graph=True, **options)
    truth = torch.autograd.grad(want, inputs, grad, **options)
    for a, b in zip(ours, truth, strict=True):
        assert_close(a, b)


@each_version
@each_low
@pytest.mark.parametrize("size", KERNELS)
def test_stride_one(release: str, low: int, size: Ints, device: torch.device) -> None:
    with torchsparse.using_version(release):
        cells = random_cells(150, low=low, high=low + 7)
        feats, conv = random_feats(cells, device), conv_of(size).to(device)
        begin = tuple((n - 1) // 2 for n in size)
        if release == "2.1" and conv.kernel_volume % 2 == 0:
            begin = (0, 0, 0)
        x = tensor_of(cells, feats)
        out = conv(x)
        rows = {cell: i for i, cell in enumerate(cells)}
        want = convolved(rows, cells, feats.cpu(), weight_of(conv), size, (1, 1, 1), begin)
        assert out.coords is x.coords
        assert_same_gradients(out.feats, want + conv.bias.cpu(), [feats, *conv.parameters()])


def expected_outputs(
    release: str, cells: list[Cell], size: Ints, stride: Ints, padding: Ints
) -> list[Cell]:
    if release == "2.1":
        return reached(cells, size, stride, padding)
    if all(s in (1, n) for s, n in zip(stride, size, strict=True)):
        return floored(cells, stride)
    return offset_from(cells, size, stride)


@each_version
@each_low
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize(("size", "stride"), STRIDED)
def test_strided_and_back(
    release: str, low: int, pad: int, size: Ints, stride: Ints, device: torch.device
) -> None:
    if min(size) < 2 * pad:
        pad = 0
    with torchsparse.using_version(release):
        cells = random_cells(80, low=low, high=low + 7)
        feats, conv = random_feats(cells, device), conv_of(size, stride, padding=pad).to(device)
        out = conv(tensor_of(cells, feats))
        found = cells_of(out)
        assert found == expected_outputs(release, cells, size, stride, conv.padding)
        assert out.stride == stride

        begin = conv.padding if release == "2.1" else tuple((n - 1) // 2 for n in size)
        rows = {cell: i for i, cell in enumerate(cells)}
        want = convolved(rows, found, feats.cpu(), weight_of(conv), size, stride, begin)
        assert_same_gradients(out.feats, want + conv.bias.cpu(), [feats, *conv.parameters()])

        up = spnn.Conv3d(OUT, IN, size, stride, transposed=True).double().to(device)
        back = up(out)
        assert back.stride == (1, 1, 1)
        assert cells_of(back) == cells
        coarse = {cell: i for i, cell in enumerate(found)}
        want = brought_back(
            coarse, cells, out.feats.detach().cpu(), weight_of(up), size, stride, begin
        )
        assert_close(back.feats.cpu(), want)
        torch.autograd.grad(back.feats.sum(), [feats, *conv.parameters(), *up.parameters()])


@each_version
def test_strides_add_up(release: str, device: torch.device) -> None:
    """A second convolution is of stride 2 to 4; coordinates in each release's units."""
    with torchsparse.using_version(release):
        cells = random_cells(200, high=9)
        feats = random_feats(cells, device)
        first = spnn.Conv3d(IN, OUT, 2, 2).double().to(device)
        second = spnn.Conv3d(OUT, OUT, 3, 2).double().to(device)
        middle = first(tensor_of(cells, feats))
        found = cells_of(middle)
        last = second(middle)
        assert last.stride == (4, 4, 4)
        begin = (0, 0, 0) if release == "2.1" else (1, 1, 1)
        size, stride = (3, 3, 3), (2, 2, 2)
        assert cells_of(last) == expected_outputs(release, found, size, stride, (0, 0, 0))
        scale = 1 if release == "2.1" else 4
        assert convention().first(last.coords)[:, 1:].remainder(scale).eq(0).all()
        rows = {cell: i for i, cell in enumerate(found)}
        want = convolved(
            rows, cells_of(last), middle.feats.cpu(), weight_of(second), size, stride, begin
        )
        assert_close(last.feats.cpu(), want)


@pytest.mark.parametrize("mode", ["spconv", "minkowski"])
@pytest.mark.parametrize(("size", "stride"), [*STRIDED, ((4, 2, 2), (1, 1, 1))])
def test_hashmap_mode(mode: str, size: Ints, stride: Ints, device: torch.device) -> None:
    F.conv_config.set_global_conv_config({"kmap_mode": "hashmap", "downsample_mode": mode})
    cells = random_cells(80)
    feats, conv = random_feats(cells, device), conv_of(size, stride).to(device)
    out = conv(tensor_of(cells, feats))
    is_exact = all(s in (1, n) for s, n in zip(stride, size, strict=True))
    if max(stride) == 1:
        outputs = cells
    elif is_exact or mode == "minkowski":
        outputs = floored(cells, stride)
    else:
        outputs = reached(cells, size, stride, conv.padding)
    assert cells_of(out) == outputs
    begin = tuple((n - 1) // 2 for n in size)
    rows = {cell: i for i, cell in enumerate(cells)}
    want = convolved(rows, outputs, feats.cpu(), weight_of(conv), size, stride, begin)
    assert_close(out.feats.cpu(), want + conv.bias.cpu())


def test_a_convolution_is_torchs_of_the_dense_grid(device: torch.device) -> None:
    """2.1, with the offsets of the weights in torch's order: x, y, z."""
    cells = [*random_cells(100, batch=1), (0, 7, 7, 7)]
    feats, conv = random_feats(cells, device), conv_of((3, 3, 3), (2, 2, 2), padding=1).to(device)
    out = conv(tensor_of(cells, feats))
    grid = torch.zeros(1, IN, 8, 8, 8, dtype=torch.float64, device=device)
    places = torch.tensor(cells, device=device).T
    grid = grid.index_put(
        (places[0][None], torch.arange(IN, device=device)[:, None], *places[1:, None]), feats.T
    )
    kernel = conv.kernel.view(3, 3, 3, IN, OUT).permute(4, 3, 2, 1, 0)
    dense = torch.nn.functional.conv3d(grid, kernel, conv.bias, stride=2, padding=1)
    b, x, y, z = out.coords.long().unbind(1)
    assert_close(out.feats, dense[b, :, x, y, z])


@each_version
def test_kernel_of_one(release: str, device: torch.device) -> None:
    with torchsparse.using_version(release):
        cells = random_cells(30)
        feats, conv = random_feats(cells, device), conv_of((1, 1, 1)).to(device)
        assert conv.kernel.shape == (IN, OUT)
        x = tensor_of(cells, feats)
        assert_close(conv(x).feats, feats @ conv.kernel + conv.bias)
        assert conv(x)._caches is x._caches


def test_offsets_are_in_the_order_of_the_weights() -> None:
    for size in KERNELS:
        want = [
            [i - (n - 1) // 2 for i, n in zip(o, size, strict=True)] for o in offsets_in_order(size)
        ]
        assert get_kernel_offsets(size).tolist() == want
        assert get_kernel_offsets(size, 2, 3).tolist() == [[6 * i for i in o] for o in want]


def test_a_spatial_range_bounds_the_outputs(device: torch.device) -> None:
    cells = [(0, 4, 4, 4), (0, 0, 0, 0)]
    feats = random_feats(cells, device)
    x = tensor_of(cells, feats)
    assert cells_of(F.conv3d(x, feats.new_zeros(8, IN, OUT), 2, stride=2)) == [(0, 0, 0, 0)]
    x = torchsparse.SparseTensor(feats, x.coords, 1, (1, 6, 6, 6))
    out = F.conv3d(x, feats.new_zeros(8, IN, OUT), 2, stride=2)
    assert cells_of(out) == [(0, 0, 0, 0), (0, 2, 2, 2)]
    assert out.spatial_range == (1, 3, 3, 3)
    back = F.conv3d(out, feats.new_zeros(8, OUT, IN), 2, stride=2, transposed=True)
    assert back.spatial_range == (1, 6, 6, 6)


def test_negative_outputs_where_they_are_allowed(device: torch.device) -> None:
    cells = [(0, 0, 0, 0)]
    feats, weight = random_feats(cells, device), torch.zeros(27, IN, OUT, dtype=torch.float64)
    found = cells_of(F.conv3d(tensor_of(cells, feats), weight.to(device), 3, None, 2, 1))
    torchsparse.tensor.set_allow_negative_coordinates(True)
    assert torchsparse.tensor.get_allow_negative_coordinates()
    assert cells_of(F.conv3d(tensor_of(cells, feats), weight.to(device), 3, None, 2, 1)) == found


@each_version
def test_nothing(release: str, device: torch.device) -> None:
    with torchsparse.using_version(release):
        x = tensor_of([], torch.empty(0, IN, device=device))
        for size, stride in [(3, 1), (2, 1), (2, 2), (3, 2)]:
            down = spnn.Conv3d(IN, OUT, size, stride).to(device)
            up = spnn.Conv3d(OUT, IN, size, stride, transposed=True).to(device)
            assert down(x).feats.shape == (0, OUT)
            assert up(down(x)).feats.shape == (0, IN)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(dtype: torch.dtype, device: torch.device) -> None:
    cells = random_cells(100)
    feats, conv = random_feats(cells, device), conv_of((3, 3, 3)).to(device)
    want = conv(tensor_of(cells, feats)).feats
    out = conv.to(dtype)(tensor_of(cells, feats.to(dtype))).feats
    assert out.dtype == dtype
    tolerance = {} if dtype == torch.float32 else {"rtol": 5e-2, "atol": 5e-2}
    assert_close(out, want.to(dtype), **tolerance)


# ---- parameters, caches, errors ------------------------------------------------------------------


@each_version
def test_parameters_are_torchsparses(release: str) -> None:
    with torchsparse.using_version(release):
        shapes = {
            n: tuple(p.shape) for n, p in spnn.Conv3d(3, 4, (3, 1, 2), bias=True).named_parameters()
        }
        assert shapes == {"kernel": (6, 3, 4), "bias": (4,)}
        assert [*spnn.Conv3d(3, 4).state_dict()] == ["kernel"]
        strided = spnn.Conv3d(3, 4, 1, 2).kernel.shape
        assert strided == ((1, 3, 4) if release == "2.1" else (3, 4))
    conv = spnn.Conv3d(16, 4, 3, transposed=True)
    assert conv.kernel.abs().max() <= (4 * 27) ** -0.5
    assert repr(conv) == "Conv3d(16, 4, kernel_size=(3, 3, 3), transposed=True, bias=False)"


def test_arguments_by_position_stand_as_in_the_release(device: torch.device) -> None:
    """`padding` came with 2.1, in front of `dilation`."""
    conv = spnn.Conv3d(IN, OUT, 2, 2, 1, 1, True, True)
    assert (conv.padding, conv.dilation, conv.transposed) == ((1, 1, 1), 1, True)
    assert conv.bias is not None
    cells = random_cells(20)
    with torchsparse.using_version("1.4"):
        conv = spnn.Conv3d(IN, OUT, 2, 2, 1, True, True)
        assert (conv.padding, conv.dilation, conv.transposed) == ((0, 0, 0), 1, True)
        assert conv.bias is not None
        x = tensor_of(cells, random_feats(cells, device))
        down = conv_of((2, 2, 2), (2, 2, 2)).to(device)
        y = F.conv3d(x, down.kernel, 2, down.bias, 2, 1)
        assert torch.equal(y.feats, down(x).feats)
        weight = down.kernel.transpose(1, 2)
        assert F.conv3d(y, weight, 2, None, 2, 1, True).stride == (1, 1, 1)
        with pytest.raises(TypeError, match=r"1.4.0 has up to 7 arguments by position, got 8"):
            F.conv3d(y, weight, 2, None, 2, 1, True, 0)


def test_dilation_is_ignored_and_said_to_be(device: torch.device) -> None:
    with pytest.warns(UserWarning, match="torchsparse ignores `dilation`"):
        dilated = spnn.Conv3d(IN, OUT, 3, dilation=2).double().to(device)
    cells = random_cells(50)
    feats, plain = random_feats(cells, device), spnn.Conv3d(IN, OUT, 3).double().to(device)
    plain.load_state_dict(dilated.state_dict())
    x = tensor_of(cells, feats)
    assert torch.equal(dilated(x).feats, plain(x).feats)
    assert len(x.kmaps) == 2


def test_maps_are_built_once(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = random_cells(50)
    x = tensor_of(cells, random_feats(cells, device))
    conv = conv_of((3, 3, 3)).to(device)
    y = conv(x)
    monkeypatch.setattr("elite_ops.compat.torchsparse.nn.functional.conv.connect", None)
    again = conv_of((3, 3, 3)).to(device)(x.replace(x.feats))
    assert again.kmaps is y.kmaps
    assert set(x.cmaps) == {(1, 1, 1)}


def test_errors(device: torch.device) -> None:
    cells = random_cells(20)
    x = tensor_of(cells, random_feats(cells, device))
    up = spnn.Conv3d(IN, OUT, 2, 2, transposed=True).double().to(device)
    with pytest.raises(ValueError, match="conv3d: a transposed convolution goes back along"):
        up(x)
    with pytest.raises(NotImplementedError, match="conv3d: generative"):
        spnn.Conv3d(IN, OUT, 2, 2, transposed=True, generative=True).double().to(device)(x)
    conv = conv_of((3, 3, 3)).to(device)
    other = x.replace(x.feats[:5])
    conv(x)
    with pytest.raises(
        ValueError, match=r"conv3d: the caches of `input` are of 20 other voxels, got 5"
    ):
        conv(other)
    with pytest.raises(ValueError, match="make_ntuple: `x` must be one number or 3"):
        spnn.Conv3d(IN, OUT, (3, 3))
    with pytest.raises(ValueError, match="conv3d: `kernel_size` must be between 1 and 7"):
        F.conv3d(x, x.feats.new_zeros(729, IN, OUT), 9)
    with pytest.raises(ValueError, match="conv3d: `kmap_mode` must be one of"):
        F.conv3d(x, x.feats.new_zeros(8, IN, OUT), 2, config={"kmap_mode": "grid"})
    moved = torchsparse.SparseTensor(x.feats, x.coords - 1)
    with pytest.raises(ValueError, match="batch numbers must not be negative, got -1"):
        conv(moved)
    with torchsparse.using_version("1.4"):
        odd = torchsparse.SparseTensor(x.feats, convention().join(x.C[:, :1], x.C[:, 1:]), 2)
        with pytest.raises(ValueError, match="must be multiples of the tensor's stride"):
            conv(odd)
    with pytest.raises(ValueError, match=r'`version` must be "2.1" or "1.4", got \'3\''):
        torchsparse.use_version("3")
