"""From surfaces to a picture: patterns, sunlight, shadows on the ground, sky, haze."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from elite.data.street.ground import KERB
from elite.data.street.materials import Material
from elite.data.street.noise import Array, smooth_texture
from elite.data.street.patterns import decorate
from elite.data.street.plan import Plan
from elite.data.street.quads import Quads, joined
from elite.data.street.raycast import NO_QUAD, Grid, cast
from elite.data.street.scene import Facets, Scene, holes
from elite.data.street.surface import Surface
from elite.data.street.vectors import dot, rotated

SHADOW_REACH = 60.0  # metres: things farther from the camera throw no shadow
HAZE = 900.0  # metres until two thirds of a surface's light are lost
SUN = np.array([2.0, 1.8, 1.5], np.float32)
AMBIENT = np.array([0.52, 0.60, 0.72], np.float32)
HORIZON = np.array([1.00, 1.10, 1.20], np.float32)
ZENITH = np.array([0.20, 0.48, 1.15], np.float32)
CLOUD = np.float32(1.5)
SHINY = (Material.GLASS, Material.CAR_GLASS, Material.PAINT)


def shade(
    surface: Surface,
    scene: Scene,
    plan: Plan,
    grid: Grid,
    pose: Array,  # [4, 4], camera to world
    rng: np.random.Generator,
) -> Array:
    """The picture of a camera: uint8 [H, W, 3]."""
    world = rotated(grid.directions, pose[:3, :3])
    normal = rotated(surface.normal, pose[:3, :3])
    sun = plan.sun.astype(np.float32)
    decorate(surface)
    lit = dot(normal, sun)
    leaf = surface.material == Material.LEAF
    lit = np.where(leaf, 0.35 + 0.5 * np.abs(lit), np.maximum(lit, 0))
    lit[shadowed(surface, scene, grid, pose, plan.sun)] = 0
    up = 0.65 + 0.35 * normal[:, 2]
    light = AMBIENT * up[:, None] + (plan.sunshine * SUN) * lit[:, None]
    color = surface.color * light
    _reflect(color, surface, world, normal, plan)
    haze = np.exp(-surface.distance / HAZE)[:, None]
    color = color * haze + HORIZON * (1 - haze)
    empty = ~surface.hit
    color[empty] = sky(world[empty], plan)
    return _develop(color, grid, rng)


def shadowed(surface: Surface, scene: Scene, grid: Grid, pose: Array, sun: Array) -> Array:
    """Which rays meet ground that something keeps the sun from: bool [R]."""
    origin, rotation = pose[:3, 3], pose[:3, :3]
    things = joined(_casters(part, origin, sun) for part in scene.parts)
    level = origin[2] + dot(grid.directions, rotation[2].astype(np.float32)) * surface.distance
    dark = np.zeros(len(level), bool)
    for height in (0.0, KERB):
        on_level = surface.on_ground & (np.abs(level - height) < KERB / 2)
        drop = (things.corners[..., 2:] - height) / sun[2]
        flat = replace(things, corners=things.corners - np.maximum(drop, 0) * sun)
        seen = grid.sees(rotated(flat.centre - origin, rotation.T), flat.radius)
        flat = flat[np.flatnonzero(seen)]
        facets = Facets.of(rotated(flat.corners - origin, rotation.T))
        limit = np.where(on_level, surface.distance * 1.5 + 1, 0).astype(np.float32)
        dark |= cast(grid, facets.corners, limit, holes(flat, facets, grid))[1] != NO_QUAD
    return dark


def _casters(part: Quads, origin: Array, sun: Array) -> Quads:
    """The quads near enough to throw a shadow; of a solid its sunny half will do."""
    offset = part.centre - origin
    near = dot(offset, offset) < SHADOW_REACH**2
    near &= part.two_sided | (dot(part.normal, sun) > 0)
    return part[np.flatnonzero(near)]


def sky(direction: Array, plan: Plan) -> Array:
    """Colour of the sky in world directions [N, 3]."""
    up = np.clip(direction[:, 2], 0.0, 1.0)
    blend = (up**0.4)[:, None]
    color = HORIZON * (1 - blend) + ZENITH * blend
    height = 1.0 / (up + 0.12)
    x, y = direction[:, 0] * height, direction[:, 1] * height
    cloud = 1.4 * smooth_texture(x, y, 13.0) + plan.cloudiness - 0.55
    cover = (np.clip(cloud * 1.5, 0, 0.9) * np.clip(up * 8, 0, 1))[:, None].astype(np.float32)
    clouded: Array = color * (1 - cover) + CLOUD * cover
    return clouded


def _reflect(color: Array, surface: Surface, world: Array, normal: Array, plan: Plan) -> None:
    """Glass and paint mirror the sky, more so at a flat angle."""
    rows = np.flatnonzero(np.isin(surface.material, SHINY) & surface.hit)
    direction, face = world[rows], normal[rows]
    facing = dot(direction, face)
    mirrored = direction - 2 * facing[:, None] * face
    base = np.where(surface.material[rows] == Material.PAINT, 0.05, 0.14)
    fresnel = base + (1 - base) * np.clip(1 + facing, 0, 1) ** 5
    seen = np.where(mirrored[:, 2:] > 0, sky(mirrored, plan), np.float32(0.16))
    share = (0.9 * fresnel)[:, None].astype(np.float32)
    color[rows] = color[rows] * (1 - share) + seen * share


def _develop(color: Array, grid: Grid, rng: np.random.Generator) -> Array:
    """Exposure, vignette, sensor noise and the eye's curve."""
    image = color.reshape(grid.rows, grid.columns, 3)
    x = np.linspace(-1, 1, grid.columns, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, grid.rows, dtype=np.float32)[:, None]
    image = image * (1 - 0.18 * (x * x + 0.4 * y * y))[..., None]
    image = (1 - np.exp(-1.15 * image)) ** 0.7
    image = 255 * (0.35 * image + 0.65 * image * image * (3 - 2 * image))
    image += 2.5 * rng.standard_normal(image.shape[:2], "f4")[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)
