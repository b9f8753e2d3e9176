"""Copies, pickles, files and comparisons of `VoxelSet`, `Voxels` and `SparseTensor`."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils import _pytree as pytree

from elite_ops import SparseTensor, Voxels, VoxelSet, voxelize
from elite_ops.nn import SparseConv3d, SparseInverseConv3d, SubmanifoldConv3d

SHAPE = (5, 6, 7)


def voxel_set(device: Any = "cpu") -> VoxelSet:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(2, *SHAPE, generator=generator) < 0.2
    return VoxelSet(occupied.nonzero().int().to(device), SHAPE, 2)


def scan_voxels(device: Any = "cpu") -> Voxels:
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)).to(device)
    fine, _ = voxelize(
        points,
        point_cloud_range=(0, 0, 0, 1, 1, 1),
        spatial_shape=(8, 8, 8),
        scales=(1, 2),
        nested=True,
    )
    return fine


def sparse_tensor(voxels: VoxelSet) -> SparseTensor:
    features = torch.randn(len(voxels), 3, generator=torch.Generator().manual_seed(1))
    return SparseTensor(features.to(voxels.device), voxels)


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def through_a_file(value: Any) -> Any:
    """As torch loads by default: nothing that could run code."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


COPIES = [copy.copy, copy.deepcopy, through_pickle, through_a_file]
each_copy = pytest.mark.parametrize("copied", COPIES, ids=lambda copied: copied.__name__)


def tensors_of(value: Any) -> list[Tensor]:
    leaves: list[Tensor] = pytree.tree_leaves(value)
    return leaves


def run(layers: list[Any], x: SparseTensor) -> SparseTensor:
    for layer in layers:
        x = layer(x)
    return x


@each_copy
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("make", [voxel_set, scan_voxels])
def test_copies_are_of_the_same_class_and_values(
    device: torch.device, make: Callable[..., VoxelSet], used: bool, copied: Callable[[Any], Any]
) -> None:
    voxels = make(device)
    x = sparse_tensor(voxels)
    layers = [SubmanifoldConv3d(3, 4), SparseConv3d(4, 4, 3, 2, 1), SparseInverseConv3d(4, 2, 3)]
    layers = [layer.to(device) for layer in layers]
    want = run(layers, x).features if used else None
    for value in (voxels, x):
        other = copied(value)
        assert type(other) is type(value)
        assert repr(other) == repr(value)
        for got, wanted in zip(tensors_of(other), tensors_of(value), strict=True):
            assert torch.equal(got, wanted)
            assert (got is wanted) == (copied is copy.copy)
    y = copied(x)
    back = run(layers, y)
    assert back.voxels is y.voxels  # not those that were copied
    assert torch.equal(back.features, run(layers, x).features if want is None else want)
    assert getattr(y.voxels, "scale", None) == getattr(voxels, "scale", None)


@each_copy
def test_copies_of_voxels_have_neither_maps_nor_an_origin(copied: Callable[[Any], Any]) -> None:
    x = sparse_tensor(voxel_set())
    kernel_map = x.voxels.submanifold_map(3)
    coarse = SparseConv3d(3, 4, 3, 2, 1)(x).detach()
    assert copied(x.voxels).submanifold_map(3) is not kernel_map
    moved = SparseTensor(coarse.features, copied(coarse.voxels))
    with pytest.raises(ValueError, match="VoxelSet: these voxels are not the output of a conv"):
        SparseInverseConv3d(4, 2, 3)(moved)


@each_copy
def test_changed_voxels_are_copied_as_they_are(copied: Callable[[Any], Any]) -> None:
    x = sparse_tensor(voxel_set())
    conv = SubmanifoldConv3d(3, 4)
    conv(x)
    x.indices[:, 1] = SHAPE[0] - 1 - x.indices[:, 1]
    y = copied(x)
    assert torch.equal(conv(y).features, conv(x).features)


def test_a_deep_copy_is_independent() -> None:
    x = sparse_tensor(voxel_set())
    y = copy.deepcopy(x)
    y.indices[:, 1] = SHAPE[0] - 1 - y.indices[:, 1]
    y.features.zero_()
    fresh = sparse_tensor(voxel_set())
    assert torch.equal(x.indices, fresh.indices)
    assert torch.equal(x.features, fresh.features)


def test_a_copy_keeps_what_is_shared() -> None:
    """Two tensors on the same voxels are still summed row by row."""
    x = sparse_tensor(voxel_set())
    y = x.replace(2 * x.features)
    for copied in (copy.deepcopy, through_pickle, through_a_file):
        a, b = copied([x, y])
        assert a.voxels is b.voxels
        assert (a + b).voxels is a.voxels


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pytree.tree_map(Tensor.clone, x)])
def test_copies_that_are_made_in_inference_mode(copied: Callable[[Any], Any]) -> None:
    x = sparse_tensor(voxel_set())
    conv = SparseConv3d(3, 4, 3, 2, 1)
    with torch.inference_mode():
        y = copied(x)
        assert torch.equal(conv(y).features, conv(x).features)
    out = conv(y.replace(y.features.clone()))
    out.features.sum().backward()
    assert conv.weight.grad is not None


def test_layers_are_pickled_with_their_geometry() -> None:
    x = sparse_tensor(voxel_set())
    conv = SparseConv3d(3, 4, (3, 1, 2), 2, 1, groups=1)
    for copied in (copy.deepcopy, through_pickle):
        other = copied(conv)
        assert repr(other) == repr(conv)
        assert torch.equal(other(x).features, conv(x).features)


@pytest.mark.parametrize("make", [voxel_set, scan_voxels, lambda: sparse_tensor(voxel_set())])
def test_equality_is_identity(make: Callable[[], Any]) -> None:
    """As of modules: comparing the contents would wait for the device."""
    value, twin = make(), make()
    assert value == value
    assert value != twin
    assert value != copy.copy(value)
    assert value is not None
    assert value in [twin, value]
    assert {value: 1, twin: 2}[value] == 1
    assert len({value, twin, value}) == 2


def test_loaded_voxels_go_on_to_train() -> None:
    x = through_a_file(sparse_tensor(voxel_set()))
    conv = SubmanifoldConv3d(3, 4)
    out = conv(x.replace(x.features.requires_grad_()))
    grad = torch.autograd.grad(out.features.square().sum(), x.features)[0]
    fresh = sparse_tensor(voxel_set())
    fresh.features.requires_grad_()
    conv(fresh).features.square().sum().backward()
    assert_close(grad, fresh.features.grad)
