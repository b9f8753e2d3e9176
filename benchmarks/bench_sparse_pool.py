"""Pooling over the kernel map of a scan, beside its definition and a copy of as many bytes."""

import pytest
import torch
from kernel_tables import copy_of, scan_tables
from submanifold import voxels_of_scans

import elite_ops
from elite_ops.reference import sparse_pool as reference

CHANNELS = 64
LIBRARIES = {"elite_ops": elite_ops, "reference": reference}

each_library = pytest.mark.parametrize("implementation", LIBRARIES)
each_pool = pytest.mark.parametrize("name", ["sparse_max_pool", "sparse_avg_pool"])
each_global = pytest.mark.parametrize("name", ["global_max_pool", "global_avg_pool"])


def inputs(device):
    tables = scan_tables(device)
    features = torch.randn(tables.voxels, CHANNELS, device=device)
    about = {"workload": tables.workload, "voxels": tables.voxels, "pairs": tables.pairs}
    return tables, features, about | {"channels": CHANNELS}


def bytes_of(name, features, tables):
    """Input, output and table once; where each maximum comes from."""
    rows = 3 if name == "sparse_max_pool" else 2
    return rows * features.nbytes + tables.kernel_map.in_rows.nbytes


@pytest.mark.benchmark(group="sparse_pool forward")
@each_pool
@pytest.mark.parametrize("implementation", [*LIBRARIES, "copy"])
def bench_forward(timed, device, implementation, name):
    tables, features, about = inputs(device)
    moved = bytes_of(name, features, tables)
    if implementation == "copy":
        to, source = copy_of(moved, device)
        timed(to.copy_, source, bytes_moved=moved, **about)
        return
    pool = getattr(LIBRARIES[implementation], name)
    timed(pool, features, tables.kernel_map, bytes_moved=moved, **about)


@pytest.mark.benchmark(group="sparse_pool backward")
@each_pool
@each_library
def bench_backward(timed, device, implementation, name):
    tables, features, about = inputs(device)
    moved = bytes_of(name, features, tables)
    pool = getattr(LIBRARIES[implementation], name)
    out = pool(features.requires_grad_(), tables.kernel_map)
    grad_out = torch.randn_like(out)
    timed(
        lambda: torch.autograd.grad(out, features, grad_out, retain_graph=True),
        bytes_moved=moved,
        **about,
    )


@pytest.mark.benchmark(group="global pool")
@each_global
@each_library
def bench_global(timed, device, implementation, name):
    workload, indices, _ = voxels_of_scans(device, 2)
    features = torch.randn(len(indices), CHANNELS, device=device)
    pool = getattr(LIBRARIES[implementation], name)
    about = {"workload": workload, "voxels": len(indices), "channels": CHANNELS}
    timed(pool, features, indices, 2, bytes_moved=features.nbytes, **about)
