"""What is kept of the GPU machine's torch, and what is said where there is none."""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import target_torch

ARGUMENTS = ["--torch", "2.11.0", "--python", "3.12", "--platform", "manylinux_2_28_x86_64"]


def test_headers_libraries_and_version_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(folder: str, _: argparse.Namespace) -> Path:
        wheel = Path(folder, "torch.whl")
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in ("include/torch/torch.h", "lib/libc10.so", "version.py", "nn/module.py"):
                archive.writestr(f"torch/{name}", name)
        return wheel

    monkeypatch.setattr(target_torch, "download", download)
    monkeypatch.setattr(sys, "argv", ["target_torch", str(tmp_path / "there"), *ARGUMENTS])
    target_torch.main()
    kept = [path for path in (tmp_path / "there").rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "there")) for path in kept} == {
        "torch/include/torch/torch.h",
        "torch/lib/libc10.so",
        "torch/version.py",
    }


def test_a_torch_that_does_not_exist_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(sys, "argv", ["target_torch", str(tmp_path), *ARGUMENTS])
    with pytest.raises(SystemExit, match=r"no torch 2.11.0 for Python 3.12 .* BUNDLE_TORCH"):
        target_torch.main()
