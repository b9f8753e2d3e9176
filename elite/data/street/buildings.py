"""Houses: along x, front face towards -y, centre of the front at the origin's y."""

from __future__ import annotations

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.quads import Color, Quads, box, joined, quads

BUILDING = 50
WALLS: tuple[Color, ...] = (
    (0.62, 0.56, 0.45),
    (0.68, 0.65, 0.58),
    (0.40, 0.20, 0.14),
    (0.48, 0.28, 0.20),
    (0.55, 0.50, 0.46),
    (0.66, 0.50, 0.36),
    (0.50, 0.54, 0.56),
    (0.70, 0.62, 0.42),
)
ROOFS: tuple[Color, ...] = ((0.34, 0.13, 0.08), (0.20, 0.16, 0.15), (0.28, 0.10, 0.07))
STOREY = 3.0  # metres
TRIM: Color = (0.60, 0.58, 0.54)


def building(
    rng: np.random.Generator, length: float, depth: float, storeys: int, *, gable: bool
) -> Quads:
    """A house with windows, a plinth, a door, perhaps balconies, and a flat or a gable roof."""
    height = storeys * STOREY + 0.4
    red, green, blue = WALLS[rng.integers(len(WALLS))]
    tone = float(rng.uniform(0.85, 1.1))
    color = (red * tone, green * tone, blue * tone)
    seed = int(rng.integers(1 << 30)) & ~0xF  # faces of one house share the upper bits
    parts = [
        box((length, depth, height), (0, depth / 2, height / 2), Material.FACADE, color, seed=seed),
        box(
            (length + 0.1, depth + 0.1, 0.5), (0, depth / 2, 0.25), Material.WALL, (0.3, 0.29, 0.28)
        ),
    ]
    door = float(rng.uniform(-0.35, 0.35)) * length
    parts.append(box((1.3, 0.2, 2.3), (door, -0.03, 1.15), Material.WOOD, (0.16, 0.10, 0.06)))
    parts.append(box((2.0, 0.8, 0.12), (door, -0.35, 2.55), Material.WALL, TRIM))
    parts.append(
        _gable_roof(rng, length, depth, height) if gable else _flat_roof(length, depth, height)
    )
    if not gable and rng.random() < 0.6:
        parts.append(_balconies(rng, length, storeys))
    if rng.random() < 0.5:
        parts.append(
            box(
                (3.0, 1.0, height * 0.7),
                (-0.25 * length, -0.4, height * 0.35),
                Material.FACADE,
                color,
                seed=seed,
            )
        )
    return joined(parts).named(BUILDING)


def _flat_roof(length: float, depth: float, height: float) -> Quads:
    cornice = box(
        (length + 0.5, depth + 0.5, 0.35),
        (0, depth / 2, height + 0.1),
        Material.WALL,
        TRIM,
        lid=Material.ROOF,
        lid_color=(0.25, 0.25, 0.25),
    )
    hut = box((2.5, 2.5, 1.8), (length * 0.2, depth / 2, height + 1.0), Material.WALL, TRIM)
    return joined([cornice, hut])


def _gable_roof(rng: np.random.Generator, length: float, depth: float, height: float) -> Quads:
    """A ridge along the street, with eaves and a chimney."""
    rise, over = depth * float(rng.uniform(0.32, 0.48)), 0.45
    x0, x1 = -length / 2 - over, length / 2 + over
    y0, y1, middle = -over, depth + over, depth / 2
    eave, ridge = height - over * rise / (depth / 2), height + rise
    color = ROOFS[rng.integers(len(ROOFS))]
    slopes = [
        [(x0, y0, eave), (x1, y0, eave), (x1, middle, ridge), (x0, middle, ridge)],
        [(x1, y1, eave), (x0, y1, eave), (x0, middle, ridge), (x1, middle, ridge)],
    ]
    ends = [
        [(x, y, z) for y, z in corners]
        for x, corners in (
            (
                -length / 2,
                [(depth, height), (0, height), (middle, ridge - 0.05), (middle, ridge - 0.05)],
            ),
            (
                length / 2,
                [(0, height), (depth, height), (middle, ridge - 0.05), (middle, ridge - 0.05)],
            ),
        )
    ]
    roof = quads(np.array(slopes), Material.ROOF, color, two_sided=True)
    gables = quads(np.array(ends), Material.WALL, WALLS[rng.integers(len(WALLS))])
    chimney = (float(rng.uniform(-0.3, 0.3)) * length, middle + 0.8, ridge)
    return joined([roof, gables, box((0.7, 0.7, 1.8), chimney, Material.WALL, (0.32, 0.16, 0.12))])


def _balconies(rng: np.random.Generator, length: float, storeys: int) -> Quads:
    x = float(rng.uniform(0.1, 0.35)) * length
    parts = []
    for storey in range(1, storeys):
        z = storey * STOREY + 0.4
        parts.append(box((3.0, 1.2, 0.18), (x, -0.6, z), Material.WALL, TRIM))
        parts.append(box((3.0, 0.06, 1.0), (x, -1.17, z + 0.55), Material.WALL, (0.45, 0.46, 0.48)))
    return joined(parts)
