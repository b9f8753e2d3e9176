"""What is measured where: a grid on a GPU, a few sizes on a CPU, each chosen by its name."""

import pytest
import torch
from cases import convolutions, on_devices, student_precisions


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_a_gpu_measures_every_width_batch_and_precision(gpu: None) -> None:
    mark = convolutions()
    on_gpu = {case[1:] for case in mark.args[1] if case[0] == "cuda"}
    assert {case[0] for case in on_gpu} == {16, 32, 64, 128, 256}
    assert {case[1] for case in on_gpu} == {1, 4}
    assert {case[2] for case in on_gpu} == {"fp32", "tf32", "fp16", "bf16"}
    assert len(on_gpu) == 5 * 2 * 4
    assert len(set(mark.kwargs["ids"])) == len(mark.args[1])
    assert "cuda-c64-b4-fp16" in mark.kwargs["ids"]


def test_a_cpu_measures_every_width_in_float32() -> None:
    on_cpu = [case for case in convolutions().args[1] if case[0] == "cpu"]
    assert {case[1] for case in on_cpu} == {16, 32, 64, 128, 256}
    assert len(on_cpu) < 8
    assert {case[3] for case in on_cpu} == {"fp32"}


def test_the_student_is_measured_in_the_precisions_of_a_gpu(gpu: None) -> None:
    mark = student_precisions("fp16", "bf16")
    assert mark.args[1] == [("cpu", "fp32"), ("cuda", "fp16"), ("cuda", "bf16")]
    assert mark.kwargs["ids"] == ["cpu-fp32", "cuda-fp16", "cuda-bf16"]


def test_values_are_taken_on_each_device(gpu: None) -> None:
    mark = on_devices(("scale", "batch"), [(1, 4), (2, 4)])
    assert mark.args[0] == ("device", "scale", "batch")
    assert mark.args[1] == [("cpu", 1, 4), ("cpu", 2, 4), ("cuda", 1, 4), ("cuda", 2, 4)]
    assert mark.kwargs["ids"] == ["cpu-s1-b4", "cpu-s2-b4", "cuda-s1-b4", "cuda-s2-b4"]
