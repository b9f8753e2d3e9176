"""Runs the CPU kernels on real threads: under sanitizers, and without the variants for x86."""

import shutil
from pathlib import Path

import pytest
from threaded import ROOT, build, run

CASES = Path(__file__).parent / "threads"
CROSS_COMPILER = "aarch64-linux-gnu-g++"


@pytest.fixture(scope="session")
def built() -> Path:
    return build("tsan/kernels", "asan/kernels", "portable/kernels")


@pytest.mark.parametrize("sanitizer", ["tsan", "asan", "portable"])
def test_kernels_on_threads(built: Path, sanitizer: str) -> None:
    done = run(built / sanitizer / "kernels")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_kernel_is_run() -> None:
    sources = "".join(path.read_text() for path in CASES.glob("*.cpp"))
    ops = {path.stem for path in (ROOT / "elite_ops/ops").glob("[!_]*.py")}
    kernels = {p.stem for p in (ROOT / "csrc/cpu").glob("*.h")}
    assert ops <= kernels
    assert [op for op in sorted(ops) if f'#include "cpu/{op}.h"' not in sources] == []


def test_aarch64() -> None:
    if shutil.which(CROSS_COMPILER) is None:
        pytest.skip(f"no {CROSS_COMPILER}")
    program = build("aarch64/kernels") / "aarch64/kernels"
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("compiled for aarch64, but there is no qemu-aarch64 to run it")
    done = run(emulator, program)
    assert done.returncode == 0, done.stdout + done.stderr
