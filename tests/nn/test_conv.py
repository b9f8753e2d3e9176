"""Convolution layers against torch's dense ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dense_twin import at_voxels, check_layer, check_reached
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet, voxelize
from elite_ops.nn import (
    SparseConv2d,
    SparseConv3d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SubmanifoldConv2d,
    SubmanifoldConv3d,
)
from elite_ops.nn.convolution import SparseConvolution

SHAPES = {2: (9, 12), 3: (9, 8, 7)}
BATCH_SIZE = 3  # the middle sample is empty


def sparse_tensor(
    channels: int,
    device: torch.device | str = "cpu",
    *,
    num_axes: int = 3,
    density: float = 0.15,
    dtype: torch.dtype = torch.float64,
) -> SparseTensor:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(BATCH_SIZE, *SHAPES[num_axes], generator=generator) < density
    occupied[1] = False
    indices = torch.nonzero(occupied).int().to(device)
    features = torch.randn(len(indices), channels, generator=generator, dtype=dtype).to(device)
    return SparseTensor(features.requires_grad_(), VoxelSet(indices, SHAPES[num_axes], BATCH_SIZE))


def weight_of(conv: SparseConvolution) -> Tensor:
    """In torch's layout, and apart from the layer."""
    return conv.torch_weight.detach().clone().requires_grad_()


# kernel, stride, padding, dilation
GEOMETRIES: list[tuple[Any, Any, Any, Any]] = [
    (1, 1, 0, 1),
    (2, 2, 0, 1),
    (3, 2, 1, 1),
    (3, 1, 1, 1),
    ((3, 1, 1), (2, 1, 1), 0, 1),
    (3, (2, 2, 1), (0, 1, 1), 1),
    (4, 3, 2, 1),
    (5, 2, 0, 1),
    ((1, 3, 2), (3, 2, 1), (0, 2, 1), (1, 2, 3)),
    (7, 4, 3, 1),
    (3, 1, 2, 2),
    (2, 5, 0, 1),
]
CHANNELS = [(1, 3, 1), (3, 5, 1), (5, 18, 1), (18, 33, 1), (33, 64, 1), (64, 1, 1), (130, 4, 1)]
GROUPS = [(6, 9, 3), (8, 8, 8), (4, 12, 4)]


def flat(value: Any) -> Any:
    """The same for two axes."""
    return value if isinstance(value, int) else value[1:]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_sparse_conv_equals_dense_convolution(
    device: torch.device, kernel: Any, stride: Any, padding: Any, dilation: Any, bias: bool
) -> None:
    x = sparse_tensor(4, device)
    conv = SparseConv3d(4, 5, kernel, stride, padding, dilation, bias=bias)
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    out = check_layer(conv, x, lambda grid, w, b: F.conv3d(grid, w, b, **arguments))
    size = conv.kernel_size
    check_reached(out, x, lambda g: F.conv3d(g, torch.ones(1, 1, *size).to(g), **arguments))


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_sparse_conv_in_two_dimensions(
    device: torch.device, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    x = sparse_tensor(4, device, num_axes=2)
    stride, padding, dilation = flat(stride), flat(padding), flat(dilation)
    conv = SparseConv2d(4, 5, flat(kernel), stride, padding, dilation)
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    check_layer(conv, x, lambda grid, w, b: F.conv2d(grid, w, b, **arguments))


@pytest.mark.parametrize(("c_in", "c_out", "groups"), CHANNELS + GROUPS)
def test_channels_and_groups(device: torch.device, c_in: int, c_out: int, groups: int) -> None:
    x = sparse_tensor(c_in, device)
    dense = {"padding": 1, "groups": groups}
    check_layer(
        SparseConv3d(c_in, c_out, 3, 2, 1, groups=groups),
        x,
        lambda grid, w, b: F.conv3d(grid, w, b, stride=2, **dense),
    )
    check_layer(
        SubmanifoldConv3d(c_in, c_out, 3, groups=groups),
        x,
        lambda grid, w, b: F.conv3d(grid, w, b, **dense),
    )
    check_layer(
        SparseConvTranspose3d(c_in, c_out, 3, 2, 1, groups=groups),
        x,
        lambda grid, w, b: F.conv_transpose3d(grid, w, b, stride=2, **dense),
    )


@pytest.mark.parametrize(
    ("kernel", "dilation"), [(1, 1), (3, 1), ((3, 1, 5), 1), (3, 2), (2, 1), ((4, 7, 6), 1), (2, 3)]
)
def test_submanifold_conv_equals_dense_convolution(
    device: torch.device, kernel: Any, dilation: int
) -> None:
    x = sparse_tensor(3, device)
    conv = SubmanifoldConv3d(3, 4, kernel, dilation=dilation)
    same = {"padding": "same", "dilation": dilation}
    out = check_layer(conv, x, lambda grid, w, b: F.conv3d(grid, w, b, **same))
    assert out.voxels is x.voxels
    plane = sparse_tensor(3, device, num_axes=2)
    conv2d = SubmanifoldConv2d(3, 4, flat(kernel), dilation=dilation)
    check_layer(conv2d, plane, lambda grid, w, b: F.conv2d(grid, w, b, **same))


TRANSPOSED: list[tuple[Any, Any, Any, Any, Any]] = [  # and output padding
    (2, 2, 0, 0, 1),
    (3, 2, 1, 1, 1),
    (3, 1, 1, 0, 1),
    ((3, 1, 2), (2, 1, 3), (1, 0, 0), (1, 0, 2), 1),
    (4, 3, 2, 1, 2),
    (1, 3, 0, 2, 1),
    (7, 2, 3, 0, 1),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "output_padding", "dilation"), TRANSPOSED)
def test_transposed_convolution_equals_the_dense_one(
    device: torch.device, kernel: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> None:
    x = sparse_tensor(4, device, density=0.05)
    numbers = (stride, padding, output_padding)
    conv = SparseConvTranspose3d(4, 3, kernel, *numbers, dilation=dilation)
    dense = dict(zip(("stride", "padding", "output_padding"), numbers, strict=True))
    dense["dilation"] = dilation
    out = check_layer(conv, x, lambda grid, w, b: F.conv_transpose3d(grid, w, b, **dense))
    size = conv.kernel_size
    check_reached(out, x, lambda g: F.conv_transpose3d(g, torch.ones(1, 1, *size).to(g), **dense))


def test_transposed_convolution_in_two_dimensions(device: torch.device) -> None:
    x = sparse_tensor(4, device, num_axes=2)
    conv = SparseConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)
    dense = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}
    check_layer(conv, x, lambda grid, w, b: F.conv_transpose2d(grid, w, b, **dense))


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_inverse_convolution_goes_back(
    device: torch.device, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    """It is the transposed convolution, read at the voxels of the beginning."""
    x = sparse_tensor(2, device)
    down = SparseConv3d(2, 4, kernel, stride, padding, dilation).to(x.features)
    coarse = down(x)
    leaf = coarse.replace(coarse.features.detach().requires_grad_())
    conv = SparseInverseConv3d(4, 3, kernel)
    grid_shape = x.spatial_shape

    def dense(grid: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The layout of the layer's weight is that of a convolution, whose transpose this is.
        weight = weight.transpose(0, 1)
        arguments = {"stride": stride, "padding": padding, "dilation": dilation}
        size = F.conv_transpose3d(grid, weight, **arguments).shape[2:]
        missing = tuple(full - some for full, some in zip(grid_shape, size, strict=True))
        return F.conv_transpose3d(grid, weight, bias, output_padding=missing, **arguments)

    out = conv.to(x.features)(leaf)
    assert out.voxels is x.voxels
    want = at_voxels(dense(leaf.dense(), conv.torch_weight.detach(), None), out)
    assert_close(out.features - conv.bias, want, rtol=1e-9, atol=1e-9)
    grad_out = torch.randn_like(out.features)
    got = torch.autograd.grad(out.features, (leaf.features, conv.weight), grad_out)
    weight, features = weight_of(conv), leaf.features.detach().clone().requires_grad_()
    want = at_voxels(dense(leaf.replace(features).dense(), weight, None), out)
    wanted = torch.autograd.grad(want, (features, weight), grad_out)
    assert_close(got[0], wanted[0], rtol=1e-9, atol=1e-9)
    assert_close(got[1], wanted[1].movedim((0, 1), (-1, -2)), rtol=1e-9, atol=1e-9)


def test_inverse_convolution_in_two_dimensions() -> None:
    x = sparse_tensor(2, num_axes=2)
    coarse = SparseConv2d(2, 4, 3, 2, 1).double()(x)
    out = SparseInverseConv2d(4, 2, 3).double()(coarse)
    assert out.voxels is x.voxels


def test_inverse_convolution_needs_the_kernel_of_the_convolution() -> None:
    x = sparse_tensor(2, dtype=torch.float32)
    with pytest.raises(ValueError, match="VoxelSet: these voxels are not the output"):
        SparseInverseConv3d(2, 2, 3)(x)
    coarse = SparseConv3d(2, 2, 3, 2)(x)
    message = r"SparseInverseConv3d: `kernel_size` must be that .* \(3, 3, 3\), got \(2, 2, 2\)"
    with pytest.raises(ValueError, match=message):
        SparseInverseConv3d(2, 2, 2)(coarse)


def test_onto_given_voxels(device: torch.device) -> None:
    x, target = sparse_tensor(3, device), sparse_tensor(1, device, density=0.4)
    conv = SparseConv3d(3, 2, 3, 1, 1).to(x.features)
    out = conv(x, target.voxels)
    assert out.voxels is target.voxels
    dense = F.conv3d(x.dense(), conv.torch_weight, conv.bias, padding=1)
    assert_close(out.features, at_voxels(dense, out))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    x = sparse_tensor(16, device, dtype=dtype)
    for conv in (SparseConv3d(16, 8, 3, 2, 1), SparseConvTranspose3d(16, 8, 2, 2)):
        conv = conv.to(device, dtype)
        wide = type(conv)(16, 8, conv.kernel_size, conv.geometry.stride, conv.geometry.padding)
        wide.load_state_dict(conv.state_dict())
        got = conv(x)
        want = wide.to(device, torch.float64)(x.to(torch.float64))
        assert got.dtype == dtype
        tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
        assert_close(got.features.double(), want.features, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("num_voxels", [0, 1])
def test_few_voxels(device: torch.device, num_voxels: int) -> None:
    indices = torch.tensor([[1, 2, 3, 1]], dtype=torch.int32, device=device)[:num_voxels]
    features = torch.randn(num_voxels, 3, device=device, requires_grad=True)
    x = SparseTensor(features, VoxelSet(indices, (5, 6, 4), 2))
    down = SparseConv3d(3, 4, 3, 2, 1).to(device)
    coarse = down(x)
    back = SparseInverseConv3d(4, 3, 3).to(device)(coarse)
    assert len(back) == num_voxels
    back.features.sum().backward()
    assert features.grad is not None
    assert down.weight.grad is not None
    assert bool((down.weight.grad == 0).all()) == (num_voxels == 0)


def test_vanished_voxels(device: torch.device) -> None:
    """A kernel of one cell that steps over the only voxel reaches nothing."""
    indices = torch.tensor([[0, 1, 1, 1]], dtype=torch.int32, device=device)
    x = SparseTensor(torch.ones(1, 2, device=device), VoxelSet(indices, (4, 4, 4), 1))
    conv = SparseConv3d(2, 3, 1, 2).to(device)
    out = conv(x)
    assert out.features.shape == (0, 3)
    again = SubmanifoldConv3d(3, 3).to(device)(out)
    assert again.dense().shape == (1, 3, 2, 2, 2)
    out.features.sum().backward()
    assert not conv.weight.grad.any()


def test_rows_in_another_order_give_the_same(device: torch.device) -> None:
    x = sparse_tensor(3, device)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1)).to(device)
    voxels = VoxelSet(x.indices[order], x.spatial_shape, x.batch_size)
    shuffled = SparseTensor(x.features[order], voxels)
    conv = SparseConv3d(3, 4, 3, 2, 1).to(x.features)
    got, want = conv(shuffled), conv(x)
    assert torch.equal(got.indices, want.indices)
    assert_close(got.features, want.features)
    back = SparseInverseConv3d(4, 2, 3).to(x.features)
    assert_close(back(got).features, back(want).features[order])


def test_second_derivatives(device: torch.device) -> None:
    x = sparse_tensor(2, device, density=0.03)
    down = SparseConv3d(2, 2, 3, 2, 1).to(x.features)
    up = SparseInverseConv3d(2, 1, 3).to(x.features)

    def run(features: Tensor, weight: Tensor) -> Tensor:
        parameters = {"weight": weight, "bias": down.bias}
        coarse = torch.func.functional_call(down, parameters, (x.replace(features),))
        return up(coarse).features

    assert torch.autograd.gradcheck(run, (x.features, down.weight))
    assert torch.autograd.gradgradcheck(run, (x.features, down.weight))


INITIALIZED: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    (SubmanifoldConv3d, nn.Conv3d, (64, 48, 3), {}),
    (SubmanifoldConv2d, nn.Conv2d, (32, 96, (5, 3)), {"dilation": 2}),
    (SparseConv3d, nn.Conv3d, (48, 96, (1, 3, 5)), {}),
    (SparseConv2d, nn.Conv2d, (64, 128, 3), {"groups": 4}),
    (SparseConvTranspose3d, nn.ConvTranspose3d, (96, 24, 3), {}),
    (SparseConvTranspose3d, nn.ConvTranspose3d, (24, 96, (2, 3, 4)), {"groups": 3}),
    (SparseConvTranspose2d, nn.ConvTranspose2d, (128, 32, 4), {"groups": 2}),
    (SparseInverseConv3d, nn.Conv3d, (64, 32, 3), {}),  # whose layout its weight has
    (SparseInverseConv2d, nn.Conv2d, (64, 256, 2), {"groups": 2}),
]


@pytest.mark.parametrize(("kind", "dense_kind", "numbers", "options"), INITIALIZED)
def test_initial_values_are_distributed_as_in_torch(
    kind: Any, dense_kind: Any, numbers: Any, options: dict[str, Any]
) -> None:
    """Uniform, so that the bounds say all."""
    conv, dense = kind(*numbers, **options), dense_kind(*numbers, **options)
    assert conv.torch_weight.shape == dense.weight.shape
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(dense.weight)
    bound = fan_in**-0.5
    for ours, theirs in ((conv.weight, dense.weight), (conv.bias, dense.bias)):
        least = 0.999 if ours is conv.weight else 0.85  # of some 20000 values, and of 24 or more
        for values in (ours, theirs):
            assert least * bound < values.abs().max() <= bound * (1 + 1e-6)
            assert abs(values.mean()) < 4 * bound / (3 * values.numel()) ** 0.5
    assert_close(conv.weight.std().item(), bound / 3**0.5, rtol=0.02, atol=0)


def test_torch_initializers_find_the_right_fan() -> None:
    conv = SubmanifoldConv3d(16, 512, 3)
    nn.init.kaiming_normal_(conv.torch_weight, mode="fan_in", nonlinearity="relu")
    assert_close(conv.weight.std().item(), (2 / (16 * 27)) ** 0.5, rtol=0.02, atol=0)


BAD: list[tuple[type[Exception], str, Any]] = [
    (ValueError, "`kernel_size` must be between 1 and 7", lambda: SubmanifoldConv3d(2, 2, 9)),
    (ValueError, "`kernel_size` must be between 1 and 7", lambda: SparseConv3d(2, 2, 0)),
    (ValueError, "`kernel_size` must have 3 entries", lambda: SparseConv3d(2, 2, (3, 3))),
    (TypeError, "`kernel_size` must be an integer", lambda: SparseConv3d(2, 2, 3.0)),
    (ValueError, "`stride` must be between 1", lambda: SparseConv3d(2, 2, 3, 0)),
    (ValueError, "`padding` must be between 0", lambda: SparseConv3d(2, 2, 3, 1, -1)),
    (ValueError, "`dilation` must be between 1", lambda: SubmanifoldConv2d(2, 2, 3, dilation=0)),
    (ValueError, "`groups` must divide", lambda: SparseConv3d(3, 4, 3, groups=2)),
    (
        ValueError,
        "`output_padding` must be smaller",
        lambda: SparseConvTranspose3d(2, 2, 3, 2, 0, 2),
    ),
    (ValueError, "`groups` must divide", lambda: SparseConv3d(3, 4, 3, groups=0)),
    (ValueError, "`groups` must not be negative", lambda: SparseConv3d(3, 4, 3, groups=-1)),
    (TypeError, "`groups` must be an integer", lambda: SparseConv3d(3, 4, 3, groups=1.0)),
    (ValueError, "`in_channels` must not be negative", lambda: SparseConv2d(-1, 2, 3)),
    (TypeError, "`in_channels` must be an integer", lambda: SubmanifoldConv3d((2,), 2)),
    (TypeError, "`out_channels` must be an integer", lambda: SparseInverseConv2d(2, 2.0, 3)),
]


@pytest.mark.parametrize(("error", "message", "make"), BAD)
def test_constructors_reject(error: type[Exception], message: str, make: Any) -> None:
    with pytest.raises(error, match=f"Conv.*: {message}"):
        make()


def test_a_kernel_that_does_not_fit_is_rejected() -> None:
    x = sparse_tensor(2, dtype=torch.float32)
    with pytest.raises(ValueError, match="VoxelSet: the kernel must fit into the padded grid"):
        SparseConv3d(2, 2, 7, dilation=2)(x)


def run_network(features: Tensor, indices: Tensor, layers: nn.ModuleList) -> Tensor:
    x = SparseTensor(features, VoxelSet(indices, SHAPES[3], BATCH_SIZE))
    fine = layers[0](x)
    coarse = layers[1](fine)
    back = layers[2](coarse)
    return (back + fine).features


def test_compiles_once_for_changing_sizes() -> None:
    layers = nn.ModuleList(
        [SubmanifoldConv3d(4, 8), SparseConv3d(8, 8, 3, 2, 1), SparseInverseConv3d(8, 8, 3)]
    )
    graphs = 0

    def count(graph: Any, inputs: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph

    compiled = torch.compile(run_network, fullgraph=True, backend=count, dynamic=True)
    for density in (0.1, 0.2, 0.3):
        x = sparse_tensor(4, density=density, dtype=torch.float32)
        got = compiled(x.features, x.indices, layers)
        assert_close(got, run_network(x.features, x.indices, layers))
    assert graphs == 1


def test_compiled_gradients() -> None:
    layers = nn.ModuleList(
        [SubmanifoldConv3d(4, 8), SparseConv3d(8, 8, 2, 2), SparseInverseConv3d(8, 8, 2)]
    )
    x = sparse_tensor(4, dtype=torch.float32)
    compiled = torch.compile(run_network, fullgraph=True, backend="aot_eager", dynamic=True)
    inputs = (x.features, *layers.parameters())
    results = [
        torch.autograd.grad(run(x.features, x.indices, layers).square().sum(), inputs)
        for run in (compiled, run_network)
    ]
    assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel_size", [None, 3])
def test_voxels_bring_their_kernel_map(kernel_size: int | None) -> None:
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 8
    (voxels,) = voxelize(
        points,
        point_cloud_range=(0, 0, 0, 8, 8, 8),
        spatial_shape=(8, 8, 8),
        kernel_size=kernel_size,
    )
    alone = VoxelSet(voxels.indices, (8, 8, 8), 1)
    assert torch.equal(voxels.submanifold_map().in_rows, alone.submanifold_map().in_rows)
    assert voxels.submanifold_map() is voxels.submanifold_map((3, 3, 3))


def test_repr() -> None:
    text = repr(SubmanifoldConv3d(4, 8, (3, 3, 1)))
    assert text == "SubmanifoldConv3d(4, 8, kernel_size=(3, 3, 1), bias=True)"
    text = repr(SparseConv3d(4, 8, 3, 2, 1, groups=2, bias=False))
    want = "SparseConv3d(4, 8, kernel_size=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1), "
    assert text == want + "groups=2, bias=False)"
