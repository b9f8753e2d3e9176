import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from elite_ops import add_rows
from elite_ops.reference import add_rows as reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
OP = torch.ops.elite_ops.add_rows.default


def random_case(
    n: int, channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x, y = torch.randn(2, n, channels, generator=generator, dtype=torch.float64)
    return x.to(device, dtype), (100 * y).to(device, dtype)


def test_small_example(device: torch.device) -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    assert add_rows(x, 10 * x).tolist() == [[11, 22], [33, 44]]
    assert add_rows(x, x, torch.tensor(1, device=device))[:1].tolist() == [[2, 4]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [0, 1, 3, 8, 64])
@pytest.mark.parametrize("n", [0, 1, 31, 33, 1023])
def test_has_the_bits_of_torch(
    n: int, channels: int, dtype: torch.dtype, device: torch.device
) -> None:
    x, y = random_case(n, channels, dtype, device)
    x[::5], y[::7] = torch.inf, -torch.inf
    got, want = add_rows(x, y), reference.add_rows(x, y)
    assert got.dtype == dtype
    assert torch.equal(got.nan_to_num(nan=7777), want.nan_to_num(nan=7777))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [3, 64])
@pytest.mark.parametrize("count", [0, 1, 31, 100])
def test_valid_rows_of_padded_buffers(
    count: int, channels: int, dtype: torch.dtype, device: torch.device
) -> None:
    x, y = random_case(100, channels, dtype, device)
    want = x[:count] + y[:count]
    x[count:], y[count:] = torch.nan, torch.nan
    got = add_rows(x, y, torch.tensor(count, device=device))
    assert got.shape == x.shape
    assert torch.equal(got[:count], want)


def test_opcheck(device: torch.device) -> None:
    x, y = random_case(40, 6, torch.float32, device)
    opcheck(OP, (x, y))
    opcheck(OP, (x, y, torch.tensor(40, device=device)))  # all rows, as others are undefined


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    x, y = random_case(40, 6, torch.float32, device)
    num_rows = torch.tensor(40, device=device)
    compiled = torch.compile(add_rows, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, y, num_rows), x + y)


def test_takes_strided_input(device: torch.device) -> None:
    x, y = random_case(40, 6, torch.float32, device)
    assert torch.equal(add_rows(x.T.contiguous().T, y.repeat_interleave(2, 1)[:, ::2]), x + y)
    aside = torch.cat([x.flatten()[:1], x.flatten()])[1:].view(40, 6)  # not at 16 bytes
    assert torch.equal(add_rows(aside, y), x + y)


def test_rejects_wrong_arguments() -> None:
    x, y = random_case(40, 6, torch.float32, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"add_rows: `x` must have 2 dimensions, got shape \[6\]"):
        add_rows(x[0], y)
    with pytest.raises(TypeError, match=r"add_rows: `x` must be float32, .* got Long"):
        add_rows(x.long(), y)
    with pytest.raises(ValueError, match="add_rows: `y` must have 2 dimensions, got shape"):
        add_rows(x, y[0])
    with pytest.raises(TypeError, match="add_rows: `y` must be Float, got Double"):
        add_rows(x, y.double())
    with pytest.raises(ValueError, match="add_rows: `y` must have size 40 in dimension 0, got"):
        add_rows(x, y[1:])
    with pytest.raises(ValueError, match="add_rows: `y` must have size 6 in dimension 1, got"):
        add_rows(x, y[:, 1:])
    with pytest.raises(ValueError, match="add_rows: `y` must be on the device of `x`"):
        add_rows(x, y.to("meta"))
    with pytest.raises(ValueError, match="add_rows: `num_rows` must have one element, got"):
        add_rows(x, y, torch.tensor([1, 2]))
    with pytest.raises(TypeError, match="add_rows: `num_rows` must be Long, got Int"):
        add_rows(x, y, torch.tensor(1, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"add_rows: `num_rows` must be in \[0, 40\], got 41"):
        add_rows(x, y, torch.tensor(41))
    with pytest.raises(RuntimeError, match="add_rows: has no gradient; call it under"):
        add_rows(x, y.requires_grad_())
