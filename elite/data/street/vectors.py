"""Products of many small vectors.

Written out, because numpy's own are slow for vectors of three, and because a BLAS may round
differently with another number of threads: here the same input gives the same bytes.
"""

from __future__ import annotations

import numpy as np

from elite.data.street.noise import Array


def cross(a: Array, b: Array) -> Array:
    """The cross product of [..., 3] and [..., 3]."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.result_type(a, b))
    out[..., 0] = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    out[..., 1] = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    out[..., 2] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return out


def dot(a: Array, b: Array) -> Array:
    """The inner product of [..., 3] and [..., 3] or [3]: [...]."""
    product: Array = a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]
    return product


def rotated(vectors: Array, rotation: Array) -> Array:
    """`rotation` [3, 3] applied to each of [..., 3], in the vectors' precision."""
    rows = np.asarray(rotation, dtype=vectors.dtype)
    out = np.empty_like(vectors)
    for axis in range(3):
        out[..., axis] = dot(vectors, rows[axis])
    return out


def length(vectors: Array) -> Array:
    """The Euclidean length of [..., 3]: [...]."""
    return np.sqrt(dot(vectors, vectors))
