"""People on foot and on two wheels: facing +x, standing on z = 0."""

from __future__ import annotations

import numpy as np

from elite.data.street.materials import Material
from elite.data.street.quads import Color, Quads, box, joined, lathe, rod, rods

SKINS: tuple[Color, ...] = ((0.62, 0.42, 0.32), (0.45, 0.28, 0.19), (0.20, 0.12, 0.08))
FRAME_RADIUS = 0.022  # metres


def _cloth(rng: np.random.Generator) -> Color:
    """Mostly greys, blues and browns, now and then something bright."""
    tone = float(rng.uniform(0.02, 0.5) ** 1.3)
    vivid = 0.8 if rng.random() < 0.2 else 0.25
    red, green, blue = (tone * float(1 + vivid * shift) for shift in rng.uniform(-1, 1, 3))
    return red, green, blue


def _head(x: float, z: float, skin: Color, hair: Color) -> Quads:
    face = lathe([(-0.13, 0), (-0.10, 0.06), (0, 0.095), (0.06, 0.09)], 8, Material.SKIN, skin)
    scalp = lathe([(0.02, 0.105), (0.08, 0.10), (0.13, 0.0)], 8, Material.CLOTH, hair)
    return joined([face, scalp]).placed(x, 0, z)


def _limb(points: list[tuple[float, float, float]], radius: float, color: Color) -> Quads:
    return rods(points[:-1], points[1:], (radius, 0.85 * radius), Material.CLOTH, color)


def walker(rng: np.random.Generator, stride: float) -> Quads:
    """Someone on foot; `stride` is the phase of the step in radians (0 = standing still)."""
    height = float(rng.uniform(1.55, 1.92))
    top, trousers = _cloth(rng), _cloth(rng)
    skin = SKINS[rng.integers(len(SKINS))]
    hip, shoulder = 0.50 * height, 0.82 * height
    wide = float(rng.uniform(0.15, 0.20))
    torso = lathe(
        [
            (hip - 0.08, 0),
            (hip, 0.9 * wide),
            (0.66 * height, 0.85 * wide),
            (shoulder - 0.05, 1.15 * wide),
            (shoulder + 0.04, 0.07),
            (0.86 * height, 0.06),
        ],
        8,
        Material.CLOTH,
        top,
    )
    squash = np.diag([0.72, 1.0, 1.0])
    parts = [torso.turned(squash), _head(0.01, 0.93 * height, skin, _cloth(rng))]
    for side in (-1, 1):
        swing = side * 0.30 * float(np.sin(stride))
        y = side * 0.09
        knee = (0.5 * swing + 0.03, y, 0.27 * height)
        foot = (swing, y, 0.04)
        parts.append(_limb([(0, y, hip), knee, foot], 0.075, trousers))
        parts.append(box((0.26, 0.09, 0.08), (swing + 0.05, y, 0.04), Material.RUBBER, (0.05,) * 3))
        y = side * 1.2 * wide
        elbow, hand = (-0.5 * swing, y, 0.63 * height), (-swing, 0.95 * y, 0.47 * height)
        parts.append(_limb([(0, y, shoulder - 0.03), elbow, hand], 0.05, top))
    if rng.random() < 0.35:
        parts.append(box((0.16, 0.3, 0.42), (-0.2, 0, 0.68 * height), Material.CLOTH, _cloth(rng)))
    return joined(parts)


def _tyre(x: float, radius: float, thick: float) -> Quads:
    """An open ring of rubber about the y axis, standing on the ground."""
    angle = np.arange(11) % 10 * (2 * np.pi / 10)
    height = thick + radius * (1 + np.sin(angle))
    rim = np.stack([x + radius * np.cos(angle), np.zeros(11), height], axis=1)
    return rods(rim[:-1], rim[1:], thick, Material.RUBBER, (0.04, 0.04, 0.04), sides=4)


def bicycle(rng: np.random.Generator) -> Quads:
    crank, saddle, head = (-0.08, 0.0, 0.32), (-0.2, 0.0, 0.92), (0.33, 0.0, 0.90)
    rear, front = (-0.52, 0.0, 0.36), (0.52, 0.0, 0.36)
    starts = (crank, crank, saddle, rear, rear, head)
    ends = (saddle, head, head, crank, saddle, front)
    return joined(
        [
            rods(starts, ends, FRAME_RADIUS, Material.METAL, _cloth(rng), sides=4),
            _tyre(rear[0], 0.33, 0.025),
            _tyre(front[0], 0.33, 0.025),
            rod((0.3, -0.28, 1.02), (0.3, 0.28, 1.02), 0.02, Material.METAL, (0.1,) * 3),
            box((0.26, 0.14, 0.07), (-0.21, 0, 0.96), Material.RUBBER, (0.05,) * 3),
        ]
    )


def motorcycle(rng: np.random.Generator) -> Quads:
    color = _cloth(rng)
    dark = (0.06, 0.06, 0.07)
    return joined(
        [
            _tyre(-0.68, 0.25, 0.07),
            _tyre(0.68, 0.25, 0.06),
            box((0.75, 0.34, 0.42), (0.0, 0, 0.52), Material.METAL, (0.2, 0.2, 0.21)),
            box((0.50, 0.30, 0.22), (0.18, 0, 0.84), Material.PAINT, color),
            box((0.70, 0.28, 0.12), (-0.42, 0, 0.80), Material.RUBBER, dark),
            box((0.22, 0.32, 0.34), (0.55, 0, 0.92), Material.PAINT, color),
            rod((0.68, 0.12, 0.32), (0.42, 0.12, 1.02), 0.04, Material.METAL, dark),
            rod((0.68, -0.12, 0.32), (0.42, -0.12, 1.02), 0.04, Material.METAL, dark),
            rod((0.40, -0.38, 1.05), (0.40, 0.38, 1.05), 0.025, Material.METAL, dark),
        ]
    )


def _rider(rng: np.random.Generator, hip: tuple[float, float], reach: float) -> Quads:
    """Someone astride: hip at (x, z), hands `reach` metres ahead of it."""
    x, z = hip
    top, trousers = _cloth(rng), _cloth(rng)
    shoulder = (x + 0.28, 0.0, z + 0.52)
    torso = lathe(
        [(-0.1, 0), (-0.03, 0.15), (0.25, 0.15), (0.5, 0.21), (0.6, 0.12), (0.66, 0.05)],
        8,
        Material.CLOTH,
        top,
    )
    lean = np.arctan2(0.28, 0.52)
    cos, sin = np.cos(lean), np.sin(lean)
    forward = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) @ np.diag([0.75, 1, 1])
    parts = [torso.turned(forward).placed(x, 0, z)]
    skin = SKINS[rng.integers(len(SKINS))]
    parts.append(_head(x + 0.34, z + 0.76, skin, _cloth(rng)))
    for side in (-1, 1):
        y = side * 0.19
        hand, elbow = (x + reach, side * 0.27, z + 0.1), (x + 0.4, side * 0.27, z + 0.22)
        parts.append(_limb([(shoulder[0], y, shoulder[2] - 0.04), elbow, hand], 0.055, top))
        lift = 0.10 * side
        knee, foot = (x + 0.38, 0.65 * y, z - 0.22 + lift), (x + 0.12, 0.65 * y, z - 0.66 + lift)
        parts.append(_limb([(x, 0.6 * y, z), knee, foot], 0.08, trousers))
    return joined(parts)


def bicyclist(rng: np.random.Generator) -> Quads:
    return joined([bicycle(rng), _rider(rng, (-0.2, 1.0), 0.5)])


def motorcyclist(rng: np.random.Generator) -> Quads:
    return joined([motorcycle(rng), _rider(rng, (-0.35, 0.9), 0.72)])
