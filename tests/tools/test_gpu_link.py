"""What is packed here and linked on a GPU machine, and what is refused there."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import bundle
import link
import pack
import pytest
import sizes

ROOT = Path(__file__).parents[2]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
HERE = sysconfig.get_python_version()

# A compiler that writes what it was asked to do into the file that it was asked for.
COMPILER = """#!/bin/sh
case "$1" in -print-file-name=*) echo "/lib/${1#*=}"; exit ;; esac
all="$*"
while [ "$1" != -o ]; do shift; done
echo "$all" > "$2"
echo "$all" >> calls
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sources, a package that was built before, and a torch of the right version."""
    monkeypatch.chdir(tmp_path)
    for name in (bundle.MODULE, "csrc/bindings/op.cpp", "csrc/cuda/op.cuh", "tools/build_flags.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "elite_ops").mkdir()
    (tmp_path / f"elite_ops/_C{SUFFIX}").write_text("built before")
    (tmp_path / "torch/lib").mkdir(parents=True)
    (tmp_path / "torch/lib/libcudart.so.13").touch()
    (tmp_path / "cxx").write_text(COMPILER)
    (tmp_path / "cxx").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "cxx"))
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0a")  # is restored afterwards
    monkeypatch.setattr(link, "import_it", lambda: 0)
    machine = link.Machine("2.11.0+cu130", "13.0", HERE, tmp_path / "torch")
    monkeypatch.setattr(link.Machine, "here", lambda: machine)
    return tmp_path


def packed(python: str = "") -> None:
    """As `make gpu-bundle` leaves it, with module.cpp compiled where a Python is named."""
    names = ["csrc/bindings/op.cpp", *([bundle.MODULE] if python else [])]
    objects = [Path("build/target", bundle.object_name(name)) for name in names]
    for path in objects:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("object")
    sums = bundle.checksums(bundle.source_paths())
    manifest = bundle.Manifest("2.11.0+cu130", python, "9.0a", sums)
    pack.pack(Path("build/target"), objects, manifest)


def state() -> dict[str, str]:
    """Everything in the package."""
    return {path.name: path.read_text() for path in Path("elite_ops").iterdir()}


def calls() -> list[str]:
    return Path("calls").read_text().splitlines()


@pytest.mark.usefixtures("project")
def test_sources_headers_and_flags_are_what_a_bundle_depends_on() -> None:
    packed()
    sources = json.loads(bundle.MANIFEST.read_text())["sources"]
    assert set(sources) == {
        bundle.MODULE,
        "csrc/bindings/op.cpp",
        "csrc/cuda/op.cuh",
        "tools/build_flags.py",
    }
    with tarfile.open(bundle.OBJECTS) as archive:
        assert archive.getnames() == ["bindings/op.cpp.o"]


@pytest.mark.usefixtures("project")
def test_the_extension_and_its_note_are_replaced() -> None:
    packed(python=HERE)
    assert link.main() == 0
    assert set(state()) == {f"_C{SUFFIX}", "_build.json"}
    assert json.loads(state()["_build.json"]) == {"torch": "2.11.0+cu130", "python": HERE}
    (linked,) = calls()
    for word in ("-shared", "bindings/op.cpp.o", "module.cpp.o", "-ltorch_cuda", "libcudart.so.13"):
        assert word in linked
    assert linked.index(" /lib/libstdc++.so.6 ") < linked.index(" -lc10 ")
    assert link.STAMP.exists()
    assert [path.name for path in Path("build").iterdir() if "tmp" in path.name] == []


def test_the_trial_holds_for_the_extension_that_is_here() -> None:
    done = subprocess.run([sys.executable, "-c", link.TRIAL], cwd=ROOT, check=False)
    assert done.returncode == 0


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("python", ["", "3.1"])
def test_module_is_compiled_where_its_python_differs(python: str) -> None:
    packed(python)
    assert link.main() == 0
    compiled, linked = calls()
    assert f"-c {bundle.MODULE}" in compiled
    assert sysconfig.get_path("include") in compiled
    assert '-DELITE_CUDA_ARCHITECTURES="9.0a"' in compiled
    assert "module.cpp.o" in linked


@pytest.mark.parametrize("change", ["source", "missing source", "torch", "bundle"])
def test_what_does_not_fit_changes_nothing(
    project: Path, change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed()
    before = state()
    if change == "source":
        (project / "csrc/bindings/op.cpp").write_text("edited")
        reason = "1 of 4 sources are not those that were compiled, csrc/bindings/op.cpp for one"
    elif change == "missing source":
        (project / "csrc/cuda/op.cuh").unlink()
        reason = "csrc/cuda/op.cuh for one"
    elif change == "torch":
        machine = link.Machine("2.12.0+cu130", "13.0", HERE, project / "torch")
        monkeypatch.setattr(link.Machine, "here", lambda: machine)
        reason = "compiled for torch 2.11.0+cu130, here is 2.12.0+cu130"
    else:
        bundle.MANIFEST.unlink()
        reason = "there is no build/bundle/manifest.json"
    assert link.main() == 3
    said = capsys.readouterr().err
    assert reason in said
    assert "python3 setup.py build_ext --inplace" in said
    assert state() == before
    assert not Path("calls").exists()
    assert not link.STAMP.exists()


@pytest.mark.usefixtures("project")
def test_a_linker_that_fails_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed(python=HERE)
    before = state()
    monkeypatch.setenv("CXX", "false")
    assert link.main() == 1
    assert "link: false failed." in capsys.readouterr().err
    assert state() == before
    assert not link.STAMP.exists()


def test_without_a_bundle_there_is_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools/gpu/link.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "make gpu-bundle" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_sizes_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/a.whl").write_bytes(bytes(2**20))
    (tmp_path / "b").write_bytes(bytes(2**19))
    assert sizes.megabytes(tmp_path) == 1.5
    assert sizes.megabytes(tmp_path / "b") == 0.5
    assert sizes.megabytes(tmp_path / "none") == 0


def test_each_call_is_added_up_and_has_to_fit() -> None:
    carried = [("the tree", 3.0, (1, 2)), ("peers", 43.0, (2,))]
    text, fits = sizes.report(carried, limit=64)
    assert fits
    assert text.splitlines()[-1].split()[-2:] == ["3.0", "46.0"]
    assert text.splitlines()[2].split() == ["peers", "0.0", "43.0"]
    assert not sizes.report(carried, limit=45)[1]
