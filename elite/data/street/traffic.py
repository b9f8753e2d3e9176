"""Everything that moves: endless lanes of road users, each at its place for any moment.

The users of a lane keep one speed, so they stand still in a frame that moves along with the lane.
That frame is divided in slots, and a slot's user, if any, follows from the slot's number alone: any
moment can be drawn without those before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from elite.data.street import people, vehicles
from elite.data.street.chunks import STATIC_IDS
from elite.data.street.ground import Ground
from elite.data.street.plan import TRAFFIC, Plan
from elite.data.street.quads import Quads, joined

MOVING_CAR, MOVING_TRUCK, MOVING_BUS = 252, 258, 257
MOVING_PERSON, MOVING_BICYCLIST, MOVING_MOTORCYCLIST = 254, 253, 255
IDS_PER_LANE = 4096
_SLOT_ZERO = 1 << 20  # seeds must not be negative, slots may be
EGO_GAP = 13.0  # metres before and behind the recording car that stay free


@dataclass(frozen=True)
class Lane:
    d: float  # metres left of the centre line
    wander: float  # metres that a user may keep off the lane's middle
    speed: float  # metres per second along the road, negative when oncoming
    slot: float  # metres
    density: float  # share of slots that are taken
    on_foot: bool = False
    cycling: bool = False
    ego: bool = False


class Traffic:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        roadway, verge, outside = plan.edges
        rng = plan.rng(TRAFFIC)
        middle, reach = (verge + outside) / 2, (outside - verge) / 2 - 0.5
        speed = plan.speed
        self.ego_lane = -roadway / 2
        self._lanes = (
            Lane(-roadway / 2, 0.15, speed, 24.0, float(rng.uniform(0.4, 0.8)), ego=True),
            Lane(roadway / 2, 0.15, -speed * 1.1, 24.0, float(rng.uniform(0.4, 0.8))),
            Lane(-roadway + 0.55, 0.1, 4.6, 30.0, 0.45, cycling=True),
            Lane(roadway - 0.55, 0.1, -4.9, 30.0, 0.45, cycling=True),
            Lane(-middle + 0.4, reach, 1.35, 11.0, 0.5, on_foot=True),
            Lane(-middle - 0.4, reach, -1.2, 11.0, 0.4, on_foot=True),
            Lane(middle + 0.4, reach, 1.25, 11.0, 0.4, on_foot=True),
            Lane(middle - 0.4, reach, -1.4, 11.0, 0.5, on_foot=True),
        )
        self._user = lru_cache(maxsize=2048)(self._make_user)

    def at(self, time: float, ego_x: float, behind: float, ahead: float, ground: Ground) -> Quads:
        """The road users from `behind` to `ahead` metres of the recording car at `time` seconds."""
        users = []
        for number, lane in enumerate(self._lanes):
            shift = lane.speed * time
            first = int(np.ceil((ego_x - behind - shift) / lane.slot))
            last = int(np.floor((ego_x + ahead - shift) / lane.slot))
            for slot in range(first, last + 1):
                user = self._find(number, slot, time, ego_x)
                if user is not None:
                    users.append(user)
        x, y = (np.array([user[axis] for user in users]) for axis in (1, 2))
        heights = ground.height(x, y)
        return joined(
            shape.placed(x, y, float(z), yaw)
            for (shape, x, y, yaw), z in zip(users, heights, strict=True)
        )

    def _find(
        self, number: int, slot: int, time: float, ego_x: float
    ) -> tuple[Quads, float, float, float] | None:
        """The user of a slot, if there is one, with its place (x, y) and direction."""
        lane = self._lanes[number]
        rng = self._plan.rng(TRAFFIC, number, slot + _SLOT_ZERO)
        taken, offset, side = rng.random(3)
        x = (slot + 0.25 + 0.5 * offset) * lane.slot + lane.speed * time
        if taken > lane.density or (lane.ego and abs(x - ego_x) < EGO_GAP):
            return None
        label, shape = self._user(number, slot, self._stride(lane, time, offset))
        instance = STATIC_IDS + number * IDS_PER_LANE + slot % IDS_PER_LANE
        place = self._plan.course.place(x, lane.d + lane.wander * (2 * side - 1))
        yaw = self._plan.course.heading(x) + (0.0 if lane.speed > 0 else np.pi)
        return shape.named(label, instance), *place, yaw

    @staticmethod
    def _stride(lane: Lane, time: float, offset: float) -> int:
        """The step of a walker, in eighths, so that a few poses serve for all moments."""
        return int((time * 0.9 + offset) * 8) % 8 if lane.on_foot else 0

    def _make_user(self, number: int, slot: int, stride: int) -> tuple[int, Quads]:
        lane = self._lanes[number]
        rng = self._plan.rng(TRAFFIC, number, slot + _SLOT_ZERO, 1)
        if lane.on_foot:
            return MOVING_PERSON, people.walker(rng, 2 * np.pi * (stride + 0.5) / 8)
        if lane.cycling:
            return MOVING_BICYCLIST, people.bicyclist(rng)
        # More of what is rare than real streets have: a small set should show every class.
        kinds: tuple[tuple[float, int, Callable[[np.random.Generator], Quads]], ...] = (
            (0.58, MOVING_CAR, vehicles.car),
            (0.68, MOVING_TRUCK, vehicles.truck),
            (0.80, MOVING_BUS, vehicles.bus),
            (1.00, MOVING_MOTORCYCLIST, people.motorcyclist),
        )
        draw = rng.random()
        label, make = next((label, make) for share, label, make in kinds if draw < share)
        return label, make(rng)
