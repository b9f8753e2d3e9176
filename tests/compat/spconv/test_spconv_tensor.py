"""`SparseConvTensor`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from spconv_scene import BATCH_SIZE, SHAPES, scene, tensor_of
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as spconv
from elite_ops.compat.spconv.pytorch.core import ThrustSortAllocator, expand_nd, scatter_nd


@pytest.fixture
def x() -> Any:
    return tensor_of(spconv, *scene())


def test_all_arguments() -> None:
    features, indices = scene()
    known = {"key": object()}
    x = spconv.SparseConvTensor(
        features=features,
        indices=indices,
        spatial_shape=np.array(SHAPES[3]),
        batch_size=BATCH_SIZE,
        grid=torch.zeros(2),
        voxel_num=torch.tensor([3]),
        indice_dict=known,
        benchmark=True,
        permanent_thrust_allocator=True,
        enable_timer=True,
        force_algo=spconv.ConvAlgo.Native,
    )
    assert x.features is features
    assert x.indices is indices
    assert x.spatial_shape == [9, 8, 7]
    assert all(type(cells) is int for cells in x.spatial_shape)
    assert x.batch_size == BATCH_SIZE
    assert x.indice_dict is known
    assert (x.grid.shape, x.voxel_num.tolist(), x.benchmark) == ((2,), [3], True)
    assert x.force_algo is spconv.ConvAlgo.Native
    assert x.benchmark_record == {}
    assert x.thrust_allocator is None
    assert x._timer.get_all_pair_time() == {}
    with x._timer.namespace("a"), x._timer.record("b"):
        assert not x.is_quantized
    assert "208, 4" in repr(x) or str(tuple(features.shape))[1:-1] in repr(x)


@pytest.mark.parametrize("batch_size", [torch.tensor(BATCH_SIZE), np.int64(BATCH_SIZE)])
def test_a_batch_size_of_another_kind(batch_size: Any) -> None:
    features, indices = scene()
    layer = spconv.SubMConv3d(4, 4, 3)
    x = spconv.SparseConvTensor(features, indices, torch.Size(SHAPES[3]), batch_size)
    assert torch.equal(x.dense(), tensor_of(spconv, features, indices).dense())
    want = layer(tensor_of(spconv, features, indices)).features
    assert torch.equal(layer(x).features, want)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": torch.zeros(3)}, ValueError, r"`features` must be \[V, C\]"),
        ({"indices": torch.zeros(3, 4)}, TypeError, "`indices` must be int32, got torch.float32"),
        ({"spatial_shape": [3, 3]}, ValueError, r"`indices` must be \[V, 3\]"),
        ({"batch_size": 1.0}, TypeError, "`batch_size` must be an integer, got 1.0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1, got 0"),
    ],
)
def test_what_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {
        "features": torch.zeros(3, 4),
        "indices": torch.zeros(3, 4, dtype=torch.int32),
        "spatial_shape": [3, 3, 3],
        "batch_size": 1,
    }
    with pytest.raises(error, match=message):
        spconv.SparseConvTensor(**{**given, **change})


def test_replacing_features_keeps_the_maps(x: Any) -> None:
    other = x.replace_feature(2 * x.features)
    assert other.indices is x.indices
    assert other.voxels is x.voxels
    assert other.indice_dict is x.indice_dict
    assert torch.equal(other.features, 2 * x.features)


def test_a_shadow_copy_has_every_part(x: Any) -> None:
    other = x.shadow_copy()
    assert vars(other).keys() == vars(x).keys()
    assert all(part is vars(x)[name] for name, part in vars(other).items() if name[:2] != "sp")
    assert other.spatial_shape == x.spatial_shape
    assert other.spatial_shape is not x.spatial_shape


def test_features_are_assigned_as_in_1(x: Any) -> None:
    before, features = x.features, x.features.relu()
    other = x.shadow_copy()
    x.features = features
    assert x.features is features
    assert other.features is before


def test_indices_are_assigned_as_in_1(x: Any) -> None:
    layer = spconv.SubMConv3d(4, 4, 3)
    layer(x)
    few = x.indices[:20].contiguous()
    x.features, x.indices = x.features[:20], few
    want = layer(tensor_of(spconv, x.features, few)).features
    assert torch.equal(layer(x).features, want)


def test_indices_that_change_in_place(x: Any) -> None:
    layer = spconv.SubMConv3d(4, 4, 3, indice_key="a")
    before = layer(x)
    x.indices[:, 1:] *= 2
    x.spatial_shape = [2 * cells for cells in x.spatial_shape]
    fresh = spconv.SparseConvTensor(x.features, x.indices.clone(), x.spatial_shape, BATCH_SIZE)
    want = layer(fresh)
    assert torch.equal(layer(x).features, want.features)
    assert not torch.equal(before.features, want.features)
    before.spatial_shape = x.spatial_shape
    before.indice_dict["a"].spatial_shape = x.spatial_shape
    again = layer(before.replace_feature(x.features))  # which knows a map of other voxels
    assert torch.equal(again.features, want.features)
    assert torch.equal(again.indice_dict["a"].indice_pairs, want.indice_dict["a"].indice_pairs)


def test_indices_that_change_in_inference_mode() -> None:
    layer = spconv.SubMConv3d(4, 4, 3)
    with torch.inference_mode():
        features, indices = scene()
        x = spconv.SparseConvTensor(features, indices.clone(), [20, 20, 20], BATCH_SIZE)
        layer(x)
        x.indices[:, 1:] *= 2
        fresh = spconv.SparseConvTensor(features, x.indices.clone(), [20, 20, 20], BATCH_SIZE)
        assert torch.equal(layer(x).features, layer(fresh).features)


def test_a_shape_that_changes(x: Any) -> None:
    down = spconv.SparseConv3d(4, 4, 3, 2, 1)
    assert down(x).spatial_shape == [5, 4, 4]
    x.spatial_shape[0] += 2
    assert down(x).spatial_shape == [6, 4, 4]


def test_dense(x: Any) -> None:
    want = torch.zeros(BATCH_SIZE, *SHAPES[3], 4)
    for row, (b, i, j, k) in zip(x.features, x.indices.tolist(), strict=True):
        want[b, i, j, k] = row
    assert torch.equal(x.dense(channels_first=False), want)
    assert torch.equal(x.dense(), want.permute(0, 4, 1, 2, 3))
    assert x.dense().view(BATCH_SIZE, 4 * 9, 8, 7).is_contiguous()
    assert torch.equal(spconv.ToDense()(x), x.dense())


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_from_dense_and_back(num_axes: int) -> None:
    x = tensor_of(spconv, *scene(num_axes))
    grid = x.dense(channels_first=False).requires_grad_()
    again = spconv.SparseConvTensor.from_dense(grid)
    assert again.spatial_shape == x.spatial_shape
    assert again.batch_size == BATCH_SIZE
    assert again.indices.dtype == torch.int32
    assert torch.equal(again.dense(channels_first=False), grid)
    again.features.sum().backward()
    assert torch.equal(grid.grad, (grid != 0).any(-1, keepdim=True).float().expand_as(grid))


def test_four_axes_are_dense_at_least() -> None:
    indices = torch.tensor([[0, 1, 0, 1, 0]], dtype=torch.int32)
    x = spconv.SparseConvTensor(torch.ones(1, 2), indices, [2, 2, 2, 2], 1)
    assert x.dense().sum() == 2
    assert x.dense()[0, 0, 1, 0, 1, 0] == 1


def test_sums(x: Any) -> None:
    for total in (x + x, x + x.features, x.__radd__(x.features)):
        assert torch.equal(total.features, 2 * x.features)
        assert total.voxels is x.voxels
    once = x.features
    x += x
    assert torch.equal(x.features, 2 * once)
    with pytest.raises(TypeError, match="must be a SparseConvTensor or a tensor, got int"):
        x + 1


def test_small_things(x: Any) -> None:
    assert torch.equal(x.minus().features, -x.features)
    assert x.spatial_size == 9 * 8 * 7
    assert x.sparity == pytest.approx(len(x.indices) / (9 * 8 * 7) / BATCH_SIZE)
    assert x.find_indice_pair(None) is None
    assert x.find_indice_pair("nothing") is None
    with pytest.raises(ValueError, match="quantized"):
        x.q_scale()
    assert expand_nd(3, (1, 2, 3)) == [1, 2, 3]
    assert expand_nd(2, 4) == [4, 4]
    assert scatter_nd(torch.tensor([[1], [0]]), torch.eye(2), [2, 2]).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(NotImplementedError, match="ThrustSortAllocator: kernels allocate"):
        ThrustSortAllocator(torch.device("cpu"))
    assert spconv.RemoveGrid()(x).grid.numel() == 0


def test_a_selection_starts_anew(x: Any) -> None:
    y = spconv.SubMConv3d(4, 4, 3, indice_key="a")(x)
    mask = y.features[:, 0] > 0
    for rows in (mask, mask.nonzero()[:, 0]):
        some = y.select_by_index(rows)
        assert torch.equal(some.indices, y.indices[mask])
        assert torch.equal(some.features, y.features[mask])
        assert some.indice_dict == {}
    assert "a" in y.indice_dict


def test_copies_and_pickles(x: Any) -> None:
    layer = spconv.SubMConv3d(4, 4, 3, indice_key="a")
    y = layer(spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="b")(x))
    y = y.replace_feature(y.features.detach())
    for again in (copy.deepcopy(y), pickle.loads(pickle.dumps(y)), copy.copy(y)):
        assert_close(layer(again).features, layer(y).features, rtol=0, atol=0)
        back = spconv.SparseInverseConv3d(4, 2, 3, indice_key="b")
        assert torch.equal(back(again).features, back(y).features)
