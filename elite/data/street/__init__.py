"""An endless synthetic street, recorded by a car with a laser scanner and a camera.

`simulate` writes sequences to disk; `Street` yields frames in memory.
"""

from elite.data.street.camera import KITTI_CAMERA, CameraModel
from elite.data.street.lidar import HDL32E, HDL64E, SENSORS, LidarModel
from elite.data.street.street import Frame, Street
from elite.data.street.writer import simulate

__all__ = [
    "HDL32E",
    "HDL64E",
    "KITTI_CAMERA",
    "SENSORS",
    "CameraModel",
    "Frame",
    "LidarModel",
    "Street",
    "simulate",
]
