"""The student's network in plain PyTorch, straight from the formulas, on the authors' weights.

Independent of elite and elite_ops: torch.unique, a dense neighbour lookup, gathers to the points.
It evaluates the definition literally, with the authors' names, so that it can judge both the
network and the checkpoint import. Only points inside the range may be given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

LOW, HIGH, SHAPE = (-50.0, -50.0, -4.0), (50.0, 50.0, 2.0), (1000, 1000, 60)
SCALES = (1, 2, 4, 8, 16)
State = dict[str, Tensor]
Convolution = Callable[[Tensor, Tensor, Tensor], Tensor]


def random_reference_checkpoint(seed: int, dtype: torch.dtype = torch.float32) -> State:
    """The authors' keys and shapes (KRSC), with weights that keep variances near 1."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}

    def linear(name: str, c_in: int, c_out: int) -> None:
        state[f"{name}.weight"] = torch.randn(c_out, c_in, generator=generator) / c_in**0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(c_out, generator=generator)

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def conv(name: str, size: int) -> None:
        weight = torch.randn(64, size, size, size, 64, generator=generator)
        state[f"{name}.weight"] = weight / (64 * min(size**3, 9)) ** 0.5

    linear("voxel_3d_generator.PPmodel.0", 10, 64)
    linear("voxel_3d_generator.PPmodel.2", 64, 64)
    for i in range(4):
        for j in range(2):
            block = f"spv_enc.{i}.v_enc.{j}"
            conv(f"{block}.layers_in.0", 1)
            norm(f"{block}.layers_in.1", 64)
            conv(f"{block}.layers.0", 3)
            norm(f"{block}.layers.1", 64)
            conv(f"{block}.layers.3", 3)
            norm(f"{block}.layers.4", 64)
        points = f"spv_enc.{i}.p_enc"
        linear(f"{points}.layer_in.0", 64, 64)
        linear(f"{points}.PPmodel.0", 64, 32)
        norm(f"{points}.PPmodel.2", 32)
        linear(f"{points}.PPmodel.3", 32, 32)
        norm(f"{points}.PPmodel.5", 32)
        linear(f"{points}.PPmodel.6", 32, 64)
        linear(f"{points}.layer_out.0", 128, 64)
        linear(f"{points}.layer_out.2", 64, 64)
    linear("classifier.0", 256, 128)
    linear("classifier.2", 128, 20)
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


def plain_student(
    points: Tensor,
    batch_index: Tensor,
    state: State,
    convolution: Convolution | None = None,
    *,
    training: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """Logits [N, 20] and the four stage features.

    `convolution(x, weight, voxels)` may take the place of the 3x3x3 convolution by dense lookup; in
    `training`, batch norms take mean and variance from what they are given.
    """

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, variance = x.mean(dim=0), x.var(dim=0, unbiased=False)
        return (x - mean) * (state[f"{name}.weight"] / (variance + 1e-5).sqrt()) + state[
            f"{name}.bias"
        ]

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    def residual_block(name: str, x: Tensor, conv3: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        inner = leaky(norm(f"{name}.layers.1", conv3(x, state[f"{name}.layers.0.weight"])))
        inner = norm(f"{name}.layers.4", conv3(inner, state[f"{name}.layers.3.weight"]))
        pointwise = state[f"{name}.layers_in.0.weight"].reshape(64, 64)  # [C_in, C_out]
        return leaky(inner + norm(f"{name}.layers_in.1", x @ pointwise))

    def point_branch(name: str, u: Tensor, halved: Tensor) -> Tensor:
        identity = leaky(linear(f"{name}.layer_in.0", u))
        x = norm(f"{name}.PPmodel.2", leaky(linear(f"{name}.PPmodel.0", _mean(u, halved))))
        x = norm(f"{name}.PPmodel.5", leaky(linear(f"{name}.PPmodel.3", x)))
        x = leaky(linear(f"{name}.PPmodel.6", x))
        return torch.cat([identity, x[halved]], dim=1)

    voxels, inverses = zip(*(plain_voxels(points, batch_index, s) for s in SCALES), strict=True)
    x = _mean(_describe(points, voxels[0], inverses[0], linear), inverses[0])
    stages, outputs = [], []
    for i in range(4):
        if convolution is None:
            conv3 = partial(_conv3, neighbors=_neighbors(voxels[i]))
        else:
            conv3 = partial(convolution, voxels=voxels[i])
        v = residual_block(f"spv_enc.{i}.v_enc.0", x, conv3)
        v = residual_block(f"spv_enc.{i}.v_enc.1", v, conv3)
        halves = torch.cat([voxels[i][:, :1], voxels[i][:, 1:] // 2], dim=1)
        mixed = point_branch(
            f"spv_enc.{i}.p_enc", x + v, halves.unique(dim=0, return_inverse=True)[1]
        )
        at_points = leaky(linear(f"spv_enc.{i}.p_enc.layer_out.0", mixed[inverses[i]]))
        p = _mean(linear(f"spv_enc.{i}.p_enc.layer_out.2", at_points), inverses[i + 1])
        stages.append(v)
        outputs.append(p[inverses[i + 1]])
        x = p + _mean(v[inverses[i]], inverses[i + 1])
    hidden = linear("classifier.0", torch.cat(outputs, dim=1)).clamp(min=0)
    return linear("classifier.2", hidden), stages


def plain_voxels(points: Tensor, batch_index: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    columns = [batch_index]
    for axis in range(3):
        cells = float(-(-SHAPE[axis] // scale))
        position = points[:, axis].float()
        columns.append((cells * (position - LOW[axis]) / (HIGH[axis] - LOW[axis])).long())
    return torch.stack(columns, dim=1).unique(dim=0, return_inverse=True)


def _mean(x: Tensor, inverse: Tensor) -> Tensor:
    count = inverse.bincount().to(x.dtype)
    return x.new_zeros(len(count), x.shape[1]).index_add(0, inverse, x) / count[:, None]


def _describe(points: Tensor, voxels: Tensor, inverse: Tensor, linear) -> Tensor:
    xyz = points[:, :3]
    low, high = xyz.new_tensor(LOW), xyz.new_tensor(HIGH)
    corner = voxels[inverse, 1:] * ((high - low) / xyz.new_tensor(SHAPE)) + low
    ten = torch.cat([points, xyz - _mean(xyz, inverse)[inverse], xyz - corner], dim=1)
    hidden = linear("voxel_3d_generator.PPmodel.0", ten).clamp(min=0)
    return linear("voxel_3d_generator.PPmodel.2", hidden)


def _neighbors(voxels: Tensor) -> Tensor:
    """[27, V]: the row of each neighbour, x slowest, V where there is none, from a dense grid."""
    num = len(voxels)
    voxels = voxels - voxels.min(dim=0).values
    size = voxels.max(dim=0).values + 3  # a border of one cell on both sides
    grid = torch.full(size.tolist(), num, dtype=torch.int32)
    b, x, y, z = voxels.T
    grid[b, x + 1, y + 1, z + 1] = torch.arange(num, dtype=torch.int32)
    rows = [
        grid[b, x + 1 + dx, y + 1 + dy, z + 1 + dz]
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        for dz in (-1, 0, 1)
    ]
    return torch.stack(rows)


def _conv3(x: Tensor, weight: Tensor, neighbors: Tensor) -> Tensor:
    """`weight` is spconv's [C_out, z, y, x, C_in]."""
    padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
    taps = weight.permute(3, 2, 1, 4, 0).reshape(27, weight.shape[4], weight.shape[0])
    return sum(padded[rows] @ tap for rows, tap in zip(neighbors, taps, strict=True))
