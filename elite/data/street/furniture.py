"""Street furniture: lamps, signs, traffic lights, fences, bins. Standing on z = 0."""

from __future__ import annotations

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.quads import Color, Quads, box, joined, panel, quads, rod

FENCE, POLE, SIGN, OTHER_OBJECT = 51, 80, 81, 99
STEEL: Color = (0.38, 0.39, 0.40)


def _post(height: float, radius: float, color: Color = STEEL) -> Quads:
    return rod((0, 0, -0.1), (0, 0, height), radius, Material.METAL, color, sides=8)


def lamp(rng: np.random.Generator) -> Quads:
    """A street lamp whose arm reaches towards +y."""
    height, reach = float(rng.uniform(6.0, 8.5)), float(rng.uniform(1.0, 1.8))
    arm = rod((0, 0, height - 0.1), (0, reach, height + 0.25), 0.05, Material.METAL, STEEL)
    head = box((0.3, 0.7, 0.14), (0, reach + 0.2, height + 0.25), Material.METAL, (0.5, 0.5, 0.5))
    return joined([_post(height, 0.09), arm, head]).named(POLE)


def _disc(sides: int, radius: float, turn: float, z: float, color: Color, x: float) -> Quads:
    """A regular plate facing -x, cut into quads."""
    angle = turn + np.arange(sides) * 2 * np.pi / sides
    rim = np.stack([np.full(sides, x), radius * np.cos(angle), z + radius * np.sin(angle)], -1)
    faces = []
    for i in range(1, sides - 1, 2):
        j = min(i + 2, sides - 1)
        faces.append([rim[0], rim[i], rim[i + 1], rim[j]])
    return quads(np.array(faces), Material.SIGN, color, two_sided=True)


def sign(rng: np.random.Generator) -> Quads:
    """A traffic sign facing -x: round, triangular, square or a stop sign."""
    height = float(rng.uniform(2.2, 2.8))
    red, white, blue = (0.62, 0.04, 0.04), (0.85, 0.85, 0.85), (0.04, 0.15, 0.55)
    shape = rng.integers(4)
    if shape == 0:
        plates = [_disc(12, 0.33, 0, height, red, -0.06), _disc(12, 0.25, 0, height, white, -0.07)]
    elif shape == 1:
        plates = [
            _disc(3, 0.45, np.pi / 2, height, red, -0.06),
            _disc(3, 0.29, np.pi / 2, height, white, -0.07),
        ]
    elif shape == 2:
        plates = [
            _disc(4, 0.44, np.pi / 4, height, blue, -0.06),
            _disc(3, 0.20, np.pi / 2, height, white, -0.07),
        ]
    else:
        plates = [_disc(8, 0.36, np.pi / 8, height, red, -0.06)]
        bar = np.array(
            [
                [-0.07, y, height + z]
                for y, z in ((0.22, -0.07), (-0.22, -0.07), (-0.22, 0.07), (0.22, 0.07))
            ]
        )
        plates.append(quads(bar[None], Material.SIGN, white, two_sided=True))
    return joined([_post(height + 0.3, 0.04).named(POLE), joined(plates).named(SIGN)])


def traffic_light(rng: np.random.Generator) -> Quads:
    """A signal on a post, lamps facing -x."""
    lit = int(rng.integers(3))
    parts = [_post(3.4, 0.07), box((0.25, 0.32, 0.95), (-0.1, 0, 2.9), Material.METAL, (0.05,) * 3)]
    for lamp_row, color in enumerate(((0.9, 0.05, 0.02), (0.9, 0.5, 0.02), (0.05, 0.8, 0.2))):
        glow = 1.0 if lamp_row == lit else 0.12
        shade = (color[0] * glow, color[1] * glow, color[2] * glow)
        parts.append(box((0.06, 0.2, 0.2), (-0.25, 0, 3.2 - 0.3 * lamp_row), Material.METAL, shade))
    return joined(parts).named(POLE)


def fence(rng: np.random.Generator, length: float) -> Quads:
    """A fence along x: pickets, boards or railings with posts."""
    height = float(rng.uniform(0.9, 1.7))
    boards = rng.random() < 0.35
    tone = float(rng.uniform(0.7, 1.2))
    wood = ((0.30, 0.21, 0.13), (0.55, 0.54, 0.50), (0.16, 0.17, 0.17))[rng.integers(3)]
    color = (wood[0] * tone, wood[1] * tone, wood[2] * tone)
    half = length / 2
    sheet = [(-half, 0, 0.08), (half, 0, 0.08), (half, 0, height), (-half, 0, height)]
    parts = [panel(sheet, Material.WOOD if boards else Material.PICKET, color)]
    for z in (0.25, height - 0.2):
        parts.append(box((length, 0.05, 0.08), (0, 0.03, z), Material.WOOD, color))
    for x in np.linspace(-half, half, max(2, round(length / 2.4) + 1)):
        parts.append(box((0.1, 0.1, height + 0.08), (x, 0.04, height / 2), Material.WOOD, color))
    return joined(parts).named(FENCE)


def bin_(rng: np.random.Generator) -> Quads:
    """A wheeled dustbin."""
    colors: tuple[Color, ...] = (
        (0.08, 0.09, 0.10),
        (0.05, 0.12, 0.28),
        (0.35, 0.22, 0.08),
        (0.30, 0.27, 0.03),
    )
    lid = colors[rng.integers(len(colors))]
    body = box((0.55, 0.6, 0.95), (0, 0, 0.5), Material.METAL, (0.09, 0.10, 0.10))
    return joined([body, box((0.6, 0.65, 0.1), (0, 0, 1.02), Material.METAL, lid)]).named(
        OTHER_OBJECT
    )


def cabinet(rng: np.random.Generator) -> Quads:
    """A grey switch cabinet."""
    width = float(rng.uniform(0.8, 1.6))
    return box((width, 0.4, 1.2), (0, 0, 0.6), Material.METAL, (0.4, 0.42, 0.4)).named(OTHER_OBJECT)
