"""`serialize` against its definition, and against what makes a curve z-order's or Hilbert's."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck

from elite_ops import build_serialization, check_device_errors, serialize, voxelize
from elite_ops.reference.serialize import serialize as reference

ORDERS = ["z", "z-trans", "hilbert", "hilbert-trans"]


def random_voxels(num_voxels: int, depth: int = 10, batch_size: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(num_voxels)
    cells = torch.randint(2**depth, (num_voxels, 4), generator=generator, dtype=torch.int32)
    cells[:, 0] %= batch_size
    return cells


def cube(depth: int, device: torch.device) -> Tensor:
    """All cells of a cube, of sample 0."""
    cells = list(product([0], *[range(2**depth)] * 3))
    return torch.tensor(cells, dtype=torch.int32, device=device)


def test_by_hand(device: torch.device) -> None:
    cells = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0], [2, 1, 0, 0]]
    indices = torch.tensor(cells, dtype=torch.int32, device=device)
    assert serialize(indices).tolist() == [0, 1, 3, 2, 6, 20]
    assert serialize(indices, order="z-trans").tolist() == [0, 1, 5, 4, 6, 18]
    assert serialize(indices, order="hilbert").tolist() == [0, 1, 2, 3, 4, 23]
    assert serialize(indices, order="hilbert-trans").tolist() == [0, 1, 6, 7, 4, 19]
    assert serialize(indices, order="z", depth=3).tolist() == [0, 1, 3, 2, 6, 4 + 2 * 512]
    # Known places on Skilling's curve.
    cells = [[0, 5, 2, 7], [0, 1023, 0, 511], [0, 300, 700, 123], [0, 1023, 1023, 1023]]
    indices = torch.tensor(cells, dtype=torch.int32, device=device)
    codes = serialize(indices, order="hilbert", depth=10)
    assert codes.tolist() == [306, 939524096, 524062621, 766958445]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("num_voxels", [0, 1, 31, 33, 1023])
def test_equals_reference(device: torch.device, num_voxels: int, order: str) -> None:
    for depth in (1, 7, 16, 20):
        indices = random_voxels(num_voxels, depth).to(device)
        got = serialize(indices, order=order, depth=depth)
        assert got.dtype == torch.int64
        assert torch.equal(got, reference(indices, order=order, depth=depth))


@pytest.mark.parametrize("order", ORDERS)
def test_equals_reference_on_a_real_scan(
    real_points: Tensor, device: torch.device, order: str
) -> None:
    box = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)
    (voxels,) = voxelize(
        real_points[::8].contiguous().to(device),
        point_cloud_range=box,
        spatial_shape=(1000, 1000, 60),
    )
    got = serialize(voxels.indices, order=order)
    assert torch.equal(got, reference(voxels.indices, order=order, depth=10))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_codes_number_the_cells_of_a_cube(device: torch.device, order: str, depth: int) -> None:
    codes = serialize(cube(depth, device), order=order, depth=depth)
    assert torch.equal(codes.sort().values, torch.arange(8**depth, device=device))


@pytest.mark.parametrize("order", ORDERS)
def test_a_code_holds_those_of_the_larger_cells(device: torch.device, order: str) -> None:
    indices = random_voxels(500, 16).to(device)
    halved = indices.clone()
    halved[:, 1:] //= 2
    codes = serialize(indices, order=order, depth=16)
    assert torch.equal(codes >> 3, serialize(halved, order=order, depth=15))


@pytest.mark.parametrize("order", ["hilbert", "hilbert-trans"])
def test_hilbert_goes_from_neighbour_to_neighbour(device: torch.device, order: str) -> None:
    cells = cube(4, device)
    path = cells[serialize(cells, order=order, depth=4).argsort()]
    assert (path.diff(dim=0).abs().sum(dim=1) == 1).all()


def test_z_takes_bits_in_turns(device: torch.device) -> None:
    indices = random_voxels(50, 21, batch_size=1).to(device)
    want = [
        int("".join("".join(bits) for bits in zip(*(f"{c:021b}" for c in cell), strict=True)), 2)
        for cell in indices[:, 1:].tolist()
    ]
    assert serialize(indices, depth=21).tolist() == want


def test_trans_exchanges_x_and_y(device: torch.device) -> None:
    indices = random_voxels(100).to(device)
    exchanged = indices[:, [0, 2, 1, 3]]
    for order in ("z", "hilbert"):
        assert torch.equal(
            serialize(indices, order=order + "-trans"), serialize(exchanged, order=order)
        )


def test_depth_is_what_the_largest_coordinate_needs(device: torch.device) -> None:
    for largest, depth in ((0, 1), (1, 1), (7, 3), (8, 4), (2**21 - 1, 21)):
        indices = torch.tensor([[0, 0, largest, 1], [0, 0, 0, 0]], dtype=torch.int32, device=device)
        want = serialize(indices, order="hilbert", depth=depth)
        assert torch.equal(serialize(indices, order="hilbert"), want)


def test_serialization_sorts_by_code_and_back(device: torch.device) -> None:
    indices = random_voxels(300, 3).to(device)  # many cells occur twice
    built = build_serialization(indices, order="hilbert")
    order, inverse = built.order.long(), built.inverse.long()
    rows = torch.arange(300, device=device)
    assert built.depth == 3
    assert torch.equal(built.code, serialize(indices, order="hilbert"))
    assert torch.equal(order[inverse], rows)
    assert torch.equal(inverse[order], rows)
    pairs = list(zip(built.code[order].tolist(), order.tolist(), strict=True))
    assert pairs == sorted(pairs)


def patches_by_loop(sizes: list[int], patch_size: int) -> tuple[list[int], list[int]]:
    """Places in the order of all voxels, and where patches begin, sample by sample."""
    rows: list[int] = []
    offsets = [0]
    begin = 0
    for size in sizes:
        own = list(range(begin, begin + size))
        patches = [own[i : i + patch_size] for i in range(0, size, patch_size)]
        if len(patches) > 1:
            patches[-1] += patches[-2][len(patches[-1]) :]
        for patch in patches:
            rows += patch
            offsets.append(len(rows))
        begin += size
    return rows, offsets


@pytest.mark.parametrize("sizes", [[5], [4], [3], [9, 0, 4, 2, 13], [1, 8], []])
def test_patches(device: torch.device, sizes: list[int]) -> None:
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    indices = random_voxels(len(batch))
    indices[:, 0] = batch
    indices = indices[torch.randperm(len(indices))].to(device)
    built = build_serialization(indices, order="hilbert")
    patches = built.patches(4)
    rows, offsets = patches_by_loop(sizes, 4)
    assert patches.rows.tolist() == [built.order.tolist()[i] for i in rows]
    assert patches.offsets.tolist() == offsets
    assert all(t.dtype == torch.int32 for t in (patches.rows, patches.places, patches.offsets))
    features = torch.randn(len(indices), 3, device=device)
    assert torch.equal(features[patches.rows][patches.places], features)


def test_patches_never_mix_samples(device: torch.device) -> None:
    indices = random_voxels(500).to(device)
    patches = build_serialization(indices).patches(16)
    samples = indices[patches.rows, 0]
    for begin, end in zip(patches.offsets[:-1].tolist(), patches.offsets[1:].tolist(), strict=True):
        assert end - begin == 16
        assert len(samples[begin:end].unique()) == 1
        assert len(patches.rows[begin:end].unique()) == 16


@pytest.mark.parametrize("num_voxels", [0, 40])
def test_opcheck(device: torch.device, num_voxels: int) -> None:
    indices = random_voxels(num_voxels).to(device)
    opcheck(torch.ops.elite_ops.serialize.default, (indices, True, False, 10))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def by_code(indices: Tensor) -> Tensor:
        built = build_serialization(indices, order="hilbert", depth=10)
        return indices[built.order] + built.inverse[:, None]

    compiled = torch.compile(by_code, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_voxels in (20, 300):
        indices = random_voxels(num_voxels).to(device)
        assert torch.equal(compiled(indices), by_code(indices))


def test_non_contiguous(device: torch.device) -> None:
    indices = random_voxels(100).to(device)
    want = serialize(indices[::2].contiguous(), order="hilbert")
    assert torch.equal(serialize(indices[::2], order="hilbert"), want)
    assert torch.equal(serialize(indices[::2].T.contiguous().T, order="hilbert"), want)


VOXELS = torch.zeros(3, 4, dtype=torch.int32)


def with_row(*row: int) -> Tensor:
    return torch.cat([VOXELS, torch.tensor([row], dtype=torch.int32)])


REJECTED = [
    ({"indices": VOXELS[0]}, ValueError, "`indices` must have 2 dimensions"),
    ({"indices": VOXELS[:, :3]}, ValueError, "`indices` must have size 4 in dimension 1"),
    ({"indices": VOXELS.long()}, TypeError, "`indices` must be Int, got Long"),
    ({"order": "peano"}, ValueError, "`order` must be one of z, z-trans, .* got 'peano'"),
    ({"depth": 0}, ValueError, "`depth` must be between 1 and 21, as codes have 63 bits, got 0"),
    ({"depth": 22}, ValueError, "`depth` must be between 1 and 21"),
    ({"depth": 2.0}, TypeError, "`depth` must be an integer, got .* of type float"),
    ({"indices": with_row(0, 0, 2**21, 0), "depth": None}, ValueError, "`depth` must be .* got 22"),
    immediate(
        {"indices": with_row(0, 0, 8, 1)},
        IndexError,
        r"cells below 2\^3 of samples below 2\^54, got \[0, 0, 8, 1\] at row 3",
    ),
    immediate({"indices": with_row(0, 1, 2, -1)}, IndexError, r"got \[0, 1, 2, -1\] at row 3"),
    immediate({"indices": with_row(-1, 0, 0, 0)}, IndexError, r"got \[-1, 0, 0, 0\] at row 3"),
    immediate(
        {"indices": with_row(8, 0, 0, 0), "depth": 20}, IndexError, r"samples below 2\^3, got \[8"
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), REJECTED)
def test_rejects(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"indices": VOXELS, "order": "hilbert", "depth": 3}
    with pytest.raises(error, match=f"serialize: .*{message}"):
        serialize(**(arguments | change))


def test_patches_reject(device: torch.device) -> None:
    built = build_serialization(VOXELS.to(device))
    with pytest.raises(ValueError, match="patches: `patch_size` must be at least 1, got 0"):
        built.patches(0)
    with pytest.raises(TypeError, match="patches: `patch_size` must be an integer"):
        built.patches(4.0)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_a_cell_outside_is_reported_from_the_device(cuda: torch.device) -> None:
    codes = serialize(with_row(0, 0, 8, 1).to(cuda), depth=3)
    assert codes.tolist() == [0, 0, 0, -1]
    with pytest.raises(IndexError, match="serialize: `indices` must be cells below 2"):
        check_device_errors()
