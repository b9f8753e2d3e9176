"""The camera: KITTI's geometry with numbers of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from elite.data.street.noise import Array

NEAR = 0.2  # metres: nothing nearer to the camera's plane is drawn
SHORT_RUN = 6  # columns: testing these few costs less than finding out which to test


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera beside camera 0 of a rectified rig, above the scanner's axes."""

    width: int = 1241  # pixels
    height: int = 376
    focal: float = 718.0  # pixels
    centre: tuple[float, float] = (607.0, 185.0)  # x, y, pixels
    offset: tuple[float, float, float] = (0.06, -0.0003, 0.0035)  # P2 = K [I | offset], metres
    lever: tuple[float, float, float] = (-0.006, -0.068, -0.28)  # translation of Tr, metres
    tilt: tuple[float, float, float] = (0.0075, -0.0022, 0.0041)  # rotation of Tr, radians

    @property
    def intrinsics(self) -> Array:
        """K: float64 [3, 3]."""
        x, y = self.centre
        return np.array([[self.focal, 0.0, x], [0.0, self.focal, y], [0.0, 0.0, 1.0]])

    @property
    def p2(self) -> Array:
        """Camera 0's frame to this camera's pixels: float64 [3, 4]."""
        return self.projection(self.offset)

    def projection(self, offset: tuple[float, float, float]) -> Array:
        """K [I | offset]: float64 [3, 4]."""
        projection: Array = self.intrinsics @ np.column_stack([np.eye(3), offset])
        return projection

    @cached_property
    def tr(self) -> Array:
        """Tr, scanner to camera 0: float64 [4, 4]."""
        rx, ry, rz = self.tilt
        cx, cy, cz = np.cos(self.tilt)
        sx, sy, sz = np.sin((rx, ry, rz))
        turn = (
            np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
            @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
            @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        )
        axes = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
        tr = np.eye(4)
        tr[:3, :3], tr[:3, 3] = turn @ axes, self.lever
        return tr

    @cached_property
    def scanner_from_camera(self) -> Array:
        """Camera 2 to scanner: float64 [4, 4]."""
        shifted = np.eye(4)
        shifted[:3, 3] = self.offset
        inverse: Array = np.linalg.inv(shifted @ self.tr)
        return inverse

    @cached_property
    def grid(self) -> CameraGrid:
        return CameraGrid(self)


KITTI_CAMERA = CameraModel()


class CameraGrid:
    """One ray through the middle of every pixel; x right, y down, z ahead."""

    def __init__(self, model: CameraModel) -> None:
        self.rows, self.columns = model.height, model.width
        self._focal, self._centre = model.focal, model.centre
        x = (np.arange(self.columns) + 0.5 - model.centre[0]) / model.focal
        y = (np.arange(self.rows) + 0.5 - model.centre[1]) / model.focal
        rays = np.stack(np.broadcast_arrays(x[None], y[:, None], 1.0), -1).reshape(-1, 3)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        self.directions: Array = rays.astype(np.float32)

    def sees(self, centre: Array, radius: Array) -> Array:
        """False for balls outside the pyramid of view."""
        seen = centre[:, 2] + radius > NEAR
        for axis, count in ((0, self.columns), (1, self.rows)):
            for end, sign in ((0, -1.0), (count, 1.0)):
                slope = sign * (end - self._centre[axis]) / self._focal
                beyond = sign * centre[:, axis] - slope * centre[:, 2]
                seen &= beyond < radius * np.hypot(1.0, slope)
        return seen

    def bounds(self, corners: Array) -> tuple[Array, Array, Array, Array]:
        """First and end row, first and end column that may see each quad [Q, 4, 3]."""
        following = np.roll(corners, -1, axis=1)
        z, next_z = corners[..., 2], following[..., 2]
        step = np.where(z == next_z, 1.0, next_z - z)
        share = np.clip((NEAR - z) / step, 0, 1)[..., None]
        entry = corners + share * (following - corners)  # where an edge passes the near plane
        crosses = (z < NEAR) != (next_z < NEAR)
        places = np.concatenate([corners, entry], axis=1)
        seen = np.concatenate([z >= NEAR, crosses], axis=1)
        depth = np.maximum(places[..., 2], NEAR)
        low, high = [], []
        for axis, count in ((1, self.rows), (0, self.columns)):
            pixel = places[..., axis] / depth * self._focal + self._centre[axis] - 0.5
            first = np.where(seen, pixel, np.inf).min(axis=1)
            last = np.where(seen, pixel, -np.inf).max(axis=1)
            low.append(np.ceil(np.clip(first - 1e-3, 0, count)).astype(np.int64))
            high.append(np.floor(np.clip(last + 1e-3, -1, count - 1)).astype(np.int64) + 1)
        return low[0], high[0], low[1], high[1]

    def narrow(
        self, planes: Array, quad: Array, row: Array, column0: Array, column1: Array
    ) -> tuple[Array, Array]:
        """Cuts long runs to the columns inside all edge planes, give or take a thousandth."""
        long = np.flatnonzero(column1 - column0 > SHORT_RUN)
        x0 = (0.5 - self._centre[0]) / self._focal
        y = (row[long] + 0.5 - self._centre[1]) / self._focal
        first, last = column0[long].astype(np.float64), column1[long] - 1.0
        for edge in range(4):
            # along a row the distance from a plane is linear in the column
            plane = planes[quad[long], edge]
            slope = plane[:, 0] / self._focal
            start = plane[:, 0] * x0 + plane[:, 1] * y + plane[:, 2]
            root = -start / np.where(slope == 0, 1.0, slope)
            first = np.where(slope > 0, np.maximum(first, root), first)
            last = np.where(slope < 0, np.minimum(last, root), last)
        column0[long] = np.ceil(np.minimum(first, self.columns) - 1e-3)
        column1[long] = np.floor(np.maximum(last, -1.0) + 1e-3) + 1
        return column0, column1
