"""Cars, vans, trucks and buses: driving along +x, wheels on z = 0, centre at the origin."""

from __future__ import annotations

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.quads import Color, Quads, box, frustum, joined, lathe, quads, rods

PAINTS: tuple[Color, ...] = (
    (0.75, 0.75, 0.76),
    (0.55, 0.56, 0.58),
    (0.30, 0.31, 0.33),
    (0.05, 0.05, 0.06),
    (0.08, 0.10, 0.22),
    (0.12, 0.20, 0.42),
    (0.45, 0.06, 0.05),
    (0.20, 0.28, 0.20),
    (0.52, 0.46, 0.36),
    (0.60, 0.32, 0.06),
)
GLASS: Color = (0.06, 0.08, 0.10)
TYRE: Color = (0.035, 0.035, 0.04)
DARK: Color = (0.05, 0.05, 0.055)


def _paint(rng: np.random.Generator) -> Color:
    tone = float(rng.uniform(0.85, 1.1))
    red, green, blue = PAINTS[rng.integers(len(PAINTS))]
    return red * tone, green * tone, blue * tone


def wheel(x: float, y: float, radius: float, width: float) -> Quads:
    """A tyre with a bright rim, its axle along y."""
    half = width / 2
    tyre = lathe(
        [(-half, 0.55 * radius), (-half, radius), (half, radius), (half, 0.55 * radius)],
        10,
        Material.RUBBER,
        TYRE,
    )
    rim = lathe([(-half + 0.02, 0), (-half + 0.02, 0.58 * radius)], 8, Material.METAL, (0.4,) * 3)
    other = lathe([(half - 0.02, 0.58 * radius), (half - 0.02, 0)], 8, Material.METAL, (0.4,) * 3)
    lying = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    return joined([tyre, rim, other]).turned(lying).placed(x, y, radius)


def _body(
    outline: list[tuple[float, float]], floor: float, half_width: float, color: Color
) -> Quads:
    """A solid below an outline of (x, z) points from rear to front; its sides lean in a little."""
    x, z = np.asarray(outline, dtype=np.float64).T
    lean = half_width - 0.10 * np.clip(z - 0.75, 0, None)

    def side(sign: float) -> list[list[tuple[float, float, float]]]:
        faces = []
        for i in range(len(x) - 1):
            low = [(x[i], sign * half_width, floor), (x[i + 1], sign * half_width, floor)]
            high = [(x[i + 1], sign * lean[i + 1], z[i + 1]), (x[i], sign * lean[i], z[i])]
            faces.append(low + high if sign < 0 else (low + high)[::-1])
        return faces

    skin = [
        [
            (x[i], -lean[i], z[i]),
            (x[i + 1], -lean[i + 1], z[i + 1]),
            (x[i + 1], lean[i + 1], z[i + 1]),
            (x[i], lean[i], z[i]),
        ]
        for i in range(len(x) - 1)
    ]
    ends = [
        [
            (x[k], sign * half_width, floor),
            (x[k], -sign * half_width, floor),
            (x[k], -sign * lean[k], z[k]),
            (x[k], sign * lean[k], z[k]),
        ]
        for k, sign in ((0, 1.0), (-1, -1.0))
    ]
    return quads(np.array(side(-1) + side(1) + skin + ends), Material.PAINT, color)


def _lights(length: float, half_width: float, z: float) -> Quads:
    parts = []
    for side in (-1, 1):
        y = side * (half_width - 0.25)
        front, rear = length / 2, -length / 2
        parts.append(box((0.06, 0.36, 0.15), (front, y, z), Material.GLASS, (0.8, 0.8, 0.75)))
        parts.append(box((0.06, 0.28, 0.2), (rear, y, z + 0.1), Material.GLASS, (0.5, 0.03, 0.03)))
    for x in (length / 2, -length / 2):
        parts.append(box((0.05, 0.5, 0.11), (x, 0, z - 0.2), Material.SIGN, (0.75, 0.75, 0.7)))
    return joined(parts)


def _wheels(axles: tuple[float, ...], half_width: float, radius: float, width: float) -> Quads:
    y = half_width - width / 2 + 0.03
    return joined([wheel(x, side * y, radius, width) for x in axles for side in (-1, 1)])


def _pillars(
    low: tuple[float, float, float],  # rear x, front x, half width at the belt
    high: tuple[float, float, float],  # the same at the roof
    z0: float,
    z1: float,
    color: Color,
) -> Quads:
    """The painted frame around a cabin's windows."""
    starts, ends = [], []
    for side in (-1, 1):
        for end in (0, 1):
            foot = (low[end], side * low[2], z0)
            head = (high[end], side * high[2], z1 - 0.02)
            starts.append(foot)
            ends.append(head)
        middle = high[0] + 0.55 * (high[1] - high[0])
        starts += [(middle, side * low[2], z0), (high[0], side * high[2], z1 - 0.03)]
        ends += [(middle, side * high[2], z1 - 0.02), (high[1], side * high[2], z1 - 0.03)]
    return rods(starts, ends, 0.045, Material.PAINT, color, sides=4)


# share of the length where: bonnet begins, windscreen's top, roof's end, rear window's foot
_SHAPES = {
    "hatchback": (3.9, 1.72, 1.47, (0.26, 0.08, -0.38, -0.47)),
    "sedan": (4.6, 1.80, 1.44, (0.22, 0.06, -0.22, -0.36)),
    "estate": (4.6, 1.80, 1.48, (0.22, 0.07, -0.40, -0.48)),
    "off-roader": (4.5, 1.88, 1.72, (0.24, 0.10, -0.42, -0.48)),
    "van": (4.9, 1.92, 1.95, (0.34, 0.22, -0.45, -0.49)),
}


def car(rng: np.random.Generator) -> Quads:
    """A passenger car of one of five shapes."""
    names = list(_SHAPES)
    length, width, height, marks = _SHAPES[
        names[rng.choice(len(names), p=(0.34, 0.22, 0.18, 0.16, 0.10))]
    ]
    stretch = float(rng.uniform(0.95, 1.05))
    length, height = length * stretch, height * float(rng.uniform(0.98, 1.03))
    bonnet, screen, roof, rear = (length * mark for mark in marks)
    belt = 0.62 * height if height < 1.6 else 0.58 * height
    nose, half = 0.82 * belt, width / 2
    color = _paint(rng)
    outline = [
        (-length / 2, 0.62 * belt),
        (-length / 2 + 0.06, 0.96 * belt),
        (rear, belt),
        (bonnet, 1.0 * belt),
        (length * 0.46, nose),
        (length / 2, 0.6 * belt),
    ]
    cabin = frustum(
        (rear, bonnet, -half + 0.05, half - 0.05),
        (roof, screen, -half + 0.22, half - 0.22),
        belt - 0.02,
        height,
        Material.CAR_GLASS,
        GLASS,
        lid=Material.PAINT,
        lid_color=color,
    )
    pillars = _pillars(
        (rear, bonnet, half - 0.05), (roof, screen, half - 0.22), belt, height, color
    )
    bumpers = [
        box((0.2, width * 0.96, 0.22), (side * (length / 2 - 0.04), 0, 0.38), Material.PAINT, DARK)
        for side in (-1, 1)
    ]
    axles = (length * 0.31, -length * 0.29)
    parts = [
        _body(outline, 0.22, half, color),
        cabin,
        pillars,
        _lights(length, half, 0.70 * belt),
        _wheels(axles, half, 0.31 if height < 1.6 else 0.36, 0.2),
        *bumpers,
    ]
    for side in (-1, 1):
        mirror = (bonnet - 0.35, side * (half + 0.08), belt + 0.06)
        parts.append(box((0.12, 0.2, 0.13), mirror, Material.PAINT, color))
    return joined(parts)


def truck(rng: np.random.Generator) -> Quads:
    """A cab and a separate box, two to three axles."""
    length, half = float(rng.uniform(6.5, 9.5)), 1.22
    height, cab = float(rng.uniform(2.9, 3.7)), 1.9
    color, load = _paint(rng), _paint(rng)
    front = length / 2
    bounds = (front - cab, front, -half + 0.06, half - 0.06)
    upper = (front - cab, front - 0.25, -half + 0.12, half - 0.12)
    cargo = length - cab - 0.3
    middle = -length / 2 + cargo / 2
    axles = (front - 0.9, -length / 2 + 1.2) + ((-length / 2 + 2.4,) if length > 8 else ())
    return joined(
        [
            frustum(bounds, bounds, 0.45, 1.6, Material.PAINT, color),
            frustum(
                bounds,
                upper,
                1.6,
                2.5,
                Material.CAR_GLASS,
                GLASS,
                lid=Material.PAINT,
                lid_color=color,
            ),
            box(
                (cab * 0.8, 2 * half - 0.3, 0.35), (front - cab / 2, 0, 2.65), Material.PAINT, color
            ),
            box(
                (cargo, 2 * half, height - 0.9),
                (middle, 0, 0.45 + height / 2),
                Material.PAINT,
                load,
            ),
            box((length - 0.4, 1.0, 0.35), (-0.1, 0, 0.72), Material.METAL, DARK),
            _lights(length, half, 0.85),
            _wheels(axles, half, 0.48, 0.3),
        ]
    )


def bus(rng: np.random.Generator) -> Quads:
    """A city bus with a band of windows."""
    length, half = float(rng.uniform(10.0, 12.0)), 1.25
    color = _paint(rng)
    bounds = (-length / 2, length / 2, -half, half)
    top = (-length / 2 + 0.05, length / 2 - 0.12, -half + 0.05, half - 0.05)
    return joined(
        [
            frustum(bounds, bounds, 0.3, 1.2, Material.PAINT, color),
            frustum(bounds, top, 1.2, 2.4, Material.CAR_GLASS, GLASS),
            frustum(top, top, 2.4, 3.0, Material.PAINT, color),
            _lights(length, half, 0.8),
            _wheels((length * 0.32, -length * 0.24), half, 0.48, 0.3),
        ]
    )
