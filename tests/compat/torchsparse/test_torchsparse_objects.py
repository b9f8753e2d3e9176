"""Tensors, their caches, batches of them, names, and installation."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from elite_ops.compat import torchsparse
from elite_ops.compat.torchsparse import PointTensor, SparseTensor, backends
from elite_ops.compat.torchsparse import nn as spnn
from elite_ops.compat.torchsparse.nn import functional as F
from elite_ops.compat.torchsparse.utils import (
    collate,
    make_divisible,
    make_ntuple,
    make_tensor,
    tensor_cache,
    to_dense,
    tune,
)
from elite_ops.compat.torchsparse.versions import convention

COORDS = torch.tensor([[0, 1, 2, 3], [1, 0, 0, 1]], dtype=torch.int32)


@pytest.fixture(autouse=True)
def the_default_again() -> Iterator[None]:
    yield
    torchsparse.use_version("2.1")
    tensor_cache.set_tensor_cache_mode(tensor_cache.TensorCacheMode.SEPARATE_TENSOR_CACHE)
    tensor_cache.clear_global_tensor_cache()
    F.conv_config.clear_global_conv_config()


def test_a_sparse_tensor() -> None:
    x = SparseTensor(torch.ones(2, 3), COORDS, stride=2)
    assert x.F is x.feats
    assert x.C is x.coords is COORDS
    assert x.s == x.stride == (2, 2, 2)
    assert x.spatial_range is None
    x.F, x.C, x.s = 2 * x.F, x.C + 1, [1, 2, 3]
    assert x.feats.tolist() == [[2] * 3] * 2
    assert x.coords[0].tolist() == [1, 2, 3, 4]
    assert x.stride == (1, 2, 3)
    x.F.requires_grad_()
    assert x.half() is x
    assert x.feats.dtype == torch.float16
    assert not x.detach().feats.requires_grad
    assert x.to("meta") is x
    assert x.feats.is_meta
    assert x.coords.is_meta
    assert SparseTensor(torch.ones(2, 3), COORDS).cpu().feats.is_cpu
    with pytest.raises(ValueError, match="make_ntuple: `x` must be one number or 3"):
        SparseTensor(torch.ones(2, 3), COORDS, (1, 2))
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)):
            SparseTensor(torch.ones(2, 3), COORDS).cuda()


def test_dense() -> None:
    x = SparseTensor(torch.tensor([[1.0, 2], [3, 4]], requires_grad=True), COORDS, 1, (2, 2, 3, 4))
    grid = x.dense()
    assert grid.shape == (2, 2, 3, 4, 2)
    assert grid[0, 1, 2, 3].tolist() == [1, 2]
    assert grid[1, 0, 0, 1].tolist() == [3, 4]
    assert grid.sum() == 10
    assert torch.equal(to_dense(x.feats, x.coords, x.spatial_range), grid)
    with pytest.raises(ValueError, match=r"SparseTensor.dense: `spatial_range` must be given"):
        SparseTensor(x.feats, x.coords).dense()


def test_sums_and_concatenations_share_caches() -> None:
    x, y = (SparseTensor(torch.full((2, 3), n), COORDS, 2, (2, 2, 3, 4)) for n in (1.0, 2.0))
    for out, want in [
        (x + y, [[3.0] * 3] * 2),
        (torchsparse.cat([x, y]), [[1.0] * 3 + [2.0] * 3] * 2),
    ]:
        assert out.F.tolist() == want
        assert out._caches is x._caches
        assert out.coords is x.coords
        assert out.stride == (2, 2, 2)
        assert out.spatial_range == (2, 2, 3, 4)


def test_generative_add() -> None:
    x = SparseTensor(torch.tensor([[1.0], [2]]), COORDS)
    y = SparseTensor(torch.tensor([[4.0]]), COORDS[1:])
    for out in (torchsparse.generative_add(x, y), torchsparse.generative_add(y, x)):
        assert out.C.tolist() == COORDS.tolist()
        assert out.F.tolist() == [[1], [6]]
        assert out._caches is x._caches


def test_caches_by_both_names() -> None:
    x, y = (SparseTensor(torch.ones(2, 3), COORDS) for _ in range(2))
    assert x.cmaps is x._caches.cmaps
    assert x.kmaps is x._caches.kmaps
    assert x._caches.hashmaps == {}
    y.cmaps, y.kmaps = x.cmaps, x.kmaps
    x.cmaps.setdefault(x.stride, x.coords)
    assert y._caches.cmaps[(1, 1, 1)] is COORDS


def test_one_cache_for_all() -> None:
    assert tensor_cache.get_global_tensor_cache() is None
    tensor_cache.set_tensor_cache_mode(tensor_cache.TensorCacheMode.GLOBAL_TENSOR_CACHE)
    assert tensor_cache.get_tensor_cache_mode().name == "GLOBAL_TENSOR_CACHE"
    x, y = (SparseTensor(torch.ones(2, 3), COORDS) for _ in range(2))
    assert x._caches is y._caches is tensor_cache.get_global_tensor_cache()
    own = tensor_cache.TensorCache()
    tensor_cache.set_global_tensor_cache(own)
    assert SparseTensor(torch.ones(2, 3), COORDS)._caches is own
    tensor_cache.clear_global_tensor_cache()
    assert tensor_cache.get_global_tensor_cache() is None
    with pytest.raises(TypeError, match="set_tensor_cache_mode: `mode` must be a TensorCacheMode"):
        tensor_cache.set_tensor_cache_mode(1)


def test_a_point_tensor() -> None:
    z = PointTensor(torch.ones(2, 3, requires_grad=True), COORDS.float())
    z.idx_query[2], z.additional_features["counts"][2] = "rows", "counts"
    total = z + z
    assert total.F.tolist() == [[2] * 3] * 2
    assert total.idx_query is z.idx_query
    assert total.weights is z.weights == {}
    assert total.additional_features is z.additional_features
    assert not z.detach().F.requires_grad
    assert z.to("meta").C.is_meta
    given = PointTensor(z.F, z.C, {1: 2}, {3: 4})
    assert (given.idx_query, given.weights) == ({1: 2}, {3: 4})
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)):
            PointTensor(torch.ones(2, 3), COORDS).cuda()


@pytest.mark.parametrize("release", ["2.1", "1.4"])
def test_collate(release: str) -> None:
    torchsparse.use_version(release)
    cells = [torch.tensor([[1, 2, 3]], dtype=torch.int32), torch.tensor([[4, 5, 6]]).int()]
    samples = [
        {
            "lidar": SparseTensor(np.ones((1, 2), np.float32), cell.numpy(), 2),
            "labels": np.array([number]),
            "weights": torch.tensor([1.0]),
            "name": "ab"[number],
            "more": {"targets": SparseTensor(torch.zeros(1, 2), cell)},
        }
        for number, cell in enumerate(cells)
    ]
    out = collate.sparse_collate_fn(samples)
    want = [[0, 1, 2, 3], [1, 4, 5, 6]] if release == "2.1" else [[1, 2, 3, 0], [4, 5, 6, 1]]
    assert out["lidar"].C.tolist() == want
    assert out["lidar"].C.dtype == torch.int32
    assert out["lidar"].stride == (2, 2, 2)
    assert out["more"]["targets"].C.tolist() == want
    assert out["labels"].tolist() == [[0], [1]]
    assert out["weights"].tolist() == [[1], [1]]
    assert out["name"] == ["a", "b"]
    assert collate.sparse_collate_fn([1, 2]) == [1, 2]
    strides = [
        SparseTensor(torch.zeros(1, 2), cell, s) for s, cell in zip((1, 2), cells, strict=True)
    ]
    with pytest.raises(ValueError, match="sparse_collate: `inputs` must be tensors of one stride"):
        collate.sparse_collate(strides)
    with pytest.raises(ValueError, match="sparse_collate: `inputs` must be tensors of one stride"):
        collate.sparse_collate([])


def test_small_utilities() -> None:
    assert make_ntuple(2, 3) == make_ntuple([2, 2, 2], 3) == make_ntuple(torch.tensor([2, 2, 2]), 3)
    assert make_tensor((1, 2), torch.int32, "cpu").tolist() == [1, 2]
    assert make_divisible(129, 128) == 256
    assert make_divisible(128, 128) == 128
    assert (backends.benchmark, backends.hash_rsv_ratio) == (False, 2)
    assert backends.allow_tf32
    assert backends.allow_fp16


def test_configurations() -> None:
    config = F.conv_config.get_default_conv_config(training=True)
    assert config.dataflow == F.Dataflow.ImplicitGEMM
    config.kmap_mode = "hashmap"
    assert config["kmap_mode"] == "hashmap"
    assert config.copy() == config
    with pytest.raises(AttributeError, match="ConvConfig: there is no 'nothing'"):
        _ = config.nothing
    assert F.conv_config.get_global_conv_config() is None
    F.conv_config.set_global_conv_config({"kmap_mode": "hashmap"})
    found = F.conv_config.get_global_conv_config()
    assert (found.kmap_mode, found.downsample_mode) == ("hashmap", "spconv")
    F.set_conv_mode(2)
    assert F.get_conv_mode() == F.ConvMode.mode2
    F.set_conv_mode(F.ConvMode.mode0)
    F.set_kmap_mode("hashmap")
    assert F.get_kmap_mode() == "hashmap"
    F.set_kmap_mode("hashmap_on_the_fly")
    F.set_downsample_mode("minkowski")
    assert F.get_downsample_mode() == "minkowski"
    F.set_downsample_mode("spconv")
    with pytest.raises(ValueError, match="set_kmap_mode: `kmap_mode` must be one of"):
        F.set_kmap_mode("grid")
    with pytest.raises(ValueError, match="set_downsample_mode: `downsample_mode` must be one of"):
        F.set_downsample_mode("grid")


@pytest.mark.parametrize(
    "name",
    ["ToBEVConvolution", "ToBEVHeightCompression", "ToBEVReduction", "ToDenseBEVConvolution"],
)
def test_layers_without_a_face(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name}: has no face here"):
        getattr(spnn, name)(3, 4)


@pytest.mark.parametrize(
    "name",
    [
        "build_kernel_map",
        "convert_transposed_out_in_map",
        "spupsample_generative",
        "transpose_kernel_map",
    ],
)
def test_functions_without_a_face(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name}: has no face here; use elite_ops"):
        getattr(F, name)()


def test_tuning_has_no_face() -> None:
    assert tune.tune is torchsparse.tune
    with pytest.raises(NotImplementedError, match=r"torchsparse.tune: .* leave the call out"):
        torchsparse.tune(None)


# ---- versions and installation -------------------------------------------------------------------


def test_versions() -> None:
    assert torchsparse.__version__ == "2.1.0"
    torchsparse.use_version("1.4")
    assert torchsparse.__version__ == "1.4.0"
    with torchsparse.using_version("2.1.0"):
        assert convention().batch_first
    assert not convention().batch_first
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = torchsparse.nothing


def names() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "torchsparse"]


@pytest.mark.parametrize("release", ["2.1", "1.4"])
def test_programs_find_the_face(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for name in names():
            patch.delitem(sys.modules, name)
        torchsparse.install(release)
        namespace: dict[str, object] = {}
        exec(
            "import torchsparse\n"
            "import torchsparse.nn as spnn\n"
            "import torchsparse.nn.functional as F\n"
            "from torchsparse import PointTensor, SparseTensor\n"
            "from torchsparse.tensor import SparseTensor\n"
            "from torchsparse.nn.functional.devoxelize import calc_ti_weights\n"
            "from torchsparse.nn.functional.conv import conv3d\n"
            "from torchsparse.nn.modules.conv import Conv3d\n"
            "from torchsparse.nn.utils import *\n"
            "from torchsparse.utils import *\n"
            "from torchsparse.utils.collate import sparse_collate, sparse_collate_fn\n"
            "from torchsparse.utils.quantize import sparse_quantize\n"
            "from torchsparse.utils.tensor_cache import TensorCache\n"
            "import torchsparse.backend\n",
            namespace,
        )
        found = importlib.import_module("torchsparse")
        for name in names():
            del sys.modules[name]
    assert found is torchsparse
    assert namespace["spnn"] is spnn
    assert namespace["F"] is F
    assert namespace["SparseTensor"] is SparseTensor
    assert torchsparse.__version__ == release + ".0"


@pytest.mark.parametrize("module", [torchsparse, spnn, F])
def test_every_name_is_there(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
