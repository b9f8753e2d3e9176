"""What a street is like at any place, from its seed alone: course, character, side streets."""

from __future__ import annotations

import zlib
from enum import IntEnum
from functools import lru_cache

import numpy as np

from elite.data.street.ground import CHUNK, Course, Crossing, Ground, Kind, Zones
from elite.data.street.noise import Array

# streams of random numbers, so that a change to one kind of thing leaves the others alone
COURSE, CHARACTER, STATIC, TRAFFIC, SENSOR, SWAY = range(6)
CROSSING_EVERY = 4  # chunks: side streets are at least this far apart
_CHUNK_ZERO = 1 << 20  # seeds must not be negative, chunks behind the start are


class Character(IntEnum):
    URBAN = 0
    RESIDENTIAL = 1
    GREEN = 2


class Plan:
    """The street of one sequence."""

    def __init__(self, seed: int, sequence: str) -> None:
        if seed < 0:
            raise ValueError(f"simulate: `seed` must not be negative, got {seed}")
        self._key = (seed, zlib.crc32(sequence.encode()))
        rng = self.rng(COURSE)
        self.course = Course(rng)
        roadway = float(rng.uniform(3.9, 4.6))
        self.edges = (roadway, roadway + 2.2, roadway + 2.2 + float(rng.uniform(2.0, 3.0)))
        self.speed = float(rng.uniform(7.0, 11.0))  # metres per second, of the recording car
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(28, 58))
        self.sun: Array = np.array(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ]
        )
        self.sunshine = float(rng.uniform(0.65, 1.0))
        self.cloudiness = float(rng.uniform(0.1, 0.9))
        self.character = lru_cache(maxsize=256)(self._character)
        self.crossing = lru_cache(maxsize=256)(self._crossing)
        self.kinds = lru_cache(maxsize=256)(self._kinds)

    def rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, *key])

    def chunk_rng(self, stream: int, index: int) -> np.random.Generator:
        return self.rng(stream, index + _CHUNK_ZERO)

    def _character(self, index: int) -> Character:
        """Two neighbouring chunks share a character."""
        rng = self.chunk_rng(CHARACTER, 2 * (index // 2))
        return Character(int(rng.choice(3, p=(0.36, 0.36, 0.28))))

    def _crossing(self, index: int) -> Crossing | None:
        """The side street in the middle of a chunk, if there is one."""
        rng = self.chunk_rng(CHARACTER, index)
        if index % CROSSING_EVERY != 2 or rng.random() > 0.65:
            return None
        x = (index + 0.5) * CHUNK
        place = self.course.place(x, 0.0)
        return Crossing(*place, self.course.heading(x), float(rng.uniform(2.8, 3.8)))

    def _kinds(self, index: int) -> Array:
        """Ground beside the road: uint8 [2 (left, right), 3 (verge, sidewalk, beyond)]."""
        rng = self.chunk_rng(CHARACTER, index)
        rng.random(8)  # the side street's share of this stream
        character = self.character(index)
        kinds = np.empty((2, 3), np.uint8)
        for side in range(2):
            verge = {
                Character.URBAN: (0.45, 0.80),
                Character.RESIDENTIAL: (0.30, 0.50),
                Character.GREEN: (0.12, 0.12),
            }[character]
            draw = rng.random(2)
            kinds[side, 0] = Kind.TERRAIN
            if draw[0] < verge[0]:
                kinds[side, 0] = Kind.PARKING
            elif draw[0] < verge[1]:
                kinds[side, 0] = Kind.SIDEWALK
            kinds[side, 1] = Kind.SIDEWALK
            kinds[side, 2] = Kind.TERRAIN
            if character == Character.URBAN:
                kinds[side, 2] = Kind.OTHER_GROUND if draw[1] < 0.3 else Kind.SIDEWALK
            elif character == Character.GREEN and draw[1] < 0.4:
                kinds[side, 1] = Kind.TERRAIN
        return kinds

    def ground(self, first: int, last: int) -> Ground:
        """The ground of the chunks `first` to `last`, both included."""
        indices = range(first, last + 1)
        crossings = (self.crossing(index) for index in indices)
        kinds = np.stack([self.kinds(index) for index in indices])
        return Ground(
            self.course,
            Zones(self.edges, first, kinds),
            tuple(crossing for crossing in crossings if crossing is not None),
        )
