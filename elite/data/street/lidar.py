"""The laser scanner: its grid of rays, and what it makes of the surfaces that they meet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from elite.data.street.materials import (
    DYED,
    INCIDENCE_FALLOFF,
    REMISSION,
    REMISSION_SPREAD,
    RETURN_RATE,
    ROUGHNESS,
)
from elite.data.street.noise import Array, texture
from elite.data.street.surface import Surface
from elite.data.street.vectors import dot


@dataclass(frozen=True)
class LidarModel:
    """A spinning multi-beam scanner."""

    name: str
    elevations: tuple[float, ...]  # degrees, from the top beam to the bottom one
    columns: int  # shots of one beam in a turn
    height: float = 1.73  # metres above the road
    max_range: float = 120.0  # metres
    range_noise: float = 0.02  # metres, standard deviation
    dropout: float = 0.01  # share of shots lost whatever they hit

    @cached_property
    def grid(self) -> LidarGrid:
        return LidarGrid(self.elevations, self.columns)


def _hdl64e_elevations() -> tuple[float, ...]:
    """Two blocks of 32 beams, 1/3 and 1/2 degree apart."""
    upper = [2.0 - beam / 3 for beam in range(32)]
    lower = [-8.83 - beam / 2 for beam in range(32)]
    return tuple(upper + lower)


HDL64E = LidarModel("HDL-64E", _hdl64e_elevations(), columns=2083)
HDL32E = LidarModel("HDL-32E", tuple(10.67 - beam * 4 / 3 for beam in range(32)), columns=2169)
SENSORS = {sensor.name: sensor for sensor in (HDL64E, HDL32E)}


class LidarGrid:
    """The rays of one turn, beam by beam from the top, counter-clockwise from straight ahead."""

    def __init__(self, elevations: tuple[float, ...], columns: int) -> None:
        self.rows, self.columns = len(elevations), columns
        self._step = 2 * np.pi / columns
        self._elevation = np.radians(np.asarray(elevations))
        azimuth = (np.arange(columns) + 0.5) * self._step
        cos, sin = np.cos(self._elevation)[:, None], np.sin(self._elevation)[:, None]
        parts = np.broadcast_arrays(cos * np.cos(azimuth), cos * np.sin(azimuth), sin)
        self.directions: Array = np.stack(parts, -1).reshape(-1, 3).astype(np.float32)

    def sees(self, centre: Array, radius: Array) -> Array:
        """False for balls that lie wholly above the top beam or below the bottom one."""
        away = np.hypot(centre[:, 0], centre[:, 1]) + radius
        top, bottom = np.tan(self._elevation[[0, -1]])
        seen: Array = (centre[:, 2] - radius < np.maximum(top * away, radius)) & (
            centre[:, 2] + radius > bottom * away
        )
        return seen

    def bounds(self, corners: Array) -> tuple[Array, Array, Array, Array]:
        """First and end row, first and end column that may see each quad [Q, 4, 3]."""
        low, high = self._elevations(corners)
        descending = -self._elevation
        row0 = np.searchsorted(descending, -high, side="left")
        row1 = np.searchsorted(descending, -low, side="right")
        azimuth = np.arctan2(corners[..., 1], corners[..., 0])
        turn = azimuth - azimuth[:, :1]
        turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
        first, last = turn.min(axis=1) + azimuth[:, 0], turn.max(axis=1) + azimuth[:, 0]
        around = last - first > np.pi  # the sensor is above or below: any column may see it
        column0 = np.floor(first / self._step - 0.5).astype(np.int64)
        column1 = np.ceil(last / self._step - 0.5).astype(np.int64) + 1
        column0 = np.where(around, 0, column0)
        column1 = np.where(around, self.columns, column1)
        return row0, row1, column0, column1

    def narrow(
        self, planes: Array, quad: Array, row: Array, column0: Array, column1: Array
    ) -> tuple[Array, Array]:
        """Leaves the columns as they are: along a row the planes bound two pieces, not one."""
        return column0, column1

    @staticmethod
    def _elevations(corners: Array) -> tuple[Array, Array]:
        """Bounds of the elevation: the nearest and farthest place with the lowest and highest z."""
        planar, z = corners[..., :2], corners[..., 2]
        edge = np.roll(planar, -1, axis=1) - planar
        square = np.maximum(np.einsum("qei,qei->qe", edge, edge), 1e-12)
        along = np.clip(-np.einsum("qei,qei->qe", planar, edge) / square, 0, 1)
        near = np.linalg.norm(planar + along[..., None] * edge, axis=2).min(axis=1)
        near = np.maximum(near, 1e-3)
        far = np.linalg.norm(planar, axis=2).max(axis=1)
        bottom, top = z.min(axis=1), z.max(axis=1)
        low = np.arctan2(bottom, np.where(bottom < 0, near, far))
        high = np.arctan2(top, np.where(top > 0, near, far))
        return low - 1e-6, high + 1e-6


def measure(
    model: LidarModel,
    surface: Surface,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """What the scanner reports of the surfaces that its rays meet.

    Returns:
        points float32 [N, 4] (x y z in metres, remission 0..1) and raw labels uint32 [N] with the
        instance in the high 16 bits.
    """
    material = surface.material
    incidence = np.abs(dot(surface.normal, model.grid.directions))
    spread = texture(surface.u, surface.v, 23.0) + 0.5 * rng.standard_normal(len(material), "f4")
    falloff = 1 - INCIDENCE_FALLOFF[material] * (1 - incidence)
    brightness = np.clip(surface.color.mean(axis=1) / 0.35, 0.25, 1.6) ** 0.5
    remission = REMISSION[material] * falloff * np.where(DYED[material], brightness, 1)
    remission += REMISSION_SPREAD[material] * spread
    remission = np.round(np.clip(remission, 0, 0.99), 2)

    grazing = np.clip(incidence * 60, 0, 1)  # beyond ~100 m the road is too flat to answer
    rate = RETURN_RATE[material] * (1 - model.dropout) * grazing
    height = ROUGHNESS[material] * rng.random(len(material), "f4")
    distance = surface.distance - height / np.maximum(incidence, 0.05)
    distance += model.range_noise * rng.standard_normal(len(material), "f4")
    returned = surface.hit & (distance > 1.0) & (distance < model.max_range)
    returned &= rng.random(len(material), "f4") < rate
    points = np.empty((int(returned.sum()), 4), np.float32)
    points[:, :3] = model.grid.directions[returned] * distance[returned, None]
    points[:, 3] = remission[returned]
    identity = surface.label.astype(np.uint32) | (surface.instance.astype(np.uint32) << 16)
    return points, identity[returned]
