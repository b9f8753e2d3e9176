import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from immediate import immediate_error
from segment_cases import SIZES, random_inverse, scan_inverse
from torch import Tensor

import elite_ops
from elite_ops import Segments, build_all_segments, build_segments, segment_sum
from elite_ops.reference import segments as reference

ROOT = Path(__file__).parents[2]


def assert_equals_reference(inverse: Tensor, num_segments: int, device: torch.device) -> None:
    segments = build_segments(inverse.to(device), num_segments)
    order, offsets = reference.build_segments(inverse, num_segments)
    assert segments.order.dtype == segments.offsets.dtype == torch.int32
    assert torch.equal(segments.order.cpu(), order)
    assert torch.equal(segments.offsets.cpu(), offsets)


def test_small_example(device: torch.device) -> None:
    inverse = torch.tensor([2, 0, -1, 2, 0, 2], dtype=torch.int32, device=device)
    segments = build_segments(inverse, 4)
    assert segments.order.tolist() == [1, 4, 0, 3, 5, 2]
    assert segments.offsets.tolist() == [0, 2, 2, 5, 5]
    assert segments.counts.tolist() == [2, 0, 3, 0]
    assert segments.num_segments == 4
    assert segments.inverse is inverse


@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_equals_reference(num_points: int, num_segments: int, device: torch.device) -> None:
    assert_equals_reference(random_inverse(num_points, num_segments), num_segments, device)


@pytest.mark.parametrize("voxel_size", [0.1, 1.6])
def test_equals_reference_on_a_real_scan(
    voxel_size: float, real_points: Tensor, device: torch.device
) -> None:
    assert_equals_reference(*scan_inverse(real_points, voxel_size), device)


def test_several_lists_equal_one_after_the_other(device: torch.device) -> None:
    inverse = [random_inverse(n, m, seed=m).to(device) for n, m in SIZES]
    num_segments = [m for _, m in SIZES]
    num_rows = [torch.tensor(m, device=device) for m in num_segments]
    together = build_all_segments(inverse, num_segments, num_rows)
    for got, i, m, n in zip(together, inverse, num_segments, num_rows, strict=True):
        alone = build_segments(i, m)
        assert got.inverse is i
        assert got.num_rows is n
        assert torch.equal(got.order, alone.order)
        assert torch.equal(got.offsets, alone.offsets)


def test_points_in_no_segment_keep_their_order(device: torch.device) -> None:
    assert_equals_reference(torch.full((100,), -1, dtype=torch.int32), 5, device)


def test_opcheck(device: torch.device) -> None:
    inverse = random_inverse(50, 7).to(device)
    op = torch.ops.elite_ops.build_segments.default
    torch.library.opcheck(op, ([inverse], [7]))
    torch.library.opcheck(op, ([inverse, inverse[:9]], [7, 20]))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def counts(inverse: Tensor) -> Tensor:
        return build_segments(inverse, 7).counts

    inverse = random_inverse(50, 7).to(device)
    compiled = torch.compile(counts, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(inverse), counts(inverse))


def test_takes_a_column_of_a_table(device: torch.device) -> None:
    table = torch.stack([random_inverse(50, 7), random_inverse(50, 7, seed=1)], 1).to(device)
    segments = build_segments(table[:, 1], 7)
    assert torch.equal(segments.order, build_segments(table[:, 1].contiguous(), 7).order)


def test_rejects_wrong_arguments() -> None:
    inverse = random_inverse(5, 3)
    with pytest.raises(TypeError, match=r"build_segments: `inverse` must be Int, got Long"):
        build_segments(inverse.long(), 3)
    with pytest.raises(ValueError, match=r"build_segments: `inverse` must have 1 dimensions"):
        build_segments(inverse[None], 3)
    with pytest.raises(ValueError, match=r"`num_segments` must be in \[0, 2\^31 - 1\), got -1"):
        build_segments(inverse, -1)
    with pytest.raises(ValueError, match=r"`num_segments` must be in \[0, 2\^31 - 1\), got -1"):
        build_segments(torch.zeros(3, dtype=torch.int32, device="meta"), -1)
    with pytest.raises(ValueError, match=r"`inverse` must hold between 1 and 32 lists, got 33"):
        build_all_segments([inverse] * 33, [3] * 33)
    with pytest.raises(ValueError, match=r"`num_segments` must have one entry for each list"):
        build_all_segments([inverse] * 2, [3])


@immediate_error
@pytest.mark.parametrize("bad", [-2, 3, 2**31 - 1])
def test_rejects_a_segment_out_of_range(bad: int) -> None:
    inverse = torch.tensor([0, -1, bad, 2], dtype=torch.int32)
    with pytest.raises(IndexError, match=rf"`inverse` must be in \[-1, 3\), got {bad} for point 2"):
        build_segments(inverse, 3)


@pytest.mark.gpu
def test_leaves_out_a_segment_out_of_range_on_cuda(cuda: torch.device) -> None:
    inverse = torch.tensor([0, 7, -2, 2], dtype=torch.int32, device=cuda)
    segments = build_segments(inverse, 3)
    assert segments.order.tolist() == [0, 3, 1, 2]
    assert segments.offsets.tolist() == [0, 1, 1, 2]
    with pytest.raises(IndexError, match="build_segments: `inverse` must be in"):
        elite_ops.check_device_errors()


@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_every_point_is_listed_once_under_its_segment(
    num_points: int, num_segments: int, device: torch.device
) -> None:
    inverse = random_inverse(num_points, num_segments).to(device)
    segments = build_segments(inverse, num_segments)
    assert segments.order.sort().values.tolist() == list(range(num_points))
    segment = torch.repeat_interleave(segments.counts)
    listed = segments.order[: segment.shape[0]].long()
    assert torch.equal(inverse[listed].long(), segment)
    assert (inverse[segments.order[segment.shape[0] :].long()] == -1).all()


# ---- sizes that aren't Python's integers


@pytest.mark.parametrize("make", [int, np.int64, np.uint8, torch.tensor], ids=lambda f: f.__name__)
def test_takes_any_integer_for_a_size(make: type, device: torch.device) -> None:
    inverse = random_inverse(50, 7).to(device)
    assert torch.equal(build_segments(inverse, make(7)).offsets, build_segments(inverse, 7).offsets)


@pytest.mark.parametrize("bad", [7.0, "7", None, torch.tensor(7.0), torch.tensor([7, 8])])
def test_rejects_what_is_no_integer(bad: object) -> None:
    with pytest.raises(TypeError, match="build_segments: `num_segments` must be an integer, got"):
        build_segments(random_inverse(50, 7), bad)  # type: ignore[arg-type]


@pytest.mark.cpu_kernels
def test_memory_that_is_not_there_is_an_error_with_a_name() -> None:
    """In a process that may have 4 GB, of which 8.6 are asked for."""
    program = """
import resource, torch, elite_ops
points = torch.zeros(1, dtype=torch.int32)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    elite_ops.build_segments(points, 2**31 - 3)
except torch.OutOfMemoryError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "build_segments: `num_segments` asks for 8589934584 bytes" in done.stdout


# ---- from_coo


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize(("num_points", "num_segments"), SIZES)
def test_from_coo_equals_build_segments(
    dtype: torch.dtype, num_points: int, num_segments: int, device: torch.device
) -> None:
    inverse = random_inverse(num_points, num_segments).to(device)
    got, want = (
        Segments.from_coo(inverse.to(dtype), num_segments),
        build_segments(inverse, num_segments),
    )
    for field in ("inverse", "order", "offsets"):
        assert torch.equal(getattr(got, field), getattr(want, field))
    counted = Segments.from_coo(inverse.to(dtype))
    assert counted.num_segments == max(inverse.tolist(), default=-1) + 1
    assert torch.equal(counted.offsets, want.offsets[: counted.num_segments + 1])


def test_from_coo_compiles_without_a_graph_break(device: torch.device) -> None:
    def counts(index: Tensor) -> Tensor:
        return Segments.from_coo(index, 7).counts

    index = random_inverse(50, 7).long().to(device)
    assert torch.equal(
        torch.compile(counts, fullgraph=True, backend="aot_eager")(index), counts(index)
    )


@immediate_error
@pytest.mark.parametrize(
    ("bad", "told"), [(-2, -2), (3, 3), (2**32, 2**31 - 1), (-(2**33), -(2**31))]
)
def test_from_coo_rejects_a_segment_out_of_range(bad: int, told: int) -> None:
    """A number that would be 0 in 32 bits isn't taken for it."""
    with pytest.raises(IndexError, match=rf"must be in \[-1, 3\), got {told} for point 1"):
        Segments.from_coo(torch.tensor([0, bad, 2]), 3)


def test_from_coo_rejects_wrong_arguments() -> None:
    with pytest.raises(TypeError, match=r"from_coo: `index` must be int32 or int64, got .*float32"):
        Segments.from_coo(torch.zeros(3), 3)
    with pytest.raises(TypeError, match=r"`num_segments` must be an integer, got 3.0"):
        Segments.from_coo(torch.zeros(3).long(), 3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`inverse` must have 1 dimensions"):
        Segments.from_coo(torch.zeros(3, 1).long(), 3)


# ---- from_csr


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("more", [0, 5])
@pytest.mark.parametrize(
    "counts", [[], [0], [3], [0, 2, 0, 0, 4], [1] * 300, [0] * 300, [1000, 0, 31], [0] * 40 + [9]]
)
def test_from_csr_equals_the_reference_and_build_segments(
    counts: list[int], more: int, dtype: torch.dtype, device: torch.device
) -> None:
    offsets = torch.tensor([0, *counts], device=device).cumsum(0).to(dtype)
    num_points = sum(counts) + more
    segments = Segments.from_csr(offsets, num_points)
    got = segments.inverse, segments.order, segments.offsets
    for tensor, want in zip(got, reference.segments_from_csr(offsets, num_points), strict=True):
        assert tensor.dtype == torch.int32
        assert torch.equal(tensor, want)
    segments.validate()
    if more == 0:
        assert torch.equal(Segments.from_csr(offsets).inverse, segments.inverse)


def test_from_csr_takes_strided_offsets(device: torch.device) -> None:
    table = torch.tensor([[0, 9], [2, 9], [2, 9], [6, 9]], device=device)
    segments = Segments.from_csr(table[:, 0])
    assert segments.counts.tolist() == [2, 0, 4]


def test_opcheck_of_from_csr(device: torch.device) -> None:
    op = torch.ops.elite_ops.segments_from_csr.default
    torch.library.opcheck(op, (torch.tensor([0, 2, 2, 6], device=device), 9))
    torch.library.opcheck(op, (torch.tensor([0, 2, 2, 6], device=device), None))


def test_from_csr_compiles_without_a_graph_break(device: torch.device) -> None:
    def sums(src: Tensor, offsets: Tensor) -> Tensor:
        return segment_sum(src, Segments.from_csr(offsets, src.shape[0]))

    src, offsets = torch.randn(9, 3, device=device), torch.tensor([0, 2, 2, 6], device=device)
    compiled = torch.compile(sums, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(src, offsets), sums(src, offsets))


BAD_OFFSETS = [
    ([1, 2, 3], 1, 0),
    ([0, 3, 2], 2, 2),
    ([0, 2, 10], 10, 2),
    ([0, 2**33, 2**33], 2**33, 1),
    ([0, -1, 3], -1, 1),
]


@immediate_error
@pytest.mark.parametrize(("offsets", "got", "at"), BAD_OFFSETS)
def test_from_csr_rejects_offsets_that_do_not_rise(offsets: list[int], got: int, at: int) -> None:
    with pytest.raises(
        IndexError, match=rf"`offsets` must rise from 0 to at most 9, got {got} at {at}"
    ):
        Segments.from_csr(torch.tensor(offsets), 9)


@pytest.mark.gpu
@pytest.mark.parametrize("offsets", [bad for bad, _, _ in BAD_OFFSETS])
def test_bad_offsets_leave_no_segments_on_cuda(offsets: list[int], cuda: torch.device) -> None:
    segments = Segments.from_csr(torch.tensor(offsets, device=cuda), 9)
    assert segments.inverse.tolist() == [-1] * 9
    assert segments.offsets.tolist() == [0, 0, 0]
    with pytest.raises(IndexError, match="segments_from_csr: `offsets` must rise from 0"):
        elite_ops.check_device_errors()


def test_from_csr_rejects_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="`offsets` must be int32 or int64, got Float"):
        Segments.from_csr(torch.zeros(3))
    with pytest.raises(ValueError, match="`offsets` must have 1 dimensions"):
        Segments.from_csr(torch.zeros(3, 1).long())
    with pytest.raises(
        ValueError, match=r"`offsets` must have num_segments \+ 1 entries, got none"
    ):
        Segments.from_csr(torch.zeros(0).long())
    with pytest.raises(ValueError, match="the last of `offsets` must not be negative, got -4"):
        Segments.from_csr(torch.tensor([0, -4]))
    with pytest.raises(ValueError, match="`num_points` must not be negative, got -1"):
        Segments.from_csr(torch.tensor([0]), -1)
    with pytest.raises(TypeError, match=r"from_csr: `num_points` must be an integer, got 2.5"):
        Segments.from_csr(torch.tensor([0]), 2.5)  # type: ignore[arg-type]


# ---- segments that were made by hand


def test_what_ops_make_is_valid(device: torch.device) -> None:
    for num_points, num_segments in SIZES:
        build_segments(random_inverse(num_points, num_segments).to(device), num_segments).validate()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("order", [1, 4, 0, 3, 2, 9]),
        ("order", [4, 1, 0, 3, 5, 2]),
        ("order", [1, 4, 0, 3, 5]),
        ("offsets", [0, 2, 1, 5, 5]),
        ("offsets", [0, 2, 2, 5, 900]),
    ],
)
def test_forged_segments_are_not_valid(field: str, values: list[int], device: torch.device) -> None:
    inverse = torch.tensor([2, 0, -1, 2, 0, 2], dtype=torch.int32, device=device)
    forged = torch.tensor(values, dtype=torch.int32, device=device)
    segments = dataclasses.replace(build_segments(inverse, 4), **{field: forged})
    with pytest.raises(ValueError, match=f"Segments: `{field}` must be what build_segments makes"):
        segments.validate()


def test_a_variable_has_every_segments_checked() -> None:
    program = """
import torch, elite_ops
offsets = torch.tensor([0, 2], dtype=torch.int32)
points = torch.tensor([0, 0], dtype=torch.int32)
elite_ops.build_segments(points, 1)
elite_ops.Segments(points, points, offsets)
"""
    for value, complains in (("0", False), ("1", True)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "ELITE_OPS_DEBUG": value},
        )
        assert ("Segments: `order` must be what build_segments makes" in done.stderr) is complains
        assert (done.returncode != 0) is complains
