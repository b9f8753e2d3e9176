"""Voxels in the order of a space-filling curve, for transformers of point clouds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.registration import register_fake

__all__ = ["Patches", "Serialization", "build_serialization", "serialize"]

ORDERS = ("z", "z-trans", "hilbert", "hilbert-trans")


def serialize(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    order: str = "z",
    depth: int | None = None,
) -> Tensor:  # [V] int64
    """The place of each voxel along a curve through all cells of a cube of 2^depth a side.

    A code is the number of the sample, and below it the 3 * depth bits of the cell's place. Equal
    codes are equal cells; a code without its last 3 bits is that of the cell of twice the size.

    Args:
        indices: cells of at least 0.
        order: "z" takes the bits of x, y, z in turns, x first. "hilbert" goes from cell to
            neighbouring cell: each place differs from the last one by 1 along one axis. With
            "-trans", x and y change places.
        depth: from 1 to 21; the bits of the largest coordinate if not given.

    Returns:
        One code per voxel, in the order of the voxels.

    Raises:
        IndexError: if a coordinate is not in [0, 2^depth) or a sample not in [0, 2^(63 - 3 depth)):
            codes have 63 bits. On CUDA the row's code is -1 instead, and `check_device_errors`
            reports it.
        ValueError: if a shape, `order` or `depth` is not as above.
        TypeError: if a dtype is not the one above, or `depth` no integer.

    Example:
        >>> indices = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1]], dtype=torch.int32)
        >>> serialize(indices, order="z").tolist(), serialize(indices, order="hilbert").tolist()
        ([1, 2, 15], [1, 3, 13])

    *Differentiable:* no.
    *Sync:* none; one on CUDA to read the largest coordinate if there is no `depth`.
    *Deterministic:* yes.
    *Source:* Point Transformer V3 (Wu et al., CVPR 2024); the transform of Skilling (2004).
    """
    if order not in ORDERS:
        raise ValueError(f"serialize: `order` must be one of {', '.join(ORDERS)}, got {order!r}")
    if depth is None:
        depth = _depth_of(indices)
    codes: Tensor = torch.ops.elite_ops.serialize(
        indices,
        order.startswith("hilbert"),
        order.endswith("trans"),
        integer("serialize", "depth", depth),
    )
    return codes


def _depth_of(indices: Tensor) -> int:
    """The bits of the largest coordinate; at least 1."""
    if indices.dim() != 2 or indices.shape[0] == 0 or indices.shape[1] < 2:
        return 1
    return max(1, int(indices[:, 1:].max()).bit_length())


@dataclass(frozen=True, eq=False)
class Patches:
    """Serialized voxels cut into patches of equal size; see `Serialization.patches`."""

    rows: Tensor  # [L] int32: the voxel in each place
    places: Tensor  # [V] int32: the place of each voxel; those where it is repeated don't count
    offsets: Tensor  # [P + 1] int32: where each patch begins, and L


@dataclass(frozen=True, eq=False)
class Serialization:
    """Voxels in the order of their codes; see `build_serialization`."""

    code: Tensor  # [V] int64: of each voxel
    order: Tensor  # [V] int32: the voxels by rising code
    inverse: Tensor  # [V] int32: the place of each voxel in that order
    depth: int

    def patches(self, patch_size: int) -> Patches:
        """Cuts each sample's voxels, in their order, into patches of `patch_size` for attention.

        Where a sample's last patch is not full, the voxels in the same places of the patch before
        are repeated in it. A sample of fewer than `patch_size` voxels is one patch of its own size.
        `features[patches.rows]` is cut at `offsets`, and `out[patches.places]` has the voxels in
        their own order again.

        Args:
            patch_size: at least 1.

        Raises:
            ValueError, TypeError: if `patch_size` is below 1, or no integer.

        *Sync:* CUDA: two, for the number of samples and of places.
        """
        patch_size = integer("patches", "patch_size", patch_size)
        if patch_size < 1:
            raise ValueError(f"patches: `patch_size` must be at least 1, got {patch_size}")
        sample = self.code[self.order] >> 3 * self.depth
        counts = torch.unique_consecutive(sample, return_counts=True)[1]
        num_patches = (counts + patch_size - 1) // patch_size
        sizes = torch.where(counts > patch_size, num_patches * patch_size, counts)
        num_places, total_patches = torch.stack([sizes.sum(), num_patches.sum()]).tolist()
        first_row, first_place = counts.cumsum(0) - counts, sizes.cumsum(0) - sizes

        owner, place = _in_groups(sizes, num_places)
        place = torch.where(place < counts[owner], place, place - patch_size)
        rows = self.order[first_row[owner] + place]

        shift = (first_place - first_row).repeat_interleave(counts, output_size=len(sample))
        places = self.inverse + shift[self.inverse]

        owner, patch = _in_groups(num_patches, total_patches)
        offsets = (first_place[owner] + patch * patch_size).int()
        return Patches(rows, places.int(), torch.cat([offsets, offsets.new_tensor([num_places])]))


def _in_groups(sizes: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """The group of each of `total` members, and its number in the group."""
    group = torch.arange(len(sizes), device=sizes.device)
    group = group.repeat_interleave(sizes, output_size=total)
    member = torch.arange(total, device=sizes.device)
    return group, member - (sizes.cumsum(0) - sizes)[group]


def build_serialization(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    order: str = "z",
    depth: int | None = None,
) -> Serialization:
    """Codes of voxels, and the voxels in their order, equal codes in the order of their rows.

    Args:
        indices: as for `serialize`.
        order: as for `serialize`.
        depth: as for `serialize`.

    Raises:
        IndexError, ValueError, TypeError: as `serialize`.

    Example:
        >>> indices = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=torch.int32)
        >>> built = build_serialization(indices)
        >>> built.code.tolist(), built.order.tolist(), built.inverse.tolist()
        ([8, 4, 2], [2, 1, 0], [2, 1, 0])

    *Differentiable:* no.
    *Sync:* as `serialize`.
    *Deterministic:* yes.
    *Source:* Point Transformer V3 (Wu et al., CVPR 2024).
    """
    if depth is None:
        depth = _depth_of(indices)
    code = serialize(indices, order=order, depth=depth)
    by_code = code.argsort(stable=True)
    inverse = torch.empty_like(by_code, dtype=torch.int32)
    inverse[by_code] = torch.arange(len(code), dtype=torch.int32, device=code.device)
    return Serialization(code, by_code.int(), inverse, integer("serialize", "depth", depth))


def _fake(indices: Tensor, hilbert: bool, transposed: bool, depth: int) -> Tensor:
    return indices.new_empty(indices.shape[0], dtype=torch.int64)


register_fake("serialize", _fake)
