"""The street at one moment, and what the rays of a sensor meet in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elite.data.street.ground import MATERIAL, RAW_LABEL, Ground, ground_color
from elite.data.street.materials import Material
from elite.data.street.noise import Array, hash_unit
from elite.data.street.quads import Quads, joined
from elite.data.street.raycast import NO_QUAD, Grid, Solid, cast
from elite.data.street.surface import Surface
from elite.data.street.vectors import cross, dot, length, rotated

LEAF_CELL = 0.11  # metres, the size of a tuft of leaves
PICKET_PITCH = 0.16  # metres from one picket to the next


@dataclass(frozen=True)
class Facets:
    """The quads in a sensor's frame, with the axes of their own planes."""

    corners: Array  # float64 [Q, 4, 3]
    anchor: Array  # float32 [Q, 3], where u and v are 0
    along: Array  # float32 [Q, 3], the u axis
    up: Array  # float32 [Q, 3], the v axis
    size: Array  # float32 [Q, 2], metres along u and v

    @staticmethod
    def of(corners: Array) -> Facets:
        along = corners[:, 1] - corners[:, 0]
        short = dot(along, along) < 1e-12
        along[short] = (corners[:, 2] - corners[:, 3])[short]
        width = length(along)
        along /= np.maximum(width, 1e-9)[:, None]
        up = (corners[:, 3] - corners[:, 0] + corners[:, 2] - corners[:, 1]) / 2
        up -= dot(up, along)[:, None] * along
        height = length(up)
        up /= np.maximum(height, 1e-9)[:, None]
        size = np.stack([width, height], axis=1)
        anchor = corners[:, 0]
        return Facets(corners, *(part.astype(np.float32) for part in (anchor, along, up, size)))

    def place(self, quad: Array, position: Array) -> tuple[Array, Array]:
        """Metres along u and v of positions [P, 3] on quads [P]."""
        offset = position - self.anchor[quad]
        return dot(offset, self.along[quad]), dot(offset, self.up[quad])


@dataclass(frozen=True)
class Scene:
    ground: Ground
    parts: tuple[Quads, ...]  # chunks and what moves

    def trace(self, grid: Grid, pose: Array, limit: float) -> Surface:
        """What each ray of a sensor meets.

        Args:
            grid: The rays.
            pose: [4, 4], sensor to world.
            limit: How far the sensor sees, metres.
        """
        rotation, origin = pose[:3, :3], pose[:3, 3]
        world = rotated(grid.directions, rotation)
        distance, kind = self.ground.hit(origin, world, limit)
        things = self.visible(grid, pose, limit)
        facets = Facets.of(rotated(things.corners - origin, rotation.T))
        solid = holes(things, facets, grid)
        distance, winner = cast(grid, facets.corners, distance, solid)
        surface = _ground_surface(origin, world, distance, kind, rotation[2], limit)
        _overlay(surface, things, facets, grid, winner)
        return surface

    def visible(self, grid: Grid, pose: Array, limit: float) -> Quads:
        """The quads that a sensor may see: near enough, within its view, turned towards it."""
        rotation, origin = pose[:3, :3], pose[:3, 3]
        chosen = []
        for part in self.parts:
            offset = part.centre - origin
            reach = limit + part.radius
            seen = dot(offset, offset) < reach * reach
            seen &= part.two_sided | (dot(offset, part.normal) < 0)
            rows = np.flatnonzero(seen)
            rows = rows[grid.sees(rotated(offset[rows], rotation.T), part.radius[rows])]
            chosen.append(part[rows])
        return joined(chosen)


def _ground_surface(
    origin: Array,  # [3], world
    world: Array,  # float32 [R, 3], directions of the rays
    distance: Array,  # float32 [R]
    kind: Array,  # uint8 [R]
    up: Array,  # [3], the world's z axis in the sensor's frame
    limit: float,
) -> Surface:
    """The surface as if nothing stood on the ground."""
    count = len(world)
    hit = distance < limit
    x = np.where(hit, origin[0] + world[:, 0] * distance, 0.0)
    y = np.where(hit, origin[1] + world[:, 1] * distance, 0.0)
    return Surface(
        distance=distance,
        hit=hit,
        on_ground=hit.copy(),
        label=np.where(hit, RAW_LABEL[kind], 0).astype(np.uint16),
        instance=np.zeros(count, np.uint16),
        material=MATERIAL[kind],
        color=ground_color(kind, x, y),
        normal=np.tile(up.astype(np.float32), (count, 1)),
        u=x,
        v=y,
        width=np.ones(count, np.float32),
        height=np.ones(count, np.float32),
        seed=np.zeros(count, np.uint32),
    )


def holes(things: Quads, facets: Facets, grid: Grid) -> Solid:
    """Foliage and fences let some rays through, at the same places for every sensor."""
    leafy, slatted = things.material == Material.LEAF, things.material == Material.PICKET
    leafy &= things.two_sided
    porous = leafy | slatted

    def solid(quad: Array, ray: Array, at: Array) -> Array:
        kept = np.ones(len(quad), bool)
        rows = np.flatnonzero(porous[quad])
        row = quad[rows]
        u, v = facets.place(row, grid.directions[ray[rows]] * at[rows, None])
        cell_u = np.floor(u / LEAF_CELL).astype(np.int32)
        cell_v = np.floor(v / LEAF_CELL).astype(np.int32)
        draw = hash_unit(cell_u, cell_v, things.seed[row])
        size = facets.size[row]
        edge = np.hypot(2 * u / size[:, 0] - 1, 2 * v / size[:, 1] - 1)  # 1 on the inner circle
        leaf = draw > 0.10 + 0.50 * edge**2
        picket = (u % PICKET_PITCH) < 0.6 * PICKET_PITCH
        kept[rows] = np.where(leafy[row], leaf, picket)
        return kept

    return solid


def _overlay(surface: Surface, things: Quads, facets: Facets, grid: Grid, winner: Array) -> None:
    """Writes the quads that rays meet over the ground behind them."""
    ray = np.flatnonzero(winner != NO_QUAD)
    quad = winner[ray]
    surface.hit[ray], surface.on_ground[ray] = True, False
    surface.label[ray] = things.label[quad]
    surface.instance[ray] = things.instance[quad]
    surface.material[ray] = things.material[quad]
    surface.color[ray] = things.color[quad]
    surface.seed[ray] = things.seed[quad]
    direction = grid.directions[ray]
    surface.u[ray], surface.v[ray] = facets.place(quad, direction * surface.distance[ray, None])
    surface.width[ray], surface.height[ray] = facets.size[quad].T
    normal = cross(facets.along, facets.up)[quad]
    towards = dot(normal, direction) > 0
    surface.normal[ray] = np.where(towards[:, None], -normal, normal)
