"""Which quad each ray of a sensor meets first.

The rays of a sensor leave one place and form a grid. A quad covers a block of that grid, so only
the rays of the block are tested. With all rays through the origin, a ray is inside a quad when it
lies on the inner side of the four planes through the origin and the quad's edges: four dot products
per test, and two neighbouring quads leave no gap because they share the plane bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from elite.data.street.noise import Array
from elite.data.street.vectors import cross, dot, length

BLOCK = 1 << 18  # tests at a time: small enough for the cache, large enough for numpy
NO_QUAD = -1

# (quad row [P], ray row [P], distance [P]) -> bool [P]: False where the ray passes through a hole
Solid = Callable[[Array, Array, Array], Array]


class Grid(Protocol):
    """Rays from the origin in `rows` x `columns`, row by row."""

    rows: int
    columns: int
    directions: Array  # float32 [R, 3], unit length

    def sees(self, centre: Array, radius: Array) -> Array:
        """False for balls (sensor frame, [Q, 3] and [Q]) that no ray can meet: bool [Q]."""
        ...

    def bounds(self, corners: Array) -> tuple[Array, Array, Array, Array]:
        """First and end row, first and end column of each quad; columns may wrap around."""
        ...

    def narrow(
        self, planes: Array, quad: Array, row: Array, column0: Array, column1: Array
    ) -> tuple[Array, Array]:
        """The columns that may lie inside the edge planes [Q, 4, 3] of a quad, for runs in a row.

        A run is a quad, a row, and the columns from `column0` to before `column1`.
        """
        ...


def cast(
    grid: Grid,
    corners: Array,  # [Q, 4, 3], sensor frame, metres
    limit: Array,  # float32 [R], metres: what is farther is hidden
    solid: Solid | None = None,
) -> tuple[Array, Array]:
    """Finds the nearest quad along every ray.

    Returns:
        The distance float32 [R] in metres (`limit` where no quad is met) and the row of the quad,
        int32 [R] (-1 for none).
    """
    planes, normal, offset = _planes(corners)
    rows = np.flatnonzero(offset > 0)
    nearest = _nearest(corners, normal, offset)
    rows = rows[np.argsort(nearest[rows], kind="stable")]
    distance = limit.astype(np.float32).copy()
    winner = np.full(len(distance), NO_QUAD, np.int32)
    edge = np.ascontiguousarray(planes.reshape(len(planes), 12).T.astype(np.float32))
    unit = np.ascontiguousarray(normal.T.astype(np.float32))
    reach, near = offset.astype(np.float32), nearest.astype(np.float32)
    direction = np.ascontiguousarray(grid.directions.T)
    for quad, ray in _candidates(grid, corners, planes, rows):
        reachable = near[quad] < distance[ray]
        quad, ray = quad[reachable], ray[reachable]
        x, y, z = direction[0][ray], direction[1][ray], direction[2][ray]
        inside = np.ones(len(quad), bool)
        for k in range(0, 12, 3):
            inside &= edge[k][quad] * x + edge[k + 1][quad] * y + edge[k + 2][quad] * z >= 0
        quad, ray, x, y, z = quad[inside], ray[inside], x[inside], y[inside], z[inside]
        at = reach[quad] / (unit[0][quad] * x + unit[1][quad] * y + unit[2][quad] * z)
        closer = at < distance[ray]
        quad, ray, at = quad[closer], ray[closer], at[closer]
        if solid is not None:
            kept = solid(quad, ray, at)
            quad, ray, at = quad[kept], ray[kept], at[kept]
        _keep_nearest(distance, winner, quad, ray, at)
    return distance, winner


def _planes(corners: Array) -> tuple[Array, Array, Array]:
    """Edge planes [Q, 4, 3], unit normal [Q, 3] and distance of the quad's plane [Q] >= 0."""
    following = np.roll(corners, -1, axis=1)
    planes = cross(corners, following)
    normal = cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    normal /= np.maximum(length(normal), 1e-12)[:, None]
    offset = dot(normal, corners[:, 0])
    sign = np.where(offset < 0, -1.0, 1.0)
    return planes * sign[:, None, None], normal * sign[:, None], offset * sign


def _nearest(corners: Array, normal: Array, offset: Array) -> Array:
    """A distance that no point of the quad falls below."""
    centre = (corners[:, 0] + corners[:, 1] + corners[:, 2] + corners[:, 3]) / 4
    reach = length(corners - centre[:, None])
    radius = np.maximum.reduce([reach[:, i] for i in range(4)])
    nearest: Array = np.maximum(offset, length(centre) - radius) * (1 - 1e-6)
    return nearest


def _candidates(
    grid: Grid,
    corners: Array,  # [Q, 4, 3]
    planes: Array,  # [Q, 4, 3], of the edges
    rows: Array,  # [S], the quads to look at, in this order
) -> Iterator[tuple[Array, Array]]:
    """Blocks of pairs to test: quad [P] and ray [P], int32."""
    row0, row1, column0, column1 = grid.bounds(corners[rows])
    height = np.where(column1 > column0, np.maximum(row1 - row0, 0), 0)
    run_of = np.repeat(np.arange(len(rows)), height)  # one run for each quad and grid row
    run_row = np.arange(len(run_of)) - (np.cumsum(height) - height)[run_of] + row0[run_of]
    run_quad = rows[run_of].astype(np.int32)
    run_column, run_end = grid.narrow(planes, run_quad, run_row, column0[run_of], column1[run_of])
    wraps = bool((run_column < 0).any() or (run_end > grid.columns).any())
    run_width = np.maximum(run_end - run_column, 0)
    run_ray = run_row * grid.columns
    end = np.cumsum(run_width)
    begin, done = 0, 0
    while begin < len(run_of):
        stop = max(begin + 1, int(np.searchsorted(end, done + BLOCK, side="right")))
        run = slice(begin, stop)
        count = run_width[run]
        total = int(end[stop - 1]) - done
        start = run_column[run] - (end[run] - count - done)
        if not wraps:
            start += run_ray[run]
        ray = np.repeat(start.astype(np.int32), count)
        ray += np.arange(total, dtype=np.int32)
        if wraps:
            ray %= np.int32(grid.columns)
            ray += np.repeat(run_ray[run].astype(np.int32), count)
        yield np.repeat(run_quad[run], count), ray
        begin, done = stop, int(end[stop - 1])


def _keep_nearest(distance: Array, winner: Array, quad: Array, ray: Array, at: Array) -> None:
    np.minimum.at(distance, ray, at)
    best = at == distance[ray]
    winner[ray[best]] = quad[best]  # of equal distances the last one stays, always the same
