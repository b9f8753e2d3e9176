"""A scan from its file to labels, and the network alone: this library and the authors' formulation.

Every form has the same weights, and its logits are compared with those of `Student` before it is
timed. In float32 the memory of a process of its own is stored too; on a GPU, that of the device.
"""

from functools import lru_cache

import pytest
import torch
from alone import memory_alone
from cases import student_precisions
from peers.checked import excused
from precision import rms_error
from step_cost import peak_mb
from student_forms import FORMS, agreement, build_form, random_student
from workloads import scan

from elite.data import write_points

# Of the relative error of logits: it adds up over forty layers, and the authors' means are rounded.
LIMITS = {"fp16": 0.05, "bf16": 0.2}
LARGEST = 1e-3  # difference of a logit in float32
contestants = pytest.mark.parametrize("contestant", FORMS)
precisions = student_precisions("fp32", "fp16", "bf16")


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.bin"
    write_points(path, scan()[1].numpy())
    return path


def inputs(device):
    points = scan()[1].to(device)
    return points, torch.zeros(len(points), dtype=torch.int64, device=device)


@lru_cache(maxsize=1)
@torch.no_grad()
def truth(device):
    out = random_student(device)(*inputs(device), 1)
    return out.logits, out.valid


def skip_captured_on_cpu(contestant, device):
    if contestant == "elite_ops_captured" and device.type == "cpu":
        pytest.skip("not needed: the graph is CUDA's")


def found_right(form, precision):
    """What is stored beside the times; raises where the logits are wrong."""
    wanted, inside = truth(form.device)
    logits, valid = form.logits(*inputs(form.device))
    logits = logits.float()
    assert torch.equal(valid, inside)
    largest = float((logits - wanted).abs().max())
    error = rms_error(logits, wanted.double())
    if not (largest <= LARGEST if precision == "fp32" else error <= LIMITS[precision]):
        raise AssertionError(f"logits are off by {largest:.1e}, {error:.1e} of their size")
    return {
        "workload": scan()[0],
        "points": len(inside),
        "rms_error": error,
        "agreement": agreement(logits[inside], wanted[inside]),
        **form.info,
    }


def memory(contestant, device, precision, path):
    """On a GPU, of building the form and of a call: a graph has its buffers from the start."""
    if device.type == "cpu":
        return memory_alone("labels", contestant)

    def build_and_label():
        build_form(contestant, device, precision).label_file(path)

    return {"peak_mb": peak_mb(build_and_label, device)}


@pytest.mark.benchmark(group="a scan, from its file to labels")
@contestants
@precisions
def bench_file_to_labels(latency, device, precision, contestant, scan_file):
    skip_captured_on_cpu(contestant, device)
    with excused(contestant):
        form = build_form(contestant, device, precision)
        info = found_right(form, precision)
        info.update(memory(contestant, device, precision, scan_file))
        latency(lambda: form.label_file(scan_file), **info)


@pytest.mark.benchmark(group="a scan, from points on the device to labels")
@contestants
@precisions
def bench_points_to_labels(latency, device, precision, contestant):
    if device.type == "cpu":
        pytest.skip("not needed: on the CPU the points are where the file is read to")
    with excused(contestant):
        form = build_form(contestant, device, precision)
        info = found_right(form, precision)
        points, _ = inputs(device)
        latency(lambda: form.labels(points), **info)


@pytest.mark.benchmark(group="a scan, the network alone")
@contestants
@precisions
def bench_network(latency, device, precision, contestant):
    if contestant.endswith("rows"):
        pytest.skip("not needed: the voxels are given")
    if contestant == "elite_ops_captured":
        pytest.skip("not needed: one graph from points to labels")
    with excused(contestant):
        form = build_form(contestant, device, precision)
        latency(form.network(*inputs(device)), **found_right(form, precision))
