"""What the doctor says of CUDA."""

import pytest
import torch

import elite_ops
from elite.engine.doctor import examine


def devices(monkeypatch: pytest.MonkeyPatch, *, torch_cuda: str | None, kernels: bool) -> list[str]:
    info = {"cuda": kernels, "cuda_architectures": "8.0;9.0+PTX" if kernels else ""}
    monkeypatch.setattr(elite_ops, "build_info", lambda: info)
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("elite.engine.doctor.SELF_TESTS", {})
    found = examine().devices
    assert found[0].startswith("cpu, ")
    return found[1:]


def test_without_cuda_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices(monkeypatch, torch_cuda=None, kernels=False) == []


def test_kernels_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = devices(monkeypatch, torch_cuda="13.0", kernels=True)
    assert said == "cuda: kernels are built for 8.0;9.0+PTX, but no GPU is visible"


def test_a_torch_with_cuda_and_kernels_without(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = devices(monkeypatch, torch_cuda="13.0", kernels=False)
    assert "kernels were built without" in said
    assert "ELITE_CUDA=1 pip install" in said
