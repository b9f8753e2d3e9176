"""What layers with an `indice_key` leave, and what others make of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from spconv_scene import BATCH_SIZE, SHAPES, scene, tensor_of
from torch import Tensor, nn
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as spconv
from elite_ops.compat.spconv import constants
from elite_ops.compat.spconv.pytorch.connect import _warn_of_reuse
from elite_ops.compat.spconv.pytorch.core import ImplicitGemmIndiceData, IndiceData


@pytest.fixture
def x() -> Any:
    return tensor_of(spconv, *scene())


@pytest.fixture
def legacy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "LEGACY_INDICE_REUSE", True)
    _warn_of_reuse.cache_clear()
    yield
    _warn_of_reuse.cache_clear()


def pairs(data: IndiceData) -> set[tuple[int, int, int]]:
    """Offset, input and output row of each pair."""
    in_rows, out_rows = data.indice_pairs
    found = (in_rows >= 0).nonzero().tolist()
    return {(k, int(in_rows[k, n]), int(out_rows[k, n])) for k, n in found}


def pairs_by_hand(
    indices: Tensor, out_indices: Tensor, kernel: int, stride: int, padding: int
) -> set[tuple[int, int, int]]:
    row_of = {tuple(cell): row for row, cell in enumerate(indices.tolist())}
    found = set()
    for out_row, (b, *cell) in enumerate(out_indices.tolist()):
        for k in range(kernel**3):
            offset = (k // kernel**2, k // kernel % kernel, k % kernel)
            wanted = (stride * c - padding + o for c, o in zip(cell, offset, strict=True))
            if (row := row_of.get((b, *wanted))) is not None:
                found.add((k, row, out_row))
    return found


def test_a_strided_convolution_leaves_its_pairs(x: Any) -> None:
    layer = spconv.SparseConv3d(4, 6, 3, 2, 1, indice_key="down")
    y = layer(x)
    assert "down" not in x.indice_dict
    data = y.find_indice_pair("down")
    assert data is y.indice_dict["down"]
    assert isinstance(data, IndiceData)
    assert isinstance(data, ImplicitGemmIndiceData)
    assert data.indices is x.indices
    assert data.out_indices is y.indices
    assert (data.spatial_shape, data.out_spatial_shape) == ([9, 8, 7], [5, 4, 4])
    assert (data.ksize, data.stride, data.padding, data.dilation) == (
        [3] * 3,
        [2] * 3,
        [1] * 3,
        [1] * 3,
    )
    assert not data.is_subm
    assert data.algo is layer.algo
    assert data.voxel_num is None
    want = pairs_by_hand(x.indices, y.indices, 3, 2, 1)
    assert pairs(data) == want
    assert data.indice_pairs.shape == (2, 27, len(x.indices))
    assert data.indice_pairs.dtype == torch.int32
    assert data.indice_pairs is data.indice_pairs
    number = torch.zeros(27, dtype=torch.int32)
    for k, *_ in want:
        number[k] += 1
    assert torch.equal(data.indice_pair_num, number)
    for k, in_row, out_row in want:
        assert data.pair_fwd[k, out_row] == in_row
        assert data.pair_bwd[k, in_row] == out_row
    assert int((data.pair_fwd >= 0).sum()) == int((data.pair_bwd >= 0).sum()) == len(want)


def test_a_submanifold_convolution_leaves_its_pairs(x: Any) -> None:
    data = spconv.SubMConv3d(4, 6, 3, indice_key="subm")(x).indice_dict["subm"]
    want = pairs_by_hand(x.indices, x.indices, 3, 1, 1)
    assert pairs(data) == want
    assert data.is_subm
    assert data.out_indices is data.indices is x.indices
    for k, in_row, out_row in want:
        assert data.pair_bwd[k, in_row] == out_row


def test_submanifold_convolutions_share_a_map(x: Any) -> None:
    first, second = (spconv.SubMConv3d(4, 4, 3, indice_key="a") for _ in range(2))
    y = first(x)
    z = second(y)
    assert z.indice_dict["a"] is y.indice_dict["a"]
    assert z.voxels is x.voxels


def test_a_tensor_made_by_hand_finds_the_map(x: Any) -> None:
    """As code does that has 1x1x1 convolutions of its own."""
    first, second = (spconv.SubMConv3d(4, 4, 3, indice_key="a") for _ in range(2))
    y = first(x)
    made = spconv.SparseConvTensor(y.features, y.indices, y.spatial_shape, y.batch_size)
    made.indice_dict = y.indice_dict
    z = second(made)
    assert z.voxels is y.voxels
    assert torch.equal(z.features, second(y).features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 5}, r"the same kernel_size, got \[5, 5, 5\] after \[3, 3, 3\]"),
        ({"kernel_size": 3, "dilation": 2}, r"the same dilation, got \[2, 2, 2\] after"),
    ],
)
def test_another_kernel_of_the_same_key(x: Any, options: dict[str, Any], message: str) -> None:
    y = spconv.SubMConv3d(4, 4, 3, indice_key="a")(x)
    with pytest.raises(ValueError, match=f"`indice_key` 'a' must have {message}"):
        spconv.SubMConv3d(4, 4, indice_key="a", **options)(y)


def test_other_voxels_of_the_same_key(x: Any) -> None:
    layer = spconv.SubMConv3d(4, 4, 3, indice_key="a")
    y = layer(x)
    fewer = y.replace_feature(y.features[:9])
    fewer.indices = y.indices[:9]
    with pytest.raises(ValueError, match="must have the same number of voxels, got 9 after"):
        layer(fewer)
    other = y.shadow_copy()
    other.spatial_shape = [9, 9, 9]
    with pytest.raises(ValueError, match="must have the same spatial_shape"):
        layer(other)
    down = spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="b")(x)
    with pytest.raises(ValueError, match="'b' is not that of a submanifold convolution"):
        spconv.SubMConv3d(4, 4, 3, indice_key="b")(down)


def test_as_many_voxels_elsewhere_get_a_map_of_their_own(x: Any) -> None:
    layer = spconv.SubMConv3d(4, 4, 3, indice_key="a")
    y = layer(x)
    y.indices = y.indices.flip(0)
    want = layer(tensor_of(spconv, y.features, y.indices)).features
    assert torch.equal(layer(y).features, want)


@pytest.mark.parametrize(
    "make",
    [
        lambda: spconv.SparseConv3d(4, 4, 3, 1, 1, indice_key="a"),
        lambda: spconv.SparseMaxPool3d(1, indice_key="a"),
        lambda: spconv.SparseAvgPool3d(1, indice_key="a"),
    ],
)
def test_a_key_is_taken_once(x: Any, make: Any) -> None:
    y = spconv.SparseConv3d(4, 4, 3, 1, 1, indice_key="a")(x)
    with pytest.raises(ValueError, match="`indice_key` 'a' is in use already"):
        make()(y)


@pytest.mark.parametrize(
    "down",
    [
        lambda: spconv.SparseConv3d(4, 4, 2, 2, indice_key="a"),
        lambda: spconv.SparseMaxPool3d(2, indice_key="a"),
        lambda: spconv.SparseAvgPool3d(2, indice_key="a"),
    ],
)
def test_there_and_back(x: Any, down: Any) -> None:
    """Layers in between may change features and voxels' maps, and add keys."""
    y = down()(x)
    y = spconv.SubMConv3d(4, 5, 3, indice_key="coarse")(y)
    back = spconv.SparseInverseConv3d(5, 3, 2, indice_key="a", bias=False)
    z = back(y)
    assert z.indices is x.indices
    assert z.spatial_shape == x.spatial_shape
    assert z.voxels is x.voxels
    want = torch.zeros(len(x.indices), 3)
    weight = back.weight.flatten(1, 3)
    for k, in_row, out_row in pairs(y.indice_dict["a"]):
        want[in_row] += weight[:, k] @ y.features[out_row]
    assert_close(z.features, want)
    assert set(z.indice_dict) == {"a", "coarse"}


def test_an_inverse_that_fits_nothing(x: Any) -> None:
    y = spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="a")(x)
    y = spconv.SubMConv3d(4, 4, 3, indice_key="subm")(y)
    for key in (None, "b", "subm"):
        with pytest.raises(ValueError, match="`indice_key` must be that of a convolution or pool"):
            spconv.SparseInverseConv3d(4, 4, 3, indice_key=key)(y)
    with pytest.raises(ValueError, match="must have the same kernel_size, got"):
        spconv.SparseInverseConv3d(4, 4, 2, indice_key="a")(y)
    back = spconv.SparseInverseConv3d(4, 4, 3, indice_key="a")
    x.indice_dict = y.indice_dict
    with pytest.raises(ValueError, match="must have the same spatial_shape, got"):
        back(x)
    few = y.replace_feature(y.features[:3])
    few.indices = y.indices[:3]
    with pytest.raises(ValueError, match="must have the same number of voxels, got 3 after"):
        back(few)


def test_coarse_indices_that_change_in_place(x: Any) -> None:
    """As code does that brings scales together: the rows still know the way back."""
    y = spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="a")(x)
    back = spconv.SparseInverseConv3d(4, 4, 3, indice_key="a")
    want = back(y).features
    y.indices[:, 1:] *= 2
    assert torch.equal(back(y).features, want)


class TwoKernels(nn.Module):
    """Two asymmetric kernels by one key, as Cylinder3D has them."""

    def __init__(self, second: tuple[int, ...]) -> None:
        super().__init__()
        self.first = spconv.SubMConv3d(4, 4, (1, 3, 3), indice_key="res")
        self.second = spconv.SubMConv3d(4, 4, second, indice_key="res")

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


def test_two_kernels_by_one_key_are_refused(x: Any) -> None:
    with pytest.raises(ValueError, match=r"see install\(legacy_indice_reuse=True\)"):
        TwoKernels((3, 1, 3))(x)


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize("second", [(3, 1, 3), (3, 3, 3)])
def test_two_kernels_by_one_key_as_in_1(x: Any, second: tuple[int, ...]) -> None:
    """The map is the first one's, and so is the number of offsets."""
    network = TwoKernels(second)
    with pytest.warns(UserWarning, match=rf"have kernels \(1, 3, 3\) and {re.escape(str(second))}"):
        out = network(x)
    same = TwoKernels((1, 3, 3))
    with torch.no_grad():
        for ours, theirs in zip(same.parameters(), network.parameters(), strict=True):
            met = theirs.flatten(1, 3)[:, :9] if theirs.dim() == 5 else theirs
            ours.copy_(met.reshape(ours.shape))
    assert torch.equal(out.features, same(x).features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(x)  # said once
    with pytest.raises(ValueError, match="must have the same kernel_size"):
        TwoKernels((1, 1, 3))(x)


@pytest.mark.usefixtures("legacy")
def test_branches_share_keys_as_in_1(x: Any) -> None:
    """There the tensors of a network have one dictionary: what one branch built serves another."""
    first = spconv.SubMConv3d(4, 4, (1, 3, 3), indice_key="branches")
    second = spconv.SubMConv3d(4, 4, (3, 1, 3), indice_key="branches")
    down = spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="down")
    y = first(x)
    assert y.indice_dict is x.indice_dict
    same = spconv.SubMConv3d(4, 4, (1, 3, 3))
    with torch.no_grad():
        same.weight.copy_(second.weight.reshape(same.weight.shape))
        same.bias.copy_(second.bias)
    with pytest.warns(UserWarning, match="'branches'"):
        assert torch.equal(second(x).features, same(x).features)
    assert torch.equal(down(x).features, down(x).features)
    assert down(x).indice_dict is x.indice_dict
    with pytest.raises(ValueError, match="`indice_key` 'down' is in use already"):
        spconv.SparseConv3d(4, 4, 2, 2, indice_key="down")(x)


def test_branches_do_not_share_keys(x: Any) -> None:
    """As in spconv 2.x, a tensor knows the layers before it alone."""
    spconv.SubMConv3d(4, 4, (1, 3, 3), indice_key="a")(x)
    spconv.SubMConv3d(4, 4, (3, 1, 3), indice_key="a")(x)
    assert x.indice_dict == {}


def test_maps_are_built_once(x: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of one scale has one map of each kernel, with keys and without."""
    from elite_ops import voxel_set

    calls = []
    build = voxel_set.build_kernel_map
    monkeypatch.setattr(
        voxel_set, "build_kernel_map", lambda *a, **k: calls.append(1) or build(*a, **k)
    )
    layers = spconv.SparseSequential(
        spconv.SubMConv3d(4, 4, 3, indice_key="a"),
        nn.ReLU(),
        spconv.SubMConv3d(4, 4, 3, indice_key="a"),
        spconv.SubMConv3d(4, 4, 3),
        spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="b"),
        spconv.SparseInverseConv3d(4, 4, 3, indice_key="b"),
        spconv.SubMConv3d(4, 4, 3, indice_key="a"),
    )
    layers(x)
    assert len(calls) == 1
    assert x.batch_size == BATCH_SIZE
    assert x.spatial_shape == list(SHAPES[3])
