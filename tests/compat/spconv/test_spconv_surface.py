"""What code that uses spconv imports, calls and reads: names, and arguments in their order."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch
from spconv_scene import scene, tensor_of
from torch import nn

import elite_ops.compat.spconv.pytorch as spconv

CONV = (
    "in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, "
    "indice_key=None, algo=None, fp32_accum=None, "
)
SUBM = CONV + "large_kernel_fast_algo=False, name=None"
STRIDED = CONV + "record_voxel_count=False, large_kernel_fast_algo=False, name=None"
INVERSE = (
    "in_channels, out_channels, kernel_size, indice_key=None, bias=True, algo=None, "
    "fp32_accum=None, large_kernel_fast_algo=False, name=None"
)
POOL = (
    "kernel_size, stride=None, padding=0, dilation=1, indice_key=None, algo=None, "
    "record_voxel_count=False, name=None"
)
VOXELS = "vsize_xyz, coors_range_xyz, num_point_features, max_num_voxels, max_num_points_per_voxel"
ARGUMENTS = {  # those of spconv 2.3.8, or more lenient
    "pytorch.SparseConvTensor": "features, indices, spatial_shape, batch_size, grid=None, "
    "voxel_num=None, indice_dict=None, benchmark=False, permanent_thrust_allocator=False, "
    "enable_timer=False, force_algo=None",
    **{f"pytorch.SubMConv{axes}d": SUBM for axes in (1, 2, 3, 4)},
    **{f"pytorch.SparseConv{axes}d": STRIDED for axes in (1, 2, 3, 4)},
    **{f"pytorch.SparseConvTranspose{axes}d": STRIDED for axes in (1, 2, 3, 4)},
    **{f"pytorch.SparseInverseConv{axes}d": INVERSE for axes in (1, 2, 3, 4)},
    **{f"pytorch.SparseMaxPool{axes}d": POOL for axes in (1, 2, 3, 4)},
    **{f"pytorch.SparseAvgPool{axes}d": POOL for axes in (1, 2, 3)},
    "pytorch.SparseGlobalMaxPool": "name=None",
    "pytorch.SparseGlobalAvgPool": "name=None",
    "pytorch.SparseModule": "name=None",
    "pytorch.SparseSequential": "*args, **kwargs",
    "pytorch.ConcatTable": "*layers",
    "pytorch.SparseConvTensor.dense": "self, channels_first=True",
    "pytorch.SparseConvTensor.find_indice_pair": "self, key",
    "pytorch.SparseConvTensor.from_dense": "x",
    "pytorch.SparseConvTensor.minus": "self",
    "pytorch.SparseConvTensor.replace_feature": "self, feature",
    "pytorch.SparseConvTensor.select_by_index": "self, valid_indices",
    "pytorch.SparseConvTensor.shadow_copy": "self",
    "pytorch.utils.PointToVoxel": VOXELS + ", device='cpu'",
    "utils.Point2VoxelCPU1d": VOXELS,
    "utils.Point2VoxelCPU2d": VOXELS,
    "utils.Point2VoxelCPU3d": VOXELS,
}
NAMES = {
    "": "SPCONV_VERSION_NUMBERS __version__ constants install",
    "constants": "SPCONV_ALLOW_TF32 SPCONV_USE_DIRECT_TABLE",
    "core": "AlgoHint ConvAlgo",
    "pytorch": "AddTable ConvAlgo Identity JoinTable RemoveGrid SparseBatchNorm SparseIdentity "
    "SparseReLU ToDense functional ops utils",
    "pytorch.conv": "SparseConvolution",
    "pytorch.core": "IndiceData SparseConvTensor",
    "pytorch.functional": "indice_conv sparse_add",
    "pytorch.modules": "SparseModule is_spconv_module",
    "pytorch.ops": "ConvAlgo get_indice_pairs",
    "pytorch.pool": "SparseMaxPool",
    "pytorch.tables": "AddTableMisaligned",
    "utils": "VoxelGenerator VoxelGeneratorV2",
}


def find(path: str) -> Any:
    """What stands behind a name, in the module in which users look for it."""
    parts = path.split(".")
    place = next(n for n, part in enumerate(parts) if part[0].isupper())
    found = importlib.import_module(".".join(["elite_ops.compat.spconv", *parts[:place]]))
    for part in parts[place:]:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name: str) -> None:
    parameters = inspect.signature(find(name)).parameters.values()
    assert ", ".join(str(p.replace(annotation=p.empty)) for p in parameters) == ARGUMENTS[name]


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    path = ".".join(part for part in ("elite_ops.compat.spconv", module) if part)
    found = importlib.import_module(path)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_all_convolutions_are_sparse_modules() -> None:
    """Code overwrites what they inherit."""
    for name in ARGUMENTS:
        if "Conv" in name and "Tensor" not in name:
            assert issubclass(find(name), find("pytorch.conv.SparseConvolution"))
            assert issubclass(find(name), spconv.SparseModule)
    assert issubclass(spconv.SparseSequential, spconv.SparseModule)


def test_what_changes_nothing() -> None:
    """Results don't depend on it, to the bit."""
    features, indices = scene()
    torch.manual_seed(0)
    plain = spconv.SparseConv3d(4, 4, 3, 2, 1)
    options = {
        "algo": spconv.ConvAlgo.MaskSplitImplicitGemm,
        "fp32_accum": True,
        "large_kernel_fast_algo": True,
        "name": "layer",
    }
    other = spconv.SparseConv3d(4, 4, 3, 2, 1, **options)
    other.load_state_dict(plain.state_dict())
    x = tensor_of(spconv, features, indices)
    y = tensor_of(
        spconv,
        features,
        indices,
        benchmark=True,
        permanent_thrust_allocator=True,
        enable_timer=True,
        force_algo=spconv.ConvAlgo.Native,
    )
    assert torch.equal(other(y).features, plain(x).features)


def test_identity_in_a_chain() -> None:
    x = tensor_of(spconv, *scene())
    chain = spconv.SparseSequential(spconv.Identity(), spconv.SparseIdentity(), nn.Identity())
    assert torch.equal(chain(x).features, x.features)
    assert spconv.ToDense()(chain(x)).shape == x.dense().shape
