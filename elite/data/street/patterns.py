"""What surfaces look like up close: windows, bricks, tiles, slabs, grain."""

from __future__ import annotations

import numpy as np

from elite.data.street.buildings import STOREY
from elite.data.street.materials import Material
from elite.data.street.noise import hash_unit, texture
from elite.data.street.surface import Surface

FRAME = np.array([0.62, 0.61, 0.58], np.float32)
PANE = np.array([0.07, 0.09, 0.11], np.float32)

# how strongly fine grain shows on each material, and how many texels a metre has
_GRAIN = {
    Material.ASPHALT: (0.22, 60.0),
    Material.MARKING: (0.12, 40.0),
    Material.COBBLE: (0.20, 40.0),
    Material.PAVING: (0.12, 40.0),
    Material.GRASS: (0.45, 45.0),
    Material.SOIL: (0.28, 40.0),
    Material.FACADE: (0.08, 30.0),
    Material.WALL: (0.08, 30.0),
    Material.ROOF: (0.12, 30.0),
    Material.WOOD: (0.20, 50.0),
    Material.PICKET: (0.20, 50.0),
    Material.BARK: (0.35, 40.0),
    Material.LEAF: (0.45, 60.0),
    Material.CLOTH: (0.15, 60.0),
}
_AMOUNT = np.array([_GRAIN.get(material, (0.0, 1.0))[0] for material in Material], np.float32)
_TEXELS = np.array([_GRAIN.get(material, (0.0, 1.0))[1] for material in Material], np.float32)


def windows(surface: Surface) -> None:
    """Turns the panes of facades from wall to glass, for every sensor alike."""
    rows = np.flatnonzero(surface.material == Material.FACADE)
    if len(rows) == 0:
        return
    house = surface.seed[rows] >> 4
    pitch = 1.8 + 1.3 * hash_unit(house, 1)
    width = surface.width[rows]
    pitch = width / np.maximum(np.round(width / pitch), 1)
    across = (surface.u[rows] / pitch) % 1.0 - 0.5
    upward = ((surface.v[rows] - 0.4) / STOREY) % 1.0 - 0.55
    half = 0.20 + 0.12 * hash_unit(house, 2)
    tall = 0.20 + 0.08 * hash_unit(house, 3)
    within = (surface.v[rows] > 0.5) & (surface.v[rows] < surface.height[rows] - 0.35)
    opening = within & (np.abs(across) < half) & (np.abs(upward) < tall)
    border = 0.06 / pitch
    bar = (np.abs(across) < border * 0.6) | (np.abs(across) > half - border)
    bar |= (np.abs(upward) > tall - 0.025) | (np.abs(upward - 0.3 * tall) < 0.012)
    sill = within & (np.abs(across) < half + border) & (np.abs(upward + tall + 0.02) < 0.02)
    framed = rows[(opening & bar) | sill]
    surface.material[framed], surface.color[framed] = Material.WALL, FRAME
    panes = rows[opening & ~bar]
    surface.material[panes] = Material.GLASS
    cell = np.floor(surface.u[panes] / pitch[opening & ~bar]).astype(np.int32)
    floor = np.floor((surface.v[panes] - 0.4) / STOREY).astype(np.int32)
    curtain = hash_unit(cell, floor, house[opening & ~bar])
    surface.color[panes] = PANE + 0.35 * (curtain > 0.75)[:, None].astype(np.float32)


def decorate(surface: Surface) -> None:
    """Adds the patterns that only a camera sees."""
    _joints(surface)
    # what is finer than a pixel averages out instead of flickering
    fade = 1 / (1 + (surface.distance / 22.0) ** 2)
    texels = _TEXELS[surface.material]
    grain = texture(surface.u * texels, surface.v * texels, 1.0)
    coarse = texture(surface.v * texels, surface.u * texels, 0.21)
    amount = _AMOUNT[surface.material]
    factor = 1 + amount * (1.3 * grain * fade + 0.8 * coarse * np.sqrt(fade))
    surface.color *= factor[:, None].astype(np.float32)


# length and height of a brick, tile or slab in metres, width of the joint, how dark it is
_COURSES = {
    Material.PAVING: (0.60, 0.40, 0.018, 0.72),
    Material.COBBLE: (0.22, 0.16, 0.025, 0.65),
    Material.ROOF: (0.30, 0.34, 0.050, 0.70),
    Material.FACADE: (0.30, 0.14, 0.018, 0.82),
    Material.WOOD: (2.20, 0.14, 0.015, 0.60),
}


def _joints(surface: Surface) -> None:
    for material, (length, height, joint, dark) in _COURSES.items():
        rows = np.flatnonzero((surface.material == material) & (surface.distance < 45))
        u, v = surface.u[rows], surface.v[rows]
        course = np.floor(v / height)
        shifted = u + 0.5 * length * (course % 2)
        block = np.floor(shifted / length)
        seam = (v - course * height < joint) | (shifted - block * length < joint)
        tone = 0.92 + 0.16 * hash_unit(block.astype(np.int32), course.astype(np.int32))
        factor = np.where(seam, np.float32(dark), tone)
        fade = np.clip(1.6 - surface.distance[rows] / 25, 0, 1)
        surface.color[rows] *= (1 + (factor - 1) * fade)[:, None]
