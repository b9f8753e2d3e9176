from __future__ import annotations

import math

import pytest
import torch
from scatter_cases import SHAPES, collected, deviation, random_index, spread, truth
from torch import Tensor
from torch.testing import assert_close

from elite_ops.compat import torch_scatter as ts
from elite_ops.compat.torch_scatter import composite
from elite_ops.compat.torch_scatter.utils import broadcast

SIZE = 8
each_shape = pytest.mark.parametrize(("shape", "index_shape", "dim"), SHAPES)


def softmax_truth(src: Tensor, index: Tensor, dim: int) -> Tensor:
    out = torch.zeros(src.shape, dtype=torch.float64)
    for place, found in collected(src, index, dim).items():
        total = math.fsum(math.exp(value) for _, value in found)
        for number, value in found:
            at = list(place)
            at[dim] = number
            out[tuple(at)] = math.exp(value) / total
    return out


@each_shape
def test_softmax_equals_truth(
    shape: tuple[int, ...], index_shape: tuple[int, ...], dim: int, device: torch.device
) -> None:
    src, index = torch.randn(shape, dtype=torch.float64), random_index(index_shape, SIZE)
    want = softmax_truth(src, index, dim)
    there = src.to(device), index.to(device), dim
    assert_close(composite.scatter_softmax(*there).cpu(), want)
    assert_close(composite.scatter_softmax(*there, dim_size=SIZE).cpu(), want)
    assert_close(composite.scatter_log_softmax(*there).cpu(), want.log())
    assert_close(composite.scatter_log_softmax(*there, 1e-12, SIZE).cpu(), want.log())


@each_shape
def test_logsumexp_equals_truth(
    shape: tuple[int, ...], index_shape: tuple[int, ...], dim: int, device: torch.device
) -> None:
    src, index = torch.randn(shape, dtype=torch.float64), random_index(index_shape, SIZE)
    out = composite.scatter_logsumexp(src.to(device), index.to(device), dim, dim_size=SIZE)
    assert_close(out.cpu(), truth(src, index, dim, SIZE, "logsumexp"))


@each_shape
@pytest.mark.parametrize("unbiased", [True, False])
def test_std_equals_truth(
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dim: int,
    unbiased: bool,
    device: torch.device,
) -> None:
    src, index = torch.randn(shape, dtype=torch.float64), random_index(index_shape, SIZE)
    out = composite.scatter_std(
        src.to(device), index.to(device), dim, dim_size=SIZE, unbiased=unbiased
    )
    want = torch.zeros_like(out, device="cpu")
    for place, found in collected(src, index, dim).items():
        want[place] = deviation([value for _, value in found], unbiased)
    assert_close(out.cpu(), want)


def test_logsumexp_adds_to_out(device: torch.device) -> None:
    src, given = torch.randn(20, 3, device=device), torch.randn(SIZE, 3, device=device)
    index, out = random_index((20,), SIZE).to(device), given.clone()
    assert ts.scatter_logsumexp(src, index, 0, out) is out
    sums = ts.scatter_sum(src.exp(), index, 0, dim_size=SIZE) + given.exp()
    assert_close(out, sums.log())


def test_std_adds_squares_to_out(device: torch.device) -> None:
    src, out = torch.tensor([1.0, 3], device=device), torch.tensor([7.0], device=device)
    std = ts.scatter_std(src, torch.tensor([0, 0], device=device), out=out)
    assert out.tolist() == [9]
    assert_close(std, torch.tensor([3.0], device=device))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(dtype: torch.dtype, device: torch.device) -> None:
    src, index = torch.randn(30, 4).to(dtype), random_index((30,), SIZE)
    there = src.to(device), index.to(device), 0
    assert_close(ts.scatter_softmax(*there).cpu(), softmax_truth(src, index, 0).to(dtype))
    want = truth(src, index, 0, SIZE, "logsumexp").to(dtype)
    assert_close(ts.scatter_logsumexp(*there, dim_size=SIZE).cpu(), want)
    want = truth(src, index, 0, SIZE, "std")
    got = ts.scatter_std(*there, dim_size=SIZE)
    assert got.dtype == dtype
    assert_close(got.cpu().double(), want, rtol=2e-2, atol=1e-5)


def test_large_values_do_not_overflow(device: torch.device) -> None:
    src, index = torch.tensor([1000.0, 1000, -1000], device=device), torch.tensor([0, 0, 1])
    index = index.to(device)
    assert ts.scatter_softmax(src, index).tolist() == [0.5, 0.5, 1]
    assert_close(ts.scatter_logsumexp(src, index).tolist(), [1000 + math.log(2), -1000.0])


@pytest.mark.parametrize(
    "function", [ts.scatter_softmax, ts.scatter_log_softmax, ts.scatter_logsumexp, ts.scatter_std]
)
def test_gradcheck_errors_and_nothing(function: object, device: torch.device) -> None:
    assert callable(function)
    src = torch.randn(12, 2, dtype=torch.float64, device=device, requires_grad=True)
    index = torch.arange(12, device=device) // 4
    assert torch.autograd.gradcheck(lambda x: function(x, index, 0, dim_size=3), src)
    assert torch.autograd.gradgradcheck(lambda x: function(x, index, 0, dim_size=3), src)
    name = function.__name__
    with pytest.raises(ValueError, match=f"{name}: `src` must be of a floating dtype"):
        function(torch.zeros(3).long(), torch.zeros(3).long())
    none = torch.empty(0, dtype=torch.long, device=device)
    empty = function(torch.empty(0, 2, device=device), none, 0, dim_size=3)
    assert empty.tolist() == ([] if "softmax" in name else [[0, 0]] * 3)


def test_torch_compile(device: torch.device) -> None:
    src, index = torch.randn(20, 3, device=device), random_index((20,), SIZE).to(device)

    def function(src: Tensor, index: Tensor) -> Tensor:
        soft = ts.scatter_softmax(src, index, 0, dim_size=SIZE)
        return ts.scatter_std(soft, index, 0, dim_size=SIZE)

    assert_close(torch.compile(function, fullgraph=True)(src, index), function(src, index))


@each_shape
def test_broadcast(shape: tuple[int, ...], index_shape: tuple[int, ...], dim: int) -> None:
    index = random_index(index_shape, SIZE)
    assert torch.equal(broadcast(index, torch.empty(shape), dim), spread(index, shape, dim))
