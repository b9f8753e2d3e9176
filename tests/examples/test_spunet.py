"""SpUNet: equal to its twin in spconv's style, trainable, and run as a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spconv_networks
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from twins import (
    LIBRARIES,
    POINT_CLOUD_RANGE,
    SPATIAL_SHAPE,
    check_twin,
    library,
    losses,
    scan_file,
    small_scan,
)

from elite_ops import Segments, SparseTensor, voxel_to_point
from examples.spunet import Grid, SpUNet, main, mean_of_points

GRID = Grid(POINT_CLOUD_RANGE, SPATIAL_SHAPE)
CHANNELS, LAYERS = (6, 8, 10, 12, 9, 7), (1, 2, 1, 1, 2, 1)


def voxels() -> tuple[SparseTensor, Segments]:
    points, batch_index = small_scan()
    return mean_of_points(points, batch_index, grid=GRID, batch_size=2)


@pytest.mark.parametrize("name", LIBRARIES)
def test_equals_its_twin(name: str, one_thread: None) -> None:
    x, _ = voxels()
    network = SpUNet(4, 5, base=8, channels=CHANNELS, layers=LAYERS)
    shape = list(x.spatial_shape)
    twin = spconv_networks.SpUNet(library(name), 4, 5, shape, 8, CHANNELS, LAYERS)

    def run_twin(twin: Any, features: Tensor) -> list[Tensor]:
        return [twin(features, x.indices, x.batch_size)]

    def run(network: Any, features: Tensor) -> list[Tensor]:
        return [network(x.replace(features)).features]

    check_twin(network, twin, run, run_twin, x.features, reversed_axes=False)


def test_points_of_a_voxel_are_averaged_and_share_their_logits() -> None:
    points = torch.tensor([[5.1, 1, 0, 2], [0.1, 1, 0, 4], [5.1, 1, 0, 6], [9.0, 1, 0, 1]])
    x, segments = mean_of_points(points, grid=GRID)
    assert x.indices.tolist() == [[0, 0, 8, 16], [0, 40, 8, 16]]
    assert x.features[:, 3].tolist() == [4, 4]
    logits = torch.tensor([[1.0], [2.0]])
    assert voxel_to_point(logits, segments).tolist() == [[2], [1], [2], [0]]  # the last is outside


def test_the_voxels_of_the_input_come_out() -> None:
    x, _ = voxels()
    out = SpUNet(4, 5, base=8, channels=CHANNELS, layers=LAYERS)(x)
    assert out.voxels is x.voxels
    assert out.features.shape == (len(x), 5)


def test_a_loss_falls() -> None:
    (x, segments), (points, _) = voxels(), small_scan()
    network = SpUNet(4, 3, base=8, channels=CHANNELS, layers=LAYERS)
    labels = torch.bucketize(points[:, 2].contiguous(), torch.tensor([-0.2, 0.8]))

    def loss() -> Tensor:
        return cross_entropy(voxel_to_point(network(x).features, segments), labels)

    found = losses(network, loss)
    assert found[-1] < 0.7 * found[0]


def test_the_script(tmp_path: Path, capsys: Any) -> None:
    main([scan_file(tmp_path)])
    printed = capsys.readouterr().out
    assert "600 points" in printed
    assert "39149747 parameters" in printed
    assert "logits (600, 19), labels of the points (600,)" in printed
