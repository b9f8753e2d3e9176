"""Everything that stands still in one chunk of street."""

from __future__ import annotations

import numpy as np

from elite.data.street import furniture, people, plants, vehicles
from elite.data.street.buildings import building
from elite.data.street.ground import CHUNK, COLOR, KERB, Crossing, Kind
from elite.data.street.materials import Material
from elite.data.street.noise import Array
from elite.data.street.plan import STATIC, Character, Plan
from elite.data.street.quads import Quads, joined, quads

CAR, TRUCK, BICYCLE, MOTORCYCLE, PERSON, TERRAIN = 10, 18, 11, 15, 30, 72
THINGS_PER_CHUNK = 128
STATIC_IDS = 1 << 15  # instance ids below this stand still, the others move
LEFT, RIGHT = 1, -1


def build_chunk(plan: Plan, index: int) -> Quads:
    """The things of chunk `index`, in the world's frame."""
    return _Builder(plan, index).build()


class _Builder:
    def __init__(self, plan: Plan, index: int) -> None:
        self.plan, self.index = plan, index
        self.rng = plan.chunk_rng(STATIC, index)
        self.ground = plan.ground(index, index)
        self.crossing = plan.crossing(index)
        self.character = plan.character(index)
        self.start = index * CHUNK
        self.roadway, self.verge, self.outside = plan.edges
        self.parts: list[Quads] = []
        self.things = 0
        green = self.character == Character.GREEN and self.crossing is None
        self.rise = float(self.rng.uniform(0.4, 1.8)) if green else 0.0

    def build(self) -> Quads:
        for side in (LEFT, RIGHT):
            if self.rise:
                self.parts.append(self._mound(side))
            self._lots(side)
            self._verge(side)
            self._walkway(side)
        if self.crossing is not None:
            self._corners(self.crossing)
            self._side_street(self.crossing)
        return joined(self.parts)

    # --- placing ------------------------------------------------------------------------------

    def _free(self, x: float, reach: float) -> bool:
        """Whether `reach` metres to both sides of `x` keep clear of the side street."""
        if self.crossing is None:
            return True
        half = self.crossing.half_width + self.crossing.pavement + 0.4
        return abs(x - self.start - CHUNK / 2) > half + reach

    def _add(self, part: Quads, x: float, d: float, yaw: float = 0.0, height: float = 0.0) -> None:
        """Places a part at (x, d) of the street, `yaw` radians from the road's direction."""
        px, py = self.plan.course.place(x, d)
        ground = float(self.ground.height(np.array([px]), np.array([py]))[0])
        z = ground + self._rise_at(x, d) + height
        self.parts.append(part.placed(px, py, z, self.plan.course.heading(x) + yaw))

    def _add_thing(self, part: Quads, label: int, x: float, d: float, yaw: float) -> None:
        self.things += 1
        number = self.index * THINGS_PER_CHUNK + self.things
        self._add(part.named(label, 1 + number % (STATIC_IDS - 1)), x, d, yaw)

    def _facing_road(self, side: int) -> float:
        return 0.0 if side == LEFT else np.pi

    # --- beyond the sidewalk ------------------------------------------------------------------

    def _lots(self, side: int) -> None:
        if self.character == Character.URBAN:
            self._terrace(side)
        elif self.character == Character.RESIDENTIAL:
            self._houses(side)
        else:
            self._park(side)
        self._backdrop(side)

    def _terrace(self, side: int) -> None:
        """Town houses, wall to wall."""
        x = self.start
        while x < self.start + CHUNK - 6:
            length = min(float(self.rng.uniform(9, 16)), self.start + CHUNK - x)
            if self.start + CHUNK - x - length < 6:
                length = self.start + CHUNK - x
            if not self._free(x + length / 2, length / 2):
                length = 6.7 if abs(x - self.start) < 8 else 6.0
            if self._free(x + length / 2, length / 2):
                storeys, depth = int(self.rng.integers(3, 6)), float(self.rng.uniform(10, 13))
                setback = 0.3 + float(self.rng.uniform(0, 0.8))
                house = building(
                    self.rng, length, depth, storeys, gable=bool(self.rng.random() < 0.45)
                )
                self._add(
                    house, x + length / 2, side * (self.outside + setback), self._facing_road(side)
                )
            x += length

    def _houses(self, side: int) -> None:
        """Detached houses in gardens behind a fence or a hedge."""
        for slot in range(2):
            x = self.start + (slot + 0.5) * CHUNK / 2
            length = float(self.rng.uniform(9, 13))
            setback = self.outside + float(self.rng.uniform(4, 7))
            if self._free(x, length / 2):
                house = building(
                    self.rng,
                    length,
                    float(self.rng.uniform(8, 10)),
                    int(self.rng.integers(1, 4)),
                    gable=True,
                )
                self._add(house, x, side * setback, self._facing_road(side))
            self._boundary(side, x)
            gap = x + CHUNK / 4
            if self.rng.random() < 0.5 and self._free(gap, 2.0):
                yaw = self._facing_road(side) + np.pi / 2 * (1 if self.rng.random() < 0.5 else -1)
                self._add_thing(vehicles.car(self.rng), CAR, gap, side * (self.outside + 3.4), yaw)
            for _ in range(int(self.rng.integers(4, 8))):
                self._garden_plant(side, x + float(self.rng.uniform(-7, 7)), setback)

    def _garden_plant(self, side: int, x: float, setback: float) -> None:
        if not self._free(x, 1.5):
            return
        if self.rng.random() < 0.4 and setback - self.outside > 5:
            self._add(plants.tree(self.rng), x, side * (self.outside + 2.4))
        else:
            bush = plants.bush(self.rng, float(self.rng.uniform(0.7, 1.8)))
            self._add(bush, x, side * (self.outside + float(self.rng.uniform(1, 3))))

    def _boundary(self, side: int, x: float) -> None:
        """A fence or a hedge along the sidewalk, leaving a drive open at its end."""
        length = 13.0
        if not self._free(x - 1.5, length / 2) or self.rng.random() < 0.1:
            return
        if self.rng.random() < 0.3:
            part = furniture.fence(self.rng, length)
        else:
            part = plants.hedge(self.rng, length, float(self.rng.uniform(1.0, 2.4)))
        self._add(part, x - 1.5, side * (self.outside + 0.35), self._facing_road(side))

    def _park(self, side: int) -> None:
        for _ in range(int(self.rng.integers(5, 10))):
            x = self.start + float(self.rng.uniform(1, CHUNK - 1))
            d = side * (self.outside + float(self.rng.uniform(2, 24)))
            if self._free(x, 2.0):
                self._add(plants.tree(self.rng), x, d)
        self._thicket(side)
        if self.rng.random() < 0.3 and self.crossing is None:
            x, d = self.start + CHUNK / 2, side * (self.outside + 0.5)
            self._add(furniture.fence(self.rng, CHUNK), x, d)

    def _thicket(self, side: int) -> None:
        """Bushes, in most places so close that nothing shows between them."""
        line, x = float(self.rng.uniform(1, 9)), self.start + 1.0
        while x < self.start + CHUNK - 1:
            size = float(self.rng.uniform(0.9, 3.2))
            d = side * (self.outside + line + size + float(self.rng.uniform(-1, 2)))
            if self._free(x, 2.0) and self.rng.random() < 0.85:
                self._add(plants.bush(self.rng, size), x, d)
            x += 1.1 * size

    def _backdrop(self, side: int) -> None:
        """What closes the view behind the first row."""
        if self.crossing is not None:
            return
        d = side * (self.outside + 34)
        if self.character != Character.GREEN and self.rng.random() < 0.6:
            tall = building(self.rng, 22.0, 12.0, int(self.rng.integers(3, 7)), gable=False)
            self._add(tall, self.start + CHUNK / 2, d, self._facing_road(side))
            return
        for slot in range(5):
            x = self.start + (slot + float(self.rng.uniform(0.2, 0.8))) * CHUNK / 5
            self._add(plants.tree(self.rng), x, d + float(self.rng.uniform(-4, 6)))

    def _rise_at(self, x: float, d: float) -> float:
        """Metres that a green chunk's ground rises above the kerb."""
        beyond = abs(d) - self.outside
        if not self.rise or beyond <= 0:
            return 0.0
        along = np.sin(np.pi * np.clip((x - self.start) / CHUNK, 0, 1)) ** 2
        return float(self.rise * along * min(beyond / 9.0, 1.0))

    def _mound(self, side: int) -> Quads:
        """The mesh of a green chunk's raised ground."""
        xs = self.start + np.linspace(0, CHUNK, 11)
        ds = self.outside + np.array([0.0, 2.0, 4.5, 7.0, 9.0, 16.0, 30.0, 44.0])
        nodes = np.array([[self._mound_node(x, side * d) for d in ds] for x in xs])
        a, b, c, e = nodes[:-1, :-1], nodes[1:, :-1], nodes[1:, 1:], nodes[:-1, 1:]
        ring = (a, b, c, e) if side == LEFT else (a, e, c, b)
        first = np.stack([ring[0], ring[1], ring[2], ring[2]], axis=2)
        second = np.stack([ring[0], ring[2], ring[3], ring[3]], axis=2)
        faces = np.concatenate([first.reshape(-1, 4, 3), second.reshape(-1, 4, 3)])
        color = COLOR[Kind.TERRAIN] * np.float32(1.25)
        return quads(faces, Material.GRASS, color).named(TERRAIN)

    def _mound_node(self, x: float, d: float) -> Array:
        px, py = self.plan.course.place(x, d)
        return np.array([px, py, KERB + self._rise_at(x, d) - 0.01])

    # --- between road and sidewalk ------------------------------------------------------------

    def _verge(self, side: int) -> None:
        kind = Kind(int(self.plan.kinds(self.index)[0 if side == LEFT else 1, 0]))
        if kind == Kind.PARKING:
            self._parked(side)
        else:
            share = 0.6 if kind == Kind.TERRAIN else 0.3
            for slot in range(4):
                x = self.start + 10.0 * slot + 5.0
                if self.rng.random() < share and self._free(x, 1.0):
                    self._add(plants.tree(self.rng), x, side * (self.roadway + 1.2))
        for slot in range(1, 3):
            x, d = self.start + slot * 14.0, side * (self.verge + 0.25)
            if self.rng.random() < 0.55 and self._free(x, 0.5):
                self._add(furniture.lamp(self.rng), x, d, self._facing_road(-side))
            if self.rng.random() < 0.5 and self._free(x + 3, 0.5):
                yaw = 0.0 if side == RIGHT else np.pi
                self._add(furniture.sign(self.rng), x + 3, d, yaw + float(self.rng.normal(0, 0.1)))

    def _parked(self, side: int) -> None:
        first = int(np.ceil((self.start + 3.2) / 6.0 - 0.5))
        last = int(np.floor((self.start + CHUNK - 3.2) / 6.0 - 0.5))
        for slot in range(first, last + 1):
            x = slot * 6.0 + 3.0 + float(self.rng.uniform(-0.3, 0.3))
            if self.rng.random() > 0.62 or not self._free(x, 2.8):
                continue
            yaw = (0.0 if side == RIGHT else np.pi) + float(self.rng.normal(0, 0.02))
            d = side * (self.roadway + 1.15 + float(self.rng.normal(0, 0.06)))
            if self.rng.random() < 0.07 and self._free(x + 2, 5.0) and slot < last:
                self._add_thing(vehicles.truck(self.rng), TRUCK, x + 2, d + side * 0.2, yaw)
                break
            self._add_thing(vehicles.car(self.rng), CAR, x, d, yaw)

    # --- on the sidewalk ----------------------------------------------------------------------

    def _walkway(self, side: int) -> None:
        inner, outer = self.verge + 0.5, self.outside - 0.4
        crowd = (4, 3, 2)[self.character]
        for _ in range(int(self.rng.integers(0, crowd))):
            part = people.walker(self.rng, 0.0)
            self._scatter(part, PERSON, side, float(self.rng.uniform(inner, outer)), 0.4)
        for _ in range(int(self.rng.integers(0, crowd))):
            self._scatter(people.bicycle(self.rng), BICYCLE, side, outer, 0.9)
        if self.rng.random() < 0.4:
            self._scatter(people.motorcycle(self.rng), MOTORCYCLE, side, outer - 0.2, 1.0)
        for _ in range(int(self.rng.integers(0, 3))):
            make = furniture.bin_ if self.rng.random() < 0.7 else furniture.cabinet
            x = self.start + float(self.rng.uniform(1, CHUNK - 1))
            if self._free(x, 0.6):
                self._add(make(self.rng), x, side * (outer - 0.1), self._facing_road(side))

    def _scatter(self, part: Quads, label: int, side: int, d: float, reach: float) -> None:
        x = self.start + float(self.rng.uniform(1, CHUNK - 1))
        if self._free(x, reach):
            yaw = (
                float(self.rng.uniform(0, 2 * np.pi))
                if label == PERSON
                else float(self.rng.normal(0, 0.3))
            )
            self._add_thing(part, label, x, side * d, yaw)

    # --- side streets -------------------------------------------------------------------------

    def _corners(self, crossing: Crossing) -> None:
        lights = self.rng.random() < 0.5
        reach = crossing.half_width + crossing.pavement - 0.5
        for side, ahead in ((RIGHT, -1), (LEFT, 1)):
            part = furniture.traffic_light(self.rng) if lights else furniture.sign(self.rng)
            yaw = 0.0 if side == RIGHT else np.pi
            self._add(part, crossing.x + ahead * reach, side * (self.roadway + 0.5), yaw)

    def _side_street(self, crossing: Crossing) -> None:
        """Houses along the side street and cars that wait in it."""
        clear = crossing.half_width + crossing.pavement + 0.6
        for side in (LEFT, RIGHT):
            for ahead in (-1, 1):
                d = self.outside + 16.0
                while d < 90:
                    length = float(self.rng.uniform(10, 16))
                    house = building(
                        self.rng,
                        length,
                        9.0,
                        int(self.rng.integers(2, 5)),
                        gable=bool(self.rng.random() < 0.5),
                    )
                    self._add_at(
                        crossing, house, ahead * clear, side * (d + length / 2), -ahead * np.pi / 2
                    )
                    d += length + (3.0 if self.rng.random() < 0.3 else 0.0)
            for place in range(int(self.rng.integers(0, 3))):
                lane = side * crossing.half_width / 2
                d = side * (self.roadway + 5.5 + 7.0 * place)
                self.things += 1
                number = self.index * THINGS_PER_CHUNK + self.things
                waiting = vehicles.car(self.rng).named(CAR, 1 + number % (STATIC_IDS - 1))
                self._add_at(crossing, waiting, lane, d, -side * np.pi / 2)

    def _add_at(
        self, crossing: Crossing, part: Quads, along: float, across: float, yaw: float
    ) -> None:
        """Places a part in the frame of the side street."""
        cos, sin = np.cos(crossing.heading), np.sin(crossing.heading)
        x = crossing.x + along * cos - across * sin
        y = crossing.y + along * sin + across * cos
        z = float(self.ground.height(np.array([x]), np.array([y]))[0])
        self.parts.append(part.placed(x, y, z, crossing.heading + yaw))
