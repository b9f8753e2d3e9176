"""An endless street and the frames that a car records in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from elite.data.street.camera import KITTI_CAMERA, CameraModel
from elite.data.street.chunks import build_chunk
from elite.data.street.ground import CHUNK
from elite.data.street.lidar import HDL64E, LidarModel, measure
from elite.data.street.noise import Array
from elite.data.street.patterns import windows
from elite.data.street.plan import SENSOR, SWAY, Plan
from elite.data.street.scene import Scene
from elite.data.street.shading import shade
from elite.data.street.traffic import Traffic

PERIOD = 0.1  # seconds from one frame to the next
BEHIND, AHEAD = 125.0, 200.0  # metres of street around the car
FAR = 350.0  # metres that the camera sees


@dataclass(frozen=True)
class Frame:
    """What the car records at one moment, with the truth about it."""

    index: int
    time: float  # seconds since the first frame
    points: Array  # float32 [N, 4]: x y z in metres, scanner frame; remission 0..1
    labels: Array  # uint32 [N]: raw label, instance id in the high 16 bits
    image: Array  # uint8 [H, W, 3]
    image_labels: Array  # uint16 [H, W]: raw label of every pixel
    image_instances: Array  # uint16 [H, W]
    pose: Array  # float64 [4, 4]: scanner to world; the road is the world's plane z = 0


class Street:
    """The street of one sequence: the same seed and name make the same street, byte by byte.

    Args:
        seed: Not negative.
        sequence: Name of the sequence, such as "00".
        lidar: The scanner.
        camera: The camera.
    """

    def __init__(
        self,
        seed: int,
        sequence: str = "00",
        *,
        lidar: LidarModel = HDL64E,
        camera: CameraModel = KITTI_CAMERA,
    ) -> None:
        self.lidar, self.camera = lidar, camera
        self.plan = Plan(seed, sequence)
        self._traffic = Traffic(self.plan)
        self._chunk = lru_cache(maxsize=16)(lambda index: build_chunk(self.plan, index))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """All frames from `start` on, without end."""
        index = start
        while True:
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> Frame:
        """One frame, which depends on no other."""
        pose, scene = self.pose(index), self.scene(index)
        rng = self.plan.rng(SENSOR, index)
        seen = scene.trace(self.lidar.grid, pose, self.lidar.max_range + 1)
        windows(seen)
        points, labels = measure(self.lidar, seen, rng)
        eye = pose @ self.camera.scanner_from_camera
        view = scene.trace(self.camera.grid, eye, FAR)
        windows(view)
        shape = (self.camera.height, self.camera.width)
        return Frame(
            index=index,
            time=index * PERIOD,
            points=points,
            labels=labels,
            image=shade(view, scene, self.plan, self.camera.grid, eye, rng),
            image_labels=view.label.reshape(shape),
            image_instances=view.instance.reshape(shape),
            pose=pose,
        )

    def pose(self, index: int) -> Array:
        """Scanner to world: float64 [4, 4]."""
        time = index * PERIOD
        x = self._ego_x(time)
        course = self.plan.course
        phase = self.plan.rng(SWAY).uniform(0, 2 * np.pi, 3)
        roll, pitch, yaw = (
            np.radians(size) * np.sin(rate * time + start)
            for size, rate, start in zip((0.35, 0.45, 0.4), (2.3, 3.1, 0.5), phase, strict=True)
        )
        yaw += course.heading(x)
        pose = np.eye(4)
        pose[:3, :3] = _rotation(yaw, pitch, roll)
        pose[:2, 3] = course.place(x, self._traffic.ego_lane)
        pose[2, 3] = self.lidar.height
        return pose

    def scene(self, index: int) -> Scene:
        """The street around the car at frame `index`."""
        time = index * PERIOD
        x = self._ego_x(time)
        first, last = int((x - BEHIND) // CHUNK), int((x + AHEAD) // CHUNK)
        ground = self.plan.ground(first, last)
        still = [self._chunk(chunk) for chunk in range(first, last + 1)]
        moving = self._traffic.at(time, x, BEHIND, AHEAD, ground)
        return Scene(ground, (*still, moving))

    def _ego_x(self, time: float) -> float:
        return self.plan.speed * time


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    cy, cp, cr = np.cos((yaw, pitch, roll))
    sy, sp, sr = np.sin((yaw, pitch, roll))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1.0]])
    about_y = np.array([[cp, 0, sp], [0, 1.0, 0], [-sp, 0, cp]])
    about_x = np.array([[1.0, 0, 0], [0, cr, -sr], [0, sr, cr]])
    turned: Array = about_z @ about_y @ about_x
    return turned
