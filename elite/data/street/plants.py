"""Trees, bushes and hedges: foliage is made of many small sheets full of holes."""

from __future__ import annotations

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.noise import Array
from elite.data.street.quads import Color, Quads, box, joined, lathe, quads, rod, rods
from elite.data.street.vectors import cross, length

VEGETATION, TRUNK = 70, 71
GREENS: tuple[Color, ...] = (
    (0.12, 0.22, 0.04),
    (0.17, 0.25, 0.05),
    (0.09, 0.17, 0.05),
    (0.24, 0.27, 0.06),
    (0.13, 0.19, 0.08),
)
BARKS: tuple[Color, ...] = ((0.20, 0.15, 0.11), (0.27, 0.23, 0.19), (0.14, 0.11, 0.09))


def _sheets(
    rng: np.random.Generator,
    centres: Array,  # [S, 3], metres
    outward: Array,  # [S, 3], roughly where the leaves face
    size: float,
    color: Color,
    shade: Array,  # [S], 0..1: how deep inside the crown
) -> Quads:
    """Square sheets of leaves at `centres`, each turned its own way."""
    count = len(centres)
    facing = outward + 0.7 * rng.standard_normal((count, 3))
    facing /= length(facing)[:, None]
    right = cross(facing, rng.standard_normal((count, 3)))
    right /= length(right)[:, None]
    up = cross(facing, right)
    half = 0.5 * size * rng.uniform(0.7, 1.3, (count, 1))
    right, up = right * half, up * half
    corners = np.stack([-right - up, right - up, right + up, -right + up], axis=1)
    tone = (0.45 + 0.55 * (1 - shade)) * rng.uniform(0.75, 1.25, count)
    colors = np.asarray(color) * tone[:, None]
    first = int(rng.integers(1 << 30))
    return quads(corners + centres[:, None], Material.LEAF, colors, seed=first, two_sided=True)


def _ball(
    rng: np.random.Generator,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    count: int,
    size: float,
    color: Color,
) -> Quads:
    """A ball of leaves, denser and brighter towards its outside."""
    direction = rng.standard_normal((count, 3))
    direction /= length(direction)[:, None]
    depth = rng.uniform(0.55, 1.0, count) ** 0.6
    places = np.asarray(centre) + direction * depth[:, None] * np.asarray(radii)
    below = np.clip(-direction[:, 2], 0, 1)
    shade = np.clip(1.6 * (1 - depth) + 0.5 * below, 0, 1)
    return _sheets(rng, places, direction, size, color, shade)


def tree(rng: np.random.Generator) -> Quads:
    """A broad-leaved tree or, more rarely, a conifer."""
    return _conifer(rng) if rng.random() < 0.2 else _broadleaf(rng)


def _broadleaf(rng: np.random.Generator) -> Quads:
    height = float(rng.uniform(5.0, 11.0))
    stem, girth = float(rng.uniform(0.22, 0.34)) * height, 0.018 * height + 0.04
    bark, green = BARKS[rng.integers(len(BARKS))], GREENS[rng.integers(len(GREENS))]
    sway = rng.normal(0, 0.15, 2)
    fork = (float(sway[0]), float(sway[1]), stem)
    trunk = [rod((0, 0, -0.1), fork, (girth, 0.75 * girth), Material.BARK, bark, sides=8)]
    trunk.append(lathe([(-0.1, 1.7 * girth), (0.35, girth)], 8, Material.BARK, bark))
    leaves, tips = [], []
    spread = float(rng.uniform(0.28, 0.38)) * height
    for _ in range(int(rng.integers(4, 7))):
        angle, out = rng.uniform(0, 2 * np.pi), spread * float(rng.uniform(0.3, 0.65))
        tip = (
            float(out * np.cos(angle)),
            float(out * np.sin(angle)),
            float(rng.uniform(0.45, 0.82)) * height,
        )
        tips.append(tip)
        radius = spread * float(rng.uniform(0.5, 0.7))
        leaves.append(_ball(rng, tip, (radius, radius, 0.85 * radius), 30, 0.95, green))
    forks = [fork] * len(tips)
    trunk.append(rods(forks, tips, (0.5 * girth, 0.03), Material.BARK, bark, sides=5))
    return joined([joined(trunk).named(TRUNK), joined(leaves).named(VEGETATION)])


def _conifer(rng: np.random.Generator) -> Quads:
    height = float(rng.uniform(6.0, 12.0))
    base, radius = 0.12 * height, 0.2 * height
    trunk = rod((0, 0, -0.1), (0, 0, 0.9 * height), (0.2, 0.03), Material.BARK, BARKS[2], sides=8)
    along = rng.uniform(0, 1, 150) ** 1.4
    angle = rng.uniform(0, 2 * np.pi, 150)
    depth = rng.uniform(0.4, 1.0, 150)
    out = radius * (1 - along) * depth
    places = np.stack(
        [out * np.cos(angle), out * np.sin(angle), base + along * (height - base)], axis=1
    )
    outward = np.stack([np.cos(angle), np.sin(angle), np.full(150, 0.6)], axis=1)
    leaves = _sheets(rng, places, outward, 0.9, (0.06, 0.12, 0.05), 1 - depth)
    return joined([trunk.named(TRUNK), leaves.named(VEGETATION)])


def bush(rng: np.random.Generator, size: float = 1.0) -> Quads:
    """A round bush, about `size` metres high and twice as wide."""
    green = GREENS[rng.integers(len(GREENS))]
    wide, high = (size * float(rng.uniform(low, 1.3)) for low in (0.7, 0.6))
    core = lathe(
        [(0, 0.5 * wide), (0.5 * high, 0.65 * wide), (0.8 * high, 0)],
        7,
        Material.LEAF,
        (0.05, 0.08, 0.03),
    )
    leaves = _ball(
        rng,
        (0, 0, 0.5 * high),
        (wide, wide, 0.6 * high),
        int(60 * max(1.0, size)),
        0.45 * size**0.5,
        green,
    )
    return joined([core, leaves]).named(VEGETATION)


def hedge(rng: np.random.Generator, extent: float, height: float) -> Quads:
    """A clipped hedge along x, as long as asked for."""
    green = GREENS[rng.integers(len(GREENS))]
    core = box(
        (extent, 0.5, height - 0.1), (0, 0, height / 2 - 0.05), Material.LEAF, (0.05, 0.09, 0.03)
    )
    count = int(extent * 14)
    places = rng.uniform((-extent / 2, -1, 0.05), (extent / 2, 1, 1.0), (count, 3))
    flat = rng.random(count) < 0.3
    outward = np.where(flat[:, None], (0.0, 0.0, 1.0), np.sign(places) * (0.0, 1.0, 0.0))
    places[:, 1] = np.where(flat, 0.3 * places[:, 1], np.sign(places[:, 1]) * 0.3)
    places[:, 2] = np.where(flat, height, height * places[:, 2])
    leaves = _sheets(rng, places, 1.5 * outward, 0.42, green, 0.6 * (1 - places[:, 2] / height))
    return joined([core, leaves]).named(VEGETATION)
