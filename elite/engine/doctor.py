"""Examines an installation: versions, devices, kernels, and whether they compute the truth."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

import elite_ops
from elite.engine.self_test import SELF_TESTS

__all__ = ["Check", "Report", "examine"]

REQUIRED = ("torch", "numpy", "accelerate", "safetensors", "segment-anything", "peft")
OPTIONAL = {"skimage": "pip install scikit-image"}  # module: how to get it


@dataclass
class Check:
    """One op on one device; `error` is None where it agrees with its reference."""

    op: str
    device: str
    seconds: float
    error: str | None


@dataclass
class Report:
    """What was found. `missing` maps optional packages to the command that installs them."""

    versions: dict[str, str] = field(default_factory=dict)
    build: dict[str, str | bool] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return all(check.error is None for check in self.checks)


def examine() -> Report:
    """Collects versions and runs the self-test on every kind of device at hand."""
    devices = [torch.device("cpu")]
    names = [f"cpu, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
        for i in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(i)
            names.append(
                f"cuda:{i}, {p.name}, {p.total_memory / 2**30:.0f} GiB, sm_{p.major}{p.minor}"
            )
    versions = {name: importlib.metadata.version(name) for name in REQUIRED}
    return Report(
        versions={"python": platform.python_version(), **versions},
        build={f"kernels: {name}": value for name, value in elite_ops.build_info().items()},
        devices=names,
        missing={n: pip for n, pip in OPTIONAL.items() if importlib.util.find_spec(n) is None},
        checks=[_run(name, test, d) for d in devices for name, test in SELF_TESTS.items()],
    )


def _run(name: str, test: Callable[[torch.device], None], device: torch.device) -> Check:
    start = time.perf_counter()
    error = None
    try:
        test(device)
    except Exception as failure:  # whatever goes wrong is a finding, not a crash of the doctor
        error = str(failure).strip().splitlines()[0] if str(failure) else repr(failure)
    return Check(name, str(device), time.perf_counter() - start, error)
