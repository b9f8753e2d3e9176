"""The image encoder on a crop, against Segment Anything's own on its whole grid."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from elite.errors import EliteError
from elite.teacher import CheckpointReport, build_sam, import_segment_anything
from elite.teacher.attention import RelativeAttention, interpolated_offsets, sliced_offsets
from elite.teacher.encoder import SamEncoder
from elite.teacher.sam import randomize_tables


def images(height: int, width: int, batch_size: int = 1, seed: int = 0) -> Tensor:
    """Normalized images."""
    return torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def sam() -> nn.Module:
    """A test-size model whose tables are so large that every mistake in their use shows."""
    torch.manual_seed(0)
    sam = build_sam("test")
    randomize_tables(sam)
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if "rel_pos" in name:
                parameter.normal_(std=0.7)
    return sam


@pytest.fixture(scope="module")
def checkpoint(sam, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save(sam.state_dict(), path)
    return path


def stages_of(encoder: nn.Module, x: Tensor) -> list[Tensor]:
    """The stages of Segment Anything's own encoder, by its own forward functions."""
    tokens = encoder.patch_embed(x) + encoder.pos_embed
    stages = []
    for i, block in enumerate(encoder.blocks):
        tokens = block(tokens)
        if i % 2 == 1:
            stages.append(tokens.permute(0, 3, 1, 2))
    return stages


# ---- attention -----------------------------------------------------------------------------------


def fused_attention(grid: int, dim: int = 48, num_heads: int = 3) -> nn.Module:
    module = import_segment_anything().modeling.image_encoder.Attention(
        dim, num_heads, use_rel_pos=True, input_size=(grid, grid)
    )
    with torch.no_grad():
        module.rel_pos_h.normal_()
        module.rel_pos_w.normal_()
    return module


@pytest.mark.parametrize("size", [1, 5, 14, 16])
def test_split_attention_equals_fused(size: int) -> None:
    fused = fused_attention(size)
    split = RelativeAttention(fused)
    tokens = torch.randn(2, size, size, 48, requires_grad=True)
    want, got = fused(tokens), split(tokens)
    assert_close(got, want, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(want)
    (g_want,) = torch.autograd.grad((want * direction).sum(), tokens)
    (g_got,) = torch.autograd.grad((got * direction).sum(), tokens)
    assert_close(g_got, g_want, atol=1e-5, rtol=1e-4)


def test_gradients_of_split_weights_and_tables() -> None:
    fused = fused_attention(6)
    split = RelativeAttention(fused)
    tokens, direction = torch.randn(2, 6, 6, 48), torch.randn(2, 6, 6, 48)
    (fused(tokens) * direction).sum().backward()
    want = [g.clone() for g in fused.qkv.weight.grad.chunk(3)]
    tables = [fused.rel_pos_h.grad.clone(), fused.rel_pos_w.grad.clone()]
    fused.zero_grad()  # the tables are shared
    (split(tokens) * direction).sum().backward()
    for linear, grad in zip((split.q, split.k, split.v), want, strict=True):
        assert_close(linear.weight.grad, grad, atol=1e-4, rtol=1e-4)
    for table, grad in zip((split.rel_pos_h, split.rel_pos_w), tables, strict=True):
        assert_close(table.grad, grad, atol=1e-4, rtol=1e-4)


def test_nothing_as_large_as_all_logits_is_kept() -> None:
    """Of 320 x 1024 pixels: 1280 tokens, and 1280 x 1280 logits a head."""
    attention = RelativeAttention(fused_attention(64))
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attention(torch.randn(1, 20, 64, 48, requires_grad=True))
    assert 0 < max(kept) < 3 * 1280 * 1280 / 10


@torch.no_grad()
def test_cut_grid_equals_full_grid_with_masked_keys() -> None:
    """The truth: attention over all 16 rows, forbidden to look below row 5."""
    encoder = import_segment_anything().modeling.image_encoder
    fused, grid, rows = fused_attention(16), 16, 5
    tokens = torch.randn(1, grid, grid, 48)
    q, k, v = fused.qkv(tokens).reshape(1, grid**2, 3, 3, 16).permute(2, 0, 3, 1, 4)[:, 0]
    logits = encoder.add_decomposed_rel_pos(
        q / 4 @ k.mT, q, fused.rel_pos_h, fused.rel_pos_w, (grid, grid), (grid, grid)
    )
    logits[..., rows * grid :] = -torch.inf
    full = (logits.softmax(-1) @ v).transpose(0, 1).reshape(1, grid, grid, 48)
    want = fused.proj(full)[:, :rows]
    got = RelativeAttention(fused)(tokens[:, :rows])
    assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_sliced_table_keeps_distances() -> None:
    table = torch.arange(-63.0, 64.0)[:, None]  # each row says which distance it is for
    for size in (1, 20, 64):
        i = torch.arange(float(size))
        assert torch.equal(sliced_offsets(table, size)[..., 0], i[:, None] - i)
    with pytest.raises(ValueError, match="at most 64 tokens, got 65"):
        sliced_offsets(table, 65)


def test_interpolation_stretches_distances() -> None:
    """What the authors' code does on 20 of 64 rows: one step reads the value of three."""
    table = torch.arange(-63.0, 64.0)[:, None]
    stretched = interpolated_offsets(table, 20)[..., 0]
    steps = (stretched - interpolated_offsets(table, 20)[..., 0].T).abs() / 2
    assert steps[0, 1].item() == pytest.approx(127 / 39, rel=1e-4)
    assert torch.equal(interpolated_offsets(table, 64), sliced_offsets(table, 64))


@torch.no_grad()
def test_paper_parity_equals_the_package_on_a_cut_grid() -> None:
    fused = fused_attention(16)
    tokens = torch.randn(1, 5, 16, 48)
    parity = RelativeAttention(fused, paper_parity=True)(tokens)
    assert_close(parity, fused(tokens), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(RelativeAttention(fused)(tokens), parity, atol=1e-2)


# ---- encoder -------------------------------------------------------------------------------------


@torch.no_grad()
def test_whole_image_equals_the_package(sam, checkpoint) -> None:
    x = images(1024, 1024)
    got = SamEncoder("test", checkpoint)(x)
    want = stages_of(sam.image_encoder, x)
    for ours, theirs in zip(got, want, strict=True):
        assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_one_row_of_windows_equals_the_package_that_sees_no_more(sam, checkpoint) -> None:
    """14 of 64 rows: windows are whole, and global blocks of the package are kept from the rest."""
    encoder = import_segment_anything().modeling.image_encoder
    x = images(1024, 1024)
    tokens = sam.image_encoder.patch_embed(x) + sam.image_encoder.pos_embed
    got = SamEncoder("test", checkpoint)(x[:, :, : 14 * 16])
    for i, block in enumerate(sam.image_encoder.blocks):
        if i % 2 == 0:
            tokens = block(tokens)
            continue
        attention = block.attn
        q, k, v = attention.qkv(block.norm1(tokens)).reshape(4096, 3, 2, 16).permute(1, 2, 0, 3)
        rows = 14 * 64
        logits = encoder.add_decomposed_rel_pos(
            q * attention.scale @ k.mT, q, attention.rel_pos_h, attention.rel_pos_w, *[(64, 64)] * 2
        )[..., :rows]
        out = (logits.softmax(-1) @ v[:, :rows]).transpose(0, 1).reshape(1, 64, 64, 32)
        tokens = tokens + attention.proj(out)
        tokens = tokens + block.mlp(block.norm2(tokens))
        want = tokens[:, :14].permute(0, 3, 1, 2)
        assert_close(got[i // 2], want, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_paper_parity_equals_the_package_on_a_crop(sam, checkpoint) -> None:
    encoder = sam.image_encoder
    x = images(320, 512)
    tokens = encoder.patch_embed(x) + encoder.pos_embed[:, :20, :32]
    for block in encoder.blocks:
        tokens = block(tokens)
    got = SamEncoder("test", checkpoint, paper_parity=True)(x)[-1]
    assert_close(got, tokens.permute(0, 3, 1, 2), atol=1e-4, rtol=1e-4)
    sliced = SamEncoder("test", checkpoint)(x)[-1]
    assert not torch.allclose(sliced, got, atol=1e-2)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix(checkpoint) -> None:
    encoder = SamEncoder("test", checkpoint)
    x = images(64, 96, batch_size=3)
    together = encoder(x)
    for i in range(3):
        for stage, alone in zip(together, encoder(x[i : i + 1]), strict=True):
            assert_close(stage[i : i + 1], alone, atol=1e-5, rtol=1e-5)


def test_image_beyond_the_grid_is_refused(checkpoint) -> None:
    with pytest.raises(ValueError, match="at most 1024 x 1024 pixels, got 64 x 1040"):
        SamEncoder("test", checkpoint)(images(64, 1040))


def test_is_frozen_and_reports_what_it_loaded(sam, checkpoint) -> None:
    encoder = SamEncoder("test", checkpoint)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert isinstance(encoder.report, CheckpointReport)
    assert encoder.report.loaded == {"image_encoder": sum(p.numel() for p in encoder.parameters())}
    total = sum(v.numel() for v in sam.state_dict().values())
    assert sum(encoder.report.unused.values()) == total - sum(encoder.report.loaded.values())


def test_every_weight_comes_from_the_checkpoint(sam, checkpoint) -> None:
    """The authors lose q, k and v on the way."""
    ours, theirs = SamEncoder("test", checkpoint), sam.image_encoder
    attention = ours.blocks[3].attn
    qkv = torch.cat([attention.q.weight, attention.k.weight, attention.v.weight])
    assert torch.equal(qkv, theirs.blocks[3].attn.qkv.weight)
    biases = torch.cat([attention.q.bias, attention.k.bias, attention.v.bias])
    assert torch.equal(biases, theirs.blocks[3].attn.qkv.bias)
    others = {n: p for n, p in ours.named_parameters() if ".q." not in n}
    named = dict(theirs.named_parameters())
    same = {n for n, p in others.items() if n in named and torch.equal(p, named[n])}
    assert {n for n in others if n not in same} == {
        f"blocks.{i}.attn.{part}.{kind}"
        for i in range(8)
        for part in "kv"
        for kind in ("weight", "bias")
    }


def test_checkpoint_of_another_size_is_refused(checkpoint) -> None:
    with pytest.raises(EliteError, match=r"sam\.pth does not fit vit_b"):
        SamEncoder("vit_b", checkpoint)


def test_random_weights_are_a_function_of_the_seed() -> None:
    before = torch.get_rng_state()
    a, b, c = (SamEncoder("test", seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["pos_embed"], c["pos_embed"])
    assert a["pos_embed"].std() > 0.01
    assert a["blocks.1.attn.rel_pos_h"].std() > 0.01


def test_published_encoder_size() -> None:
    with torch.device("meta"):
        encoder = SamEncoder("vit_b")
    assert sum(p.numel() for p in encoder.parameters()) == 88_883_456
    assert (encoder.channels, encoder.num_stages, encoder.global_blocks) == (768, 4, (2, 5, 8, 11))
