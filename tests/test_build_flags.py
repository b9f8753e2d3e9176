"""Where the build finds the CUDA toolkit, and what it says when it doesn't fit."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import build_flags
import pytest

ROOT = Path(__file__).parents[1]


def write_nvcc(home: Path, release: str = "13.0") -> Path:
    """A toolkit whose nvcc says where it is and which release it is, as the real one does."""
    nvcc = home / "bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f"  --version) echo 'Cuda compilation tools, release {release}, V{release}.88' ;;\n"
        f"  *) echo '#$ TOP={nvcc.parent}/..' >&2 ;;\n"
        "esac\n"
    )
    nvcc.chmod(nvcc.stat().st_mode | stat.S_IXUSR)
    return nvcc


def write_torch(folder: Path, cuda: str | None) -> None:
    """As much of a torch as setup.py asks before it compiles anything."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch/__init__.py").write_text(
        f"class version:\n    cuda = {cuda!r}\n__version__ = '2.14.1'\n"
    )
    (folder / "pybind11").mkdir()
    (folder / "pybind11/__init__.py").write_text("")


def run_setup(folder: Path, cuda: str | None, **variables: str) -> str:
    """What setup.py says as it refuses."""
    write_torch(folder / "packages", cuda)
    environment = {"PATH": str(folder), "PYTHONPATH": str(folder / "packages"), **variables}
    command = [sys.executable, "setup.py", "build_ext"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def no_toolkit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(build_flags, "USUAL_TOOLKIT", tmp_path / "usual")


@pytest.mark.usefixtures("no_toolkit")
def test_a_script_on_the_path_is_asked_for_its_toolkit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvcc = write_nvcc(tmp_path / "cuda-13")
    script = tmp_path / "bin/nvcc"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {nvcc} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    assert build_flags.toolkit() == tmp_path / "cuda-13"


@pytest.mark.usefixtures("no_toolkit")
def test_cuda_home_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_nvcc(tmp_path / "chosen")
    on_path = write_nvcc(tmp_path / "other").parent
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "chosen"))
    monkeypatch.setenv("PATH", str(on_path))
    assert build_flags.toolkit() == tmp_path / "chosen"


@pytest.mark.usefixtures("no_toolkit")
def test_no_toolkit_names_the_places(tmp_path: Path) -> None:
    with pytest.raises(build_flags.MissingToolkit) as caught:
        build_flags.toolkit()
    for place in ("CUDA_HOME", "CUDA_PATH", "PATH", f"{tmp_path}/usual/bin"):
        assert place in str(caught.value)


def test_cuda_home_without_nvcc_is_named(tmp_path: Path) -> None:
    said = run_setup(tmp_path, "13.0", ELITE_CUDA="1", CUDA_HOME=str(tmp_path))
    assert f"ELITE_CUDA=1, but CUDA_HOME={tmp_path} has no bin/nvcc" in said


@pytest.mark.parametrize("wish", [{}, {"ELITE_CUDA": "1"}])
def test_another_major_release_is_refused_with_the_remedy(
    tmp_path: Path, wish: dict[str, str]
) -> None:
    write_nvcc(tmp_path / "cuda", release="12.6")
    said = run_setup(tmp_path, "13.0", CUDA_HOME=str(tmp_path / "cuda"), **wish)
    for word in ("torch 2.14.1", "CUDA 13.0", "CUDA 12.6", "CUDA_HOME", "ELITE_CUDA=0"):
        assert word in said


def test_a_torch_without_cuda_is_refused_when_cuda_is_wished(tmp_path: Path) -> None:
    said = run_setup(tmp_path, None, ELITE_CUDA="1")
    assert "torch 2.14.1 is a build without CUDA" in said


def test_a_wrong_wish_is_refused(tmp_path: Path) -> None:
    assert "ELITE_CUDA must be 0 or 1, got 'yes'" in run_setup(tmp_path, None, ELITE_CUDA="yes")


@pytest.mark.parametrize("answer", ["/usr/lib/libstdc++.so.6", "libstdc++.so.6", ""])
def test_the_cxx_runtime_is_named_where_the_compiler_finds_it(tmp_path: Path, answer: str) -> None:
    """A compiler that knows no such file answers with its name."""
    compiler = tmp_path / "cxx"
    compiler.write_text(f"#!/bin/sh\necho '{answer}'\n")
    compiler.chmod(0o755)
    want = [answer] if answer.startswith("/") else []
    assert build_flags.cxx_runtime([str(compiler)]) == want
    assert build_flags.cxx_runtime([str(tmp_path / "none")]) == []
