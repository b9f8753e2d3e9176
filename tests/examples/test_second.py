"""SECOND's encoder: equal to its twin in spconv's style, trainable, and run as a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spconv_networks
import torch
from torch import Tensor
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
from examples.second import Grid, Second, main, mean_of_all_points, mean_of_first_points

GRID = Grid(POINT_CLOUD_RANGE, SPATIAL_SHAPE)
WIDTHS = {"widths": (6, 8, 10, 12), "out_channels": 8}


def voxels() -> SparseTensor:
    points, batch_index = small_scan()
    return mean_of_all_points(points, batch_index, grid=GRID, batch_size=2)


@pytest.mark.parametrize("name", LIBRARIES)
def test_equals_its_twin(name: str, one_thread: None) -> None:
    x = voxels()
    indices, shape = reversed_axes(x)
    network = Second(4, **WIDTHS)
    twin = spconv_networks.Second(library(name), 4, shape, **WIDTHS)

    def run_twin(twin: Any, features: Tensor) -> list[Tensor]:
        return [twin(features, indices, x.batch_size).transpose(2, 3)]

    def run(network: Any, features: Tensor) -> list[Tensor]:
        return [network(x.replace(features))]

    check_twin(network, twin, run, run_twin, x.features, reversed_axes=True)


def test_without_limits_both_voxelizations_agree() -> None:
    points, batch_index = small_scan()
    want = voxels()
    got = mean_of_first_points(points, batch_index, grid=GRID, batch_size=2, max_points=100)
    indices, features = by_index(got.indices, got.features)
    assert torch.equal(indices, want.indices)
    assert got.spatial_shape == want.spatial_shape == (64, 48, 41)
    assert_close(features, want.features)


def test_the_first_points_of_the_first_voxels() -> None:
    points = torch.tensor([[5.1, 1, 0, 2], [0.1, 1, 0, 4], [5.1, 1, 0, 6], [5.1, 1, 0, 1]])
    x = mean_of_first_points(points, grid=GRID, max_points=2, max_voxels=1)
    assert x.indices.tolist() == [[0, 40, 8, 16]]
    assert_close(x.features, torch.tensor([[5.1, 1, 0, 4]]))


def test_the_map_of_the_full_grid() -> None:
    shapes = [(1408, 1600, 41), (704, 800, 21), (352, 400, 11), (176, 200, 5), (176, 200, 2)]
    x = mean_of_all_points(small_scan()[0], grid=Grid())
    scales = Second(4, **WIDTHS).scales(x)
    assert [scale.spatial_shape for scale in scales.values()] == shapes


def test_a_loss_falls() -> None:
    x, network = voxels(), Second(4, **WIDTHS)
    target = torch.rand(2, 16, 8, 6)
    found = losses(network, lambda: (network(x) - target).square().mean())
    assert found[-1] < 0.9 * found[0]


@pytest.mark.parametrize("options", [[], ["--dynamic"]])
def test_the_script(options: list[str], tmp_path: Path, capsys: Any) -> None:
    main([scan_file(tmp_path), *options])
    printed = capsys.readouterr().out
    assert "600 points" in printed
    assert "bird's-eye map (1, 256, 176, 200)" in printed
    assert "711872 parameters" in printed
