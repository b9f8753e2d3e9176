"""`spconv.pytorch.functional` and `spconv.pytorch.ops`: pairs, and what takes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spconv_scene import BATCH_SIZE, SHAPES, in_order, scene, tensor_of
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as spconv
from elite_ops.compat.spconv.pytorch import functional, ops

ARGUMENTS = {
    "batch_size": BATCH_SIZE,
    "spatial_shape": list(SHAPES[3]),
    "algo": spconv.ConvAlgo.Native,
    "ksize": [3, 3, 3],
    "stride": [2, 2, 2],
    "padding": [1, 1, 1],
    "dilation": [1, 1, 1],
    "out_padding": [0, 0, 0],
}


@pytest.fixture
def x() -> Any:
    return tensor_of(spconv, *scene())


def test_sizes() -> None:
    geometry = ([3, 3, 2], [2, 1, 2], [1, 0, 0], [1, 2, 1])
    convolved = ops.get_conv_output_size([9, 8, 7], *geometry)
    assert convolved == list(
        torch.nn.functional.conv3d(
            torch.zeros(1, 1, 9, 8, 7), torch.zeros(1, 1, 3, 3, 2), None, *geometry[1:]
        ).shape[2:]
    )
    assert ops.get_deconv_output_size(
        [5, 4, 3], [3, 3, 3], [2, 2, 2], [1, 1, 1], [1] * 3, [1] * 3
    ) == [10, 8, 6]


def test_pairs_of_a_convolution(x: Any) -> None:
    layer = spconv.SparseConv3d(4, 6, 3, 2, 1, indice_key="a")
    y = layer(x)
    out, pairs, number = ops.get_indice_pairs(x.indices, **ARGUMENTS)
    data = y.indice_dict["a"]
    assert torch.equal(out, y.indices)
    assert torch.equal(pairs, data.indice_pairs)
    assert torch.equal(number, data.indice_pair_num)
    features = functional.indice_conv(
        x.features, layer.weight, pairs, number, len(out), layer.algo, None, layer.bias
    )
    assert torch.equal(features, y.features)
    back = spconv.SparseInverseConv3d(6, 4, 3, indice_key="a")
    features = functional.indice_inverse_conv(
        y.features, back.weight, pairs, number, len(x.indices), back.algo, None, back.bias
    )
    assert_close(features, back(y).features)


def test_pairs_of_a_submanifold_convolution(x: Any) -> None:
    layer = spconv.SubMConv3d(4, 6, 3, bias=False)
    out, pairs, number = ops.get_indice_pairs(x.indices, **ARGUMENTS, subm=True)
    assert out is x.indices
    features = functional.indice_subm_conv(x.features, layer.weight, pairs, number, len(out))
    assert_close(features, layer(x).features)
    weight = torch.autograd.grad(features.sum(), layer.weight)[0]
    assert_close(weight, torch.autograd.grad(layer(x).features.sum(), layer.weight)[0])


def test_pairs_of_a_transposed_convolution(x: Any) -> None:
    y = spconv.SparseConvTranspose3d(4, 6, 3, 2, 1)(x)
    assert torch.equal(ops.get_indice_pairs(x.indices, **ARGUMENTS, transpose=True)[0], y.indices)


def test_tables_of_a_convolution(x: Any) -> None:
    layer = spconv.SparseConv3d(4, 6, 3, 2, 1, indice_key="a")
    y = layer(x)
    found = ops.get_indice_pairs_implicit_gemm(x.indices, **ARGUMENTS)
    out, number, forward, backward, *rest = found
    assert len(found) == 9
    assert rest == [[]] * 5
    data = y.indice_dict["a"]
    assert torch.equal(number, data.indice_pair_num)
    assert torch.equal(backward, data.pair_bwd)
    arguments = (forward, backward, [], [], [], [], len(out), [], True, False, None, None)
    features = functional.implicit_gemm(x.features, layer.weight, *arguments, layer.bias)
    assert torch.equal(features, y.features)


def test_pooling_over_pairs(x: Any) -> None:
    arguments = {**ARGUMENTS, "ksize": [2] * 3, "padding": [0] * 3}
    out, pairs, number = ops.get_indice_pairs(x.indices, **arguments)
    table, back = ops.get_indice_pairs_implicit_gemm(x.indices, **arguments)[2:4]
    want = spconv.SparseMaxPool3d(2)(x).features
    assert torch.equal(functional.indice_maxpool(x.features, pairs, number, len(out)), want)
    got = functional.indice_maxpool_implicit_gemm(x.features, table, back, len(out))
    assert torch.equal(got, want)
    mean = functional.indice_avgpool_implicit_gemm(x.features, table, back, len(out), True)
    assert torch.equal(mean, spconv.SparseAvgPool3d(2)(x).features)


@pytest.mark.parametrize("add", [functional.sparse_add, functional.sparse_add_hash_based])
@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_sums_at_different_voxels(add: Any, num_axes: int) -> None:
    x = tensor_of(spconv, *scene(num_axes))
    parts = [x.select_by_index(torch.arange(5)), x.select_by_index(torch.arange(3, 9)), x.minus()]
    for given in (parts, parts[:2], parts[:1]):
        total = add(*given)
        assert torch.equal(total.indices, total.indices[in_order(total.indices)]) or len(given) == 1
        assert_close(total.dense(), sum(part.dense() for part in given))


def test_a_sum_keeps_maps_where_it_may() -> None:
    features, indices = scene()
    order = in_order(indices)
    x = tensor_of(spconv, features[order], indices[order])
    y = spconv.SubMConv3d(4, 4, 3, indice_key="a")(x)
    assert "a" in functional.sparse_add(y, y.select_by_index(torch.arange(5))).indice_dict
    few = y.select_by_index(torch.arange(5))
    assert functional.sparse_add(few, few).indice_dict == {}


def test_rows_of_samples() -> None:
    coords = torch.tensor([[2, 0], [0, 1], [2, 3], [0, 0]], dtype=torch.int32)
    rows, counts = ops.global_pool_rearrange(coords, 3)
    assert counts.tolist() == [2, 0, 2]
    assert rows[0, :2].tolist() == [1, 3]
    assert rows[2, :2].tolist() == [0, 2]


def test_maximum_in_place() -> None:
    number = torch.tensor([3], dtype=torch.int32)
    for value, want in ((2, 3), (5, 5)):
        ops.maximum_value_int_(number, value)
        assert number.item() == want
