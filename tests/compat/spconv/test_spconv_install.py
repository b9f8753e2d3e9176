"""`install()`, each time in a process of its own, where spconv may be installed or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from elite_ops.compat.spconv.pytorch import SubMConv3d

ROOT = Path(__file__).parents[3]


def run(script: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_spconv_is_found_under_all_its_names() -> None:
    out = run("""
import sys
import elite_ops.compat.spconv
elite_ops.compat.spconv.install()

import spconv
import spconv.pytorch as sp
import spconv.pytorch.conv, spconv.pytorch.core, spconv.pytorch.modules, spconv.pytorch.utils
import spconv.pytorch.functional as Fsp
import spconv.core, spconv.constants, spconv.utils
from spconv.core import ConvAlgo
from spconv.pytorch import ops, pool, tables
from spconv.pytorch.modules import SparseModule, is_spconv_module
from spconv.pytorch.utils import PointToVoxel
from spconv.pytorch import (SparseConv2d, SparseConv3d, SparseConv4d, SparseConvTranspose2d,
    SparseConvTranspose3d, SparseInverseConv2d, SparseInverseConv3d, SubMConv2d, SubMConv3d,
    SubMConv4d)
from spconv.utils import Point2VoxelCPU3d, VoxelGeneratorV2

assert float(spconv.__version__[2:]) >= 2.2 and spconv.__version__ >= "2.0.0"
assert spconv.SPCONV_VERSION_NUMBERS == [2, 3, 8]
spconv.constants.SPCONV_USE_DIRECT_TABLE = False
spconv.constants.SPCONV_ALLOW_TF32 = True
import elite_ops.compat.spconv.pytorch as direct
assert sp is direct and sp.conv is spconv.pytorch.conv and sp.SubMConv3d is direct.SubMConv3d
assert sp.SubMConv3d.__module__ == "elite_ops.compat.spconv.pytorch.conv"
assert not spconv.constants.LEGACY_INDICE_REUSE
elite_ops.compat.spconv.install(legacy_indice_reuse=True)
assert spconv.constants.LEGACY_INDICE_REUSE

import importlib.util
assert importlib.util.find_spec("spconv.pytorch") is not None
assert importlib.util.find_spec("cumm") is not None
import cumm.tensorview as tv
try:
    import spconv.pytorch.quantization
except ModuleNotFoundError as error:
    assert "quantization" in str(error)
    print(sum(name.startswith("spconv") for name in sys.modules) > 15)
""")
    assert out.split() == ["True"]


def test_code_of_1_x_finds_its_names() -> None:
    """It has all but the voxel generators in the package itself, or in modules next to it."""
    out = run("""
import elite_ops.compat.spconv as face
layer = face.SubMConv3d  # without install, too
face.install()
import spconv
from spconv import ops, SparseConv3d, SubMConv3d
from spconv.modules import SparseModule
import spconv.functional, spconv.pytorch, spconv.pytorch.utils, spconv.utils
assert layer is SubMConv3d is spconv.pytorch.SubMConv3d
assert spconv.SparseConvTensor is spconv.pytorch.SparseConvTensor
assert spconv.modules is spconv.pytorch.modules and ops is spconv.pytorch.ops
assert SparseModule is spconv.SparseModule and spconv.utils is not spconv.pytorch.utils
for name in ("nothing", "_nothing", "in_layout_of_2"):
    assert not hasattr(spconv, name)
try:
    spconv.nothing
except AttributeError as error:
    print(error)
""")
    assert out == "module 'elite_ops.compat.spconv' has no attribute 'nothing'\n"


def test_the_usual_wrapper_of_voxel_generators() -> None:
    """It asks for 1.x first, which needs no cumm; where it doesn't, arrays go through cumm."""
    out = run("""
import elite_ops.compat.spconv as face
face.install()
import numpy as np
from spconv.utils import VoxelGeneratorV2, Point2VoxelCPU3d
import cumm.tensorview as tv
points = np.random.default_rng(0).random((100, 4)).astype(np.float32)
first = VoxelGeneratorV2(voxel_size=[.5] * 3, point_cloud_range=[0, 0, 0, 1, 1, 1],
                         max_num_points=5, max_voxels=100).generate(points)
second = Point2VoxelCPU3d(vsize_xyz=[.5] * 3, coors_range_xyz=[0, 0, 0, 1, 1, 1],
                          num_point_features=4, max_num_points_per_voxel=5, max_num_voxels=100)
voxels, coordinates, number = second.point_to_voxel(tv.from_numpy(points))
print((voxels.numpy() == first["voxels"]).all(), len(coordinates))
""")
    assert out.split() == ["True", "8"]


def test_a_model_that_was_saved_whole(tmp_path: Path) -> None:
    """It needs neither spconv nor `install()`."""
    torch.save(SubMConv3d(4, 4, 3), tmp_path / "model.pt")
    out = run(f"""
import sys
import torch
print(type(torch.load("{tmp_path}/model.pt", weights_only=False)).__name__)
print([name for name in sys.modules if name.split(".")[0] in ("spconv", "cumm", "pccm")])
""")
    assert out.split() == ["SubMConv3d", "[]"]
