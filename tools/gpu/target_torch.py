"""Brings the torch of a GPU machine here, to compile and link against; it never runs here.

    python tools/gpu/target_torch.py FOLDER --torch 2.11.0 --python 3.12 --platform PLATFORM

downloads the wheel (half a GB) and keeps its headers, its libraries and its version.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

KEPT = ("torch/include/", "torch/lib/lib", "torch/version.py")


def download(folder: str, options: argparse.Namespace) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={options.python}"]
    command += [f"--platform={options.platform}", "--dest", folder, f"torch=={options.torch}"]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(
            f"target_torch: no torch {options.torch} for Python {options.python} and "
            f"{options.platform} was found; name what the GPU machine has by BUNDLE_TORCH, "
            "BUNDLE_PYTHON and BUNDLE_PLATFORM"
        )
    return next(Path(folder).glob("torch-*.whl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--platform", required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        zipfile.ZipFile(download(folder, options)) as wheel,
    ):
        wheel.extractall(
            options.folder, [name for name in wheel.namelist() if name.startswith(KEPT)]
        )


if __name__ == "__main__":
    main()
