"""Attention with decomposed relative positions, adaptable in q, k and v, and lean in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["RelativeAttention", "interpolated_offsets", "sliced_offsets"]


class RelativeAttention(nn.Module):
    """Multi-head attention over a grid of tokens: the function of Segment Anything's `Attention`.

    The logit of query (i, j) and key (m, n) is q·k / sqrt(D) + q·R_h[i - m] + q·R_w[j - n]. With
    one-hot rows and columns appended to the keys, and the products q·R_h and q·R_w to the queries,
    this is one plain dot product: no [N, N] bias exists, forward or backward, and torch's fused
    attention kernels apply.

    Args:
        fused: the module to take the weights from. Its one Linear for q, k and v becomes three,
            because each shall get an adapter of its own.
        paper_parity: stretch the tables of positions to the grid, as the authors do, instead of
            slicing their centre.
    """

    def __init__(self, fused: nn.Module, paper_parity: bool = False) -> None:
        super().__init__()
        self.num_heads: int = fused.num_heads  # type: ignore[assignment]
        self.offsets = interpolated_offsets if paper_parity else sliced_offsets
        self.q, self.k, self.v = _split(fused.qkv)  # type: ignore[arg-type]
        self.proj = fused.proj
        self.rel_pos_h: Tensor = fused.rel_pos_h  # type: ignore[assignment]
        self.rel_pos_w: Tensor = fused.rel_pos_w  # type: ignore[assignment]

    def forward(self, tokens: Tensor) -> Tensor:  # [B, H, W, C] -> [B, H, W, C]
        batch_size, height, width, _ = tokens.shape
        # [B, heads, H, W, D]
        q, k, v = (
            linear(tokens).unflatten(-1, (self.num_heads, -1)).permute(0, 3, 1, 2, 4)
            for linear in (self.q, self.k, self.v)
        )
        head_dim = q.shape[-1]
        rows = torch.einsum("bnhwd,hmd->bnhwm", q, self.offsets(self.rel_pos_h, height))
        columns = torch.einsum("bnhwd,wmd->bnhwm", q, self.offsets(self.rel_pos_w, width))
        queries = torch.cat([q * head_dim**-0.5, rows, columns], dim=-1)
        one_hot = _positions(height, width, k).expand(batch_size, self.num_heads, -1, -1, -1)
        keys = torch.cat([k, one_hot], dim=-1)
        out = _attend(queries.flatten(2, 3), keys.flatten(2, 3), v.flatten(2, 3))
        out = out.transpose(1, 2).reshape(batch_size, height, width, self.num_heads * head_dim)
        return self.proj(out)  # type: ignore[operator, no-any-return]


def sliced_offsets(
    table: Tensor,  # [2 * S - 1, D], of the distances -(S - 1) .. S - 1
    size: int,
) -> Tensor:  # [size, size, D]
    """The rows of `table` for each pair of positions of an axis: a distance keeps its meaning."""
    centre = len(table) // 2
    if size > centre + 1:
        raise ValueError(f"teacher: an axis has at most {centre + 1} tokens, got {size}")
    position = torch.arange(size, device=table.device)
    return table[centre + position[:, None] - position]


def interpolated_offsets(table: Tensor, size: int) -> Tensor:  # [2 * S - 1, D] -> [size, size, D]
    """As `sliced_offsets`, with the table squeezed to the axis: one step then means several."""
    length = 2 * size - 1
    if len(table) != length:
        table = functional.interpolate(table.T[None], size=length, mode="linear")[0].T
    return sliced_offsets(table, size)


def _split(qkv: nn.Linear) -> list[nn.Linear]:
    """Three Linears that share no memory with the one they are cut from."""
    parts = []
    for weight, bias in zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True):
        part = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        part.weight = nn.Parameter(weight.detach().clone())
        part.bias = nn.Parameter(bias.detach().clone())
        parts.append(part)
    return parts


def _positions(height: int, width: int, like: Tensor) -> Tensor:  # [H, W, H + W]
    """One-hot row and one-hot column of every token of the grid."""
    rows, columns = (
        torch.eye(size, dtype=like.dtype, device=like.device) for size in (height, width)
    )
    rows = rows[:, None].expand(-1, width, -1)
    columns = columns[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1)


def _attend(
    queries: Tensor,  # [B, heads, N, E]
    keys: Tensor,  # [B, heads, N, E]
    values: Tensor,  # [B, heads, N, D]
) -> Tensor:  # [B, heads, N, D]
    """Softmax of plain dot products, times the values.

    The fused kernels want one width for all three, and a multiple of eight: zeros change nothing.
    """
    head_dim = values.shape[-1]
    width = -(-queries.shape[-1] // 8) * 8
    q, k, v = (functional.pad(x, (0, width - x.shape[-1])) for x in (queries, keys, values))
    out = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    return out[..., :head_dim]
