"""segment_coo, segment_csr, gather_coo and gather_csr."""

from __future__ import annotations

import pytest
import torch
from scatter_cases import truth, truth_places
from torch import Tensor
from torch.testing import assert_close

import elite_ops
from elite_ops.compat import torch_scatter as ts

SIZE = 6
SHAPES = [  # of values, of an index
    ((20,), (20,)),
    ((20, 3), (20,)),
    ((4, 20), (4, 20)),
    ((4, 20, 3), (4, 20)),
    ((4, 20, 3), (1, 20)),
    ((2, 3, 20, 2), (2, 3, 20)),
    ((2, 3, 20, 2), (1, 3, 20)),
]
NAMES = ["sum", "add", "mean", "max", "min"]

each_shape = pytest.mark.parametrize(("shape", "index_shape"), SHAPES)
each_name = pytest.mark.parametrize("reduce", NAMES)


def sorted_index(shape: tuple[int, ...]) -> Tensor:
    """Some places have no value."""
    return (torch.randint(0, SIZE, shape) // 2 * 2).sort(-1)[0]


def offsets_of(index: Tensor) -> Tensor:
    """Where each place begins in a sorted index."""
    places = torch.arange(SIZE + 1).expand(*index.shape[:-1], -1).contiguous()
    return torch.searchsorted(index, places)


def expanded(index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """In all of the values' leading dimensions."""
    return index.expand(*shape[: index.dim()])


def call(kind: str, reduce: str, src: Tensor, index: Tensor, *out: Tensor) -> Tensor:
    """By `segment_coo` or `segment_csr`; and by the function whose name has the reduction."""
    if kind == "coo":
        place, sizes = index, (*(out or (None,)), SIZE)
    else:
        place, sizes = offsets_of(index.cpu()).to(index.device), out
    before = [o.clone() for o in out]
    found = getattr(ts, f"segment_{reduce}_{kind}")(src, place, *before, *sizes[len(out) :])
    result: Tensor = getattr(ts, f"segment_{kind}")(src, place, *sizes, reduce=reduce)
    named = found[0] if reduce in ("max", "min") else found
    assert torch.equal(named, result)
    return result


@each_name
@each_shape
@pytest.mark.parametrize("kind", ["coo", "csr"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.uint8])
def test_equals_truth(
    kind: str,
    reduce: str,
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    values = torch.randn(shape) if dtype.is_floating_point else torch.randint(0, 5, shape)
    src, index = values.to(dtype), sorted_index(index_shape)
    out = call(kind, reduce, src.to(device), index.to(device))
    want = truth(
        src, expanded(index, shape), index.dim() - 1, SIZE, {"add": "sum"}.get(reduce, reduce)
    )
    assert out.dtype == dtype
    assert_close(out.cpu(), want.to(dtype))


@pytest.mark.parametrize("reduce", ["max", "min"])
@each_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_places(
    reduce: str,
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    src, index = torch.randint(-2, 3, shape).to(dtype), sorted_index(index_shape)
    want = truth_places(src, expanded(index, shape), index.dim() - 1, SIZE, reduce)
    src_there, offsets = src.to(device), offsets_of(index).to(device)
    coo, csr = getattr(ts, f"segment_{reduce}_coo"), getattr(ts, f"segment_{reduce}_csr")
    assert torch.equal(coo(src_there, index.to(device), dim_size=SIZE)[1].cpu(), want)
    assert torch.equal(csr(src_there, offsets)[1].cpu(), want)


def test_means_of_integers_are_rounded_towards_zero(device: torch.device) -> None:
    src = torch.tensor([-3, 0, 3, 4], device=device)
    index = torch.tensor([0, 0, 1, 1], device=device)
    assert ts.segment_mean_coo(src, index).tolist() == [-1, 3]
    assert ts.segment_mean_csr(src, torch.tensor([0, 2, 4], device=device)).tolist() == [-1, 3]
    assert ts.scatter_mean(src, index).tolist() == [-2, 3]


def test_values_outside_the_offsets_are_left_out(device: torch.device) -> None:
    src = torch.arange(8.0, device=device).view(2, 4)
    indptr = torch.tensor([[1, 3], [0, 1]], device=device)
    assert ts.segment_csr(src, indptr).tolist() == [[3], [4]]
    assert ts.segment_csr(src, indptr[:1]).tolist() == [[3], [11]]
    assert ts.segment_max_csr(src, indptr)[1].tolist() == [[2], [0]]


@each_name
@pytest.mark.parametrize("kind", ["coo", "csr"])
def test_out(kind: str, reduce: str, device: torch.device) -> None:
    """A sorted index combines with what is there as `scatter` does; offsets write over it."""
    src, index = torch.randn(4, 20, 3, device=device), sorted_index((4, 20)).to(device)
    out = torch.randn(4, SIZE, 3, device=device)
    before = out.clone()
    result = call(kind, reduce, src, index, out)
    assert result is out
    if kind == "coo":
        assert_close(out, ts.scatter(src, index, 1, before, reduce=reduce))
    else:
        assert torch.equal(out, call(kind, reduce, src, index))


def test_the_size_is_that_of_the_largest_index(device: torch.device) -> None:
    index = torch.tensor([[0, 0, 1], [0, 2, 4]], device=device)
    assert ts.segment_coo(torch.randn(2, 3, 7, device=device), index).shape == (2, 5, 7)


@each_name
def test_nothing(reduce: str, device: torch.device) -> None:
    empty, none = torch.empty(0, 4, device=device), torch.empty(0, dtype=torch.long, device=device)
    zeros = torch.zeros(2, 4, device=device)
    assert ts.segment_coo(empty, none, reduce=reduce).shape == (0, 4)
    assert torch.equal(ts.segment_coo(empty, none, dim_size=2, reduce=reduce), zeros)
    offsets = torch.zeros(3, dtype=torch.long, device=device)
    assert torch.equal(ts.segment_csr(empty, offsets, reduce=reduce), zeros)
    assert torch.equal(ts.segment_csr(empty, offsets, zeros + 1, reduce=reduce), zeros + 1)
    assert ts.gather_coo(empty, none).shape == (0, 4)
    assert ts.gather_csr(empty, offsets[:1]).shape == (0, 4)


# ---- gather --------------------------------------------------------------------------------------


@each_shape
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_gather_equals_truth(
    shape: tuple[int, ...], index_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    dim = len(index_shape) - 1
    sizes = (*shape[:dim], SIZE, *shape[dim + 1 :])
    src, index = (10 * torch.randn(sizes)).to(dtype), sorted_index(index_shape)
    full = expanded(index, shape).reshape(*shape[: dim + 1], *[1] * (len(shape) - dim - 1))
    want = src.take_along_dim(full.expand(shape), dim)
    there = src.to(device)
    assert torch.equal(ts.gather_coo(there, index.to(device)).cpu(), want)
    assert torch.equal(ts.gather_csr(there, offsets_of(index).to(device)).cpu(), want)
    out = torch.zeros_like(want, device=device)
    assert ts.gather_coo(there, index.to(device), out) is out
    assert torch.equal(out.cpu(), want)
    assert ts.gather_csr(there, offsets_of(index).to(device), out.zero_()) is out
    assert torch.equal(out.cpu(), want)


def test_gather_leaves_alone_what_no_place_has(device: torch.device) -> None:
    src, out = torch.tensor([1.0, 2], device=device), torch.full((5,), 7.0, device=device)
    ts.gather_csr(src, torch.tensor([1, 2, 4], device=device), out)
    assert out.tolist() == [7, 1, 2, 2, 7]


# ---- derivatives, compilation --------------------------------------------------------------------


@pytest.mark.parametrize("reduce", NAMES)
@pytest.mark.parametrize(("shape", "index_shape"), [SHAPES[1], SHAPES[3]])
def test_gradcheck(
    reduce: str, shape: tuple[int, ...], index_shape: tuple[int, ...], device: torch.device
) -> None:
    src = torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True)
    index = sorted_index(index_shape)
    offsets, index = offsets_of(index).to(device), index.to(device)
    places = ts.segment_csr(src.detach(), offsets).requires_grad_()
    for function, argument in [
        (lambda x: ts.segment_csr(x, offsets, reduce=reduce), src),
        (lambda x: ts.segment_coo(x, index, dim_size=SIZE, reduce=reduce), src),
        (lambda x: ts.gather_csr(x, offsets), places),
        (lambda x: ts.gather_coo(x, index), places),
    ]:
        assert torch.autograd.gradcheck(function, argument)
        assert torch.autograd.gradgradcheck(function, argument)


def test_torch_compile(device: torch.device) -> None:
    src, index = torch.randn(20, 3, device=device), sorted_index((20,))
    offsets, index = offsets_of(index).to(device), index.to(device)

    def function(src: Tensor, offsets: Tensor, index: Tensor) -> Tensor:
        means = ts.segment_csr(src, offsets, reduce="mean")
        largest = ts.segment_coo(src, index, dim_size=SIZE, reduce="max")
        return ts.gather_coo(means + largest, index)

    compiled = torch.compile(function, fullgraph=True)
    assert_close(compiled(src, offsets, index), function(src, offsets, index))


# ---- errors --------------------------------------------------------------------------------------

VALUES = torch.zeros(3, 4)
REDUCING = [f"segment_{name}_{kind}" for kind in ("coo", "csr") for name in NAMES if name != "add"]


@pytest.mark.parametrize("name", [*REDUCING, "gather_coo", "gather_csr"])
def test_bad_arguments(name: str) -> None:
    function, argument = getattr(ts, name), "indptr" if name.endswith("csr") else "index"
    for error, message, place in [
        (TypeError, "must be int64 or int32, got torch.float32", torch.zeros(3)),
        (ValueError, "must have .* the dimensions|dimensions", torch.zeros(1, 1, 1).long()),
        (ValueError, "must have", torch.tensor(0)),
        (
            ValueError,
            r"must have the leading dimensions of `src`, \(3, 4\)",
            torch.zeros(2, 4).long(),
        ),
    ]:
        with pytest.raises(error, match=f"^{name}: `{argument}` {message}"):
            function(VALUES, place)
    with pytest.raises(TypeError, match=f"^{name}: `src` must be of a floating or integer dtype"):
        function(VALUES.bool(), torch.zeros(3).long())
    with pytest.raises(ValueError, match=f"^{name}: `out` must be like `src`"):
        function(VALUES, torch.zeros(3).long(), torch.zeros(2, 5))


@pytest.mark.cpu_kernels
@pytest.mark.parametrize("name", [*REDUCING, "gather_coo", "gather_csr"])
def test_places_out_of_range(name: str) -> None:
    function = getattr(ts, name)
    if name.endswith("csr"):
        with pytest.raises(IndexError, match=rf"^{name}: `indptr` must rise within \[0, \d\], got"):
            function(VALUES, torch.tensor([0, 2, 1, 3]))
    else:
        with pytest.raises(IndexError, match=rf"^{name}: `index` must be in \[0, \d\), got -1"):
            function(VALUES, torch.tensor([-1, 0, 1]))


def test_offsets_that_fall_on_a_device(cuda: torch.device) -> None:
    if cuda.type == "cpu" and not elite_ops._C.emulates_cuda:
        pytest.skip("the CPU's kernels raise at once")
    src, indptr = torch.ones(3, device=cuda), torch.tensor([0, 2, 1], device=cuda)
    assert ts.segment_csr(src, indptr).tolist() == [0, 0]
    with pytest.raises(IndexError, match="segments_from_csr"):
        elite_ops.check_device_errors()


def test_other_errors() -> None:
    with pytest.raises(ValueError, match=r"segment_coo: `reduce` must be .* got 'mul'"):
        ts.segment_coo(VALUES, torch.zeros(3).long(), reduce="mul")
    with pytest.raises(ValueError, match=r"segment_csr: `reduce` must be .* got 'mul'"):
        ts.segment_csr(VALUES, torch.tensor([0, 3]), reduce="mul")
    with pytest.raises(ValueError, match="gather_csr: `src` must have size 1 along dimension 0"):
        ts.gather_csr(VALUES, torch.tensor([0, 3]))
