"""One image of 320 x 1024 through ViT-B with AdaLoRA and the decoders, forward and backward.

`plain` computes attention as Segment Anything's code does, with all logits in memory; everything
else is the same.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from step_cost import measure_step
from torch import Tensor
from torch.testing import assert_close

from elite.teacher import Teacher, TeacherConfig, import_segment_anything
from elite.teacher.attention import RelativeAttention, sliced_offsets

VARIANTS = {
    "kept": {},
    "recomputed": {"gradient_checkpointing": True},
    "plain": {},
}


def plain_attention(self: RelativeAttention, tokens: Tensor) -> Tensor:
    """Logits, bias and softmax in memory, for the same split q, k and v."""
    encoder = import_segment_anything().modeling.image_encoder
    batch, height, width, channels = tokens.shape
    heads = self.num_heads
    q, k, v = (
        linear(tokens).view(batch, height * width, heads, -1).transpose(1, 2).flatten(0, 1)
        for linear in (self.q, self.k, self.v)
    )
    # The rows of the tables that a crop of this size reads.
    tables = [
        table[len(table) // 2 - size + 1 : len(table) // 2 + size]
        for table, size in ((self.rel_pos_h, height), (self.rel_pos_w, width))
    ]
    logits = encoder.add_decomposed_rel_pos(
        (q * q.shape[-1] ** -0.5) @ k.transpose(1, 2), q, *tables, *[(height, width)] * 2
    )
    out = (logits.softmax(-1) @ v).view(batch, heads, height, width, -1)
    return self.proj(out.permute(0, 2, 3, 1, 4).reshape(batch, height, width, channels))


def build(variant: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Teacher:
    torch.manual_seed(0)
    config = TeacherConfig(random_weights=True, **VARIANTS[variant])
    if variant == "plain":
        monkeypatch.setattr(RelativeAttention, "forward", plain_attention)
    return Teacher(config, total_steps=1000).to(device)


@pytest.mark.benchmark(group="teacher, forward and backward")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", VARIANTS)
def bench_teacher_step(
    benchmark: Any,
    variant: str,
    precision: str,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = build(variant, device, monkeypatch)
    images = torch.randint(0, 256, (1, 3, 320, 1024), dtype=torch.uint8).to(device)

    def step() -> None:
        teacher.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = sum(m.float().square().mean() for m in teacher(images))
        (loss + teacher.regularization()).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    measure_step(benchmark, step, device)


@torch.no_grad()
def test_plain_attention_is_the_same_function() -> None:
    sam = import_segment_anything().modeling.image_encoder
    fused = sam.Attention(32, 2, use_rel_pos=True, input_size=(16, 16))
    fused.rel_pos_h.normal_()
    fused.rel_pos_w.normal_()
    attention = RelativeAttention(fused)
    assert attention.offsets is sliced_offsets
    tokens = torch.randn(2, 5, 16, 32)
    assert_close(plain_attention(attention, tokens), attention(tokens), atol=1e-5, rtol=1e-5)
