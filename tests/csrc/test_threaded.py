"""Runs the CPU kernels on real threads: under sanitizers, and without the variants for x86."""

import re
import shutil
from pathlib import Path

import pytest
from programs import ROOT
from threaded import build, run_threads

CASES = Path(__file__).parent / "threads"
CROSS_COMPILER = "aarch64-linux-gnu-g++"


@pytest.fixture(scope="session")
def built() -> Path:
    return build("tsan/kernels", "asan/kernels", "portable/kernels")


@pytest.mark.parametrize("sanitizer", ["tsan", "asan", "portable"])
def test_kernels_on_threads(built: Path, sanitizer: str) -> None:
    done = run_threads(built / sanitizer / "kernels")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_kernel_is_run() -> None:
    cases = "".join(path.read_text(encoding="utf-8") for path in CASES.glob("*.cpp"))
    declaration = re.compile(r"^(?!template|using|struct)[\w:<>&* ]+?[ *&](\w+)\(", re.MULTILINE)
    missing = []
    for op in (ROOT / "elite_ops/ops").glob("[!_]*.py"):
        kernels = declaration.findall((ROOT / f"csrc/cpu/{op.stem}.h").read_text(encoding="utf-8"))
        assert kernels, op
        missing += [name for name in kernels if not re.search(rf"\b{name}\b", cases)]
    assert missing == []


def test_aarch64() -> None:
    if shutil.which(CROSS_COMPILER) is None:
        pytest.skip(f"no {CROSS_COMPILER}")
    program = build("aarch64/kernels") / "aarch64/kernels"
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("compiled for aarch64, but there is no qemu-aarch64 to run it")
    done = run_threads(emulator, program)
    assert done.returncode == 0, done.stdout + done.stderr
