"""Every layer against torch's on densified input, in float64, over a sample of all settings."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dense_twin import at_voxels, check_layer, check_reached
from layer_cases import CHANNELS, KERNELS, Case, draw
from torch import Tensor
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet, nn

NUM_CASES = {3: 40, 2: 15}  # of each layer
CONV = {2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


def seeds(num_axes: int) -> Any:
    return [(num_axes, seed) for seed in range(NUM_CASES[num_axes])]


each_case = pytest.mark.parametrize(("num_axes", "seed"), seeds(3) + seeds(2))


def make(name: str, case: Case, *arguments: Any, **options: Any) -> Any:
    """A layer of as many axes as the case has."""
    options.update(groups=case.groups, bias=case.bias)
    return getattr(nn, f"{name}{case.num_axes}d")(case.c_in, case.c_out, *arguments, **options)


def convolution(case: Case) -> Any:
    return make("SparseConv", case, case.kernel, case.stride, case.padding, case.dilation)


def dense_convolution(case: Case, **changes: Any) -> Any:
    options = {
        "stride": case.stride,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.groups,
        **changes,
    }
    return lambda grid, weight, bias: CONV[case.num_axes](grid, weight, bias, **options)


def transposed_convolution(case: Case) -> Any:
    options = {"output_padding": case.output_padding, "dilation": case.dilation}
    return make("SparseConvTranspose", case, case.kernel, case.stride, case.padding, **options)


def dense_transposed(case: Case, **changes: Any) -> Any:
    options = {
        "stride": case.stride,
        "padding": case.padding,
        "output_padding": case.output_padding,
        "groups": case.groups,
        "dilation": case.dilation,
        **changes,
    }
    return lambda grid, weight, bias: TRANSPOSED[case.num_axes](grid, weight, bias, **options)


def ones(case: Case, grid: Tensor) -> tuple[Tensor, None]:
    return torch.ones(1, 1, *case.kernel).to(grid), None


@each_case
def test_strided(device: torch.device, num_axes: int, seed: int) -> None:
    case = draw(seed, num_axes)
    x = case.sparse_tensor(device)
    out = check_layer(convolution(case), x, dense_convolution(case))
    reached = dense_convolution(case, groups=1)
    check_reached(out, x, lambda grid: reached(grid, *ones(case, grid)))


@each_case
def test_submanifold(device: torch.device, num_axes: int, seed: int) -> None:
    case = draw(seed, num_axes)
    x = case.sparse_tensor(device)
    sides: list[int] = []
    for size, step in zip(case.kernel[::-1], case.dilation[::-1], strict=True):
        reach = step * (size - 1)
        sides += [reach // 2, reach - reach // 2]
    same = dense_convolution(case, stride=1, padding=0)
    conv = make("SubmanifoldConv", case, case.kernel, dilation=case.dilation)
    out = check_layer(conv, x, lambda grid, weight, bias: same(F.pad(grid, sides), weight, bias))
    assert out.voxels is x.voxels


@each_case
def test_transposed(device: torch.device, num_axes: int, seed: int) -> None:
    case = draw(seed, num_axes, transposed=True)
    x = case.sparse_tensor(device)
    out = check_layer(transposed_convolution(case), x, dense_transposed(case))
    reached = dense_transposed(case, groups=1)
    check_reached(out, x, lambda grid: reached(grid, *ones(case, grid)))


@each_case
def test_inverse(device: torch.device, num_axes: int, seed: int) -> None:
    """The transposed convolution, read at the voxels of the beginning."""
    case = draw(seed, num_axes)
    x = case.sparse_tensor(device, channels=1)
    down = getattr(nn, f"SparseConv{num_axes}d")(
        1, case.c_in, case.kernel, case.stride, case.padding, case.dilation
    )
    coarse = down.to(x.features)(x)
    leaf = coarse.replace(coarse.features.detach().requires_grad_())
    rest = [
        (size + 2 * padding - step * (kernel - 1) - 1) % stride
        for size, kernel, stride, padding, step in zip(
            case.shape, case.kernel, case.stride, case.padding, case.dilation, strict=True
        )
    ]
    transposed = dense_transposed(case, output_padding=rest)

    def dense(grid: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The layout of the layer's weight is that of a convolution, whose transpose this is.
        weight = weight.unflatten(0, (case.groups, -1)).transpose(1, 2).flatten(0, 1).contiguous()
        return transposed(grid, weight, bias)

    out = check_layer(make("SparseInverseConv", case, case.kernel), leaf, dense)
    assert out.voxels is x.voxels


@each_case
def test_onto_given_voxels(device: torch.device, num_axes: int, seed: int) -> None:
    for transposed, layer, dense in (
        (False, convolution, dense_convolution),
        (True, transposed_convolution, dense_transposed),
    ):
        case = draw(seed, num_axes, transposed=transposed)
        x = case.sparse_tensor(device)
        conv = layer(case)
        shape = conv.geometry.output_shape(case.shape)
        generator = torch.Generator().manual_seed(seed)
        given = torch.rand(case.batch_size, *shape, generator=generator) < 0.3
        voxels = VoxelSet(given.nonzero().int().to(device), shape, case.batch_size)
        out = check_layer(conv, x, dense(case), voxels)
        assert out.voxels is voxels


@each_case
def test_depthwise(device: torch.device, num_axes: int, seed: int) -> None:
    """As many groups as channels, each with one output or several."""
    for factor in (1, 2):
        case = draw(seed, num_axes, grouped=False)
        channels = case.c_in
        case = replace(case, c_out=channels * factor, groups=channels)
        check_layer(convolution(case), case.sparse_tensor(device), dense_convolution(case))


def check_pool(pool: Any, x: SparseTensor, grid: Tensor) -> None:
    """`grid` is the dense result."""
    out = pool(x)
    assert tuple(grid.shape[2:]) == out.spatial_shape
    want = at_voxels(grid, out)
    assert_close(out.features, want, rtol=1e-9, atol=1e-9)
    grad_out = torch.randn_like(want)
    got = torch.autograd.grad(out.features, x.features, grad_out)
    wanted = torch.autograd.grad(want, x.features, grad_out)
    assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def windows(case: Case, grid: Tensor, empty: float) -> Tensor:  # [B, C, *output shape, K]
    """What lies under the kernel at each place."""
    sides = [side for padding in case.padding[::-1] for side in (padding, padding)]
    grid = F.pad(grid, sides, value=empty)
    for axis in range(case.num_axes):
        reach = case.dilation[axis] * (case.kernel[axis] - 1)
        grid = grid.unfold(2 + axis, reach + 1, case.stride[axis])
    grid = grid[(..., *(slice(None, None, step) for step in case.dilation))]
    return grid.flatten(2 + case.num_axes)


@each_case
def test_pooling(device: torch.device, num_axes: int, seed: int) -> None:
    case = draw(seed, num_axes, grouped=False)
    x = case.sparse_tensor(device)
    numbers = (case.kernel, case.stride, case.padding, case.dilation)
    there = x.replace(torch.ones_like(x.features)).dense()
    largest = windows(case, x.dense().masked_fill(there == 0, -torch.inf), -torch.inf).amax(-1)
    check_pool(getattr(nn, f"SparseMaxPool{num_axes}d")(*numbers), x, largest)
    mean = windows(case, x.dense(), 0).sum(-1) / windows(case, there, 0).sum(-1)
    check_pool(getattr(nn, f"SparseAvgPool{num_axes}d")(*numbers), x, mean)


@each_case
def test_global_pooling(device: torch.device, num_axes: int, seed: int) -> None:
    case = draw(seed, num_axes)
    x = case.sparse_tensor(device)
    there = x.replace(torch.ones_like(x.features)).dense().flatten(2)
    grid = x.dense().flatten(2)
    largest = grid.masked_fill(there == 0, -torch.inf).amax(-1)
    largest = torch.where(there.any(-1), largest, 0)
    mean = grid.sum(-1) / there.sum(-1).clamp(min=1)
    for pool, want in ((nn.GlobalMaxPool(), largest), (nn.GlobalAvgPool(), mean)):
        got = pool(x)
        assert_close(got, want, rtol=1e-9, atol=1e-9)
        grad_out = torch.randn_like(want)
        grads = [torch.autograd.grad(out, x.features, grad_out, True)[0] for out in (got, want)]
        assert_close(*grads, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("num_axes", [2, 3])
def test_the_sample_meets_all_of_the_table(num_axes: int, transposed: bool) -> None:
    cases = [draw(seed, num_axes, transposed=transposed) for seed in range(NUM_CASES[num_axes])]
    assert {case.kernel for case in cases} == set(KERNELS[num_axes])
    assert {c for case in cases for c in (case.c_in, case.c_out)} == set(CHANNELS)
    assert {case.batch_size for case in cases} == {1, 2, 3}
    for name in ("stride", "padding", "dilation"):
        values = {n for case in cases for n in getattr(case, name)}
        assert values == {1, 2, 3} | ({0} if name == "padding" else set())
        assert any(len(set(getattr(case, name))) > 1 for case in cases)
    for values in (
        [case.groups > 1 for case in cases],
        [case.empty is None for case in cases],
        [case.sorted for case in cases],
        [case.bias for case in cases],
        [case.c_in < case.c_out for case in cases],
    ):
        assert set(values) == {True, False}
    assert any(any(case.output_padding) for case in cases) == transposed


def refuses(call: Any) -> bool:
    try:
        call()
    except (ValueError, RuntimeError):
        return True
    return False


@pytest.mark.parametrize("num_axes", [2, 3])
def test_what_torch_refuses_is_refused(num_axes: int) -> None:
    """Whole tables of numbers on both sides of each rule, refused by both or by none."""
    generator = random.Random(0)
    refused = {True: 0, False: 0}
    for _ in range(150):
        kernel, stride, dilation = (
            tuple(generator.randint(1, 3) for _ in range(num_axes)) for _ in range(3)
        )
        padding, extra = (
            tuple(generator.choice([0, 0, 1, 2, 3]) for _ in range(num_axes)) for _ in range(2)
        )
        shape = tuple(generator.randint(1, 4) for _ in range(num_axes))
        c_in, c_out, groups = (generator.choice([1, 2, 3, 4]) for _ in range(3))
        voxels = VoxelSet(torch.zeros(1, num_axes + 1, dtype=torch.int32), shape, 1)
        x = SparseTensor(torch.ones(1, c_in, dtype=torch.float64), voxels)
        grid = x.dense()
        for name, numbers in (
            ("Conv", (kernel, stride, padding, dilation, groups)),
            ("ConvTranspose", (kernel, stride, padding, extra, groups, True, dilation)),
        ):
            layer = getattr(nn, f"Sparse{name}{num_axes}d")
            dense = getattr(torch.nn, f"{name}{num_axes}d")
            case: Any = (c_in, c_out, *numbers)
            wanted = refuses(lambda: dense(*case).double()(grid))  # noqa: B023
            assert refuses(lambda: layer(*case).double()(x)) == wanted, (name, case, shape)  # noqa: B023
            refused[wanted] += 1
    assert min(refused.values()) > 20
