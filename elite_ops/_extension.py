"""Loads the compiled extension, and says how to repair one that does not fit."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["build_info", "on_cuda"]

REPAIR = "pip install --force-reinstall --no-deps -e .    (in the elite-lidar source tree)"


def _check_build(note_path: Path) -> None:
    """Compares the note that the build left with the running torch and Python, before loading."""
    if not note_path.exists():
        raise ImportError(
            f"elite_ops: the compiled extension is missing; build it with\n    {REPAIR}"
        )
    built = json.loads(note_path.read_text())
    here = {"torch": str(torch.__version__), "python": sysconfig.get_python_version()}
    for name, version in here.items():
        if built.get(name) != version:
            raise ImportError(
                f"elite_ops: the extension was built for {name} {built.get(name)}, but {name} "
                f"{version} is running; rebuild it with\n    {REPAIR}"
            )


_check_build(Path(__file__).with_name("_build.json"))
try:
    from elite_ops import _C
except ImportError as error:
    raise ImportError(
        f"elite_ops: the compiled extension does not load ({error}); rebuild it with\n    {REPAIR}"
    ) from error


def build_info() -> dict[str, str | bool]:
    """What the extension was built with: torch, compiler, CUDA or not, CUDA architectures."""
    return dict(_C.build_info())


def on_cuda(tensor: Tensor) -> bool:
    """Whether ops of this tensor run CUDA kernels: on a GPU, or emulated in the tests' build."""
    return tensor.is_cuda or (_C.emulates_cuda and tensor.is_cpu)
