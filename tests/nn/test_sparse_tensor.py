"""`VoxelSet` and `SparseTensor`: what they keep, notice and refuse."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils import _pytree as pytree

from elite_ops import KernelGeometry, SparseTensor, VoxelSet, cat, voxelize
from elite_ops.nn import SparseConv3d, SparseInverseConv3d, SubmanifoldConv3d

SHAPE = (5, 6, 7)
DOWN = KernelGeometry.of(3, stride=2, padding=1)


def voxel_set(num_voxels: int = 50, seed: int = 0, device: Any = "cpu") -> VoxelSet:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(2 * 5 * 6 * 7, generator=generator)[:num_voxels].sort().values
    columns = [cells // 210, cells // 42 % 5, cells // 7 % 6, cells % 7]
    return VoxelSet(torch.stack(columns, 1).int().to(device), SHAPE, 2)


def sparse_tensor(channels: int = 3, seed: int = 0, device: Any = "cpu") -> SparseTensor:
    voxels = voxel_set(50, seed, device)
    generator = torch.Generator().manual_seed(seed)
    return SparseTensor(torch.randn(50, channels, generator=generator).to(device), voxels)


def test_maps_are_built_once() -> None:
    voxels = voxel_set()
    assert voxels.submanifold_map(3) is voxels.submanifold_map((3, 3, 3))
    assert voxels.submanifold_map(1) is not voxels.submanifold_map(3)
    coarse, kernel_map = voxels.kernel_map(DOWN)
    again, same_map = voxels.kernel_map(DOWN)
    assert again is coarse
    assert same_map is kernel_map
    x = SparseTensor(torch.zeros(50, 2), voxels)
    assert x.replace(x.features * 2).voxels is voxels


def test_sets_and_maps_go_with_the_last_reference() -> None:
    """No cycle keeps them until the garbage collector looks."""
    gc.disable()
    try:
        voxels = voxel_set()
        coarse, _ = voxels.kernel_map(DOWN)
        coarse.kernel_map(DOWN)
        dead = [weakref.ref(voxels), weakref.ref(coarse)]
        del voxels, coarse
        assert [reference() for reference in dead] == [None, None]
    finally:
        gc.enable()


def test_a_change_in_place_is_noticed() -> None:
    x = sparse_tensor()
    conv, down = SubmanifoldConv3d(3, 4), SparseConv3d(3, 4, 3, 2, 1)
    before = conv(x), down(x)
    x.indices[:, 1] = 4 - x.indices[:, 1]  # mirrored
    fresh = SparseTensor(x.features, VoxelSet(x.indices.clone(), SHAPE, 2))
    assert_close(conv(x).features, conv(fresh).features)
    assert not torch.equal(conv(x).features, before[0].features)
    assert torch.equal(down(x).indices, down(fresh).indices)
    assert_close(down(x).features, down(fresh).features)


def test_changed_outputs_have_no_way_back() -> None:
    x = sparse_tensor()
    coarse = SparseConv3d(3, 4, 3, 2, 1)(x)
    coarse.indices[:, 1:] += 0
    with pytest.raises(ValueError, match="`indices` were changed in place since a convolution"):
        SparseInverseConv3d(4, 2, 3)(coarse)
    assert SparseConv3d(3, 4, 3, 2, 1)(x).voxels is not coarse.voxels


def test_changed_inputs_are_not_where_an_inverse_lands() -> None:
    x = sparse_tensor()
    coarse = SparseConv3d(3, 4, 3, 2, 1)(x)
    x.indices[:, 1] = 4 - x.indices[:, 1]
    with pytest.raises(ValueError, match="`indices` were changed in place since a convolution"):
        SparseInverseConv3d(4, 2, 3)(coarse)


def test_compiled_layers_take_voxels_that_were_changed_before() -> None:
    x = sparse_tensor()
    x.indices[:, 1] = 4 - x.indices[:, 1]
    x = SparseTensor(x.features, VoxelSet(x.indices, SHAPE, 2))
    layers = SparseConv3d(3, 4, 3, 2, 1), SparseInverseConv3d(4, 2, 3)

    def run(x: SparseTensor) -> Tensor:
        return layers[1](layers[0](x)).features

    assert_close(torch.compile(run, fullgraph=True, backend="aot_eager")(x), run(x))


def test_maps_of_inference_mode_serve_training() -> None:
    x = sparse_tensor()
    layers = SubmanifoldConv3d(3, 4), SparseConv3d(4, 4, 3, 2, 1), SparseInverseConv3d(4, 2, 3)

    def run(x: SparseTensor) -> SparseTensor:
        for layer in layers:
            x = layer(x)
        return x

    with torch.inference_mode():
        want = run(x).features
        inside = VoxelSet(x.indices.clone(), SHAPE, 2)
        run(SparseTensor(x.features, inside))
    for voxels in (x.voxels, inside):
        out = run(SparseTensor(x.features.clone().requires_grad_(), voxels))
        assert torch.equal(out.features, want)
        out.features.sum().backward()
        assert layers[0].weight.grad is not None


def test_padded_buffers_are_refused() -> None:
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) * 4
    arguments: Any = {"point_cloud_range": (0, 0, 0, 4, 4, 4), "spatial_shape": (4, 4, 4)}
    (voxels,) = voxelize(points, capacity=80, **arguments)
    x = SparseTensor(torch.zeros(80, 2), voxels)
    for use in (
        SubmanifoldConv3d(2, 2),
        SparseConv3d(2, 2, 2, 2),
        SparseTensor.dense,
        lambda t: t.union(sparse_tensor()),
        lambda t: t.select(torch.ones(80, dtype=torch.bool)),
    ):
        with pytest.raises(ValueError, match=r"VoxelSet: .* padded buffer|must have the same"):
            use(x)
    (mapped,) = voxelize(points, capacity=80, kernel_size=3, **arguments)
    with pytest.raises(ValueError, match="sparse_conv: `kernel_map` must have valid rows alone"):
        SubmanifoldConv3d(2, 2)(SparseTensor(torch.zeros(80, 2), mapped))


def test_swapping_twice_gives_the_map() -> None:
    for kernel_map in (voxel_set().kernel_map(DOWN)[1], voxel_set().submanifold_map()):
        twice = kernel_map.swapped().swapped()
        assert torch.equal(twice.in_rows, kernel_map.in_rows)
        assert twice.geometry == kernel_map.geometry
        assert (twice.num_in, twice.num_out) == (kernel_map.num_in, kernel_map.num_out)


def test_dense_and_back(device: torch.device) -> None:
    x = sparse_tensor(device=device)
    dense = x.dense()
    assert dense.shape == (2, 3, *SHAPE)
    assert torch.equal(x.dense(channels_first=False), dense.movedim(1, -1))
    for row in (0, 17, 49):
        b, i, j, k = x.indices[row].tolist()
        assert torch.equal(dense[b, :, i, j, k], x.features[row])
    assert_close(dense.sum(), x.features.sum())
    back = SparseTensor.from_dense(dense)
    assert torch.equal(back.indices, x.indices)
    assert torch.equal(back.features, x.features)
    bev = x.bev()
    assert bev.shape == (2, 3 * SHAPE[2], *SHAPE[:2])
    assert torch.equal(bev.unflatten(1, (3, SHAPE[2])).movedim(2, -1), dense)


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ([0, -1, 0, 0], IndexError, "must be inside the grid"),
        ([0, 0, 6, 0], IndexError, "must be inside the grid"),
        ([2, 0, 0, 0], IndexError, "must be inside the grid"),
        ([1, 1, 1, 1], ValueError, "must be unique"),
    ],
)
def test_dense_refuses_what_is_no_set_of_voxels(
    device: torch.device, row: list[int], error: type[Exception], message: str
) -> None:
    indices = torch.tensor([[1, 1, 1, 1], row], dtype=torch.int32, device=device)
    x = SparseTensor(torch.ones(2, 1, device=device), VoxelSet(indices, SHAPE, 2))
    expected = (error, IndexError) if device.type == "cuda" else (ValueError, IndexError)
    with pytest.raises(expected, match=message):
        x.dense()


def test_sum_and_union(device: torch.device) -> None:
    x, y = sparse_tensor(device=device), sparse_tensor(seed=1, device=device)
    assert torch.equal((x + x).features, 2 * x.features)
    both = x + y
    assert_close(both.dense(), x.dense() + y.dense())
    assert torch.equal(both.indices, torch.cat([x.indices, y.indices]).unique(dim=0))
    x.features.requires_grad_()
    weight = torch.randn_like(both.features)
    ((x + y).features * weight).sum().backward()
    spread = SparseTensor(weight, both.voxels).dense()
    assert_close(x.features.grad, spread.movedim(1, -1)[tuple(x.indices.long().unbind(1))])


def test_concatenation(device: torch.device) -> None:
    x, y = sparse_tensor(2, device=device), sparse_tensor(3, seed=1, device=device)
    assert torch.equal(cat([x, x]).features, torch.cat([x.features, x.features], 1))
    assert_close(cat([x, y]).dense(), torch.cat([x.dense(), y.dense()], 1))
    with pytest.raises(ValueError, match="cat: `tensors` must hold one or more"):
        cat([])
    other = SparseTensor(torch.zeros(1, 2), VoxelSet(torch.zeros(1, 4).int(), (9, 9, 9), 2))
    with pytest.raises(ValueError, match="must have the same spatial_shape"):
        cat([x.to("cpu"), other])


def test_selection(device: torch.device) -> None:
    x = sparse_tensor(device=device)
    mask = x.features[:, 0] > 0
    kept = x.select(mask)
    assert torch.equal(kept.features, x.features[mask])
    assert torch.equal(kept.indices, x.indices[mask])


def test_what_torch_users_expect() -> None:
    x = sparse_tensor()
    assert len(x) == 50
    assert x.half().dtype == torch.float16
    assert x.double().dtype == torch.float64
    assert x.cpu().voxels is x.voxels
    assert x.to(torch.float64).dtype == torch.float64
    assert x.to("meta").indices.device.type == "meta"
    assert x.to("cpu").voxels is x.voxels
    assert "50 voxels" in repr(x)
    y = x.replace(x.features.requires_grad_())
    assert not y.detach().features.requires_grad
    copied = copy.deepcopy(x.detach())
    assert torch.equal(copied.indices, x.indices)


def test_trees() -> None:
    x = sparse_tensor()
    leaves, spec = pytree.tree_flatten({"x": x})
    assert any(leaf is x.features for leaf in leaves)
    assert any(leaf is x.indices for leaf in leaves)
    doubled = pytree.tree_map(lambda t: t * 2 if t.is_floating_point() else t, x)
    assert torch.equal(doubled.features, 2 * x.features)
    assert doubled.spatial_shape == x.spatial_shape
    assert pytree.tree_unflatten([None] * len(leaves), spec)["x"].features is None
    (voxels,) = voxelize(
        torch.rand(9, 3), point_cloud_range=(0, 0, 0, 1, 1, 1), spatial_shape=(2, 2, 2)
    )
    copy_of = pytree.tree_map(Tensor.clone, voxels)
    assert torch.equal(copy_of.point_rows, voxels.point_rows)
    assert torch.equal(copy_of.submanifold_map().in_rows, voxels.submanifold_map().in_rows)


BAD: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, r"`indices` must be \[V, 4\], got shape \(3, 3\)", {"indices": (3, 3)}),
    (ValueError, "`spatial_shape` must be two or three numbers", {"spatial_shape": (4,)}),
    (ValueError, "`spatial_shape` must be two or three numbers", {"spatial_shape": (4, 0, 4)}),
    (TypeError, "`spatial_shape` must be an integer or", {"spatial_shape": (4, 4.5, 4)}),
    (ValueError, "`batch_size` must be at least 1, got 0", {"batch_size": 0}),
    (ValueError, "`spatial_shape` must be two or three numbers", {"spatial_shape": 4}),
    (TypeError, "`batch_size` must be an integer, got 1.5", {"batch_size": 1.5}),
]


@pytest.mark.parametrize(("error", "message", "change"), BAD)
def test_voxel_sets_reject(error: type[Exception], message: str, change: dict[str, Any]) -> None:
    arguments = {"indices": (3, 4), "spatial_shape": (4, 4, 4), "batch_size": 1} | change
    arguments["indices"] = torch.zeros(arguments["indices"], dtype=torch.int32)
    with pytest.raises(error, match=f"VoxelSet: {message}"):
        VoxelSet(**arguments)


def test_rejections() -> None:
    with pytest.raises(TypeError, match="VoxelSet: `indices` must be int32"):
        VoxelSet(torch.zeros(1, 4).long(), SHAPE, 1)
    with pytest.raises(ValueError, match="SparseTensor: `features` must have one row per voxel"):
        SparseTensor(torch.zeros(3, 2), voxel_set())
    with pytest.raises(ValueError, match="SparseTensor: `features` must be on the device"):
        SparseTensor(torch.zeros(50, 2, device="meta"), voxel_set())
    with pytest.raises(ValueError, match="`geometry` must have as many axes as the grid"):
        voxel_set().kernel_map(KernelGeometry.of(3, num_axes=2))
