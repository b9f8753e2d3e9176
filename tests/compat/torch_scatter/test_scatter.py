from __future__ import annotations

import pytest
import torch
from scatter_cases import SHAPES, random_index, truth, truth_places
from torch import Tensor
from torch.testing import assert_close

import elite_ops
from elite_ops.compat import torch_scatter as ts

SIZE = 8
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
BY_NAME = {
    "sum": ts.scatter_sum,
    "mean": ts.scatter_mean,
    "max": lambda *a, **k: ts.scatter_max(*a, **k)[0],
    "min": lambda *a, **k: ts.scatter_min(*a, **k)[0],
    "mul": ts.scatter_mul,
}

each_name = pytest.mark.parametrize("reduce", list(BY_NAME))
each_shape = pytest.mark.parametrize(("shape", "index_shape", "dim"), SHAPES)


def test_small_example(device: torch.device) -> None:
    src = torch.tensor([[2.0, 0, 1, 4, 3], [0, 2, 1, 3, 4]], device=device)
    index = torch.tensor([[4, 5, 4, 2, 3], [0, 0, 2, 2, 1]], device=device)
    values, places = ts.scatter_max(src, index, dim=-1)
    assert values.tolist() == [[0, 0, 4, 3, 2, 0], [2, 4, 3, 0, 0, 0]]
    assert places.tolist() == [[5, 5, 3, 4, 0, 1], [1, 4, 3, 5, 5, 5]]
    assert ts.scatter_sum(src, index).tolist() == [[0, 0, 4, 3, 3, 0], [2, 4, 4, 0, 0, 0]]
    assert ts.scatter_mean(src, index).tolist() == [[0, 0, 4, 3, 1.5, 0], [1, 4, 2, 0, 0, 0]]


@each_name
@each_shape
def test_equals_truth(
    reduce: str,
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dim: int,
    device: torch.device,
) -> None:
    src, index = torch.randn(shape, dtype=torch.float64), random_index(index_shape, SIZE)
    out = ts.scatter(src.to(device), index.to(device), dim, dim_size=SIZE, reduce=reduce)
    assert_close(out.cpu(), truth(src, index, dim, SIZE, reduce))
    assert torch.equal(BY_NAME[reduce](src.to(device), index.to(device), dim, None, SIZE), out)


@pytest.mark.parametrize("reduce", ["max", "min"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@each_shape
def test_places_are_those_of_the_first_extremes(
    reduce: str,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dim: int,
    device: torch.device,
) -> None:
    src = torch.randint(-2, 3, shape).to(dtype)  # with many ties
    index = random_index(index_shape, SIZE)
    function = ts.scatter_max if reduce == "max" else ts.scatter_min
    values, places = function(src.to(device), index.to(device), dim, dim_size=SIZE)
    assert places.dtype == torch.int64
    assert torch.equal(places.cpu(), truth_places(src, index, dim, SIZE, reduce))
    assert torch.equal(values.cpu().double(), truth(src, index, dim, SIZE, reduce))


@each_name
@pytest.mark.parametrize("dtype", FLOATS)
def test_floating_dtypes(reduce: str, dtype: torch.dtype, device: torch.device) -> None:
    src, index = torch.randn(30, 5).to(dtype), random_index((30,), SIZE)
    out = ts.scatter(src.to(device), index.to(device), 0, reduce=reduce, dim_size=SIZE)
    assert out.dtype == dtype
    assert_close(out.cpu(), truth(src, index, 0, SIZE, reduce).to(dtype))


@pytest.mark.parametrize("reduce", ["sum", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_dtypes(reduce: str, dtype: torch.dtype, device: torch.device) -> None:
    low = 0 if dtype == torch.uint8 else -2
    src, index = torch.randint(low, 3, (30, 5)).to(dtype), random_index((30,), 20)
    out = ts.scatter(src.to(device), index.to(device), 0, reduce=reduce, dim_size=20)
    assert out.dtype == dtype
    assert torch.equal(out.cpu().double(), truth(src, index, 0, 20, reduce))


def test_means_of_integers_are_rounded_down(device: torch.device) -> None:
    src, index = torch.randint(-100, 100, (60, 3)), random_index((60,), SIZE)
    want = truth(src, index, 0, SIZE, "mean").floor().long()
    assert torch.equal(
        ts.scatter_mean(src.to(device), index.to(device), 0, dim_size=SIZE).cpu(), want
    )
    many = torch.ones(300, dtype=torch.uint8, device=device)
    assert ts.scatter_mean(many, torch.zeros_like(many).long()).tolist() == [300 % 256 // 300]


@each_name
def test_an_index_of_int32_will_do(reduce: str, device: torch.device) -> None:
    src, index = torch.randn(30, 5, device=device), random_index((30,), SIZE).to(device)
    assert torch.equal(
        ts.scatter(src, index.int(), 0, reduce=reduce), ts.scatter(src, index, 0, reduce=reduce)
    )


def test_add_is_sum(device: torch.device) -> None:
    src, index = torch.randn(30, 5, device=device), random_index((30,), SIZE).to(device)
    want = ts.scatter_sum(src, index, 0)
    assert torch.equal(ts.scatter_add(src, index, 0), want)
    assert torch.equal(ts.scatter(src, index, 0, reduce="add"), want)


# ---- sizes ---------------------------------------------------------------------------------------


def test_the_size_is_that_of_the_largest_index(device: torch.device) -> None:
    src, index = torch.randn(3, 4, device=device), torch.tensor([1, 5, 1], device=device)
    assert ts.scatter(src, index, 0).shape == (6, 4)
    assert ts.scatter(src, index, 0, dim_size=9).shape == (9, 4)
    assert ts.scatter(src.T, index, 1).shape == (4, 6)


@each_name
def test_nothing(reduce: str, device: torch.device) -> None:
    empty, none = torch.empty(0, 4, device=device), torch.empty(0, dtype=torch.long, device=device)
    assert ts.scatter(empty, none, 0, reduce=reduce).shape == (0, 4)
    assert torch.equal(ts.scatter(empty, none, 0, dim_size=2, reduce=reduce), empty.new_zeros(2, 4))
    no_channels = ts.scatter(
        torch.empty(3, 0, device=device), torch.tensor([0, 1, 1], device=device), 0, dim_size=2
    )
    assert no_channels.shape == (2, 0)


def test_nothing_has_no_place(device: torch.device) -> None:
    empty, none = torch.empty(0, 4, device=device), torch.empty(0, dtype=torch.long, device=device)
    values, places = ts.scatter_max(empty, none, 0, dim_size=2)
    assert values.tolist() == [[0] * 4] * 2
    assert places.tolist() == [[0] * 4] * 2


# ---- out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
@each_name
@each_shape
def test_out_is_combined_with_the_result(
    reduce: str,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dim: int,
    device: torch.device,
) -> None:
    src = (4 * torch.randn(shape, dtype=torch.float64)).to(dtype)
    index = random_index(index_shape, SIZE)
    given_shape = list(shape)
    given_shape[dim] = SIZE
    given = (4 * torch.randn(given_shape, dtype=torch.float64)).to(dtype)
    out = (
        given.to(device).clone().transpose(0, -1).contiguous().transpose(0, -1)
    )  # in another order
    result = ts.scatter(src.to(device), index.to(device), dim, out, reduce=reduce)
    assert result is out
    single = truth(src, index, dim, SIZE, reduce)
    counts = truth(torch.ones(shape), index, dim, SIZE, "sum")
    before = given.double()
    want = {
        "sum": before + single,
        "mean": (before + truth(src, index, dim, SIZE, "sum")) / counts.clamp(min=1),
        "mul": before * single,
        "max": torch.where(counts > 0, torch.maximum(before, single), before),
        "min": torch.where(counts > 0, torch.minimum(before, single), before),
    }[reduce]
    assert_close(out.cpu(), want.floor().to(dtype) if dtype == torch.int64 else want)


def test_what_out_has_already_has_no_place(device: torch.device) -> None:
    src = torch.tensor([1.0, 5, 3], device=device, requires_grad=True)
    out = torch.tensor([5.0, 2, 7], device=device)
    values, places = ts.scatter_max(src, torch.tensor([0, 0, 1], device=device), out=out)
    assert values is out
    assert values.tolist() == [5, 3, 7]
    assert places.tolist() == [3, 2, 3]
    values.sum().backward()
    assert src.grad.tolist() == [0, 0, 1]


# ---- derivatives ---------------------------------------------------------------------------------


@each_name
@pytest.mark.parametrize(("shape", "index_shape", "dim"), [SHAPES[1], SHAPES[6], SHAPES[8]])
def test_gradcheck(
    reduce: str,
    shape: tuple[int, ...],
    index_shape: tuple[int, ...],
    dim: int,
    device: torch.device,
) -> None:
    src = torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True)
    index = random_index(index_shape, SIZE).to(device)

    def function(values: Tensor) -> Tensor:
        return ts.scatter(values, index, dim, dim_size=SIZE, reduce=reduce)

    assert torch.autograd.gradcheck(function, src)
    assert torch.autograd.gradgradcheck(function, src)


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_the_gradient_goes_to_the_first_of_equal_values(reduce: str, device: torch.device) -> None:
    src = torch.tensor([1.0, 2, 2, 1, 1], device=device, requires_grad=True)
    index = torch.tensor([0, 0, 0, 1, 1], device=device)
    ts.scatter(src, index, reduce=reduce).sum().backward()
    assert src.grad.tolist() == ([0, 1, 0, 1, 0] if reduce == "max" else [1, 0, 0, 1, 0])


def test_the_gradient_of_a_zero_factor_is_zero(device: torch.device) -> None:
    src = torch.tensor([0.0, 2, 3, 4], device=device, requires_grad=True)
    ts.scatter_mul(src, torch.tensor([0, 0, 1, 1], device=device)).sum().backward()
    assert src.grad.tolist() == [0, 0, 4, 3]


def test_out_keeps_its_gradient(device: torch.device) -> None:
    src = torch.randn(4, device=device, requires_grad=True)
    given = torch.randn(2, device=device, requires_grad=True)
    index = torch.tensor([0, 0, 1, 1], device=device)
    ts.scatter_sum(src, index, out=given * 3).sum().backward()
    assert given.grad.tolist() == [3, 3]
    assert src.grad.tolist() == [1] * 4


# ---- properties ----------------------------------------------------------------------------------


@each_name
def test_an_expanded_index_counts_as_broadcast(reduce: str, device: torch.device) -> None:
    src, index = torch.randn(30, 5, device=device), random_index((30,), SIZE).to(device)
    want = ts.scatter(src, index, 0, reduce=reduce)
    expanded = index[:, None].expand_as(src)
    assert torch.equal(ts.scatter(src, expanded, 0, reduce=reduce), want)
    assert torch.equal(ts.scatter(src, expanded.contiguous(), 0, reduce=reduce), want)


@each_name
def test_non_contiguous_values(reduce: str, device: torch.device) -> None:
    src, index = torch.randn(5, 60, device=device).T[::2], random_index((30,), SIZE).to(device)
    want = ts.scatter(src.contiguous(), index, 0, reduce=reduce)
    assert torch.equal(ts.scatter(src, index, 0, reduce=reduce), want)


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_nan_and_infinity_are_extremes(reduce: str, device: torch.device) -> None:
    """As in torch.amax, where torch_scatter passes over them."""
    src = torch.tensor([1.0, torch.nan, 3, torch.inf, -torch.inf], device=device)
    index = torch.tensor([0, 0, 1, 2, 3], device=device)
    values = ts.scatter(src, index, reduce=reduce)
    assert_close(values, src[1:], equal_nan=True)


@each_name
def test_tensors_without_data(reduce: str) -> None:
    src, index = torch.empty(10, 4, device="meta"), torch.empty(10, device="meta").long()
    out = ts.scatter(src, index, 0, dim_size=3, reduce=reduce)
    assert out.is_meta
    assert out.shape == (3, 4)


@each_name
def test_torch_compile(reduce: str, device: torch.device) -> None:
    src = torch.randn(30, 5, device=device, requires_grad=True)
    index = random_index((30,), SIZE).to(device)
    function = torch.compile(
        lambda s, i: ts.scatter(s, i, 0, dim_size=SIZE, reduce=reduce), fullgraph=True
    )
    out, want = function(src, index), ts.scatter(src, index, 0, dim_size=SIZE, reduce=reduce)
    assert_close(out, want)
    grads = [torch.autograd.grad(o.square().sum(), src)[0] for o in (out, want)]
    assert_close(*grads)


def test_same_bits_on_any_number_of_threads(device: torch.device) -> None:
    src, index = torch.randn(5000, 8, device=device), random_index((5000,), 50).to(device)
    before, results = torch.get_num_threads(), []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        results.append([ts.scatter(src, index, 0, reduce=reduce) for reduce in BY_NAME])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0], strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 8])
def test_factors_are_multiplied_in_their_order(
    dtype: torch.dtype, channels: int, device: torch.device
) -> None:
    src, index = torch.randn(400, channels, dtype=dtype), random_index((400,), 20)
    want = torch.ones(20, channels, dtype=dtype)
    for row, place in zip(src, index, strict=True):
        want[place] *= row
    out = ts.scatter_mul(src.to(device), index.to(device), 0, dim_size=20)
    assert torch.equal(out.cpu(), want)


@pytest.mark.parametrize("reduce", ["sum", "mean", "mul"])
def test_derivatives_repeat_bit_by_bit(reduce: str, device: torch.device) -> None:
    src = torch.randn(5000, 8, device=device, requires_grad=True)
    index = random_index((5000,), 50).to(device)

    def derivatives() -> list[Tensor]:
        out = ts.scatter(src, index, 0, reduce=reduce)
        (first,) = torch.autograd.grad(out.square().sum(), src, create_graph=True)
        return [first.detach(), torch.autograd.grad(first.square().sum(), src)[0]]

    results = [derivatives() for _ in range(3)]
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0], strict=True))


# ---- errors --------------------------------------------------------------------------------------

VALUES = torch.zeros(3, 4)
REJECTED: list[tuple[type[Exception], str, dict[str, object]]] = [
    (TypeError, r"`index` must be int64 or int32, got torch.float32", {"index": torch.zeros(3)}),
    (TypeError, r"`src` must be of a floating or integer dtype", {"src": VALUES.bool()}),
    (TypeError, r"`src` must be of a floating or integer dtype", {"src": VALUES + 0j}),
    (ValueError, r"`dim` must be a dimension of `src`, which has 2, got 2", {"dim": 2}),
    (ValueError, r"`dim` must be .* got -3", {"dim": -3}),
    (TypeError, r"`dim` must be an integer", {"dim": 1.5}),
    (ValueError, r"`index` must be broadcastable to `src`, \(3, 4\)", {"dim": 1}),
    (ValueError, r"broadcastable .* got shape \(\)", {"index": torch.tensor(1)}),
    (ValueError, r"broadcastable", {"index": torch.zeros(3, 4, 1, dtype=torch.long)}),
    (ValueError, r"`dim_size` must not be negative, got -1", {"dim_size": -1}),
    (TypeError, r"`dim_size` must be an integer", {"dim_size": 2.5}),
    (
        ValueError,
        r"`out` must be like `src` .* \[2, 4\].* got \[2, 5\]",
        {"out": torch.zeros(2, 5)},
    ),
    (ValueError, r"`out` must be like `src`", {"out": torch.zeros(2)}),
    (ValueError, r"`out` must be like `src`", {"out": torch.zeros(2, 4).double()}),
    (ValueError, r"`index` must be on the device", {"index": torch.zeros(3, device="meta").long()}),
]


@pytest.mark.parametrize(("error", "message", "changed"), REJECTED)
@pytest.mark.parametrize("name", ["sum", "add", "mul", "mean", "min", "max"])
def test_bad_arguments(
    name: str, error: type[Exception], message: str, changed: dict[str, object]
) -> None:
    arguments = {"src": VALUES, "index": torch.tensor([0, 1, 1]), "dim": 0} | changed
    full = "sum" if name == "add" else name
    with pytest.raises(error, match=f"^scatter_{full}: .*{message}"):
        getattr(ts, f"scatter_{name}")(**arguments)


@pytest.mark.cpu_kernels
@pytest.mark.parametrize(
    ("index", "size", "message"),
    [
        ([0, 5, 1], 3, r"`index` must be in \[0, 3\), got 5$"),
        ([0, -1, 1], None, r"`index` must be in \[0, 2\), got -1$"),
        ([0, 2**40, 1], 3, rf"`index` must be in \[0, 3\), got {2**40}$"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_an_index_out_of_range(
    index: list[int], size: int | None, message: str, dtype: torch.dtype
) -> None:
    for function in (ts.scatter_sum, ts.scatter_mean, ts.scatter_max, ts.scatter_mul):
        with pytest.raises(IndexError, match=message):
            function(VALUES.to(dtype), torch.tensor(index), 0, dim_size=size)


def test_an_index_out_of_range_on_a_device(cuda: torch.device) -> None:
    src = torch.ones(3, 2, device=cuda)
    if src.is_cpu and not elite_ops._C.emulates_cuda:
        pytest.skip("the CPU's kernels raise at once")
    for index in ([0, 1, 7], [0, 1, -1]):
        out = ts.scatter_sum(src, torch.tensor(index, device=cuda), 0, dim_size=2)
        assert out.tolist() == [[1, 1]] * 2
        with pytest.raises(IndexError, match="build_segments"):
            elite_ops.check_device_errors()


def test_an_unknown_reduction() -> None:
    with pytest.raises(ValueError, match=r"scatter: `reduce` must be 'sum', .* got 'median'"):
        ts.scatter(VALUES, torch.zeros(3).long(), 0, reduce="median")
