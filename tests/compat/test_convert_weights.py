"""Weights of other libraries in layers of this one, against torch's dense convolutions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from elite_ops import SparseTensor
from elite_ops import nn as spnn
from elite_ops.compat.weights import convert_weights

C_IN, C_OUT = 3, 5
SHAPE = (5, 6, 4)
LIBRARIES = ["KRSC", "RSKC", "RSCK", "torchsparse", "minkowski"]


@pytest.fixture(autouse=True)
def repeatable() -> None:
    torch.manual_seed(0)


def offsets(library: str, size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The place of each offset of a list of matrices, as each library's sources count."""
    last_is_fastest = library == "torchsparse" and math.prod(size) % 2 == 0
    ranges = [range(n) for n in (size if last_is_fastest else size[::-1])]
    for place in itertools.product(*ranges):
        yield place if last_is_fastest else place[::-1]


def theirs_and_dense(
    library: str, size: tuple[int, ...], *, single: bool = False
) -> tuple[Tensor, Tensor]:
    """A weight of a library, and the same for torch's dense layer: [C_out, C_in, *size]."""
    dense = torch.empty(C_OUT, C_IN, *size, dtype=torch.float64)
    if library in ("torchsparse", "minkowski"):
        theirs = torch.randn(math.prod(size), C_IN, C_OUT, dtype=torch.float64)
        for matrix, place in zip(theirs, offsets(library, size), strict=True):
            dense[(..., *place)] = matrix.t()
        return (theirs[0] if single else theirs), dense
    dense = torch.randn_like(dense)
    order = {"KRSC": "oxyzi", "RSKC": "xyzoi", "RSCK": "xyzio"}[library]
    return torch.einsum(f"oixyz->{order}", dense).contiguous(), dense


def tensor(channels: int = C_IN) -> tuple[SparseTensor, Tensor]:
    """Voxels, and the dense grid."""
    grid = torch.randn(2, channels, *SHAPE, dtype=torch.float64)
    grid *= torch.rand(2, 1, *SHAPE) < 0.4
    return SparseTensor.from_dense(grid), grid


def at(grid: Tensor, x: SparseTensor) -> Tensor:
    return grid.movedim(1, -1)[tuple(x.indices.long().unbind(1))]


def load(layer: nn.Module, theirs: Tensor, library: str, **options: Any) -> Any:
    """A layer with a weight and a bias of another library."""
    bias = torch.randn(C_OUT, dtype=torch.float64)
    source, weight = library, "kernel"
    if library not in ("torchsparse", "minkowski"):
        source, weight, options["layout"] = "spconv", "weight", library
    state = {weight: theirs, "bias": bias[None] if source == "minkowski" else bias}
    layer.double().load_state_dict(convert_weights(layer, state, source, **options))
    assert torch.equal(layer.bias, bias)
    return layer


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [(3, 3, 3), (3, 1, 5)])
def test_submanifold(library: str, size: tuple[int, ...]) -> None:
    theirs, dense = theirs_and_dense(library, size)
    conv = load(spnn.SubmanifoldConv3d(C_IN, C_OUT, size), theirs, library)
    x, grid = tensor()
    want = functional.conv3d(grid, dense, conv.bias, padding=tuple(n // 2 for n in size))
    assert_close(conv(x).features, at(want, x))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [(2, 2, 2), (2, 3, 1), (3, 3, 3), (1, 1, 1)])
def test_strided(library: str, size: tuple[int, ...]) -> None:
    theirs, dense = theirs_and_dense(library, size)
    conv = load(spnn.SparseConv3d(C_IN, C_OUT, size, stride=2), theirs, library)
    x, grid = tensor()
    out = conv(x)
    want = functional.conv3d(grid, dense, conv.bias, stride=2)
    assert_close(out.features, at(want, out))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [(2, 2, 2), (2, 3, 1)])
def test_transposed_and_inverse(library: str, size: tuple[int, ...]) -> None:
    theirs, dense = theirs_and_dense(library, size)
    up = load(spnn.SparseConvTranspose3d(C_IN, C_OUT, size, stride=2), theirs, library)
    x, grid = tensor()
    out = up(x)
    weight = dense.transpose(0, 1)
    assert_close(out.features, at(functional.conv_transpose3d(grid, weight, up.bias, 2), out))

    back = load(spnn.SparseInverseConv3d(C_IN, C_OUT, size), theirs, library)
    down = spnn.SparseConv3d(C_IN, C_IN, size, stride=2).double()(x)
    coarse = SparseTensor(torch.randn_like(down.features), down.voxels)
    grid = functional.conv_transpose3d(coarse.dense(), weight, back.bias, 2)
    grid = functional.pad(
        grid, [n for axis in (4, 3, 2) for n in (0, SHAPE[axis - 2] - grid.shape[axis])]
    )
    out = back(coarse)
    assert out.voxels is x.voxels
    reached = functional.conv_transpose3d(
        torch.ones_like(coarse.dense()), torch.ones_like(weight), stride=2
    )
    inside = (x.indices[:, 1:] < torch.tensor(reached.shape[2:])).all(1)
    assert_close(out.features[inside], at(grid, x)[inside])


@pytest.mark.parametrize("library", ["torchsparse", "minkowski"])
def test_one_offset_may_be_a_matrix(library: str) -> None:
    theirs, dense = theirs_and_dense(library, (1, 1, 1), single=True)
    conv = load(spnn.SubmanifoldConv3d(C_IN, C_OUT, 1), theirs, library)
    x, grid = tensor()
    assert_close(conv(x).features, at(functional.conv3d(grid, dense, conv.bias), x))


@pytest.mark.parametrize("library", ["KRSC", "RSKC", "RSCK"])
def test_spconv_reads_a_kernel_of_one_cell_as_a_matrix(library: str) -> None:
    shape = {"KRSC": (C_OUT, 1, 1, 1, C_IN), "RSKC": (1, 1, 1, C_OUT, C_IN)}
    theirs = torch.randn(shape.get(library, (1, 1, 1, C_IN, C_OUT)), dtype=torch.float64)
    conv = load(spnn.SubmanifoldConv3d(C_IN, C_OUT, 1), theirs, library)
    x, _ = tensor()
    assert_close(conv(x).features, x.features @ theirs.reshape(C_IN, C_OUT) + conv.bias)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_other_order_of_axes(library: str) -> None:
    """The weights were trained on grids whose axes are reversed."""
    theirs, dense = theirs_and_dense(library, (5, 1, 3))
    conv = spnn.SubmanifoldConv3d(C_IN, C_OUT, (3, 1, 5))
    load(conv, theirs, library, reverse_axes=True)
    x, grid = tensor()
    want = functional.conv3d(grid.permute(0, 1, 4, 3, 2), dense, conv.bias, padding=(2, 0, 1))
    assert_close(conv(x).features, at(want.permute(0, 1, 4, 3, 2), x))


def test_two_axes() -> None:
    dense = torch.randn(C_OUT, C_IN, 3, 3, dtype=torch.float64)
    conv = spnn.SubmanifoldConv2d(C_IN, C_OUT, 3, bias=False).double()
    conv.load_state_dict(convert_weights(conv, {"weight": dense.permute(2, 3, 1, 0)}, "spconv"))
    assert torch.equal(conv.torch_weight, dense)


def test_a_channelwise_convolution_of_minkowski() -> None:
    theirs = torch.randn(27, C_IN, dtype=torch.float64)
    dense = torch.empty(C_IN, 1, 3, 3, 3, dtype=torch.float64)
    for row, place in zip(theirs, offsets("minkowski", (3, 3, 3)), strict=True):
        dense[(..., *place)] = row[:, None]
    conv = spnn.SubmanifoldConv3d(C_IN, C_IN, 3, groups=C_IN, bias=False).double()
    conv.load_state_dict(convert_weights(conv, {"kernel": theirs}, "minkowski"))
    x, grid = tensor()
    want = functional.conv3d(grid, dense, padding=1, groups=C_IN)
    assert_close(conv(x).features, at(want, x))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = spnn.SparseSequential(
            spnn.SubmanifoldConv3d(4, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU()
        )
        self.down = spnn.SparseConv3d(4, 6, 2, stride=2)
        self.head = nn.Linear(6, 2)


def spconv_state(order: tuple[int, ...]) -> dict[str, Tensor]:
    """That of `Network` in spconv; `order` is that of the axes of [*kernel_size, C_in, C_out]."""
    state = dict(Network().state_dict())
    for key in ("conv.0.weight", "down.weight"):
        state[key] = state[key].permute(order).contiguous()
    return state


@pytest.mark.parametrize("order", [(4, 0, 1, 2, 3), (0, 1, 2, 4, 3), (0, 1, 2, 3, 4)])
def test_the_layout_is_that_which_fits_all(order: tuple[int, ...]) -> None:
    """Weights with as many inputs as outputs fit two; the others tell."""
    state = spconv_state(order)
    network = Network()
    network.load_state_dict(convert_weights(network, state, "spconv"))
    back = network.down.weight.permute(order)
    assert torch.equal(back, state["down.weight"])
    assert torch.equal(network.conv[0].weight.permute(order), state["conv.0.weight"])
    assert torch.equal(network.head.weight, state["head.weight"])


def test_names_of_minkowski_engine() -> None:
    state = dict(Network().state_dict())
    theirs = {
        "conv.0.kernel": torch.randn(27, 4, 4),
        **{k.replace("conv.1.", "conv.1.bn."): v for k, v in state.items() if "conv.1." in k},
        "down.kernel": torch.randn(8, 4, 6),
        "down.bias": state["down.bias"][None],
        "head.linear.weight": state["head.weight"],
        "head.linear.bias": state["head.bias"],
    }
    network = Network()
    network.load_state_dict(convert_weights(network, theirs, "minkowski"))
    assert torch.equal(network.head.bias, state["head.bias"])
    assert torch.equal(network.conv[1].weight, state["conv.1.weight"])


def test_spconv_counts_voxels() -> None:
    state = spconv_state((4, 0, 1, 2, 3))
    state["down.max_num_voxels_during_training"] = torch.zeros(1, dtype=torch.int32)
    network = Network()
    network.load_state_dict(convert_weights(network, state, "spconv"))


# ---- errors --------------------------------------------------------------------------------------


def test_all_that_does_not_fit_is_named() -> None:
    state = spconv_state((4, 0, 1, 2, 3))
    del state["conv.1.weight"], state["head.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["down.weight"] = torch.zeros(6, 3, 3, 3, 4)
    state["head.weight"] = torch.zeros(6, 2)
    with pytest.raises(ValueError, match="convert_weights: `state` must fit `module`: ") as caught:
        convert_weights(Network(), state, "spconv", layout="KRSC")
    assert str(caught.value).split(": ", 2)[2].split("; ") == [
        "missing: conv.1.weight, head.bias",
        "unexpected: extra.weight",
        "`down.weight` must be (6, 2, 2, 2, 4), got (6, 3, 3, 3, 4)",
        "`head.weight` must be (2, 6), got (6, 2)",
    ]
    state["down.kernel"] = torch.zeros(27, 4, 6)
    state["conv.0.kernel"] = torch.zeros(27, 4, 4)
    with pytest.raises(ValueError, match=r"`down.kernel` must be \(8, 4, 6\), got \(27, 4, 6\)"):
        convert_weights(Network(), state, "torchsparse")


def test_an_ambiguous_layout_is_asked_for() -> None:
    conv = spnn.SubmanifoldConv3d(4, 4, 3, bias=False)
    for shape, layouts in (
        ((3, 3, 3, 4, 4), "RSCK, RSKC"),
        ((3, 3, 3, 3, 3), "KRSC, RSCK, RSKC"),
    ):
        conv = spnn.SubmanifoldConv3d(shape[-1], shape[-1], 3, bias=False)
        state = {"weight": torch.randn(shape)}
        with pytest.raises(ValueError, match=f"`layout` must be given, .* in `state`: {layouts}$"):
            convert_weights(conv, state, "spconv")
        result = convert_weights(conv, state, "spconv", layout="RSCK")
        assert torch.equal(result["weight"], state["weight"])
    point = spnn.SubmanifoldConv3d(3, 3, 1, bias=False)
    matrix = torch.randn(1, 1, 1, 3, 3)  # makes no difference
    assert torch.equal(convert_weights(point, {"weight": matrix}, "spconv")["weight"], matrix)


def test_several_layouts_are_refused() -> None:
    state = spconv_state((4, 0, 1, 2, 3))
    state["down.weight"] = torch.zeros(2, 2, 2, 4, 6)
    want = "must have one layout: `conv.0.weight` is KRSC; `down.weight` is RSCK"
    with pytest.raises(ValueError, match=want):
        convert_weights(Network(), state, "spconv")


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (("me",), "`source` must be one of spconv, torchsparse, minkowski, got 'me'"),
        (("spconv", "RSC"), "`layout` must be one of KRSC, RSKC, RSCK, got 'RSC'"),
        (("minkowski", "RSCK"), "`layout` is for spconv, got 'RSCK' of minkowski"),
    ],
)
def test_choices(arguments: Any, want: str) -> None:
    source, *layout = arguments
    options = {"layout": layout[0]} if layout else {}
    with pytest.raises(ValueError, match=want):
        convert_weights(Network(), {}, source, **options)
