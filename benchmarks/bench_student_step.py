"""A training step of the student: this library and the authors' formulation, time and memory.

Before it is timed, its loss and its gradients of the first and the last layer are compared with
ours in float32. Torch alone takes spconv's place where that is missing.
"""

from functools import lru_cache

import pytest
from alone import memory_alone
from cases import student_precisions
from peers import Missing, load
from peers.checked import excused
from precision import rms_error
from step_cost import peak_mb
from student_step import STEP_FORMS, TrainingStep

# Relative errors. Rounding moves activations across the kink at 0, and a whole slope with them.
LOSS = {"fp32": 1e-5, "bf16": 0.05}
GRADIENTS = {"fp32": 1e-2, "bf16": 0.5}
BATCH = {"cpu": 1, "cuda": 4}


@lru_cache(maxsize=1)
def truth(device):
    return TrainingStep("elite_ops", device, "fp32", BATCH[device.type]).loss_and_gradients()


def is_there(library):
    try:
        load(library)
    except Missing:
        return False
    return True


def found_right(step, precision):
    """What is stored beside the times; raises where loss or gradients are wrong."""
    wanted_loss, wanted = truth(step.device)
    loss, gradients = step.loss_and_gradients()
    off = abs(loss - wanted_loss) / wanted_loss
    error = max(rms_error(gradients[name], wanted[name].double()) for name in wanted)
    if not (off <= LOSS[precision] and error <= GRADIENTS[precision]):
        raise AssertionError(f"loss is off by {off:.1e}, gradients by {error:.1e}")
    return {"loss_error": off, "gradient_error": error}


@pytest.mark.benchmark(group="a training step of the student")
@pytest.mark.parametrize("contestant", STEP_FORMS)
@student_precisions("fp32", "bf16")
def bench_student_step(latency, device, precision, contestant):
    if contestant == "torch_rows" and is_there("spconv"):
        pytest.skip("not needed: spconv is there")
    with excused(contestant):
        step = TrainingStep(contestant, device, precision, BATCH[device.type])
        info = found_right(step, precision)
        if device.type == "cuda":
            step.optimizer.zero_grad()
            info["peak_mb"] = peak_mb(step, device)
        else:
            info.update(memory_alone("step", contestant))
        info.update(step.info, workload=step.workload, batch=BATCH[device.type])
        latency(step, **info)
