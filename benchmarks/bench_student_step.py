"""A training step of the student: this library and the authors' formulation, time and memory.

Before it is timed, the gradients of the first and the last layer are compared with ours in float32.
"""

from functools import lru_cache

import pytest
import torch
from alone import memory_alone
from cases import student_precisions
from peers.checked import excused
from precision import rms_error
from step_cost import peak_mb
from student_step import STEP_FORMS, TrainingStep

LIMITS = {"fp32": 1e-3, "bf16": 0.5}  # of the gradients
BATCH = {"cpu": 1, "cuda": 4}


@lru_cache(maxsize=1)
def truth(device):
    return TrainingStep("elite_ops", device, "fp32", BATCH[device.type]).gradients()


def found_right(contestant, device, precision):
    gradients = TrainingStep(contestant, device, precision, BATCH[device.type]).gradients()
    wanted = truth(device)
    error = max(rms_error(gradients[name], wanted[name].double()) for name in wanted)
    if not error <= LIMITS[precision]:
        raise AssertionError(f"gradients are off by {error:.1e}")
    return {"gradient_error": error}


@pytest.mark.benchmark(group="a training step of the student")
@pytest.mark.parametrize("contestant", STEP_FORMS)
@student_precisions("fp32", "bf16")
def bench_student_step(latency, device, precision, contestant):
    with excused(contestant):
        info = found_right(contestant, device, precision)
        step = TrainingStep(contestant, device, precision, BATCH[device.type])
        if device.type == "cuda":
            info["peak_mb"] = peak_mb(step, device)
            torch.cuda.empty_cache()
        else:
            info.update(memory_alone("step", contestant))
        info.update(step.info, workload=step.workload, batch=BATCH[device.type])
        latency(step, **info)
