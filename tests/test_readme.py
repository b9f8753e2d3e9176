"""The examples of the first pages run as they are printed."""

from __future__ import annotations

import torch
from code_blocks import run_page


def test_readme() -> None:
    names = run_page("README.md")
    points, classes = names["points"], names["classes"]
    assert classes.shape == (len(points), 20)
    assert bool(torch.isfinite(classes).all())
    inside = names["voxels"].point_rows >= 0
    assert inside.any()
    assert not classes[~inside].any()


def test_layers() -> None:
    names = run_page("docs/layers.md")
    assert names["back"].voxels is names["x"].voxels
    assert names["coarse"].spatial_shape == (4, 4, 4)
    x = names["x"]
    dense, conv = names["dense"], names["conv"]
    assert torch.equal(dense.weight, conv.torch_weight)
    assert names["UNet"](16, 3)(x).features.shape == (3, 3)
