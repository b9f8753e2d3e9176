"""The report of what kernels take, from nvcc's words."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
KERNEL = "_ZN9elite_ops4cuda12_GLOBAL__N_110sum_kernelIfEEvPT_"
OTHER = "_ZN3cub6kernelIN9elite_ops4cuda1XEEEvv"


def log_of(kernel: str, architecture: str, spilled: int, shared: str = "") -> str:
    return (
        f"ptxas info    : Compiling entry function '{kernel}' for '{architecture}'\n"
        f"ptxas info    : Function properties for {kernel}\n"
        f"    {spilled} bytes stack frame, {spilled} bytes spill stores, 0 bytes spill loads\n"
        f"ptxas info    : Used 26 registers, used 1 barriers{shared}, 480 bytes cmem[0]\n"
    )


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    if shutil.which("c++filt") is None:
        pytest.skip("no c++filt")
    spec = importlib.util.spec_from_file_location("resources", ROOT / "benchmarks/resources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "resources", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOGS", tmp_path)
    return module


def test_a_log_becomes_a_table(resources: ModuleType) -> None:
    log = log_of(KERNEL, "sm_80", 0, ", 1024 bytes smem") + log_of(KERNEL, "sm_90", 8)
    usages = resources.parse("ops", log + log_of(OTHER, "sm_80", 16))
    names = resources.demangle(u.kernel for u in usages)
    assert names == {KERNEL: "sum_kernel<float>"}
    text = resources.report(usages, names, "nvcc 1.2")
    assert "| sm_80 registers | sm_80 shared | sm_80 spills | sm_90 registers |" in text
    assert text.endswith("| ops | `sum_kernel<float>` | 26 | 1024 | 0 | 26 | 0 | 8 |\n")


def test_kernels_of_one_architecture_have_a_table_of_their_own(resources: ModuleType) -> None:
    other = KERNEL.replace("sum_", "add_")
    log = log_of(KERNEL, "sm_90", 0) + log_of(other, "sm_90", 0) + log_of(other, "sm_90a", 0)
    usages = resources.parse("ops", log)
    general, specific = resources.report(
        usages, resources.demangle(u.kernel for u in usages), "nvcc 1.2"
    ).split(resources.SPECIFIC)
    assert "sum_kernel" in general
    assert "add_kernel" not in general
    assert specific.splitlines()[0].endswith("| sm_90a registers | sm_90a shared | sm_90a spills |")
    assert specific.endswith("| ops | `add_kernel<float>` | 26 | 0 | 0 |\n")


def test_names_lose_namespaces_and_arguments(resources: ModuleType) -> None:
    full = "elite_ops::cuda::a::(anonymous namespace)::f<elite_ops::cuda::C<int, 4> >(int, C<(T)1>)"
    assert resources.shorten(full) == "a::f<C<int, 4>>"


@pytest.mark.parametrize(("kernel", "spilled", "status"), [(KERNEL, 8, 1), (KERNEL, 0, 0)])
def test_spills_fail_the_check(
    resources: ModuleType, tmp_path: Path, kernel: str, spilled: int, status: int
) -> None:
    (tmp_path / "ops.log").write_text(log_of(kernel, "sm_90", spilled))
    assert resources.main(["--check"]) == status


def test_spills_of_other_projects_do_not_count(resources: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "ops.log").write_text(log_of(OTHER, "sm_90", 8))
    assert resources.main(["--check"]) == 0


def test_the_report_knows_every_source_with_kernels() -> None:
    text = (ROOT / "docs/resources.md").read_text(encoding="utf-8")
    code = {p: p.read_text(encoding="utf-8") for p in (ROOT / "csrc/cuda").glob("*.cu")}
    sources = [p for p in code if "__global__" in code[p]]
    assert len(sources) > 20
    assert [p.name for p in sources if f"| {p.stem} |" not in text] == []
