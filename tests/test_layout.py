"""The house's own rules: mirrored names, floors, sizes."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPS = sorted(p.stem for p in (ROOT / "elite_ops/ops").glob("*.py") if p.stem != "__init__")
MIRRORS = [
    "elite_ops/reference/{}.py",
    "csrc/bindings/{}.cpp",
    "csrc/cpu/{}.cpp",
    "csrc/cpu/{}.h",
    "csrc/cuda/{}.cu",
    "csrc/cuda/{}.h",
    "tests/ops/test_{}.py",
    "tests/csrc/test_{}.cpp",
    "benchmarks/bench_{}.py",
]

# Each package may import itself and what stands below it.
FLOORS = [
    {"elite.cli"},
    {"elite.engine"},
    {"elite.pseudo_label", "elite.distill"},
    {"elite.pictures"},
    {"elite.student", "elite.teacher", "elite.data", "elite.metrics", "elite.losses"},
    {"elite.types", "elite.config"},
    {"elite.errors", "elite.files", "elite.processes"},
    {"elite_ops.nn", "elite_ops.compat"},
    {"elite_ops.sparse_tensor"},
    {"elite_ops.reference"},
    {"elite_ops.ops"},
    {"elite_ops.voxel_set", "elite_ops.voxels"},
    {"elite_ops.ops.kernel_map"},  # a voxel set builds its maps
    {"elite_ops.kernel_map"},
    {"elite_ops.kernel_geometry"},
    {
        "elite_ops.arguments",
        "elite_ops.autocast",
        "elite_ops.dense_grid",
        "elite_ops.errors",
        "elite_ops.flops",
        "elite_ops.gradients",
        "elite_ops.memory",
        "elite_ops.image_size",
        "elite_ops.per_axis",
        "elite_ops.registration",
        "elite_ops._extension",
    },
]
WITHOUT_FLOOR = {"elite", "elite.__main__", "elite_ops"}  # what users call or import


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def tracked(*patterns: str) -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("no git")
    command = ["git", "ls-files", "-co", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("op", OPS)
def test_an_op_is_in_every_folder(op: str) -> None:
    paths = [path.format(op) for path in MIRRORS]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for list_of_ops in ("docs/ops.md", "CHANGELOG.md"):
        assert re.search(rf"`(build_)?{op}\b", read(ROOT / list_of_ops)), (
            f"{op} is not in {list_of_ops}"
        )


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int | None:
    """That of the longest name that it is, or is in."""
    while module:
        for level, names in enumerate(FLOORS):
            if module in names:
                return level
        module = module.rpartition(".")[0]
    return None


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_every_module_has_a_floor() -> None:
    modules = {module_name(path) for path in tracked("elite/*.py", "elite_ops/*.py")}
    assert {name for name in modules if floor_of(name) is None} == WITHOUT_FLOOR


def test_imports_point_downward() -> None:
    wrong = []
    for path in tracked("elite/*.py", "elite_ops/*.py"):
        here = floor_of(module_name(path))
        for name in imported(path):
            there = floor_of(name)
            upward = here is not None and there is not None and there < here
            if upward or (name.startswith("elite.") and path.is_relative_to(ROOT / "elite_ops")):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize(
    ("folder", "ceiling"),
    [("csrc elite_ops elite benchmarks tools", 400), ("tests", 500), ("examples", 250)],
)
def test_no_file_is_too_long(folder: str, ceiling: int) -> None:
    sources = [
        p for p in tracked(*folder.split()) if p.suffix in (".py", ".cpp", ".cu", ".cuh", ".h")
    ]
    lengths = {str(p.relative_to(ROOT)): len(read(p).splitlines()) for p in sources}
    assert {name: n for name, n in lengths.items() if n > ceiling} == {}


def test_kernels_know_no_torch() -> None:
    include = re.compile(r'#include *[<"](torch|ATen|c10)/')
    kernels = tracked("csrc/cpu", "csrc/cuda", "csrc/common")
    assert [p.name for p in kernels if include.search(read(p))] == []
    assert [p.name for p in kernels if "<<<" in read(p)] == []


def test_instruction_sets_have_one_gate() -> None:
    """What ELITE_PORTABLE leaves out is all that other processors don't have."""
    gate = re.compile(r"__x86_64__|__AVX|immintrin\.h")
    assert [p.name for p in tracked("csrc") if gate.search(read(p))] == ["x86.h"]


def test_every_trap_has_its_test() -> None:
    """docs/conventions.md names them; each row has one at least."""
    text = read(ROOT / "docs/conventions.md")
    rows = re.findall(r"^\| (?!trap|---)(.*?) \| (.*) \|$", text.split("## Traps")[1], re.MULTILINE)
    assert len(rows) > 30
    for trap, tests in rows:
        named = re.findall(r"`(\S+)::(\w+)`", tests)
        assert named, trap
        for path, name in named:
            assert f"def {name}(" in read(ROOT / "tests" / path), name
