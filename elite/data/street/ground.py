"""The ground: an endless, gently curving street with pavements, verges and side streets.

Two levels only, the road and everything beside it a kerb higher, so a ray meets the ground in
closed form. What the ground is at a place follows from the place alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.noise import Array, texture

CHUNK = 40.0  # metres of street that are made at once
KERB = 0.12  # metres


class Kind(IntEnum):
    ROAD = 0
    MARKING = 1
    PARKING = 2
    SIDEWALK = 3
    OTHER_GROUND = 4
    TERRAIN = 5


RAW_LABEL: Array = np.array([40, 60, 44, 48, 49, 72], np.uint16)
MATERIAL: Array = np.array(
    [
        Material.ASPHALT,
        Material.MARKING,
        Material.COBBLE,
        Material.PAVING,
        Material.SOIL,
        Material.GRASS,
    ],
    np.uint8,
)
COLOR: Array = np.array(
    [
        (0.23, 0.23, 0.24),
        (0.80, 0.80, 0.77),
        (0.33, 0.30, 0.28),
        (0.42, 0.41, 0.39),
        (0.45, 0.38, 0.29),
        (0.17, 0.25, 0.07),
    ],
    np.float32,
)


class Course:
    """The centre line of the road, y = f(x): a few long waves, never steeper than 0.21."""

    WAVELENGTHS = (710.0, 310.0, 170.0)  # metres
    SLOPES = (0.12, 0.06, 0.03)

    def __init__(self, rng: np.random.Generator) -> None:
        self._phase = rng.uniform(0, 2 * np.pi, 3)

    def _waves(self, x: Array) -> tuple[Array, Array]:
        y, slope = np.zeros(x.shape, np.float32), np.zeros(x.shape, np.float32)
        for length, steep, phase in zip(self.WAVELENGTHS, self.SLOPES, self._phase, strict=True):
            rate = 2 * np.pi / length
            turns = x * (1 / length) + phase / (2 * np.pi)
            # reduced in float64: far down the road float32 has no digits left for a phase
            angle = ((turns - np.rint(turns)) * (2 * np.pi)).astype(np.float32)
            y += np.sin(angle) * np.float32(steep / rate)
            slope += np.cos(angle) * np.float32(steep)
        return y, slope

    def lateral(self, x: Array, y: Array) -> Array:
        """Metres to the left of the centre line."""
        centre, slope = self._waves(x)
        d: Array = (y - centre) / np.sqrt(1 + slope * slope)
        return d

    def heading(self, x: float) -> float:
        """Direction of the road, radians from the x axis."""
        return float(np.arctan(self._waves(np.array(x))[1]))

    def place(self, x: float, d: float) -> tuple[float, float]:
        """The place `d` metres left of the centre line, abeam of its point at `x`."""
        y, slope = (float(value) for value in self._waves(np.array(x)))
        norm = float(np.hypot(1.0, slope))
        return x - d * slope / norm, y + d / norm


@dataclass(frozen=True)
class Crossing:
    """A side street square to the road, to both sides."""

    x: float  # metres, where it meets the centre line
    y: float
    heading: float  # of the road here, radians
    half_width: float  # of its roadway, metres
    pavement: float = 2.0  # width of its sidewalks, metres

    def along(self, x: Array, y: Array) -> Array:
        """Metres from the side street's axis, measured along the main road."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        along: Array = (x - self.x) * cos + (y - self.y) * sin
        return along


@dataclass(frozen=True)
class Zones:
    """What lies beside the road in each chunk of a window.

    Distances from the centre line are the same along a whole sequence; only the kinds change.
    """

    edges: tuple[float, float, float]  # metres: roadway, outer edge of parking/verge, of sidewalk
    first: int  # index of the first chunk
    kinds: Array  # uint8 [chunks, 2 (left, right), 3]


@dataclass(frozen=True)
class Ground:
    course: Course
    zones: Zones
    crossings: tuple[Crossing, ...]

    def kind(self, x: Array, y: Array) -> Array:
        """The kind of ground at each place: uint8 [N]."""
        d = self.course.lateral(x, y)
        beside, zones = np.abs(d), self.zones
        chunk = np.floor(x / CHUNK).astype(np.int64) - zones.first
        chunk = np.clip(chunk, 0, len(zones.kinds) - 1)
        zone = sum((beside >= edge).astype(np.int8) for edge in zones.edges[1:])
        kind: Array = zones.kinds[chunk, (d < 0).astype(np.int8), zone]
        kind[beside < zones.edges[0]] = Kind.ROAD
        self._mark_parking(kind, x)
        self._mark_lanes(kind, x, d)
        for crossing in self.crossings:
            self._cross(kind, crossing, x, y, d)
        return kind

    @staticmethod
    def _mark_parking(kind: Array, x: Array) -> None:
        kind[(kind == Kind.PARKING) & (x % 6.0 < 0.1)] = Kind.MARKING

    def _mark_lanes(self, kind: Array, x: Array, d: Array) -> None:
        edge = self.zones.edges[0] - 0.25
        line = (np.abs(d) < 0.07) & (x % 9.0 < 4.0)
        line |= np.abs(np.abs(d) - edge) < 0.06
        kind[line] = Kind.MARKING

    def _cross(self, kind: Array, crossing: Crossing, x: Array, y: Array, d: Array) -> None:
        along = crossing.along(x, y)
        beside, off_road = np.abs(along), np.abs(d) >= self.zones.edges[0]
        half = crossing.half_width
        pavement = off_road & (beside < half + crossing.pavement)
        kind[pavement & (kind != Kind.ROAD)] = Kind.SIDEWALK
        inside = beside < half
        kind[inside] = Kind.ROAD
        kind[inside & off_road & (beside < 0.06) & (np.abs(d) % 6.0 < 3.0)] = Kind.MARKING
        zebra = (beside > half + 1.0) & (beside < half + 4.0) & ~off_road
        kind[zebra] = np.where(d[zebra] % 1.0 < 0.5, Kind.MARKING, Kind.ROAD)

    def height(self, x: Array, y: Array) -> Array:
        """Metres above the road."""
        raised: Array = self.kind(x, y) >= Kind.SIDEWALK
        return raised * KERB

    def hit(
        self,
        origin: Array,  # [3], world
        directions: Array,  # float32 [R, 3], world
        limit: float,
    ) -> tuple[Array, Array]:
        """Where rays meet the ground: distance float32 [R] (`limit` if nowhere), kind uint8 [R]."""
        distance = np.full(len(directions), limit, np.float32)
        kind = np.zeros(len(directions), np.uint8)
        fall = -directions[:, 2]
        down = np.flatnonzero(fall * limit > origin[2])
        ray = directions[down].astype(np.float64)
        upper, lower = ((origin[2] - h) / fall[down].astype(np.float64) for h in (KERB, 0.0))

        at, found = upper.copy(), self._kind_along(origin, ray, upper)
        below = np.flatnonzero(found < Kind.SIDEWALK)
        at[below] = lower[below]
        found[below] = self._kind_along(origin, ray[below], lower[below])
        face = below[found[below] >= Kind.SIDEWALK]
        at[face] = self._kerb(origin, ray[face], upper[face], lower[face])
        found[face] = Kind.SIDEWALK  # kerbstones are the sidewalk's, whatever grows behind them
        distance[down], kind[down] = at, found
        return distance, kind

    def _kind_along(self, origin: Array, ray: Array, at: Array) -> Array:
        return self.kind(origin[0] + ray[:, 0] * at, origin[1] + ray[:, 1] * at)

    def _kerb(self, origin: Array, ray: Array, near: Array, far: Array) -> Array:
        """Where a ray leaves the air above the road and enters the kerb, by bisection."""
        for _ in range(8):
            middle = (near + far) / 2
            inside = self._kind_along(origin, ray, middle) >= Kind.SIDEWALK
            near, far = np.where(inside, near, middle), np.where(inside, middle, far)
        return far


def ground_color(kind: Array, x: Array, y: Array) -> Array:
    """Reflectance float32 [N, 3] with large, soft stains; fine grain is the shader's work."""
    stain = 1 + 0.10 * texture(x, y, 1.7) + 0.06 * texture(y, x, 0.31)
    color = COLOR[kind] * stain[:, None].astype(np.float32)
    grass = kind == Kind.TERRAIN
    dry = np.clip(0.5 + texture(x[grass], y[grass], 0.9), 0, 1)[:, None]
    color[grass] *= 1 + dry * np.array([0.9, 0.35, 0.3], np.float32)
    return color
