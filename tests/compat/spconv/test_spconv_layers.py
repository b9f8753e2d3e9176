"""The layers against dense torch layers in float64, without spconv."""

from __future__ import annotations

from typing import Any

import dense_spconv
import pytest
import torch
from spconv_scene import BATCH_SIZE, SHAPES, in_order, scene, tensor_of
from torch import Tensor, nn
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as spconv


def compare(network: Any, num_axes: int = 3, device: torch.device | str = "cpu") -> None:
    """`network(spconv)` and `network(dense_spconv)` with the same weights: values, gradients."""
    features, indices = scene(num_axes)
    generator = torch.Generator().manual_seed(5)
    state: dict[str, Tensor] = {}
    results = []
    for package in (dense_spconv, spconv):
        layers = network(package).double()
        with torch.no_grad():
            for name, weight in layers.named_parameters():
                drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
                weight.copy_(state.setdefault(name, drawn))
        layers, given = layers.to(device), features.double().to(device).requires_grad_()
        out = layers(tensor_of(package, given, indices.to(device)))
        order = in_order(out.indices.cpu())
        rows = out.features[order.to(device)]
        grads = torch.autograd.grad(rows.square().sum(), [given, *layers.parameters()])
        results.append((out.indices.cpu()[order], rows, *grads))
    for want, got in zip(*results, strict=True):
        assert_close(got, want)


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_convolutions_down_and_up(device: torch.device, num_axes: int) -> None:
    def network(package: Any) -> nn.Module:
        def layer(name: str) -> Any:
            return getattr(package, f"{name}{num_axes}d")

        return package.SparseSequential(
            layer("SubMConv")(4, 6, 3, indice_key="subm"),
            layer("SparseConv")(6, 5, 3, 2, 1, indice_key="down"),
            nn.ReLU(),
            layer("SubMConv")(5, 5, 1),
            layer("SparseInverseConv")(5, 6, 3, indice_key="down", bias=False),
            layer("SubMConv")(6, 3, 3, bias=False, indice_key="subm"),
        )

    compare(network, num_axes, device)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((3, 1, 1), (2, 1, 1), 0, 1),
        (3, (2, 2, 1), (0, 1, 1), 1),
        ((1, 3, 2), (3, 2, 1), (0, 2, 1), (1, 2, 3)),
        (2, 2, 0, 1),
        (5, 2, [0, 1, 1], 1),
    ],
)
def test_geometries(kernel: Any, stride: Any, padding: Any, dilation: Any) -> None:
    compare(
        lambda package: package.SparseConv3d(4, 3, kernel, stride, padding, dilation, bias=False)
    )


@pytest.mark.parametrize(("kernel", "dilation"), [((1, 3, 3), 1), (3, 2), ((5, 1, 3), 1)])
def test_submanifold(kernel: Any, dilation: int) -> None:
    compare(lambda package: package.SubMConv3d(4, 3, kernel, padding=1, dilation=dilation))


def test_a_kernel_of_one_cell_is_read_as_a_matrix() -> None:
    """[C_out, 1, 1, 1, C_in], read row by row as [C_in, C_out]."""
    features, indices = scene()
    for layer in (spconv.SubMConv3d(4, 6, 1, padding=1), spconv.SparseConv3d(4, 6, 1)):
        assert layer.weight.shape == (6, 1, 1, 1, 4)
        x = tensor_of(spconv, features, indices)
        out = layer(x)
        want = features @ layer.weight.view(4, 6) + layer.bias
        assert_close(out.features, want)
        assert out.indices is x.indices
        assert out.spatial_shape == x.spatial_shape


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_average_and_maximum(device: torch.device, num_axes: int) -> None:
    """The maximum is that of the voxels, whatever their sign."""
    features, indices = scene(num_axes)
    features = features - 5  # all of them negative
    assert (features < 0).all()
    for name, reduce in (("SparseMaxPool", torch.amax), ("SparseAvgPool", torch.mean)):
        layer = getattr(spconv, f"{name}{num_axes}d")(2, indice_key="pool")
        out = layer(tensor_of(spconv, features.to(device), indices.to(device)))
        assert layer.stride == [2] * num_axes
        cells = torch.cat([indices[:, :1], indices[:, 1:] // 2], 1)
        fits = (cells[:, 1:] < torch.tensor(out.spatial_shape)).all(1)
        found, group = cells[fits].unique(dim=0, return_inverse=True)
        assert torch.equal(out.indices.cpu(), found.int())
        want = torch.stack([reduce(features[fits][group == g], 0) for g in range(len(found))])
        assert_close(out.features.cpu(), want)


def test_global_pools() -> None:
    features, indices = scene()
    x = tensor_of(spconv, features, indices)
    largest, mean = spconv.SparseGlobalMaxPool()(x), spconv.SparseGlobalAvgPool()(x)
    for sample in range(BATCH_SIZE):
        rows = features[indices[:, 0] == sample]
        if len(rows) == 0:
            rows = torch.zeros(1, 4)
        assert_close(largest[sample], rows.amax(0))
        assert_close(mean[sample], rows.mean(0))


def test_pooling_at_the_same_voxels() -> None:
    from elite_ops.compat.spconv.pytorch.pool import SparseMaxPool

    features, indices = scene()
    x = tensor_of(spconv, features, indices)
    out = SparseMaxPool(3, 3, subm=True)(x)
    assert out.indices is x.indices
    assert (out.features >= features).all()
    assert (out.features > features).any()


def test_the_output_is_sorted_and_the_input_need_not_be() -> None:
    features, indices = scene()
    assert not torch.equal(in_order(indices), torch.arange(len(indices)))
    out = spconv.SparseConv3d(4, 2, 3, 2, 1)(tensor_of(spconv, features, indices))
    assert torch.equal(in_order(out.indices), torch.arange(len(out.indices)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype: torch.dtype) -> None:
    features, indices = scene()
    layers = spconv.SparseSequential(
        spconv.SubMConv3d(4, 8, 3, indice_key="a"),
        spconv.SparseConv3d(8, 8, 3, 2, 1, indice_key="b"),
        spconv.SubMConv3d(8, 8, 1),
        spconv.SparseInverseConv3d(8, 4, 3, indice_key="b"),
    )
    want = layers(tensor_of(spconv, features, indices)).features
    x = tensor_of(spconv, features.requires_grad_(), indices)
    with torch.autocast("cpu", dtype):
        out = layers(x)
    assert out.features.dtype == dtype
    assert_close(out.features.float(), want, rtol=5e-2, atol=5e-2)
    out.features.float().sum().backward()
    assert features.grad is not None
    assert features.grad.dtype == torch.float32
    half = layers.to(dtype)(tensor_of(spconv, features.detach().to(dtype), indices))
    assert half.features.dtype == dtype
    assert_close(half.features.float(), want, rtol=5e-2, atol=5e-2)


def test_evaluation_with_bias_and_inference_mode() -> None:
    features, indices = scene()
    layer = spconv.SparseConv3d(4, 6, 3, 2, 1).eval()
    want = layer(tensor_of(spconv, features, indices)).features
    with torch.inference_mode():
        given = tensor_of(spconv, features.clone(), indices.clone())
        assert torch.equal(layer(given).features, want)


def test_nothing_at_all() -> None:
    """No voxel in any sample."""
    indices = torch.empty(0, 4, dtype=torch.int32)
    x = tensor_of(spconv, torch.empty(0, 4), indices)
    layers = spconv.SparseSequential(
        spconv.SubMConv3d(4, 4, 3, indice_key="a"),
        nn.BatchNorm1d(4),  # which refuses no rows in training
        spconv.SparseConv3d(4, 5, 3, 2, 1, indice_key="b"),
        spconv.SparseMaxPool3d(2, indice_key="c"),
        spconv.SparseInverseConv3d(5, 5, 2, indice_key="c"),
        spconv.SparseInverseConv3d(5, 4, 3, indice_key="b"),
    )
    out = layers(x)
    assert out.features.shape == (0, 4)
    assert out.spatial_shape == list(SHAPES[3])
    assert not out.dense().any()
    assert not spconv.SparseGlobalMaxPool()(out).any()


def test_added_input() -> None:
    features, indices = scene()
    x = tensor_of(spconv, features, indices)
    layer = spconv.SubMConv3d(4, 4, 3)
    assert torch.equal(layer(x, add_input=x).features, layer(x).features + features)


def test_voxels_are_counted() -> None:
    features, indices = scene()
    x = tensor_of(spconv, features, indices)
    for layer in (
        spconv.SparseConv3d(4, 4, 3, 2, 1, record_voxel_count=True),
        spconv.SparseMaxPool3d(2, record_voxel_count=True),
    ):
        assert layer.get_max_num_voxels().tolist() == [0]
        number = len(layer(x).indices)
        layer(x.select_by_index(torch.arange(3)))
        assert layer.get_max_num_voxels().tolist() == [number]
    assert spconv.SubMConv3d(4, 4, 3).get_max_num_voxels() is None


def test_bits_do_not_depend_on_threads() -> None:
    features, indices = scene()
    layer = spconv.SparseConv3d(4, 6, 3, 2, 1)
    threads = torch.get_num_threads()
    outs = []
    for number in (1, 2):
        torch.set_num_threads(number)
        outs.append(layer(tensor_of(spconv, features, indices)).features)
    torch.set_num_threads(threads)
    assert torch.equal(*outs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spconv.SubMConv4d(4, 4, 3), "SubMConv4d: layers have up to three axes, got 4"),
        (lambda: spconv.SparseConv4d(4, 4, 3), "SparseConv4d: layers have up to three"),
        (lambda: spconv.SparseConvTranspose4d(4, 4, 3), "layers have up to three axes"),
        (lambda: spconv.SparseInverseConv4d(4, 4, 3, "a"), "layers have up to three axes"),
        (lambda: spconv.SparseMaxPool4d(2), "SparseMaxPool4d: layers have up to three axes"),
        (lambda: spconv.SubMConv3d(4, 4, 2), "`kernel_size` must be odd along each axis"),
        (lambda: spconv.SubMConv3d(4, 4, 9), "`kernel_size` must be between 1 and 7"),
        (lambda: spconv.SubMConv3d(4, 4, (3, 3)), "`kernel_size` must have 3 entries"),
        (lambda: spconv.SparseConv3d(4, 4, -1), "`kernel_size` must be the number of cells"),
        (lambda: spconv.SparseConv3d(4, 4, 3, groups=2), "`groups` must be 1, got 2"),
        (lambda: spconv.SparseConv3d(4, 4, 1, padding=1), "`padding` must be 0 where kernel"),
        (lambda: spconv.SparseConv3d(4, 4, 3, 0), "`stride` must be between"),
        (lambda: spconv.conv.SparseConvolution(3, 4, 4, act_type="relu"), "behind the layer"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()


def test_inputs_that_do_not_fit() -> None:
    features, indices = scene()
    x = tensor_of(spconv, features, indices)
    with pytest.raises(ValueError, match="SubMConv3d: `features` must have 5 channels, got 4"):
        spconv.SubMConv3d(5, 4, 3)(x)
    with pytest.raises(ValueError, match="must have one row per voxel, got 3 rows for"):
        spconv.SubMConv3d(4, 4, 3)(x.replace_feature(features[:3]))
    with pytest.raises(ValueError, match="`geometry` must have as many axes"):
        spconv.SubMConv2d(4, 4, 3)(x)
    four = torch.zeros(1, 5, dtype=torch.int32)
    with pytest.raises(NotImplementedError, match="grids of up to three axes, got 4"):
        spconv.SubMConv3d(4, 4, 3)(spconv.SparseConvTensor(features[:1], four, [2] * 4, 1))


@pytest.mark.cpu_kernels("CUDA kernels report this later: check_device_errors")
def test_voxels_must_be_inside_and_unique() -> None:
    features, indices = scene()
    outside = indices.clone()
    outside[0, 1] = 9
    with pytest.raises(IndexError, match="`indices`"):
        spconv.SubMConv3d(4, 4, 3)(tensor_of(spconv, features, outside))
    twice = torch.cat([indices, indices[:1]])
    with pytest.raises(ValueError, match="`indices`"):
        spconv.SubMConv3d(4, 4, 3)(tensor_of(spconv, torch.cat([features, features[:1]]), twice))
