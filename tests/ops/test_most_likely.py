from itertools import product

import pytest
import torch
from torch import Tensor
from torch.library import opcheck
from torch.profiler import ProfilerActivity, profile

from elite_ops import most_likely
from elite_ops.reference import most_likely as reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
NAN, INFINITY = torch.nan, torch.inf
OP = torch.ops.elite_ops.most_likely.default


def random_logits(n: int, num_classes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Eighths: each dtype holds them, and many rows have several maxima."""
    generator = torch.Generator().manual_seed(n)
    eighths = torch.randint(-12, 13, (n, num_classes), generator=generator)
    return (eighths / 8).to(device, dtype)


def random_valid(n: int, device: torch.device) -> Tensor:
    return (torch.rand(n, generator=torch.Generator().manual_seed(1)) < 0.7).to(device)


def by_hand(logits: Tensor, valid: Tensor | None, ignore_label: int | None) -> list[int]:
    """A loop over Python's floats: max keeps the first of equals, NaN counts as above infinity."""
    labels = []
    for i, row in enumerate(logits.tolist()):
        classes = [c for c in range(len(row)) if c != ignore_label]
        best = max(classes, key=lambda c: (row[c] != row[c], 0 if row[c] != row[c] else row[c]))
        labels.append(best if valid is None or valid[i] else 0)
    return labels


def test_small_example(device: torch.device) -> None:
    logits = torch.tensor([[9.0, 1, 2], [0, 5, 5], [1, 2, 3]], device=device)
    valid = torch.tensor([True, True, False], device=device)
    assert most_likely(logits).tolist() == [0, 1, 2]
    assert most_likely(logits, ignore_label=0).tolist() == [2, 1, 2]
    assert most_likely(logits, ignore_label=2).tolist() == [0, 1, 1]
    assert most_likely(logits, valid, ignore_label=0).tolist() == [2, 1, 0]
    point_rows = torch.tensor([-1, 7, 0], dtype=torch.int32, device=device)
    assert most_likely(logits, point_rows).tolist() == [0, 1, 2]
    assert most_likely(logits, point_rows, ignore_label=0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_classes", [1, 2, 3, 8, 19, 20, 24, 33, 100])
def test_equals_a_loop(num_classes: int, dtype: torch.dtype, device: torch.device) -> None:
    for n, ignore_label in product((0, 1, 31, 33, 257), (None, 0, num_classes - 1)):
        if num_classes == 1 and ignore_label is not None:
            continue
        logits, valid = random_logits(n, num_classes, dtype, device), random_valid(n, device)
        for rows in (None, valid, valid.int() - 1):
            got = most_likely(logits, rows, ignore_label=ignore_label)
            assert got.dtype == torch.int64
            want = by_hand(logits, None if rows is None else valid, ignore_label)
            assert got.tolist() == want
            assert torch.equal(got, reference.most_likely(logits, rows, ignore_label=ignore_label))


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_rows(dtype: torch.dtype, device: torch.device) -> None:
    logits, valid = random_logits(9000, 20, dtype, device), random_valid(9000, device)
    want = reference.most_likely(logits, valid, ignore_label=0)
    assert torch.equal(most_likely(logits, valid, ignore_label=0), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_that_are_not_finite(dtype: torch.dtype, device: torch.device) -> None:
    """As torch.argmax on the CPU, where the first of equals wins."""
    table = [NAN, -NAN, INFINITY, -INFINITY, 0.0, -0.0, 1.0]
    rows = torch.tensor(list(product(table, repeat=4)), dtype=dtype)
    want = rows.argmax(1)
    assert torch.equal(most_likely(rows.to(device)).cpu(), want)
    beside = torch.cat([torch.full((len(rows), 1), NAN, dtype=dtype), rows], dim=1)
    assert torch.equal(most_likely(beside.to(device), ignore_label=0).cpu(), want + 1)
    assert torch.equal(
        most_likely(beside.flip(1).to(device), ignore_label=4).cpu(), rows.flip(1).argmax(1)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [0, 1, 2, 4, 8])
@pytest.mark.parametrize("width", [29, 30, 32, 48])
def test_rows_of_a_wider_matrix(
    width: int, first: int, dtype: torch.dtype, device: torch.device
) -> None:
    """What lies beside them, larger or NaN, has no part; alignments of all kinds."""
    logits = random_logits(70, 20, dtype, device)
    wide = torch.full((70, width), NAN, dtype=dtype, device=device)
    wide[:, first : first + 20] = logits
    got = most_likely(wide[:, first : first + 20], ignore_label=0)
    assert got.tolist() == by_hand(logits, None, 0)


def test_takes_strided_input(device: torch.device) -> None:
    logits, valid = random_logits(50, 6, torch.float32, device), random_valid(50, device)
    want = most_likely(logits, valid)
    twice = valid.repeat_interleave(2)[::2]
    assert torch.equal(most_likely(logits.T.contiguous().T, twice), want)
    assert torch.equal(most_likely(logits.repeat_interleave(2, 1)[:, ::2], valid), want)
    assert torch.equal(most_likely(logits.repeat_interleave(2, 0)[::2], valid), want)
    assert most_likely(logits[1:2].expand(50, 6)).tolist() == by_hand(logits[1:2], None, None) * 50


def test_rows_that_are_apart_are_not_copied(device: torch.device) -> None:
    """The classes are the first columns of a padded product."""
    logits = random_logits(40, 24, torch.float32, device)[:, :20]

    def copies(logits: Tensor) -> bool:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            most_likely(logits)
        return any(event.key == "aten::copy_" for event in profiled.key_averages())

    assert not copies(logits)
    assert copies(logits.T.contiguous().T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype, device: torch.device) -> None:
    logits, valid = random_logits(40, 24, dtype, device)[:, :20], random_valid(40, device)
    opcheck(OP, (logits, valid, 0))
    opcheck(OP, (logits, valid.int() - 1))
    opcheck(OP, (logits[:0],))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    logits, valid = random_logits(40, 5, torch.float32, device), random_valid(40, device)
    compiled = torch.compile(most_likely, fullgraph=True, backend="aot_eager")
    got = compiled(logits, valid, ignore_label=0)
    assert torch.equal(got, most_likely(logits, valid, ignore_label=0))


def test_meta() -> None:
    got = most_likely(torch.empty(7, 5, device="meta", dtype=torch.float16))
    assert got.shape == (7,)
    assert got.dtype == torch.int64
    with pytest.raises(ValueError, match="`valid` must be on the device of `logits`"):
        most_likely(torch.empty(7, 5, device="meta"), torch.ones(7, dtype=torch.bool))


def test_labels_have_no_gradient(device: torch.device) -> None:
    logits = random_logits(9, 5, torch.float32, device).requires_grad_()
    labels = most_likely(logits)
    assert not labels.requires_grad
    assert torch.equal(labels, most_likely(logits.detach()))


def test_takes_any_integer(device: torch.device) -> None:
    logits = random_logits(40, 5, torch.float32, device)
    want = most_likely(logits, ignore_label=2)
    assert torch.equal(most_likely(logits, ignore_label=torch.tensor(2)), want)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"most_likely: `ignore_label` must be an integer, got 2\.0"
    ):
        most_likely(logits, ignore_label=2.0)  # type: ignore[arg-type]


LOGITS = torch.zeros(5, 4)
VALID = torch.ones(5, dtype=torch.bool)
REJECTED = [
    (LOGITS[0], None, None, ValueError, r"`logits` must have 2 dimensions, got shape \[4\]"),
    (LOGITS.long(), None, None, TypeError, "`logits` must be float32, .* got Long"),
    (LOGITS[:, :0], None, None, ValueError, r"`logits` must have at least one column, .* \[5, 0\]"),
    (LOGITS[:0, :0], None, None, ValueError, "`logits` must have at least one column"),
    (LOGITS[:, :1], None, 0, ValueError, r"`logits` must have a column beside `ignore_label`, got"),
    (LOGITS, None, 4, ValueError, r"`ignore_label` must be in \[0, 4\), got 4"),
    (LOGITS, None, -1, ValueError, r"`ignore_label` must be in \[0, 4\), got -1"),
    (LOGITS, VALID[1:], None, ValueError, "`valid` must have size 5 in dimension 0, got shape"),
    (LOGITS, VALID[:, None], None, ValueError, "`valid` must have 1 dimensions, got shape"),
    (LOGITS, VALID.long(), None, TypeError, "`valid` must be Bool or Int, got Long"),
    (LOGITS, VALID.to("meta"), None, ValueError, "`valid` must be on the device of `logits`"),
]


@pytest.mark.parametrize(("logits", "valid", "ignore_label", "error", "message"), REJECTED)
def test_rejects(logits, valid, ignore_label, error, message) -> None:
    with pytest.raises(error, match=f"most_likely: {message}"):
        most_likely(logits, valid, ignore_label=ignore_label)
