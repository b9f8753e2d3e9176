"""The layers against spconv's on the CPU, where it is installed: the same pairs, the same numbers.

spconv is right on one thread only, and its rows come in another order: they are compared by voxel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from layer_cases import KERNELS, Case, draw
from torch import Tensor
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet
from elite_ops.nn import SparseConv3d, SparseConvTranspose3d, SparseInverseConv3d, SubmanifoldConv3d
from elite_ops.nn.convolution import SparseConvolution

spconv: Any = pytest.importorskip("spconv.pytorch", exc_type=ImportError)
pytestmark = pytest.mark.cpu_kernels("spconv's CPU build is compared with the CPU's kernels")

SHAPE = (9, 8, 7)
BATCH_SIZE = 3  # the middle sample is empty
GEOMETRIES: list[tuple[Any, Any, Any, Any]] = [  # kernel, stride, padding, dilation
    (2, 2, 0, 1),
    (3, 2, 1, 1),
    (3, 1, 1, 1),
    ((3, 1, 1), (2, 1, 1), 0, 1),
    (3, (2, 2, 1), (0, 1, 1), 1),
    ((1, 3, 2), (3, 2, 1), (0, 2, 1), (1, 2, 3)),
    (5, 2, 0, 1),
    (3, 1, 2, 2),
]
CHANNELS = [(1, 3), (3, 5), (5, 18), (18, 33), (33, 64), (64, 1), (130, 4)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    from peers.spconv_on_cpu import repair

    repair()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sparse_tensor(channels: int) -> SparseTensor:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(BATCH_SIZE, *SHAPE, generator=generator) < 0.15
    occupied[1] = False
    indices = torch.nonzero(occupied).int().contiguous()  # spconv takes for granted that it is
    features = torch.randn(len(indices), channels, generator=generator)
    return SparseTensor(features.requires_grad_(), VoxelSet(indices, SHAPE, BATCH_SIZE))


def theirs(x: SparseTensor, features: Tensor) -> Any:
    return spconv.SparseConvTensor(features, x.indices, list(x.spatial_shape), x.batch_size)


def twin(layer: Any, ours: SparseConvolution) -> Any:
    """spconv's layer with the same weights, [out, *kernel_size, in]."""
    with torch.no_grad():
        layer.weight.copy_(ours.weight.movedim(-1, 0))
        layer.bias.copy_(ours.bias)
    return layer


def in_order(indices: Tensor) -> Tensor:
    """The rows by voxel."""
    return (indices.long() @ torch.tensor([2**30, 2**20, 2**10, 1])).argsort()


def assert_equal(
    out: SparseTensor, want: Any, ours: SparseConvolution, layer: Any, x: Tensor, theirs: Tensor
) -> None:
    """Voxels, values and all gradients; `x` and `theirs` are what went in, in the same order."""
    order = in_order(want.indices)
    assert torch.equal(out.indices, want.indices[order])
    assert_close(out.features, want.features[order], rtol=1e-4, atol=1e-4)
    grad_out = torch.randn(out.features.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(out.features, (x, ours.weight), grad_out, retain_graph=True)
    wanted = torch.autograd.grad(
        want.features[order], (theirs, layer.weight), grad_out, retain_graph=True
    )
    assert_close(got[0], wanted[0], rtol=1e-4, atol=1e-4)
    assert_close(got[1], wanted[1].movedim(0, -1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_strided_and_inverse(kernel: Any, stride: Any, padding: Any, dilation: Any) -> None:
    x = sparse_tensor(4)
    down, up = (
        SparseConv3d(4, 6, kernel, stride, padding, dilation),
        SparseInverseConv3d(6, 3, kernel),
    )
    their_down = twin(
        spconv.SparseConv3d(4, 6, kernel, stride, padding, dilation, indice_key="down"), down
    )
    their_up = twin(spconv.SparseInverseConv3d(6, 3, kernel, indice_key="down"), up)
    features = x.features.detach().clone().requires_grad_()
    coarse, their_coarse = down(x), their_down(theirs(x, features))
    assert_equal(coarse, their_coarse, down, their_down, x.features, features)
    assert_equal(up(coarse), their_up(their_coarse), up, their_up, x.features, features)


@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
def test_channels(c_in: int, c_out: int) -> None:
    x = sparse_tensor(c_in)
    features = x.features.detach().clone().requires_grad_()
    for ours, layer in (
        (SparseConv3d(c_in, c_out, 3, 2, 1), spconv.SparseConv3d(c_in, c_out, 3, 2, 1)),
        (SubmanifoldConv3d(c_in, c_out, 3), spconv.SubMConv3d(c_in, c_out, 3, padding=1)),
    ):
        twin(layer, ours)
        assert_equal(ours(x), layer(theirs(x, features)), ours, layer, x.features, features)


# Not 1x1x1, whose weight [out, 1, 1, 1, in] spconv takes for a matrix [in, out].
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), ((3, 1, 5), 1), (3, 2), (5, 1)])
def test_submanifold(kernel: Any, dilation: int) -> None:
    x = sparse_tensor(4)
    features = x.features.detach().clone().requires_grad_()
    ours = SubmanifoldConv3d(4, 6, kernel, dilation=dilation)
    layer = twin(spconv.SubMConv3d(4, 6, kernel, padding=0, dilation=dilation), ours)
    assert_equal(ours(x), layer(theirs(x, features)), ours, layer, x.features, features)


KERNELS_HERE = [kernel for kernel in KERNELS[3] if kernel != (1, 1, 1)]  # as above
ODD = [kernel for kernel in KERNELS_HERE if all(size % 2 for size in kernel)]
each_seed = pytest.mark.parametrize("seed", range(36))


def sampled(seed: int, kernels: list[Any], **options: Any) -> tuple[Case, SparseTensor]:
    """A case without groups, which spconv lacks, and voxels in order."""
    case = replace(draw(seed, grouped=False, kernels=kernels, **options), sorted=True)
    x = case.sparse_tensor()
    voxels = VoxelSet(x.indices.contiguous(), x.spatial_shape, x.batch_size)
    return case, SparseTensor(x.features.detach().float().requires_grad_(), voxels)


def check_sampled(
    ours: SparseConvolution, layer: Any, x: SparseTensor, their_x: Any
) -> tuple[SparseTensor, Any]:
    out, their_out = ours(x), twin(layer, ours)(their_x)
    assert_equal(out, their_out, ours, layer, x.features, their_x.features)
    return out, their_out


def theirs_of(x: SparseTensor) -> Any:
    return theirs(x, x.features.detach().clone().requires_grad_())


@each_seed
def test_sampled_strided_and_inverse(seed: int) -> None:
    case, x = sampled(seed, KERNELS_HERE)
    numbers = (case.kernel, case.stride, case.padding, case.dilation)
    start = theirs_of(x)
    coarse, their_coarse = check_sampled(
        SparseConv3d(case.c_in, 6, *numbers),
        spconv.SparseConv3d(case.c_in, 6, *numbers, indice_key="down"),
        x,
        start,
    )
    back = SparseInverseConv3d(6, case.c_out, case.kernel)
    their_back = spconv.SparseInverseConv3d(6, case.c_out, case.kernel, indice_key="down")
    out, want = back(coarse), twin(their_back, back)(their_coarse)
    assert_equal(out, want, back, their_back, x.features, start.features)


@each_seed
def test_sampled_submanifold(seed: int) -> None:
    case, x = sampled(seed, ODD)
    options = {"dilation": case.dilation}
    check_sampled(
        SubmanifoldConv3d(case.c_in, case.c_out, case.kernel, **options),
        spconv.SubMConv3d(case.c_in, case.c_out, case.kernel, **options),
        x,
        theirs_of(x),
    )


@each_seed
def test_sampled_transposed(seed: int) -> None:
    """Without dilation, which spconv leaves out of the output's size."""
    case, x = sampled(seed, KERNELS_HERE, transposed=True)
    padding = [min(p, (k - 1) // 2) for p, k in zip(case.padding, case.kernel, strict=True)]
    numbers = (case.c_in, case.c_out, case.kernel, case.stride, padding)
    check_sampled(
        SparseConvTranspose3d(*numbers),
        spconv.SparseConvTranspose3d(*numbers),
        x,
        theirs_of(x),
    )
