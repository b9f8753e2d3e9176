"""What holds for every kernel map, whatever the geometry and the voxels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from elite_ops import KernelGeometry, KernelMap, VoxelSet, sparse_conv
from elite_ops.reference.kernel_map import connect_voxels as reference_map
from elite_ops.reference.kernel_map import output_voxels as reference_outputs

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given

axes = st.integers(1, 6)
SETTINGS = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def voxel_sets(draw: Any) -> VoxelSet:
    shape = draw(st.tuples(axes, axes, st.integers(1, 70)))
    batch_size = draw(st.integers(1, 3))
    cell = st.tuples(st.integers(0, batch_size - 1), *(st.integers(0, n - 1) for n in shape))
    cells = draw(st.lists(cell, max_size=25, unique=True))
    indices = torch.tensor(cells, dtype=torch.int32).reshape(-1, 4)
    return VoxelSet(indices, shape, batch_size)


@st.composite
def geometries(draw: Any) -> KernelGeometry:
    def numbers(least: int, most: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(least, most)] * 3))

    return KernelGeometry.of(
        numbers(1, 4),
        stride=numbers(1, 3),
        padding=numbers(0, 3),
        dilation=numbers(1, 3),
        transposed=draw(st.booleans()),
    )


def fits(voxels: VoxelSet, geometry: KernelGeometry) -> bool:
    return min(geometry.output_shape(voxels.spatial_shape)) >= 1


def check_pairs(kernel_map: KernelMap, inputs: VoxelSet, outputs: VoxelSet) -> None:
    """Each pair once, and input = stride * output - padding + dilation * k."""
    geometry = kernel_map.geometry
    k, out_row = (kernel_map.in_rows >= 0).nonzero().unbind(1)
    in_row = kernel_map.in_rows[k, out_row].long()
    assert len(torch.unique(torch.stack([k, in_row]), dim=1).T) == len(k)
    _, k_y, k_z = geometry.kernel_size
    offset = torch.stack([k // (k_y * k_z), k // k_z % k_y, k % k_z], 1)
    fine, coarse = inputs.indices[in_row].long(), outputs.indices[out_row].long()
    if geometry.transposed:
        fine, coarse = coarse, fine
    stride, padding, dilation = (
        torch.tensor(n) for n in (geometry.stride, geometry.padding, geometry.dilation)
    )
    assert torch.equal(fine[:, 0], coarse[:, 0])
    assert torch.equal(fine[:, 1:], stride * coarse[:, 1:] - padding + dilation * offset)


@given(voxel_sets(), geometries())
@SETTINGS
def test_maps_equal_their_definition(voxels: VoxelSet, geometry: KernelGeometry) -> None:
    if not fits(voxels, geometry):
        return
    outputs, kernel_map = voxels.kernel_map(geometry)
    arguments = {"batch_size": voxels.batch_size, "geometry": geometry}
    want = reference_outputs(voxels.indices, spatial_shape=voxels.spatial_shape, **arguments)
    assert torch.equal(outputs.indices, want.reshape(-1, 4))
    want_map = reference_map(
        voxels.indices, voxels.spatial_shape, outputs.indices, outputs.spatial_shape, **arguments
    )
    assert torch.equal(kernel_map.in_rows, want_map.in_rows)
    check_pairs(kernel_map, voxels, outputs)
    check_pairs(kernel_map.swapped(), outputs, voxels)
    twice = kernel_map.swapped().swapped()
    assert torch.equal(twice.in_rows, kernel_map.in_rows)
    assert (kernel_map.in_rows >= 0).any(0).all()  # every output is reached


@given(voxel_sets(), geometries())
@SETTINGS
def test_the_inverse_lands_on_the_inputs(voxels: VoxelSet, geometry: KernelGeometry) -> None:
    if not fits(voxels, geometry):
        return
    outputs, kernel_map = voxels.kernel_map(geometry)
    origin, back = outputs.origin
    assert origin is voxels
    assert back.swapped().num_out == len(voxels)
    assert torch.equal(back.in_rows, kernel_map.in_rows)


@given(voxel_sets(), geometries(), st.randoms(use_true_random=False))
@SETTINGS
def test_the_order_of_the_rows_does_not_matter(
    voxels: VoxelSet, geometry: KernelGeometry, random: object
) -> None:
    if not fits(voxels, geometry):
        return
    order = list(range(len(voxels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = VoxelSet(voxels.indices[order], voxels.spatial_shape, voxels.batch_size)
    features = torch.arange(2.0 * len(voxels), dtype=torch.float64).reshape(-1, 2)
    weight = torch.arange(2.0 * geometry.num_offsets, dtype=torch.float64).reshape(-1, 2, 1)

    def convolve(voxels: VoxelSet, features: Tensor) -> tuple[Tensor, Tensor]:
        outputs, kernel_map = voxels.kernel_map(geometry)
        return outputs.indices, sparse_conv(features, weight, kernel_map)

    got, want = convolve(shuffled, features[order]), convolve(voxels, features)
    assert torch.equal(got[0], want[0])
    assert_close(got[1], want[1], rtol=0, atol=0)  # whole numbers: exact in any order
