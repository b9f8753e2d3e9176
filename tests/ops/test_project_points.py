from pathlib import Path

import numpy as np
import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck

import elite_ops
from elite_ops import project_points
from elite_ops.reference.project_points import project_points as reference

SIZES = [0, 1, 31, 33, 1023]
IMAGE_SIZE = (370, 1226)

# x forward, y left, z up; focal length 8 pixels, principal point (4, 4).
CAMERA = torch.tensor([[4.0, -8.0, 0.0, 0.0], [4.0, 0.0, -8.0, 0.0], [1.0, 0.0, 0.0, 0.0]])


def street_camera(data_folder: Path) -> Tensor:
    """P2 @ Tr of a real calibration: sensor frame to pixels, float32 [3, 4]."""
    lines = (data_folder / "semantickitti/sequences/00/calib.txt").read_text().splitlines()
    matrices = {
        name: np.array(values.split(), float).reshape(3, 4)
        for name, values in (line.split(":") for line in lines if line)
    }
    transform = np.vstack([matrices["Tr"], [0, 0, 0, 1]])
    return torch.from_numpy((matrices["P2"] @ transform).astype(np.float32))


def inputs(n: int, batch: int = 3, device: torch.device | str = "cpu"):
    generator = torch.Generator().manual_seed(n)
    points = 20 * torch.randn(n, 4, generator=generator)
    cameras = CAMERA.repeat(batch, 1, 1) + 0.1 * torch.randn(batch, 3, 4, generator=generator)
    batch_index = torch.randint(batch, (n,), generator=generator)
    return points.to(device), cameras.to(device), batch_index.to(device)


def assert_same(got: tuple[Tensor, Tensor], want: tuple[Tensor, Tensor]) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        assert torch.equal(g, w)


def test_by_hand(device):
    # u = 4 - 8 y / x, v = 4 - 8 z / x
    points = torch.tensor(
        [[2.0, 0.5, -0.3], [4.0, -1.0, 1.0], [-2.0, 0.0, 0.0], [2.0, 2.0, 0.0]], device=device
    )
    pixel, valid = project_points(points, CAMERA.to(device), (8, 8))
    assert pixel.tolist() == [[5, 2], [2, 6], [-1, -1], [-1, -1]]
    assert valid.tolist() == [True, True, False, False]


def test_the_border_is_not_inside(device):
    inside = [[8.0, 3.5, 3.5], [8.0, -3.999, -3.999]]
    on_border = [[8.0, 4.0, 0.0], [8.0, -4.0, 0.0], [8.0, 0.0, 4.0], [8.0, 0.0, -4.0]]
    points = torch.tensor(inside + on_border, device=device)
    pixel, valid = project_points(points, CAMERA.to(device), (8, 8))
    assert valid.tolist() == [True, True, False, False, False, False]
    assert pixel[:2].tolist() == [[0, 0], [7, 7]]


def test_behind_the_sensor_or_the_camera_is_not_valid(device):
    camera = CAMERA.clone()
    camera[2, 3] = -2.0  # the camera lies two metres before the sensor
    points = torch.tensor([[-3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    points = torch.cat([points, torch.tensor([[3.0, 1.0, 1.0]])]).to(device)
    _, valid = project_points(points, camera.to(device), (32, 32))
    assert valid.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_not_a_place_is_not_valid(device, axis, bad):
    points = torch.tensor([[8.0, 1.0, 1.0]], device=device)
    points[0, axis] = bad
    pixel, valid = project_points(points, CAMERA.to(device), (8, 8))
    assert not valid.item()
    assert pixel.tolist() == [[-1, -1]]


@pytest.mark.parametrize("n", SIZES)
def test_equals_reference(device, n):
    points, cameras, batch_index = inputs(n, device=device)
    got = project_points(points, cameras, (8, 8), batch_index)
    assert_same(got, reference(points, cameras, (8, 8), batch_index))
    assert_same(project_points(points, cameras[0], (8, 8)), reference(points, cameras[0], (8, 8)))


def test_a_scan_of_the_batch_may_be_empty(device):
    points, cameras, batch_index = inputs(500, batch=2, device=device)
    cameras = torch.stack([cameras[0], torch.full_like(cameras[0], torch.nan), cameras[1]])
    pixel, valid = project_points(points, cameras, (8, 8), 2 * batch_index)
    for scan in (0, 2):
        mine = 2 * batch_index == scan
        assert_same((pixel[mine], valid[mine]), project_points(points[mine], cameras[scan], (8, 8)))


def test_real_scan(device, real_points, data_folder):
    points, camera = real_points.to(device), street_camera(data_folder).to(device)
    pixel, valid = project_points(points, camera, IMAGE_SIZE)
    assert_same((pixel, valid), reference(points, camera, IMAGE_SIZE))
    # In float64; float32 may only differ where a coordinate is about to change its pixel.
    ahead = torch.cat([points[:, :3], torch.ones_like(points[:, :1])], dim=1).double()
    u, v, depth = (ahead @ camera.double().T).unbind(1)
    exact = torch.stack([v, u], dim=1) / depth[:, None]
    clear = ((exact - exact.round()).abs() > 1e-3).all(dim=1) & (points[:, 0] > 0) & (depth > 0)
    size = torch.tensor(IMAGE_SIZE, device=device)
    inside = ((exact > 0) & (exact < size)).all(dim=1)
    assert clear.sum() > 0.4 * len(points)
    assert torch.equal(valid[clear], inside[clear])
    assert torch.equal(pixel[clear & inside], exact[clear & inside].int())
    assert 15_000 < valid.sum() < 25_000


def test_opcheck(device):
    points, cameras, batch_index = inputs(33, device=device)
    op = torch.ops.elite_ops.project_points.default
    opcheck(op, (points, cameras, batch_index, 8, 8))
    opcheck(op, (points, cameras[0], None, 8, 8))


def test_compiles_without_a_graph_break(device):
    points, cameras, batch_index = inputs(100, device=device)
    compiled = torch.compile(project_points, fullgraph=True, backend="aot_eager")
    assert_same(
        compiled(points, cameras, (8, 8), batch_index),
        project_points(points, cameras, (8, 8), batch_index),
    )


def test_non_contiguous(device):
    points, cameras, batch_index = inputs(100, device=device)
    want = project_points(points, cameras, (8, 8), batch_index)
    wide = torch.stack([batch_index, batch_index + 9], dim=1)
    turned = cameras.transpose(1, 2).contiguous().transpose(1, 2)
    assert_same(project_points(points.T.contiguous().T, turned, (8, 8), wide[:, 0]), want)
    assert_same(project_points(points[:, :3], cameras, (8, 8), batch_index), want)


POINTS, CAMERAS, BATCH_INDEX = inputs(5)
REJECTED = [
    ((POINTS[0], CAMERA, (8, 8)), ValueError, r"`points` must have 2 dimensions"),
    ((POINTS[:, :2], CAMERA, (8, 8)), ValueError, r"`points` must have at least the columns x, y"),
    ((POINTS.double(), CAMERA, (8, 8)), TypeError, r"`points` must be Float, got Double"),
    ((POINTS, CAMERAS, (8, 8)), ValueError, r"`projection` must have 2 dimensions"),
    ((POINTS, CAMERA, (8, 8), BATCH_INDEX), ValueError, r"`projection` must have 3 dimensions"),
    ((POINTS, CAMERA[:2], (8, 8)), ValueError, r"`projection` must have size 3 in dimension 0"),
    ((POINTS, CAMERA[:, :3], (8, 8)), ValueError, r"`projection` must have size 4 in dimension 1"),
    ((POINTS, CAMERA.half(), (8, 8)), TypeError, r"`projection` must be Float, got Half"),
    ((POINTS, CAMERA, (0, 8)), ValueError, r"`image_size` must be between 1 and 2\^24 .* 0 x 8"),
    ((POINTS, CAMERA, (8, 2**24 + 1)), ValueError, r"`image_size` must be between 1 and 2\^24"),
    ((POINTS, CAMERAS, (8, 8), BATCH_INDEX[None]), ValueError, r"`batch_index` must have 1 dim"),
    ((POINTS, CAMERAS, (8, 8), BATCH_INDEX[1:]), ValueError, r"`batch_index` must have size 5"),
    ((POINTS, CAMERAS, (8, 8), BATCH_INDEX.int()), TypeError, r"`batch_index` must be Long"),
    immediate(
        (POINTS, CAMERAS, (8, 8), BATCH_INDEX * 0 + 3),
        IndexError,
        r"`batch_index` must be in \[0, 3",
    ),
    immediate(
        (POINTS, CAMERAS, (8, 8), BATCH_INDEX * 0 - 1), IndexError, r"got values from -1 to -1"
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REJECTED)
def test_rejects(arguments, error, message):
    with pytest.raises(error, match=r"project_points: .*" + message):
        project_points(*arguments)


@pytest.mark.gpu
def test_batch_index_out_of_range_on_cuda_is_invalid_and_reported(cuda):
    points, cameras, batch_index = inputs(50, device=cuda)
    pixel, valid = project_points(points, cameras, (8, 8), torch.full_like(batch_index, 3))
    assert not valid.any()
    assert (pixel == -1).all()
    with pytest.raises(IndexError, match="project_points: `batch_index` must be in"):
        elite_ops.check_device_errors()


@pytest.mark.parametrize("image_size", [None, 8, (8,), (8, 8, 8), (8.5, 8), ("a", "b")])
def test_image_sizes_are_two_integers(image_size):
    with pytest.raises(TypeError, match=r"^project_points: `image_size` must be"):
        project_points(torch.ones(2, 3), torch.ones(3, 4), image_size)
