"""All that is no convolution, against loops over rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from dictionaries import floored, offset_from, random_cells, reached
from torch import nn
from torch.testing import assert_close

from elite_ops.compat import torchsparse
from elite_ops.compat.torchsparse import SparseTensor
from elite_ops.compat.torchsparse import nn as spnn
from elite_ops.compat.torchsparse.nn import functional as F
from elite_ops.compat.torchsparse.nn.utils import fapply
from elite_ops.compat.torchsparse.utils.quantize import sparse_quantize
from elite_ops.compat.torchsparse.versions import convention

each_version = pytest.mark.parametrize("release", ["2.1", "1.4"])


@pytest.fixture(autouse=True)
def the_default_again() -> Iterator[None]:
    yield
    torchsparse.use_version("2.1")


def some_tensor(device: torch.device, count: int = 40, channels: int = 6) -> SparseTensor:
    coords = torch.tensor(random_cells(count), dtype=torch.int32, device=device)
    feats = torch.randn(count, channels, dtype=torch.float64, device=device)
    return SparseTensor(feats, convention().back(coords, (1, 1, 1)))


# ---- hashes and queries --------------------------------------------------------------------------


def fnv(numbers: list[int]) -> int:
    """64 bits of FNV-1a over 32-bit words, folded to 60."""
    value = 14695981039346656037
    for number in numbers:
        value = ((value ^ (number % 2**32)) * 1099511628211) % 2**64
    return (value >> 60) ^ (value % 2**60)


def test_hashes_are_torchsparses(device: torch.device) -> None:
    coords = torch.randint(-50, 50, (20, 4), dtype=torch.int32)
    offsets = torch.randint(-3, 3, (5, 3), dtype=torch.int32)
    assert F.sphash(coords.to(device)).tolist() == [fnv(row) for row in coords.tolist()]
    want = [
        [
            fnv([*(a + b for a, b in zip(row, move, strict=False)), row[3]])
            for row in coords.tolist()
        ]
        for move in offsets.tolist()
    ]
    assert F.sphash(coords.to(device), offsets.to(device)).tolist() == want


def test_hashes_reject() -> None:
    with pytest.raises(TypeError, match=r"sphash: `coords` must be int32, got torch.int64"):
        F.sphash(torch.zeros(3, 4).long())
    with pytest.raises(ValueError, match=r"sphash: `coords` must be \[N, 4\], got \(3, 3\)"):
        F.sphash(torch.zeros(3, 3).int())
    with pytest.raises(ValueError, match=r"sphash: `offsets` must be \[N, 3\], got \(3, 4\)"):
        F.sphash(torch.zeros(3, 4).int(), torch.zeros(3, 4).int())


def test_queries_find_the_first(device: torch.device) -> None:
    references = torch.tensor([7, -3, 7, 2**62], device=device)
    queries = torch.tensor([[7, 8], [2**62, -3]], device=device)
    assert F.sphashquery(queries, references).tolist() == [[0, -1], [3, 1]]
    assert F.sphashquery(queries, references[:0]).tolist() == [[-1, -1]] * 2
    assert F.sphashquery(queries[:0], references).shape == (0, 2)


def test_the_hash_table(device: torch.device) -> None:
    table = torchsparse.backend.GPUHashTable(16)
    with pytest.raises(ValueError, match="GPUHashTable: nothing was inserted"):
        table.lookup_vals(torch.zeros(1).long())
    table.insert_vals(torch.tensor([5, 9], device=device))
    found = table.lookup_vals(torch.tensor([9, 4, 5], device=device))
    assert found.dtype == torch.int32
    assert found.shape == (128,)
    assert found[:3].tolist() == [2, 0, 1]

    cells = random_cells(60)
    rows = {cell: i + 1 for i, cell in enumerate(cells)}
    coords = torch.tensor(cells, dtype=torch.int32, device=device)[:, [1, 2, 3, 0]]
    table.insert_coords(coords)
    for size, order in [((3, 3, 3), (2, 1, 0)), ((2, 2, 2), (0, 1, 2))]:
        sizes = torch.tensor(size, dtype=torch.int32, device=device)
        found = table.lookup_coords(coords, sizes, torch.ones_like(sizes), math.prod(size))
        assert found.shape == (128, math.prod(size))
        begin = (size[0] - 1) // 2
        want = []
        for b, *place in cells:
            met = []
            for numbers in itertools.product(*map(range, size)):
                offset = [numbers[order.index(a)] - begin for a in range(3)]
                met.append(rows.get((b, *(p + o for p, o in zip(place, offset, strict=True))), 0))
            want.append(met)
        assert found[:60].tolist() == want


# ---- points and voxels ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_voxelize(dtype: torch.dtype, device: torch.device) -> None:
    feats, rows = torch.randn(30, 3).to(dtype), torch.randint(-1, 6, (30,))
    counts = F.spcount(rows.int().to(device), 7)
    assert counts.dtype == torch.int32
    assert counts.tolist() == [int((rows == r).sum()) for r in range(7)]
    want = torch.zeros(7, 3, dtype=torch.float64)
    for row, feat in zip(rows.tolist(), feats.double(), strict=True):
        if row >= 0:
            want[row] += feat / int(counts[row])
    out = F.spvoxelize(feats.to(device), rows.to(device), counts)
    assert out.dtype == dtype
    assert_close(out.cpu(), want.to(dtype))


def test_voxelize_has_gradients(device: torch.device) -> None:
    feats = torch.randn(12, 2, dtype=torch.float64, device=device, requires_grad=True)
    rows = torch.randint(-1, 4, (12,), device=device)
    counts = F.spcount(rows, 5)
    assert torch.autograd.gradcheck(lambda x: F.spvoxelize(x, rows, counts), feats)
    assert torch.autograd.gradgradcheck(lambda x: F.spvoxelize(x, rows, counts), feats)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_devoxelize(dtype: torch.dtype, device: torch.device) -> None:
    feats, rows = torch.randn(9, 3).to(dtype), torch.randint(-1, 9, (20, 8))
    weights = torch.rand(20, 8)
    padded = torch.cat([feats.double(), torch.zeros(1, 3, dtype=torch.float64)])
    want = (padded[rows] * weights.double()[:, :, None]).sum(1)
    out = F.spdevoxelize(feats.to(device), rows.to(device), weights.to(device))
    assert out.dtype == dtype
    assert_close(out.cpu(), want.to(dtype))
    nothing = F.spdevoxelize(feats[:0].to(device), rows[:0].to(device), weights[:0].to(device))
    assert nothing.shape == (0, 3)


@pytest.mark.cpu_kernels  # on CUDA, check_device_errors says it later
@pytest.mark.parametrize("wants_gradient", [False, True])
def test_devoxelize_refuses_rows_out_of_range(wants_gradient: bool) -> None:
    feats = torch.ones(5, 3, requires_grad=wants_gradient)
    with pytest.raises(IndexError, match=r"must be in \[-1, 5\), got 7"):
        F.spdevoxelize(feats, torch.tensor([[0, 7]]), torch.ones(1, 2))


def test_devoxelize_has_gradients(device: torch.device) -> None:
    feats = torch.randn(6, 2, dtype=torch.float64, device=device, requires_grad=True)
    rows = torch.randint(-1, 6, (7, 8), device=device)
    weights = torch.rand(7, 8, device=device)
    assert torch.autograd.gradcheck(lambda x: F.spdevoxelize(x, rows, weights), feats)


def test_points_at_a_corner_take_its_voxel_alone(device: torch.device) -> None:
    """Also where 1 / scale is rounded down, so that CUDA's product with it would be below."""
    points = 61.0 * torch.arange(30, device=device)[:, None].expand(30, 3)
    weights = F.calc_ti_weights(points, torch.zeros(30, 8, device=device).int(), 61)
    assert_close(weights, torch.eye(8, device=device)[:1].expand(30, 8))


@each_version
@pytest.mark.parametrize("scale", [1, 4])
def test_weights_of_corners(release: str, scale: int, device: torch.device) -> None:
    with torchsparse.using_version(release):
        points, rows = 10 * torch.randn(20, 4), torch.randint(-1, 3, (20, 8))
        turn = (lambda t: t) if release == "2.1" else (lambda t: t.T)
        out = F.calc_ti_weights(points.to(device), turn(rows).to(device), scale)
    assert out.shape == turn(rows).shape
    for point, row, got in zip(points.double(), rows, turn(out.cpu()), strict=True):
        inside = [(p / scale) % 1 for p in point[:3].tolist()]
        want = []
        for corner in itertools.product((0, 1), repeat=3):
            parts = [i if c else 1 - i for i, c in zip(inside, corner, strict=True)]
            want.append(math.prod(parts))
        want = [w if r >= 0 else 0.0 for w, r in zip(want, row.tolist(), strict=True)]
        total = sum(want) + 1e-8
        assert_close(
            got.double(), torch.tensor([w / total for w in want]).double(), atol=1e-4, rtol=1e-3
        )


@each_version
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (4, 2), (3, 1)])
def test_downsample(release: str, size: int, stride: int, device: torch.device) -> None:
    cells = random_cells(60)
    sizes, strides, zeros = (size,) * 3, (stride,) * 3, (0, 0, 0)
    with torchsparse.using_version(release):
        tensor_stride = 1 if release == "2.1" else 2
        coords = torch.tensor(cells, dtype=torch.int32, device=device)
        coords = convention().back(coords, (tensor_stride,) * 3)
        fourth = [] if release == "2.1" else [tensor_stride]
        found = F.spdownsample(coords, stride, size, *fourth)
        back = convention().first(found)
    if stride == 1:
        assert found is coords
        return
    want = (
        reached(cells, sizes, strides, zeros)
        if release == "2.1"
        else offset_from(cells, sizes, strides)
    )
    if size == stride:
        want = floored(cells, strides)
    scale = torch.tensor([1, *(tensor_stride * s if release == "1.4" else 1 for s in strides)])
    assert [tuple(row) for row in (back.cpu() // scale).tolist()] == want
    with torchsparse.using_version("2.1"):
        found = F.spdownsample(torch.tensor(cells).int(), stride, size, downsample_mode="minkowski")
        assert [tuple(row) for row in found.tolist()] == floored(cells, strides)


# ---- layers that change features -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:input's size at dim=0")
def test_activations_and_norms(device: torch.device) -> None:
    x = some_tensor(device)
    for layer, plain in [
        (spnn.ReLU(), nn.ReLU()),
        (spnn.LeakyReLU(0.1), nn.LeakyReLU(0.1)),
        (spnn.SiLU(), nn.SiLU()),
        (spnn.BatchNorm(6), nn.BatchNorm1d(6)),
        (spnn.InstanceNorm(6), nn.InstanceNorm1d(6)),
    ]:
        out = layer.double().to(device)(x)
        assert out._caches is x._caches
        assert out.coords is x.coords
        assert torch.equal(out.F, plain.double().to(device)(x.F))
        assert [*layer.state_dict()] == [*plain.state_dict()]
    assert torch.equal(F.relu(x, inplace=False).F, x.F.relu())
    assert torch.equal(F.silu(x, inplace=False).F, nn.functional.silu(x.F))
    assert torch.equal(F.leaky_relu(x, inplace=False).F, nn.functional.leaky_relu(x.F, 0.1))
    assert torch.equal(fapply(x, torch.mul, 3).F, 3 * x.F)
    spnn.ReLU(True)(x)
    assert x.F.min() == 0


@each_version
def test_group_norm_and_pooling_by_sample(release: str, device: torch.device) -> None:
    with torchsparse.using_version(release):
        x = some_tensor(device)
        norm, plain = (
            spnn.GroupNorm(2, 6).double().to(device),
            nn.GroupNorm(2, 6).double().to(device),
        )
        nn.init.normal_(norm.weight)
        plain.load_state_dict(norm.state_dict())
        out = norm(x).F
        means, maxima = spnn.GlobalAvgPool()(x), spnn.GlobalMaxPool()(x)
        assert torch.equal(means, F.global_avg_pool(x))
        assert torch.equal(maxima, F.global_max_pool(x))
        batch = x.coords[:, convention().batch_column]
        assert spnn.GroupNorm(2, 6, affine=False).to(device)(x).F.shape == out.shape
    for sample in range(2):
        mine = batch == sample
        assert_close(out[mine], plain(x.F[mine].T[None])[0].T)
        assert_close(means[sample], x.F[mine].mean(0))
        assert torch.equal(maxima[sample], x.F[mine].amax(0))


@each_version
def test_crop(release: str, device: torch.device) -> None:
    with torchsparse.using_version(release):
        x = some_tensor(device)
        out = spnn.SparseCrop((1, 0, 2), (6, 5, 7))(x)
        cells = x.coords[:, convention().cell_columns].tolist()
        assert torch.equal(F.spcrop(x).F, x.F)
    inside = [1 <= c[0] < 6 and 0 <= c[1] < 5 and 2 <= c[2] < 7 for c in cells]
    assert torch.equal(out.F, x.F[torch.tensor(inside, device=device)])
    assert torch.equal(out.C, x.C[torch.tensor(inside, device=device)])


# ---- utilities -----------------------------------------------------------------------------------


def test_quantize() -> None:
    points = np.random.default_rng(0).normal(size=(200, 3)) * 3
    cells, index, inverse = sparse_quantize(points, 0.5, return_index=True, return_inverse=True)
    want, first, back = np.unique(
        np.floor(points / 0.5).astype(int), axis=0, return_index=True, return_inverse=True
    )
    assert cells.dtype == np.int32
    assert (cells == want).all()
    assert (index == first).all()
    assert (inverse == back.reshape(-1)).all()
    assert (sparse_quantize(points, (0.5, 0.5, 0.5)) == want).all()
    assert len(sparse_quantize(points, 0.5, return_inverse=True)) == 2
    assert sparse_quantize(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(ValueError, match="sparse_quantize: `voxel_size` must be"):
        sparse_quantize(points, (1, 2))
