"""Every layer against spconv's own on the CPU: voxels, values, all gradients, initial weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from spconv_scene import in_order, one_thread, scene, tensor_of, the_real_one
from torch import Tensor
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as ours

pytestmark = pytest.mark.cpu_kernels("spconv's CPU build is compared with the CPU's kernels")

GEOMETRIES: list[tuple[Any, Any, Any, Any]] = [  # kernel, stride, padding, dilation
    (2, 2, 0, 1),
    (3, 2, 1, 1),
    ((3, 1, 1), (2, 1, 1), 0, 1),
    (3, (2, 2, 1), (0, 1, 1), 1),
    ((1, 3, 2), (3, 2, 1), (0, 2, 1), (1, 2, 3)),
    (5, 2, [0, 1, 1], 1),
    (1, 2, 0, 1),
]


@pytest.fixture
def theirs() -> Iterator[Any]:
    module = the_real_one()
    with one_thread():
        yield module


def pair_of(theirs: Any, name: str, *args: Any, **kwargs: Any) -> list[Any]:
    """The layer of both, made from the same random numbers."""
    layers = []
    for spconv in (theirs, ours):
        torch.manual_seed(3)
        layers.append(getattr(spconv, name)(*args, **kwargs))
    return layers


def run(theirs: Any, layers: tuple[list[Any], ...], num_axes: int = 3) -> None:
    """Passes one scene through the pairs of layers in turn, and compares all of it."""
    features, indices = scene(num_axes)
    results = []
    for place, spconv in enumerate((theirs, ours)):
        given = features.clone().requires_grad_()
        out = tensor_of(spconv, given, indices)
        for pair in layers:
            out = pair[place](out)
        order = in_order(out.indices)
        rows = out.features[order]
        grad = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))
        weights = [p for pair in layers for p in pair[place].parameters()]
        grads = torch.autograd.grad(rows, [given, *weights], grad)
        results.append((out.indices[order], list(out.spatial_shape), rows, *grads))
    for want, got in zip(*results, strict=True):
        if isinstance(want, Tensor):
            assert_close(got, want, rtol=1e-4, atol=1e-4)
        else:
            assert got == want


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_strided_and_inverse(
    theirs: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    geometry = (kernel, stride, padding, dilation)
    down = pair_of(theirs, "SparseConv3d", 4, 6, *geometry, indice_key="down")
    up = pair_of(theirs, "SparseInverseConv3d", 6, 3, kernel, indice_key="down", bias=False)
    run(theirs, (down,) if kernel == 1 else (down, up))


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_numbers_of_axes(theirs: Any, num_axes: int) -> None:
    layers = (
        pair_of(theirs, f"SubMConv{num_axes}d", 4, 6, 3, indice_key="subm"),
        pair_of(theirs, f"SparseConv{num_axes}d", 6, 5, 3, 2, padding=1, indice_key="down"),
        pair_of(theirs, f"SparseInverseConv{num_axes}d", 5, 6, 3, indice_key="down"),
        pair_of(theirs, f"SubMConv{num_axes}d", 6, 3, 3, indice_key="subm"),
    )
    run(theirs, layers, num_axes)


@pytest.mark.parametrize(
    ("kernel", "padding", "dilation"), [(3, 1, 1), ((3, 1, 5), 0, 1), (3, 0, 2), (5, 7, 1)]
)
def test_submanifold_ignores_stride_and_padding(
    theirs: Any, kernel: Any, padding: int, dilation: int
) -> None:
    layer = pair_of(theirs, "SubMConv3d", 4, 6, kernel, 2, padding, dilation)
    run(theirs, (layer,))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["SubMConv3d", "SparseConv3d", "SparseInverseConv3d"])
def test_kernels_of_one_cell(theirs: Any, name: str, bias: bool) -> None:
    padding = {"padding": 1} if name == "SubMConv3d" else {}
    run(theirs, (pair_of(theirs, name, 4, 6, 1, bias=bias, indice_key="one", **padding),))


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(2, 1, 1), (1, 0, 1), (3, 0, 1), (2, 0, 2)]
)
def test_transposed(theirs: Any, stride: int, padding: int, dilation: int) -> None:
    up = pair_of(theirs, "SparseConvTranspose3d", 4, 6, 3, stride, padding, dilation)
    run(theirs, (up,))


@pytest.mark.parametrize("num_axes", [1, 2])
def test_transposed_of_fewer_axes(theirs: Any, num_axes: int) -> None:
    up = pair_of(theirs, f"SparseConvTranspose{num_axes}d", 4, 6, 3, 2, 1)
    run(theirs, (up,), num_axes)


@pytest.mark.parametrize("num_axes", [1, 2, 3])
@pytest.mark.parametrize("arguments", [(2,), (3, 2, 1), (3, 1, 0, 2)])
def test_max_pool(theirs: Any, num_axes: int, arguments: tuple[int, ...]) -> None:
    """Of positive features: spconv's CPU half starts from 0."""
    features, indices = scene(num_axes)
    results = []
    for spconv in (theirs, ours):
        given = (features.abs() + 0.1).requires_grad_()
        layer = getattr(spconv, f"SparseMaxPool{num_axes}d")(*arguments, indice_key="pool")
        back = getattr(spconv, f"SparseInverseConv{num_axes}d")(4, 2, arguments[0], "pool")
        with torch.no_grad():
            back.weight.fill_(0.5)
            back.bias.fill_(1)
        out = layer(tensor_of(spconv, given, indices))
        order = in_order(out.indices)
        (grad,) = torch.autograd.grad(out.features.square().sum(), given)
        assert back(out).indices is out.indice_dict["pool"].indices
        results.append((out.indices[order], out.features[order], grad, back(out).features))
    for want, got in zip(*results, strict=True):
        assert_close(got, want)


def test_evaluation_mode(theirs: Any) -> None:
    """In which spconv's CPU half can't add a bias."""
    layers = pair_of(theirs, "SparseConv3d", 4, 6, 3, 2, 1)
    layers[1].eval()
    run(theirs, (layers,))


def test_state_and_printed_form(theirs: Any) -> None:
    """Keys and shapes of the state, and the same initial weights from the same random numbers."""
    for name, arguments, options in (
        ("SubMConv1d", (3, 4, 3), {}),
        ("SubMConv2d", (3, 4, (1, 3)), {"bias": False}),
        ("SubMConv3d", (3, 4, 3), {"indice_key": "a"}),
        ("SparseConv3d", (3, 4, 3, 2), {"record_voxel_count": True}),
        ("SparseConvTranspose2d", (3, 4, 3), {"record_voxel_count": True}),
        ("SparseInverseConv3d", (3, 4, (3, 1, 1), "a"), {}),
        ("SparseMaxPool3d", (2,), {"record_voxel_count": True}),
        ("SparseMaxPool2d", (2,), {}),
    ):
        want, got = pair_of(theirs, name, *arguments, **options)
        assert list(got.state_dict()) == list(want.state_dict())
        for key, value in want.state_dict().items():
            assert torch.equal(got.state_dict()[key], value)
        assert str(got).split(", algo")[0] == str(want).split(", algo")[0]


def test_every_name_is_there(theirs: Any) -> None:
    """What users import, module by module."""
    import importlib

    private = {"cppcore", "platform", "np", "torch", "Path", "Union", "quantization"}
    want = {name for name in dir(theirs) if not name.startswith("_")} - private
    assert want - set(dir(ours)) == set()
    for module in ("modules", "tables", "conv", "pool", "functional", "ops", "core", "utils"):
        real = importlib.import_module(f"spconv.pytorch.{module}")
        face = importlib.import_module(f"elite_ops.compat.spconv.pytorch.{module}")
        of_its_own = {
            name
            for name, value in vars(real).items()
            if getattr(value, "__module__", None) == real.__name__ and not name.startswith("_")
        }
        missing = of_its_own - set(dir(face))
        assert missing <= {
            "SparseConvolutionBase",
            "SpConvTensorMeta",
            "identity_decorator",
        }, (module, missing)
