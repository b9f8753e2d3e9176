"""Everything that stands on the ground is made of planar quads; here they are built and moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.noise import Array
from elite.data.street.vectors import cross, length, rotated

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Quads:
    """Planar, convex quads; counter-clockwise from outside, a repeated corner makes a triangle."""

    corners: Array  # float64 [Q, 4, 3], metres
    material: Array  # uint8 [Q]
    color: Array  # float32 [Q, 3], linear reflectance 0..1
    label: Array  # uint16 [Q], raw label
    instance: Array  # uint16 [Q], 0 = none
    seed: Array  # uint32 [Q], varies the pattern from face to face
    two_sided: Array  # bool [Q], seen from behind too

    def __len__(self) -> int:
        return len(self.corners)

    @cached_property
    def centre(self) -> Array:
        """float64 [Q, 3]"""
        c = self.corners
        middle: Array = (c[:, 0] + c[:, 1] + c[:, 2] + c[:, 3]) / 4
        return middle

    @cached_property
    def radius(self) -> Array:
        """Of a ball about the centre that holds the quad: float64 [Q]."""
        reach = length(self.corners - self.centre[:, None])
        longest: Array = np.maximum.reduce([reach[:, i] for i in range(4)])
        return longest

    @cached_property
    def normal(self) -> Array:
        """Outward, not of unit length: float64 [Q, 3]."""
        c = self.corners
        return cross(c[:, 2] - c[:, 0], c[:, 3] - c[:, 1])

    def placed(self, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Quads:
        """Turned by `yaw` (radians) about z, then moved to (x, y, z) in metres."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return replace(self, corners=rotated(self.corners, turn) + np.array([x, y, z]))

    def turned(self, rotation: Array) -> Quads:  # [3, 3]
        return replace(self, corners=rotated(self.corners, rotation))

    def named(self, label: int, instance: int = 0) -> Quads:
        """The same quads as one thing: a raw label and an instance id."""
        return replace(
            self,
            label=np.full(len(self), label, np.uint16),
            instance=np.full(len(self), instance, np.uint16),
        )

    def __getitem__(self, rows: Array) -> Quads:
        return Quads(
            self.corners[rows],
            self.material[rows],
            self.color[rows],
            self.label[rows],
            self.instance[rows],
            self.seed[rows],
            self.two_sided[rows],
        )


def quads(
    corners: Array,  # [Q, 4, 3]
    material: Material,
    color: Color | Array,
    *,
    seed: int = 0,
    two_sided: bool = False,
) -> Quads:
    corners = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 3)
    count = len(corners)
    return Quads(
        corners,
        np.full(count, material, np.uint8),
        np.broadcast_to(np.asarray(color, np.float32), (count, 3)).copy(),
        np.zeros(count, np.uint16),
        np.zeros(count, np.uint16),
        np.arange(seed, seed + count).astype(np.uint32),
        np.full(count, two_sided),
    )


def joined(parts: Iterable[Quads]) -> Quads:
    parts = list(parts)
    if not parts:
        return quads(np.zeros((0, 4, 3)), Material.WALL, (0, 0, 0))
    return Quads(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.material for part in parts]),
        np.concatenate([part.color for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.instance for part in parts]),
        np.concatenate([part.seed for part in parts]),
        np.concatenate([part.two_sided for part in parts]),
    )


def frustum(
    base: Sequence[float],  # x0, x1, y0, y1 at z0
    top: Sequence[float],  # x0, x1, y0, y1 at z1
    z0: float,
    z1: float,
    material: Material,
    color: Color,
    *,
    lid: Material | None = None,
    lid_color: Color | None = None,
    seed: int = 0,
) -> Quads:
    """A box whose top may be smaller than its base; sides -y, +x, +y, -x, then the lid."""

    def ring(bounds: Sequence[float], z: float) -> list[tuple[float, float, float]]:
        x0, x1, y0, y1 = bounds
        return [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]

    low, high = ring(base, z0), ring(top, z1)
    sides = [[low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]] for i in range(4)]
    return joined(
        [
            quads(np.array(sides), material, color, seed=seed),
            quads(np.array([high]), lid or material, lid_color or color, seed=seed + 4),
        ]
    )


def box(
    size: Sequence[float],
    centre: Sequence[float],
    material: Material,
    color: Color,
    *,
    lid: Material | None = None,
    lid_color: Color | None = None,
    seed: int = 0,
) -> Quads:
    """An upright box without a floor; `size` and `centre` in metres, x y z."""
    (long, width, height), (x, y, z) = size, centre
    bounds = (x - long / 2, x + long / 2, y - width / 2, y + width / 2)
    z0, z1 = z - height / 2, z + height / 2
    return frustum(bounds, bounds, z0, z1, material, color, lid=lid, lid_color=lid_color, seed=seed)


def lathe(
    profile: Sequence[tuple[float, float]],  # (z, radius), metres, from bottom to top
    sides: int,
    material: Material,
    color: Color,
    *,
    seed: int = 0,
) -> Quads:
    """A profile turned about the z axis."""
    angle = np.arange(sides) * 2 * np.pi / sides
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], -1)
    z, radius = np.asarray(profile, dtype=np.float64).T
    rings = circle * radius[:, None, None] + z[:, None, None] * np.array([0.0, 0.0, 1.0])
    following = rings[:, np.arange(1, sides + 1) % sides]
    faces = np.stack([rings[:-1], following[:-1], following[1:], rings[1:]], axis=2)
    return quads(faces, material, color, seed=seed)


def rods(
    starts: Array | Sequence[Sequence[float]],  # [R, 3], metres
    ends: Array | Sequence[Sequence[float]],  # [R, 3], metres
    radius: float | tuple[float, float],
    material: Material,
    color: Color,
    *,
    sides: int = 6,
) -> Quads:
    """Round bars with open ends; two radii make each a cone's stump."""
    first, last = radius if isinstance(radius, tuple) else (radius, radius)
    begin, end = np.asarray(starts, np.float64), np.asarray(ends, np.float64)
    axis = (end - begin) / length(end - begin)[:, None]
    helper = np.where(np.abs(axis[:, 1:2]) < 0.9, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    across = cross(axis, helper)
    across /= length(across)[:, None]
    angle = np.arange(sides + 1) % sides * (2 * np.pi / sides)
    circle = np.cos(angle)[:, None] * across[:, None]
    circle = circle + np.sin(angle)[:, None] * cross(axis, across)[:, None]  # [R, sides + 1, 3]
    low, high = begin[:, None] + first * circle, end[:, None] + last * circle
    faces = np.stack([low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]], axis=2)
    return quads(faces, material, color)


def rod(
    start: Sequence[float],
    end: Sequence[float],
    radius: float | tuple[float, float],
    material: Material,
    color: Color,
    *,
    sides: int = 6,
) -> Quads:
    """One round bar with open ends."""
    return rods([start], [end], radius, material, color, sides=sides)


def panel(
    corners: Sequence[Sequence[float]],  # 4 x 3
    material: Material,
    color: Color,
    *,
    seed: int = 0,
) -> Quads:
    """One thin sheet, seen from both sides."""
    return quads(np.array([corners]), material, color, seed=seed, two_sided=True)
