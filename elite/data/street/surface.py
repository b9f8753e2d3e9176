"""What the rays of one sensor meet: one row per ray, in the sensor's order."""

from __future__ import annotations

from dataclasses import dataclass

from elite.data.street.noise import Array


@dataclass
class Surface:
    distance: Array  # float32 [R], metres; the limit where nothing is hit
    hit: Array  # bool [R]
    on_ground: Array  # bool [R], the road and what lies flat beside it
    label: Array  # uint16 [R], raw label, 0 where nothing is hit
    instance: Array  # uint16 [R]
    material: Array  # uint8 [R]
    color: Array  # float32 [R, 3], reflectance before any pattern
    normal: Array  # float32 [R, 3], sensor frame, towards the sensor
    u: Array  # float32 [R], metres along the surface
    v: Array  # float32 [R], metres along the surface
    width: Array  # float32 [R], of the surface along u, metres
    height: Array  # float32 [R], of the surface along v, metres
    seed: Array  # uint32 [R], of the surface
