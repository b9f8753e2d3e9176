"""VoxelNeXt: equal to its twin in spconv's style, trainable, and run as a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spconv_networks
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close
from twins import (
    LIBRARIES,
    POINT_CLOUD_RANGE,
    SPATIAL_SHAPE,
    by_index,
    check_twin,
    library,
    losses,
    reversed_axes,
    scan_file,
    small_scan,
)

from elite_ops import SparseTensor
from examples.voxelnext import HEADS, Grid, VoxelNeXt, main, mean_of_points, onto_plane

GRID = Grid(POINT_CLOUD_RANGE, SPATIAL_SHAPE)
WIDTHS, OUTPUTS = (4, 6, 8, 10), {"heatmap": 3, "dim": 2}


def voxels() -> SparseTensor:
    points, batch_index = small_scan()
    return mean_of_points(points, batch_index, grid=GRID, batch_size=2)


@pytest.mark.parametrize("name", LIBRARIES)
def test_equals_its_twin(name: str, one_thread: None) -> None:
    x = voxels()
    indices, shape = reversed_axes(x)
    network = VoxelNeXt(4, WIDTHS, OUTPUTS)
    twin = spconv_networks.VoxelNeXt(library(name), 4, shape, OUTPUTS, WIDTHS)

    def run_twin(twin: Any, features: Tensor) -> list[Tensor]:
        found = twin(features, indices, x.batch_size)
        return [t for name in OUTPUTS for t in by_index(found[name].indices, found[name].features)]

    def run(network: Any, features: Tensor) -> list[Tensor]:
        found = network(x.replace(features))
        return [t for name in OUTPUTS for t in (found[name].indices, found[name].features)]

    check_twin(network, twin, run, run_twin, x.features, reversed_axes=True)


def test_the_plane_is_the_sum_over_the_height_of_all_scales() -> None:
    network = VoxelNeXt(4, WIDTHS, OUTPUTS)
    with torch.no_grad():
        scales = network.scales(voxels())
        plane = scales["plane"]
        want = scales["conv4"].dense().sum(-1)
        for factor, name in ((2, "conv5"), (4, "conv6")):
            want[:, :, ::factor, ::factor] += scales[name].dense().sum(-1)
        assert plane.spatial_shape == (6, 8)
        assert_close(plane.dense().transpose(2, 3), want)


def test_voxels_one_above_the_other_meet() -> None:
    grid = torch.zeros(1, 1, 2, 3, 4)
    grid[0, 0, 1, 2, 0], grid[0, 0, 1, 2, 3], grid[0, 0, 0, 0, 1] = 1, 2, 5
    coarse = torch.zeros(1, 1, 1, 2, 2)
    coarse[0, 0, 0, 1, 1] = 10
    plane = onto_plane([SparseTensor.from_dense(grid), SparseTensor.from_dense(coarse)])
    assert plane.indices.tolist() == [[0, 0, 0], [0, 2, 0], [0, 2, 1]]  # batch, y, x
    assert plane.features.tolist() == [[5], [10], [3]]


def test_a_loss_falls() -> None:
    x, network = voxels(), VoxelNeXt(4, WIDTHS, OUTPUTS)
    centres = (torch.rand(len(network(x)["heatmap"]), 3) < 0.2).float()

    def loss() -> Tensor:
        return binary_cross_entropy_with_logits(network(x)["heatmap"].features, centres)

    network.heads.pop("dim")  # has no part in it
    found = losses(network, loss)
    assert found[-1] < 0.8 * found[0]


def test_the_script(tmp_path: Path, capsys: Any) -> None:
    main([scan_file(tmp_path)])
    printed = capsys.readouterr().out
    assert "600 points" in printed
    assert all(name in printed for name in HEADS)
    assert "8275508 parameters" in printed
