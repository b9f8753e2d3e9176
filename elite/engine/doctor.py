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
    if torch.cuda.is_available() and elite_ops.build_info()["cuda"]:
        devices.append(torch.device("cuda"))
    versions = {name: importlib.metadata.version(name) for name in REQUIRED}
    return Report(
        versions={"python": platform.python_version(), **versions},
        build={f"kernels: {name}": value for name, value in elite_ops.build_info().items()},
        devices=[f"cpu, {torch.get_num_threads()} threads", *_describe_cuda()],
        missing={n: pip for n, pip in OPTIONAL.items() if importlib.util.find_spec(n) is None},
        checks=[_run(name, test, d) for d in devices for name, test in SELF_TESTS.items()],
    )


def _describe_cuda() -> list[str]:
    """The GPUs; where there is none, or none that the kernels can use, why."""
    properties = [
        torch.cuda.get_device_properties(i)
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    found = [
        f"cuda:{i}, {p.name}, {p.total_memory / 2**30:.0f} GiB, sm_{p.major}{p.minor}"
        for i, p in enumerate(properties)
    ]
    build = elite_ops.build_info()
    if build["cuda"] and not found:
        return [f"cuda: kernels are built for {build['cuda_architectures']}, but no GPU is visible"]
    if torch.version.cuda is not None and not build["cuda"]:
        remedy = "ELITE_CUDA=1 pip install -e . says what is missing"
        return [*found, f"cuda: torch has CUDA, but the kernels were built without: {remedy}"]
    return found


def _run(name: str, test: Callable[[torch.device], None], device: torch.device) -> Check:
    start = time.perf_counter()
    error = None
    try:
        test(device)
    except Exception as failure:  # whatever goes wrong is a finding, not a crash of the doctor
        error = str(failure).strip().splitlines()[0] if str(failure) else repr(failure)
    return Check(name, str(device), time.perf_counter() - start, error)
