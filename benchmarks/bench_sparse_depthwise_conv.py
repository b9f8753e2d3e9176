"""Depthwise convolution on a scan, beside its definition and a copy of as many bytes."""

import pytest
import torch
from kernel_tables import copy_of, scan_tables

from elite_ops import sparse_depthwise_conv
from elite_ops.reference.sparse_depthwise_conv import sparse_depthwise_conv as reference

CHANNELS = 64
IMPLEMENTATIONS = {"elite_ops": sparse_depthwise_conv, "reference": reference}


def inputs(device):
    tables = scan_tables(device)
    features = torch.randn(tables.voxels, CHANNELS, device=device)
    weight = torch.randn(27, CHANNELS, device=device)
    return tables, features, weight


def info(tables):
    flop = 2 * tables.pairs * CHANNELS
    about = {"workload": tables.workload, "voxels": tables.voxels, "pairs": tables.pairs}
    return flop, about | {"channels": CHANNELS}


@pytest.mark.benchmark(group="sparse_depthwise_conv forward")
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, "copy"])
def bench_forward(timed, device, implementation):
    tables, features, weight = inputs(device)
    flop, about = info(tables)
    moved = 2 * features.nbytes + tables.kernel_map.in_rows.nbytes
    if implementation == "copy":
        to, source = copy_of(moved, device)
        timed(to.copy_, source, bytes_moved=moved, **about)
        return
    convolve = IMPLEMENTATIONS[implementation]
    timed(convolve, features, weight, tables.kernel_map, bytes_moved=moved, flop=flop, **about)


@pytest.mark.benchmark(group="sparse_depthwise_conv backward")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_backward(timed, device, implementation):
    tables, features, weight = inputs(device)
    flop, about = info(tables)
    wanted = features.requires_grad_(), weight.requires_grad_()
    out = IMPLEMENTATIONS[implementation](*wanted, tables.kernel_map)
    grad_out = torch.randn_like(out)
    timed(
        lambda: torch.autograd.grad(out, wanted, grad_out, retain_graph=True),
        bytes_moved=4 * features.nbytes + 2 * tables.kernel_map.in_rows.nbytes,
        flop=2 * flop,
        **about,
    )
