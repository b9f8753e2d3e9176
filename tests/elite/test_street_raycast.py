"""The ray caster against a ray-by-ray computation that knows nothing of grids and bounds."""

import numpy as np
import pytest

from elite.data.street import CameraModel, LidarModel
from elite.data.street.raycast import NO_QUAD, cast

LIDAR = LidarModel("test", tuple(15.0 - 4 * row for row in range(12)), columns=90)
CAMERA = CameraModel(width=60, height=40, focal=40.0, centre=(29.0, 21.0))
GRIDS = {"lidar": LIDAR.grid, "camera": CAMERA.grid}
FAR = np.float32(100.0)


def naive(directions: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance [R, Q] to parallelograms by solving for the place along the ray and two edges."""
    rays, count = len(directions), len(corners)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    columns = (directions[:, None].astype(np.float64), -a[None], -b[None])
    system = np.stack(np.broadcast_arrays(*columns), axis=-1)
    origin = np.broadcast_to(corners[None, :, 0, :, None], (rays, count, 3, 1))
    t, u, v = np.moveaxis(np.linalg.solve(system, origin)[..., 0], -1, 0)
    inside = (t > 0) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    return np.where(inside, t, np.inf)


def parallelograms(count: int, seed: int) -> np.ndarray:
    """Some around the sensor, some across its front plane, some seen edge-on."""
    rng = np.random.default_rng(seed)
    corner, a, b = rng.normal(0, 6, (3, count, 3))
    return np.stack([corner, corner + a, corner + a + b, corner + b], axis=1)


@pytest.mark.parametrize("sensor", GRIDS)
def test_square_by_hand(sensor: str) -> None:
    """A square of 2 m, 5 m along the x axis (scanner) or the z axis (camera)."""
    grid = GRIDS[sensor]
    flat = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    depth = np.full((4, 1), 5.0)
    parts = (depth, flat) if sensor == "lidar" else (flat, depth)
    corners = np.concatenate(parts, axis=1)[None]
    distance, winner = cast(grid, corners, np.full(len(grid.directions), FAR))
    ahead, across = (0, [1, 2]) if sensor == "lidar" else (2, [0, 1])
    unit = grid.directions
    expected = (unit[:, ahead] > 0) & (np.abs(5 * unit[:, across]) <= unit[:, [ahead]] + 1e-9).all(
        axis=1
    )
    assert expected.sum() > 10
    np.testing.assert_array_equal(winner == 0, expected)
    np.testing.assert_allclose(distance[expected], 5 / unit[expected, ahead], rtol=1e-5)
    assert (distance[~expected] == FAR).all()


@pytest.mark.parametrize("sensor", GRIDS)
def test_equals_ray_by_ray(sensor: str) -> None:
    grid = GRIDS[sensor]
    corners = parallelograms(40, seed=3)
    distance, winner = cast(grid, corners, np.full(len(grid.directions), FAR))
    truth = naive(grid.directions, corners)
    truth[truth >= FAR] = np.inf
    expected = np.where(np.isinf(truth).all(axis=1), NO_QUAD, truth.argmin(axis=1))
    assert (expected != NO_QUAD).mean() > 0.5
    differs = winner != expected  # float32 may decide otherwise on an edge
    assert differs.mean() < 0.002
    hit = ~differs & (expected != NO_QUAD)
    np.testing.assert_allclose(distance[hit], truth.min(axis=1)[hit], rtol=1e-4)


@pytest.mark.parametrize("sensor", GRIDS)
def test_no_gap_between_neighbours(sensor: str) -> None:
    """A closed sphere of quads that share their corners is hit by every ray."""
    grid = GRIDS[sensor]
    polar, around = np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 14)
    around[-1] = 0
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(14)], axis=1)
    nodes = 7 * np.sin(polar)[:, None, None] * ring + 7 * np.cos(polar)[:, None, None] * [0, 0, 1.0]
    corners = np.stack([nodes[:-1, :-1], nodes[1:, :-1], nodes[1:, 1:], nodes[:-1, 1:]], axis=2)
    _, winner = cast(grid, corners.reshape(-1, 4, 3), np.full(len(grid.directions), FAR))
    assert (winner != NO_QUAD).all()


def test_the_limit_hides_and_holes_let_through() -> None:
    grid = LIDAR.grid
    near, far = (
        np.array([[x, -50, -50], [x, 50, -50], [x, 50, 50], [x, -50, 50]]) for x in (5.0, 8.0)
    )
    corners = np.stack([far, near])
    everything = np.full(len(grid.directions), FAR)
    _, winner = cast(grid, corners, everything)
    assert set(winner) == {NO_QUAD, 1}
    _, winner = cast(grid, corners, everything, lambda quad, ray, at: quad != 1)
    assert set(winner) == {NO_QUAD, 0}
    _, winner = cast(grid, corners, np.full(len(grid.directions), 4.9, np.float32))
    assert set(winner) == {NO_QUAD}
    distance, winner = cast(grid, corners[:0], everything)
    assert (distance == FAR).all()
    assert (winner == NO_QUAD).all()
