"""Contestants of the benchmarks: what is wrong is not timed, what is missing says why."""

import sys
from pathlib import Path

import pytest
import torch
from peers import CONTESTANTS, Missing, load
from peers.checked import entered, error_of_backward, error_of_forward
from peers.ours import Ours
from precision import PRECISIONS, rms_error
from submanifold import Submanifold, submanifold

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def case(few_points: int) -> Submanifold:
    """Two scans of a thousand points."""
    return submanifold(CPU, 8, 2, "fp32")


def skip_reason(name: str, case: Submanifold) -> str:
    with pytest.raises(pytest.skip.Exception) as caught, entered(name, case):
        pass
    return str(caught.value)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_each_is_right_or_says_why_not(name: str, case: Submanifold, one_thread: None) -> None:
    with entered(name, case) as library:  # what runs has to be right
        kernel_map = library.build_map()
        pairs = library.pairs(kernel_map)
        forward = error_of_forward(library, kernel_map)
        backward = error_of_backward(library, library.convolve(kernel_map))
    assert pairs in (None, case.pairs)
    assert forward < 1e-6
    assert backward < 1e-6


def test_a_library_that_is_not_there_is_missing(
    case: Submanifold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "warpconvnet", None)
    with pytest.raises(Missing, match=r"warpconvnet: ModuleNotFoundError: .+"):
        load("warpconvnet")
    assert skip_reason("warpconvnet", case).startswith("missing: warpconvnet: ")


def test_a_library_that_fails_at_import_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ocnn.py").write_text("raise OSError('libcuda.so.1: cannot open it')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ocnn", raising=False)
    with pytest.raises(Missing, match="OSError: libcuda"):
        load("ocnn")


def test_on_two_threads_spconv_has_a_map_and_no_convolution(
    case: Submanifold, two_threads: None
) -> None:
    pytest.importorskip("spconv.pytorch", reason="spconv is not installed")
    library = load("spconv")(case)
    kernel_map = library.build_map()
    assert library.pairs(kernel_map) == case.pairs
    with pytest.raises(Missing, match="data race"):
        library.convolve(kernel_map)


class Wrong(Ours):
    """Adds one in a thousand."""

    def convolve(self, kernel_map):
        return super().convolve(kernel_map) * 1.001


def test_a_wrong_result_of_a_peer_is_not_timed(
    case: Submanifold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peers.checked.load", lambda name: Wrong)
    excused = pytest.raises(pytest.skip.Exception, match=r"broken: spconv: .* error 1\.0e-03 where")
    with excused, entered("spconv", case) as library:
        error_of_forward(library, library.build_map())


def test_a_wrong_result_of_ours_is_a_failure(
    case: Submanifold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peers.checked.load", lambda name: Wrong)
    with pytest.raises(AssertionError, match="relative error"), entered("elite_ops", case) as ours:
        error_of_backward(ours, ours.convolve(ours.build_map()))


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_limits_tell_sums_in_float32_from_sums_in_half(name: str) -> None:
    """A row of 64 channels and ten neighbours: rounded once, and rounded after every addition."""
    precision = PRECISIONS[name]
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(500, 640, generator=generator).to(precision.dtype)
    b = torch.randn(640, generator=generator).to(precision.dtype)
    truth = a.double() @ b.double()
    once = (a.float() @ b.float()).to(precision.dtype)
    often = torch.zeros(500, dtype=precision.dtype)
    for column in range(640):
        often += a[:, column] * b[column]
    assert rms_error(once, truth) < precision.limit < rms_error(often, truth)


def test_a_result_that_is_not_a_number_is_wrong(case: Submanifold) -> None:
    ours = Ours(case)
    ours.features.data = torch.full_like(ours.features, torch.nan)
    with pytest.raises(AssertionError, match="nan"):
        error_of_forward(ours, ours.build_map())


def test_tf32_is_set_for_one_case_only() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    with PRECISIONS["tf32"].set():
        assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before
