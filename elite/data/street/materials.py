"""What surfaces are made of, and how a laser and a camera see it."""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np

from elite.data.street.noise import Array


class Material(IntEnum):
    ASPHALT = 0
    MARKING = auto()
    COBBLE = auto()
    PAVING = auto()
    GRASS = auto()
    SOIL = auto()
    FACADE = auto()  # a wall with windows: `surface patterns` decide which is where
    WALL = auto()
    GLASS = auto()
    ROOF = auto()
    PAINT = auto()
    CAR_GLASS = auto()
    RUBBER = auto()
    METAL = auto()
    SIGN = auto()
    WOOD = auto()
    PICKET = auto()
    BARK = auto()
    LEAF = auto()
    CLOTH = auto()
    SKIN = auto()


# remission of a surface hit head-on, its spread from place to place, how strongly it falls with the
# angle of incidence, and the share of shots that come back at all
_LIDAR = {
    Material.ASPHALT: (0.25, 0.09, 0.15, 0.99),
    Material.MARKING: (0.48, 0.14, 0.15, 1.00),
    Material.COBBLE: (0.34, 0.09, 0.15, 0.99),
    Material.PAVING: (0.34, 0.08, 0.15, 0.99),
    Material.GRASS: (0.35, 0.13, 0.10, 0.99),
    Material.SOIL: (0.28, 0.08, 0.10, 0.99),
    Material.FACADE: (0.50, 0.13, 0.50, 0.99),
    Material.WALL: (0.48, 0.13, 0.50, 0.99),
    Material.GLASS: (0.12, 0.12, 0.80, 0.35),
    Material.ROOF: (0.35, 0.06, 0.50, 0.98),
    Material.PAINT: (0.30, 0.05, 0.90, 0.93),
    Material.CAR_GLASS: (0.08, 0.06, 0.90, 0.25),
    Material.RUBBER: (0.06, 0.03, 0.30, 0.85),
    Material.METAL: (0.30, 0.12, 0.50, 0.97),
    Material.SIGN: (0.75, 0.20, 0.20, 1.00),
    Material.WOOD: (0.38, 0.08, 0.40, 0.99),
    Material.PICKET: (0.38, 0.08, 0.40, 0.99),
    Material.BARK: (0.36, 0.13, 0.30, 0.99),
    Material.LEAF: (0.40, 0.14, 0.30, 0.96),
    Material.CLOTH: (0.32, 0.16, 0.20, 0.98),
    Material.SKIN: (0.50, 0.06, 0.20, 0.99),
}
_TABLE: Array = np.array([_LIDAR[material] for material in Material], dtype=np.float32)

# whose colour says something about infrared light: leaves are bright there, however dark they look
DYED: Array = np.isin(
    list(Material),
    (Material.PAINT, Material.CLOTH, Material.METAL, Material.FACADE, Material.WALL),
)
REMISSION: Array = _TABLE[:, 0]
REMISSION_SPREAD: Array = _TABLE[:, 1]
INCIDENCE_FALLOFF: Array = _TABLE[:, 2]
RETURN_RATE: Array = _TABLE[:, 3]

# metres by which what grows or lies on the ground rises above it: grass and soil are as uneven in
# real scans as this makes them, about 1.5 cm around a plane fitted to a square metre, pavement 0.5
_ROUGHNESS = {
    Material.GRASS: 0.06,
    Material.SOIL: 0.05,
    Material.COBBLE: 0.02,
    Material.PAVING: 0.015,
}
ROUGHNESS: Array = np.array([_ROUGHNESS.get(m, 0.0) for m in Material], dtype=np.float32)
