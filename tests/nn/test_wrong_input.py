"""What is likely to be passed by mistake is refused in one sentence, by what it is passed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elite_ops import SparseTensor, VoxelSet, cat, nn

INDICES = torch.tensor([[0, 1, 2, 3], [1, 3, 2, 1]], dtype=torch.int32)
FEATURES = torch.ones(2, 4)
LAYERS: list[Any] = [
    nn.SubmanifoldConv3d(4, 4),
    nn.SparseConv3d(4, 4, 3),
    nn.SparseConvTranspose3d(4, 4, 3),
    nn.SparseInverseConv3d(4, 4, 3),
    nn.SparseMaxPool3d(2),
    nn.SparseAvgPool3d(2),
    nn.GlobalMaxPool(),
    nn.GlobalAvgPool(),
    nn.SparseSequential(torch.nn.ReLU()),
    nn.OnFeatures(torch.nn.ReLU()),
    nn.fold(nn.SparseSequential(nn.SparseConv3d(4, 4, 3), torch.nn.ReLU()).eval())[0],
]


def voxel_set() -> VoxelSet:
    return VoxelSet(INDICES, (4, 4, 4), 2)


def sparse_tensor(channels: int = 4) -> SparseTensor:
    return SparseTensor(torch.ones(2, channels), voxel_set())


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_plain_tensors_are_refused(layer: Any) -> None:
    name = type(getattr(layer, "conv", layer)).__name__
    with pytest.raises(TypeError, match=rf"^{name}: `x` must be a SparseTensor, got Tensor$"):
        layer(FEATURES)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize(
    "make",
    [
        lambda groups: nn.SubmanifoldConv3d(8, 8, groups=groups),
        lambda groups: nn.SparseConv3d(8, 8, 3, padding=1, groups=groups),
        lambda groups: nn.SparseConvTranspose3d(8, 8, 3, groups=groups),
    ],
)
def test_other_numbers_of_channels_are_refused(make: Callable[[int], Any], groups: int) -> None:
    with pytest.raises(ValueError, match=r"^S.*Conv.*3d: `x` must have 8 channels, got 4$"):
        make(groups)(sparse_tensor())
    if "Submanifold" not in repr(make(groups)):
        with pytest.raises(ValueError, match=r"^S.*Conv.*3d: `x` must have 8 channels, got 4$"):
            make(groups)(sparse_tensor(), voxel_set())


WRONG: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (
        TypeError,
        "SparseTensor: `voxels` must be a VoxelSet, got Tensor",
        lambda: SparseTensor(FEATURES, INDICES),  # type: ignore[arg-type]
    ),
    (
        TypeError,
        "SparseTensor: `features` must be a Tensor, got list",
        lambda: SparseTensor(FEATURES.tolist(), voxel_set()),
    ),
    (
        ValueError,
        r"SparseTensor: `features` must be \[V, C\], got shape \(2,\)",
        lambda: SparseTensor(FEATURES[:, 0], voxel_set()),
    ),
    (
        TypeError,
        "VoxelSet: `indices` must be a Tensor, got ndarray",
        lambda: VoxelSet(INDICES.numpy(), (4, 4, 4), 2),  # type: ignore[arg-type]
    ),
    (
        TypeError,
        "VoxelSet: `output` must be a VoxelSet, got SparseTensor",
        lambda: nn.SparseConv3d(4, 4, 3)(sparse_tensor(), sparse_tensor()),
    ),
    (
        TypeError,
        "cat: `tensors` must hold SparseTensors, got Tensor",
        lambda: cat([sparse_tensor(), FEATURES]),  # type: ignore[list-item]
    ),
    (
        TypeError,
        "VoxelSet: `geometry` must be a KernelGeometry, got int",
        lambda: voxel_set().kernel_map(3),  # type: ignore[arg-type]
    ),
    (
        TypeError,
        "select: `mask` must be bool, got torch.int64",
        lambda: sparse_tensor().select(torch.tensor([0, 1])),
    ),
    (
        ValueError,
        r"select: `mask` must be \[2\], got \[3\]",
        lambda: sparse_tensor().select(torch.ones(3, dtype=torch.bool)),
    ),
]


@pytest.mark.parametrize(("error", "message", "call"), WRONG)
def test_wrong_objects_are_refused(
    error: type[Exception], message: str, call: Callable[[], Tensor]
) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        call()
