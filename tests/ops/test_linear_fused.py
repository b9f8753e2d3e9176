import pytest
import torch
import torch.nn.functional as F
from immediate import immediate_error
from segment_cases import scan_inverse
from torch import Tensor
from torch.testing import assert_close

from elite_ops import check_device_errors, linear_fused
from elite_ops.reference import linear_fused as reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
    torch.float64: {},
    torch.float16: {"rtol": 2e-3, "atol": 2e-3},
    torch.bfloat16: {"rtol": 1e-2, "atol": 1e-2},
}
SIZES = [0, 1, 31, 33, 1023]
CHANNELS = [(1, 1), (3, 16), (10, 64), (64, 20), (64, 128), (0, 5), (5, 0)]
Residuals = list[tuple[Tensor, Tensor | None]]


def random_rows(size: int, num_rows: int, seed: int) -> Tensor:
    """Row numbers, repeated and in any order, with -1 among them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, num_rows, (size,), generator=generator, dtype=torch.int32)


def random_case(
    size: int, c_in: int, c_out: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor, Residuals]:
    """Features [40, c_in], weight, bias, rows [size], and a residual of each kind."""
    generator = torch.Generator().manual_seed(size)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

    weight = normal(c_in, c_out) / max(c_in, 1) ** 0.5
    rows, residual_rows = random_rows(size, 40, 1), random_rows(size, 7, 2)
    residuals = [(normal(size, c_out), None), (normal(7, c_out), residual_rows.to(device))]
    return normal(40, c_in), weight, normal(c_out), rows.to(device), residuals


def widened(residuals: Residuals) -> Residuals:
    return [(residual.double(), rows) for residual, rows in residuals]


def test_small_example(device: torch.device) -> None:
    features = torch.tensor([[1.0, 2], [3, 4]], device=device)
    weight = torch.tensor([[1.0, 0, -1], [0, 1, -1]], device=device)
    bias = torch.tensor([0.0, 0, 2], device=device)
    rows = torch.tensor([1, -1, 0], dtype=torch.int32, device=device)
    residual = torch.tensor([[10.0, 20, 30]], device=device)
    residual_rows = torch.tensor([-1, -1, 0], dtype=torch.int32, device=device)
    out = linear_fused(
        features,
        weight,
        bias,
        rows=rows,
        residuals=[(residual, residual_rows)],
        negative_slope=0.5,
    )
    assert out.tolist() == [[3, 4, -2.5], [0, 0, 2], [11, 22, 29]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
def test_equals_reference(
    size: int, c_in: int, c_out: int, dtype: torch.dtype, device: torch.device
) -> None:
    features, weight, bias, rows, residuals = random_case(size, c_in, c_out, dtype, device)
    got = linear_fused(features, weight, bias, rows=rows, residuals=residuals, negative_slope=0.1)
    want = reference.linear_fused(
        features.double(),
        weight.double(),
        bias.double(),
        rows=rows,
        residuals=widened(residuals),
        negative_slope=0.1,
    )
    assert got.dtype == dtype
    assert_close(got.double(), want, **(TOLERANCE[dtype] or {"rtol": 1e-12, "atol": 1e-12}))


def test_equals_reference_on_a_real_scan(real_points: Tensor, device: torch.device) -> None:
    inverse, num_voxels = scan_inverse(real_points, voxel_size=0.2)
    inverse = inverse.to(device)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(num_voxels, 64, generator=generator).to(device)
    weight = torch.randn(64, 20, generator=generator).to(device) / 8
    residual = torch.randn(num_voxels, 20, generator=generator).to(device)
    terms = {"rows": inverse, "residuals": [(residual, inverse)], "negative_slope": 0.0}
    got = linear_fused(features, weight, **terms)
    assert_close(got, reference.linear_fused(features, weight, **terms), rtol=1e-4, atol=1e-4)


def test_opcheck(device: torch.device) -> None:
    features, weight, bias, rows, residuals = random_case(33, 6, 5, torch.float32, device)
    matrices, residual_rows = zip(*residuals, strict=True)
    arguments = (features, rows, weight, bias, list(matrices), list(residual_rows), 0.1)
    torch.library.opcheck(torch.ops.elite_ops.linear_fused.default, arguments)
    num_rows = torch.tensor(33, device=device)  # all rows, as others are undefined
    torch.library.opcheck(torch.ops.elite_ops.linear_fused.default, (*arguments, num_rows))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    features, weight, bias, rows, residuals = random_case(33, 6, 5, torch.float32, device)
    compiled = torch.compile(linear_fused, fullgraph=True, backend="aot_eager")
    terms = {"rows": rows, "residuals": residuals}
    got = compiled(features, weight, bias, **terms)
    assert torch.equal(got, linear_fused(features, weight, bias, **terms))


def test_takes_strided_input(device: torch.device) -> None:
    features, weight, bias, rows, residuals = random_case(40, 6, 8, torch.float32, device)
    wide, wide_rows = features.repeat_interleave(2, 1), rows.repeat_interleave(2)
    (residual, none), _ = residuals
    got = linear_fused(
        wide[:, ::2],
        weight.T.contiguous().T,
        bias.repeat_interleave(3)[::3],
        rows=wide_rows[::2],
        residuals=[(residual.T.contiguous().T, none)],
    )
    want = linear_fused(features, weight, bias, rows=rows, residuals=[(residual, none)])
    assert_close(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
@pytest.mark.parametrize("channels", [(64, 128), (10, 64), (64, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_valid_rows_have_the_bits_of_an_exact_buffer(
    dtype: torch.dtype, channels: tuple[int, int], count: int, device: torch.device
) -> None:
    """Whatever stands in the rows past the count, wrong row numbers included."""
    features, weight, bias, rows, residuals = random_case(100, *channels, dtype, device)
    (plain, _), (coarse, coarse_rows) = residuals
    rows[count:], coarse_rows[count:], plain[count:] = 1000, -7, torch.nan
    num_rows = torch.tensor(count, device=device)
    got = linear_fused(features, weight, bias, rows=rows, residuals=residuals, num_rows=num_rows)
    exact = [(plain[:count], None), (coarse, coarse_rows[:count])]
    want = linear_fused(features, weight, bias, rows=rows[:count], residuals=exact)
    assert got.shape == (100, channels[1])
    assert torch.equal(got[:count], want)
    check_device_errors(device)


def test_rejects_wrong_arguments() -> None:
    x, w, b, rows, ((residual, _), _) = random_case(40, 6, 5, torch.float32, torch.device("cpu"))
    with pytest.raises(ValueError, match="linear_fused: `features` must have 2 dimensions, got"):
        linear_fused(x[0], w, b)
    with pytest.raises(TypeError, match=r"linear_fused: `features` must be float32, .* got Long"):
        linear_fused(x.long(), w, b)
    with pytest.raises(TypeError, match="linear_fused: `weight` must be Float, got Double"):
        linear_fused(x, w.double(), b)
    with pytest.raises(ValueError, match="linear_fused: `weight` must have size 6 in dimension 0"):
        linear_fused(x, w[1:], b)
    with pytest.raises(ValueError, match="linear_fused: `bias` must have size 5 in dimension 0"):
        linear_fused(x, w, b[1:])
    with pytest.raises(TypeError, match="linear_fused: `rows` must be Int, got Long"):
        linear_fused(x, w, b, rows=rows.long())
    with pytest.raises(ValueError, match=r"`residuals\[0\]` must have size 40 in dimension 0"):
        linear_fused(x, w, b, residuals=[(residual[1:], None)])
    with pytest.raises(ValueError, match=r"`residuals\[1\]` must have size 5 in dimension 1"):
        linear_fused(x, w, b, residuals=[(residual, None), (residual[:, 1:], rows)])
    with pytest.raises(ValueError, match=r"`rows of residuals\[0\]` must have size 40 in dim"):
        linear_fused(x, w, b, residuals=[(residual, rows[1:])])
    with pytest.raises(ValueError, match="linear_fused: `residuals` must be at most 4, got 5"):
        linear_fused(x, w, b, residuals=[(residual, None)] * 5)
    with pytest.raises(ValueError, match="linear_fused: `num_rows` must have one element, got"):
        linear_fused(x, w, b, num_rows=torch.tensor([1, 2]))
    with pytest.raises(TypeError, match="linear_fused: `num_rows` must be Long, got Int"):
        linear_fused(x, w, b, num_rows=torch.tensor(1, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"linear_fused: `num_rows` must be .* got 41"):
        linear_fused(x, w, b, num_rows=torch.tensor(41))
    with pytest.raises(RuntimeError, match="linear_fused: has no gradient; call it under"):
        linear_fused(x, w.requires_grad_(), b)


def test_equals_torch_linear(device: torch.device) -> None:
    x, w, b, _, _ = random_case(40, 64, 20, torch.float64, device)
    assert_close(linear_fused(x, w, b), F.linear(x, w.T, b))
    assert_close(linear_fused(x, w, negative_slope=0.0), F.relu(x @ w))


def test_does_not_depend_on_the_number_of_threads() -> None:
    x, w, b, rows, residuals = random_case(2000, 64, 64, torch.float32, torch.device("cpu"))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(linear_fused(x, w, b, rows=rows, residuals=residuals))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


WRONG_ROWS = "linear_fused: `rows` must be -1 or a row of their matrix"


@immediate_error
def test_rejects_rows_that_do_not_exist() -> None:
    x, w, b, rows, ((residual, _), _) = random_case(40, 6, 5, torch.float32, torch.device("cpu"))
    with pytest.raises(IndexError, match=WRONG_ROWS):
        linear_fused(x[:3], w, b, rows=rows)
    with pytest.raises(IndexError, match=WRONG_ROWS):
        linear_fused(x, w, b, residuals=[(residual[:3], rows)])


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [(6, 5), (64, 64)])
def test_rows_that_do_not_exist_add_nothing_on_cuda(
    cuda: torch.device, channels: tuple[int, int]
) -> None:
    x, w, b, rows, ((residual, _), _) = random_case(40, *channels, torch.float32, cuda)
    none, wrong = torch.full_like(rows, -1), rows.clone()
    none[5:], wrong[:5] = rows[5:], 1000
    assert torch.equal(linear_fused(x, w, b, rows=wrong), linear_fused(x, w, b, rows=none))
    with pytest.raises(IndexError, match=WRONG_ROWS):
        check_device_errors()
    got, want = (linear_fused(x, w, b, residuals=[(residual, r)]) for r in (wrong, none))
    assert torch.equal(got, want)
    with pytest.raises(IndexError, match=WRONG_ROWS):
        check_device_errors()
