"""Weights: their layouts, names, first values, and what happens to whole models."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from spconv_scene import scene, tensor_of
from torch import Tensor, nn

import elite_ops.compat.spconv.pytorch as spconv
from elite_ops.compat.spconv import constants

LAYERS = {  # facts of spconv 2.3.8
    ("SubMConv1d", (3, 4, 3)): {"weight": (4, 3, 3), "bias": (4,)},
    ("SubMConv2d", (3, 4, (1, 3))): {"weight": (4, 1, 3, 3), "bias": (4,)},
    ("SubMConv3d", (3, 4, (1, 3, 5))): {"weight": (4, 1, 3, 5, 3), "bias": (4,)},
    ("SparseConv1d", (3, 4, 2)): {"weight": (4, 2, 3), "bias": (4,)},
    ("SparseConv2d", (3, 4, 2)): {"weight": (4, 2, 2, 3), "bias": (4,)},
    ("SparseConv3d", (3, 4, 2)): {"weight": (4, 2, 2, 2, 3), "bias": (4,)},
    ("SparseInverseConv1d", (3, 4, 2, "k")): {"weight": (4, 2, 3), "bias": (4,)},
    ("SparseInverseConv2d", (3, 4, 2, "k")): {"weight": (4, 2, 2, 3), "bias": (4,)},
    ("SparseInverseConv3d", (3, 4, 2, "k", False)): {"weight": (4, 2, 2, 2, 3)},
    ("SparseConvTranspose1d", (3, 4, 2)): {"weight": (4, 2, 3), "bias": (4,)},
    ("SparseConvTranspose2d", (3, 4, 2)): {"weight": (4, 2, 2, 3), "bias": (4,)},
    ("SparseConvTranspose3d", (3, 4, 2)): {"weight": (4, 2, 2, 2, 3), "bias": (4,)},
    ("SparseMaxPool3d", (2,)): {},
}


@pytest.mark.parametrize(("layer", "want"), LAYERS.items())
def test_state(layer: tuple[str, Any], want: dict[str, Any]) -> None:
    name, arguments = layer
    state = getattr(spconv, name)(*arguments).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == want
    assert list(state) == list(want)


def test_state_of_a_layer_that_counts() -> None:
    state = spconv.SparseConv3d(3, 4, 3, record_voxel_count=True).state_dict()
    assert sorted(state) == ["bias", "max_num_voxels_during_training", "weight"]
    assert state["max_num_voxels_during_training"].shape == (1,)
    plain = spconv.SparseConv3d(3, 4, 3).state_dict()
    spconv.SparseConv3d(3, 4, 3, record_voxel_count=True).load_state_dict(plain)


def test_first_values() -> None:
    """Uniform within 1 / sqrt(fan_in), the weight drawn before the bias."""
    torch.manual_seed(7)
    layer = spconv.SparseConv3d(8, 64, 3)
    torch.manual_seed(7)
    bound = 1 / math.sqrt(8 * 27)
    assert torch.equal(layer.weight, torch.empty(64, 3, 3, 3, 8).uniform_(-bound, bound))
    assert torch.equal(layer.bias, torch.empty(64).uniform_(-bound, bound))
    layer.reset_parameters()
    assert layer.weight.abs().max() <= bound


def output(layer: Any, channels: int = 4) -> Tensor:
    return layer(tensor_of(spconv, *scene(channels=channels))).features


@pytest.mark.parametrize("name", ["SubMConv3d", "SparseConv3d"])
@pytest.mark.parametrize("channels", [6, 4])
def test_weights_of_1_load(name: str, channels: int) -> None:
    """[*kernel_size, C_in, C_out]."""
    layer, fresh = (getattr(spconv, name)(4, channels, 3) for _ in range(2))
    state = layer.state_dict()
    saved = {**state, "weight": state["weight"].permute(1, 2, 3, 4, 0)}
    fresh.load_state_dict(saved)
    assert torch.equal(output(fresh), output(layer))
    assert fresh.weight.is_contiguous()


def test_weights_of_2_0_load() -> None:
    """[*kernel_size, C_out, C_in]."""
    layer, fresh = (spconv.SubMConv3d(4, 6, 3) for _ in range(2))
    state = layer.state_dict()
    fresh.load_state_dict({**state, "weight": state["weight"].permute(1, 2, 3, 0, 4)})
    assert torch.equal(fresh.weight, layer.weight)


def test_weights_of_1_with_one_cell_keep_their_order() -> None:
    """Both versions read such a weight as [C_in, C_out]."""
    fresh = spconv.SubMConv3d(4, 6, 1, bias=False)
    saved = torch.randn(1, 1, 1, 4, 6)
    fresh.load_state_dict({"weight": saved})
    features = scene()[0]
    torch.testing.assert_close(output(fresh), features @ saved[0, 0, 0])


def test_shapes_that_fit_several_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the newest one's, or what is said."""
    saved = {"weight": torch.randn(3, 3, 3, 3, 3)}
    layer = spconv.SubMConv3d(3, 3, 3, bias=False)
    layer.load_state_dict(saved)
    assert torch.equal(layer.weight, saved["weight"])
    monkeypatch.setattr(constants, "SAVED_WEIGHT_LAYOUT", "RSCK")
    layer.load_state_dict(saved)
    assert torch.equal(layer.weight, saved["weight"].permute(4, 0, 1, 2, 3))
    monkeypatch.setattr(constants, "SAVED_WEIGHT_LAYOUT", "RSKC")
    layer.load_state_dict(saved)
    assert torch.equal(layer.weight, saved["weight"].permute(3, 0, 1, 2, 4))
    monkeypatch.setattr(constants, "SAVED_WEIGHT_LAYOUT", "OIHW")
    with pytest.raises(ValueError, match="SAVED_WEIGHT_LAYOUT must be one of KRSC, RSCK, RSKC"):
        layer.load_state_dict(saved)


def test_weights_that_fit_nothing_are_named() -> None:
    network = spconv.SparseSequential(first=spconv.SubMConv3d(4, 6, 3))
    state = network.state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch for first\.weight"):
        network.load_state_dict({**state, "first.weight": torch.zeros(5, 3, 3, 3, 4)})
    with pytest.raises(RuntimeError, match=r"Missing key.*first\.weight"):
        network.load_state_dict({"first.bias": state["first.bias"]})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*first\.scale"):
        network.load_state_dict({**state, "first.scale": torch.zeros(1)})


def test_loading_leaves_the_callers_state_alone() -> None:
    state = {"weight": torch.randn(3, 3, 3, 4, 6), "bias": torch.randn(6)}
    spconv.SubMConv3d(4, 6, 3).load_state_dict(state)
    assert state["weight"].shape == (3, 3, 3, 4, 6)


def test_a_loading_function_of_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions take the one that code puts on `SparseModule`, with its `_version`."""
    seen = []

    def load(self: Any, state_dict: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        seen.append((prefix, metadata.get("version")))
        weight = state_dict[f"{prefix}weight"]
        with torch.no_grad():
            self.weight.copy_(weight.permute(4, 0, 1, 2, 3))

    monkeypatch.setattr(spconv.SparseModule, "_version", 2, raising=False)
    monkeypatch.setattr(spconv.SparseModule, "_load_from_state_dict", load)
    network = nn.Sequential(spconv.SubMConv3d(4, 6, 3, bias=False))
    saved = torch.randn(3, 3, 3, 4, 6)
    network.load_state_dict({"0.weight": saved}, strict=False)
    assert torch.equal(network[0].weight, saved.permute(4, 0, 1, 2, 3))
    assert seen == [("0.", None)]
    assert network.state_dict()._metadata["0"] == {"version": 2}


@pytest.fixture
def network() -> nn.Module:
    return spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3, indice_key="a"),
        nn.BatchNorm1d(6),
        spconv.SparseConv3d(6, 6, 3, 2, 1, indice_key="b"),
        spconv.SparseMaxPool3d(2, indice_key="c"),
        spconv.SparseInverseConv3d(6, 6, 2, indice_key="c"),
        spconv.SparseInverseConv3d(6, 3, 3, indice_key="b"),
    ).eval()


def test_copies_of_models(network: nn.Module) -> None:
    want = output(network)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    for again in (copy.deepcopy(network), torch.load(file, weights_only=False)):
        assert torch.equal(output(again), want)
        again.load_state_dict(network.state_dict())


def test_weights_that_change_are_noticed(network: nn.Module) -> None:
    """Behind autograd's back too: no layer keeps a copy of its weight."""
    before = output(network)
    network[0].weight.data.mul_(2)
    assert not torch.equal(output(network), before)


def test_layers_move_between_dtypes_and_devices(network: nn.Module) -> None:
    assert network.double()[0].weight.dtype == torch.float64
    assert network.to("meta")[0].weight.is_meta


def test_unknown_algorithms_change_nothing() -> None:
    torch.manual_seed(0)
    plain = spconv.SubMConv3d(4, 6, 3)
    torch.manual_seed(0)
    told = spconv.SubMConv3d(
        4,
        6,
        3,
        algo=spconv.ConvAlgo.Native,
        fp32_accum=True,
        large_kernel_fast_algo=True,
        name="layer",
    )
    assert torch.equal(output(told), output(plain))
    assert (told.algo, told.name) == (spconv.ConvAlgo.Native, "layer")
    assert plain.algo is spconv.ConvAlgo.MaskImplicitGemm
