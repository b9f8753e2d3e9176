"""Strided and inverse convolutions on a real scan, and their kernel maps, beside spconv.

spconv's outputs come in another order: results are compared by their voxels, with float64, before
anything is timed.
"""

from __future__ import annotations

import importlib
from functools import lru_cache

import pytest
import torch
from peers.checked import excused
from peers.contestant import Missing
from peers.spconv_on_cpu import repair
from precision import rms_error
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import KernelGeometry, VoxelSet, sparse_conv, voxelize
from elite_ops.reference.kernel_map import connect_voxels
from elite_ops.reference.sparse_conv import sparse_conv as reference

GEOMETRIES = {
    "k3 s2": KernelGeometry.of(3, stride=2, padding=1),
    "k2 s2": KernelGeometry.of(2, stride=2),
}
CHANNELS = 64
LIMIT = 1e-5  # relative error of float32


class Ours:
    """This library."""

    def __init__(self, voxels: VoxelSet, geometry: KernelGeometry) -> None:
        self.voxels, self.geometry = voxels, geometry

    def build(self):
        """The output voxels and both tables, as training needs them."""
        fresh = VoxelSet(self.voxels.indices, self.voxels.spatial_shape, self.voxels.batch_size)
        outputs, kernel_map = fresh.kernel_map(self.geometry)
        kernel_map.out_rows  # noqa: B018 (made at the first use)
        return outputs.indices, kernel_map

    def weight(self, weight):
        return weight

    def convolve(self, features, weight, kernel_map):
        return sparse_conv(features, weight, kernel_map)

    def invert(self, features, weight, kernel_map):
        return sparse_conv(features, weight, kernel_map.swapped())


class Spconv:
    """spconv 2.3 on the CPU: right on one thread only."""

    def __init__(self, voxels: VoxelSet, geometry: KernelGeometry) -> None:
        if torch.get_num_threads() > 1:
            raise Missing("spconv: right on one CPU thread only (a data race)")
        try:
            self.ops = importlib.import_module("spconv.pytorch.ops")
            self.functional = importlib.import_module("spconv.pytorch.functional")
        except ImportError as error:
            raise Missing(f"spconv: {error}") from error
        repair()
        self.algorithm = importlib.import_module("spconv.core").ConvAlgo.Native
        self.voxels, self.geometry = voxels, geometry

    def build(self):
        g, voxels = self.geometry, self.voxels
        kernel = (list(g.kernel_size), list(g.stride), list(g.padding), list(g.dilation), [0] * 3)
        indices, pairs, counts = self.ops.get_indice_pairs(
            voxels.indices, voxels.batch_size, list(voxels.spatial_shape), self.algorithm, *kernel
        )
        return indices, (pairs, counts, len(indices))

    def weight(self, weight):  # [C_out, *kernel_size, C_in]
        return weight.permute(2, 0, 1).unflatten(1, self.geometry.kernel_size).contiguous()

    def convolve(self, features, weight, kernel_map):
        return self.functional.indice_conv(features, weight, *kernel_map, self.algorithm)

    def invert(self, features, weight, kernel_map):
        pairs, counts, _ = kernel_map
        return self.functional.indice_inverse_conv(
            features, weight, pairs, counts, len(self.voxels), self.algorithm
        )


CONTESTANTS = {"elite_ops": Ours, "spconv": Spconv}
contestants = pytest.mark.parametrize("contestant", CONTESTANTS)
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)
directions = pytest.mark.parametrize("direction", ["strided", "inverse"])


@lru_cache(maxsize=1)
def scan_voxels(device: torch.device) -> tuple[str, VoxelSet]:
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device), point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE
    )
    return name, voxels


def random(*shape: int, seed: int, device: torch.device) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def on_cpu_for_spconv(contestant: str, device: torch.device) -> None:
    if contestant == "spconv" and device.type == "cuda":
        pytest.skip("not needed: of the CPU; on CUDA the submanifold benchmarks have spconv")


def rows_by_voxel(indices: torch.Tensor) -> torch.Tensor:
    key = indices.long() @ torch.tensor([2**48, 2**32, 2**16, 1], device=indices.device)
    return key.argsort()


@pytest.mark.benchmark(group="strided kernel map")
@contestants
@geometries
def bench_map(timed, device, geometry, contestant):
    on_cpu_for_spconv(contestant, device)
    name, voxels = scan_voxels(device)
    with excused(contestant):
        library = CONTESTANTS[contestant](voxels, GEOMETRIES[geometry])
        found, _ = library.build()
        want, kernel_map = voxels.kernel_map(GEOMETRIES[geometry])
        if not torch.equal(found[rows_by_voxel(found)], want.indices):
            raise AssertionError("other output voxels")
        moved = voxels.indices.nbytes + want.indices.nbytes + kernel_map.in_rows.nbytes
        timed(library.build, bytes_moved=moved, workload=name, voxels=len(voxels))


def convolution(device, geometry, direction, contestant):
    """A call `run(features, weight)`, its inputs, and what float64 makes of them."""
    name, voxels = scan_voxels(device)
    shape = GEOMETRIES[geometry]
    library = CONTESTANTS[contestant](voxels, shape)
    found, kernel_map = library.build()
    order = rows_by_voxel(found)  # the library's rows in the order of ours
    outputs, _ = voxels.kernel_map(shape)
    truth = connect_voxels(
        voxels.indices,
        voxels.spatial_shape,
        outputs.indices,
        outputs.spatial_shape,
        batch_size=1,
        geometry=shape,
    )
    pairs = int((truth.in_rows >= 0).sum())
    inverse = direction == "inverse"
    rows = len(outputs) if inverse else len(voxels)
    features = random(rows, CHANNELS, seed=0, device=device)
    weight = random(shape.num_offsets, CHANNELS, CHANNELS, seed=1, device=device)
    weight /= (CHANNELS * pairs / len(voxels)) ** 0.5
    want = reference(features.double(), weight.double(), truth.swapped() if inverse else truth)
    if inverse:
        own = torch.empty_like(features)
        own[order] = features
        features = own
        call = library.invert
    else:
        call = library.convolve

    def run(features, weight):
        return call(features, weight, kernel_map)

    inputs = features, library.weight(weight)
    got = run(*inputs)
    error = rms_error(got if inverse else got[order], want)
    if not error <= LIMIT:
        raise AssertionError(f"relative error {error:.1e} where {LIMIT:.0e} is allowed")
    flop = 2 * pairs * CHANNELS * CHANNELS
    info = {"workload": name, "voxels": len(voxels), "pairs": pairs, "rms_error": error}
    return run, inputs, {"flop": flop, **info}


@pytest.mark.benchmark(group="strided convolution forward, map given")
@contestants
@directions
@geometries
def bench_forward(timed, device, geometry, direction, contestant):
    on_cpu_for_spconv(contestant, device)
    with excused(contestant), torch.no_grad():
        run, inputs, info = convolution(device, geometry, direction, contestant)
        timed(run, *inputs, **info)


@pytest.mark.benchmark(group="strided convolution forward and backward, map given")
@contestants
@directions
@geometries
def bench_forward_and_backward(timed, device, geometry, direction, contestant):
    on_cpu_for_spconv(contestant, device)
    with excused(contestant):
        run, inputs, info = convolution(device, geometry, direction, contestant)
        inputs = [t.requires_grad_() for t in inputs]
        grad_out = torch.ones_like(run(*inputs))

        def both():
            return torch.autograd.grad(run(*inputs), inputs, grad_out)

        timed(both, **info | {"flop": 3 * info["flop"]})
