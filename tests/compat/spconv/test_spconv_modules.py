"""Containers, tables, and the layers that are there for their names."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from spconv_scene import scene, tensor_of
from torch import nn

import elite_ops.compat.spconv.pytorch as spconv
from elite_ops.compat.spconv.core import AlgoHint, ConvAlgo
from elite_ops.compat.spconv.pytorch import modules, tables
from elite_ops.compat.spconv.pytorch.conv import DEFAULT_SPARSE_CONV_TYPES, SparseConvolution
from elite_ops.compat.spconv.pytorch.pool import ALL_POOL_LAYERS


@pytest.fixture
def x() -> Any:
    return tensor_of(spconv, *scene())


def conv() -> nn.Module:
    return spconv.SubMConv3d(4, 4, 3)


def test_layers_of_a_sequence() -> None:
    first, second, third = conv(), nn.ReLU(), conv()
    by_place = spconv.SparseSequential(first, second)
    assert list(by_place._modules) == ["0", "1"]
    by_name = spconv.SparseSequential(OrderedDict(a=first, b=second), c=third)
    assert list(by_name._modules) == ["a", "b", "c"]
    by_place.add(third)
    by_place.add(nn.ReLU(), name="last")
    assert list(by_place._modules) == ["0", "1", "2", "last"]
    assert len(by_place) == 4
    assert by_place[0] is first
    assert by_place[-2] is third
    assert by_place[2] is third
    for place in (4, -5):
        with pytest.raises(IndexError, match="out of range"):
            by_place[place]
    with pytest.raises(ValueError, match="there is a layer 'a' already"):
        spconv.SparseSequential(OrderedDict(a=first), a=second)
    with pytest.raises(KeyError, match="there is a layer '1' already"):
        by_place.add(conv(), name="1")


def test_a_sequence_applies_layers_to_what_they_take(x: Any) -> None:
    layer, linear, norm = conv(), nn.Linear(4, 5), nn.BatchNorm1d(5)
    out = spconv.SparseSequential(layer, linear, nn.Sequential(norm, nn.ReLU()))(x)
    assert torch.equal(out.features, norm(linear(layer(x).features)).relu())
    assert out.indices is x.indices


def test_a_sequence_may_end_in_a_plain_tensor(x: Any) -> None:
    out = spconv.SparseSequential(spconv.ToDense(), nn.Conv3d(4, 2, 1))(x)
    assert out.shape == (3, 2, 9, 8, 7)


def test_no_voxels_pass_by_plain_layers() -> None:
    class Refuses(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            raise AssertionError("called")

    empty = tensor_of(spconv, torch.empty(0, 4), torch.empty(0, 4, dtype=torch.int32))
    out = spconv.SparseSequential(Refuses(), conv())(empty)
    assert out.features.shape == (0, 4)


def test_a_block_of_the_users_own(x: Any) -> None:
    class Block(spconv.SparseModule):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: Any) -> Any:
            out = self.conv(x)
            out = out.replace_feature(out.features + x.features)
            out.features = out.features.relu()  # as in 1.x
            return out

    block = Block()
    assert block.name is None
    out = spconv.SparseSequential(block, nn.ReLU())(x)
    assert torch.equal(out.features, (block.conv(x).features + x.features).relu())


def test_what_is_a_sparse_module() -> None:
    for layer in (conv(), spconv.SparseSequential(), spconv.SparseMaxPool3d(2), spconv.ToDense()):
        assert modules.is_spconv_module(layer)
    for layer in (spconv.SparseBatchNorm(4), spconv.SparseReLU()):
        assert modules.is_spconv_module(layer)
    for layer in (nn.ReLU(), nn.Sequential(conv()), spconv.Identity()):
        assert not modules.is_spconv_module(layer)
    assert modules.is_sparse_conv(conv())
    assert not modules.is_sparse_conv(spconv.SparseMaxPool3d(2))
    assert isinstance(conv(), spconv.conv.SparseConvolution)
    assert all(issubclass(kind, SparseConvolution) for kind in DEFAULT_SPARSE_CONV_TYPES)
    assert len(DEFAULT_SPARSE_CONV_TYPES) == 16
    assert spconv.SparseMaxPool3d in ALL_POOL_LAYERS


def test_layers_of_features_that_take_both(x: Any) -> None:
    for sparse, plain in (
        (spconv.SparseBatchNorm(4), nn.BatchNorm1d(4)),
        (spconv.SparseReLU(), nn.ReLU()),
        (spconv.SparseIdentity(), nn.Identity()),
    ):
        want = plain(x.features)
        assert torch.equal(sparse(x).features, want)
        assert torch.equal(sparse(x.features), want)
        assert isinstance(sparse, type(plain))
    assert issubclass(modules.SparseSyncBatchNorm, nn.SyncBatchNorm)
    assert spconv.Identity()(x) is x
    assert spconv.Identity().input_spatial_size([3]) == [3]


def test_names_of_modules() -> None:
    network = nn.Sequential(spconv.SparseSequential(conv()), nn.ReLU())
    spconv.assign_name_for_sparse_modules(network)
    assert network[0][0]._sparse_unique_name == "0.0"


def test_tables(x: Any) -> None:
    y = conv()(x)
    both = spconv.ConcatTable().add(spconv.Identity()).add(conv())
    one, other = both(x)
    assert one is x
    total = spconv.AddTable()([x, y, x])
    assert torch.equal(total.features, x.features + y.features + x.features)
    joined = spconv.JoinTable()([x, y])
    assert torch.equal(joined.features, torch.cat([x.features, y.features], 1))
    assert joined.voxels is x.voxels
    assert torch.equal(spconv.AddTable()([one, other]).features, x.features + other.features)
    assert both.input_spatial_size([5]) == spconv.AddTable().input_spatial_size([5]) == [5]
    with pytest.raises(ValueError, match="AddTable: tensors must have the same number of channels"):
        spconv.AddTable()([x, joined])
    few = x.select_by_index(torch.arange(3))
    with pytest.raises(ValueError, match="JoinTable: tensors must have the same number of voxels"):
        spconv.JoinTable()([x, few])
    total = tables.AddTableMisaligned()([x, few])
    want = x.dense()
    want = want + few.dense()
    assert torch.equal(total.dense(), want)


def test_algorithms_are_names() -> None:
    assert [algo.value for algo in ConvAlgo] == [0, 1, 2]
    assert ConvAlgo is spconv.ConvAlgo is spconv.ops.ConvAlgo
    assert AlgoHint.Fowrard.value == 1


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("functional", "SparseConvFunction"),
        ("functional", "SubMConvFunction"),
        ("ops", "indice_conv_backward"),
        ("ops", "implicit_gemm"),
        ("modules", "PrintCurrentTime"),
        ("hash", "HashTable"),
    ],
)
def test_names_without_use_raise_when_used(module: str, name: str) -> None:
    from importlib import import_module

    found = getattr(import_module(f"elite_ops.compat.spconv.pytorch.{module}"), name)
    with pytest.raises(NotImplementedError, match=f"^{name}: "):
        found(1, option=2)


def test_what_torch_has_of_versions() -> None:
    assert spconv.constants.TORCH_HAS_AMP
    assert spconv.constants.PYTORCH_VERSION >= [2, 0]
    assert not spconv.constants.is_amp_enabled()
