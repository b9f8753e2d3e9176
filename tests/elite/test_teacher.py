"""The teacher as a whole: images in, stage maps out, whatever the encoder behind it."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from elite.config import from_mapping, to_mapping
from elite.errors import EliteError
from elite.teacher import Backbone, PeftConfig, Teacher, TeacherConfig, import_segment_anything
from elite.teacher.dinov2 import Dinov2Encoder
from elite.teacher.patch_decoder import PatchDecoder

FROZEN = PeftConfig("none")


def teacher(backbone: str = "sam_test", peft: PeftConfig = FROZEN, **options: object) -> Teacher:
    torch.manual_seed(0)
    config = TeacherConfig(backbone, random_weights=True, peft=peft, decoder_hidden=8, **options)
    return Teacher(config, total_steps=10)


def some_images(height: int = 64, width: int = 96, batch_size: int = 2, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    shape = (batch_size, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=g)


class Brightness(Backbone):
    """A backbone of one's own: it repeats what it is given."""

    channels, num_stages = 3, 2
    pixel_mean, pixel_std = (100.0, 110.0, 120.0), (50.0, 55.0, 60.0)
    adaptable: dict[str, str] = {}  # noqa: RUF012

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen = images
        return [functional.avg_pool2d(images, 16)] * self.num_stages

    def cut(self, num_stages: int) -> None:
        self.num_stages = num_stages


# ---- images --------------------------------------------------------------------------------------


def test_normalization_is_that_of_the_checkpoints() -> None:
    """Of 0..255 values: the scale is where implementations go wrong."""
    network = teacher()
    with torch.device("cpu"):
        sam = import_segment_anything().modeling.Sam(nn.Identity(), nn.Identity(), nn.Identity())
    for ours, theirs in (
        (network.pixel_mean, sam.pixel_mean),
        (network.pixel_std, sam.pixel_std),
    ):
        assert torch.equal(ours, theirs)
    backbone = Brightness()
    own = Teacher(TeacherConfig(peft=FROZEN), backbone=backbone)
    x = some_images()
    own(x)
    want = (x.double() - 100.0) / 50.0
    assert_close(backbone.seen[:, 0].double(), want[:, 0], atol=1e-6, rtol=1e-6)
    assert backbone.seen.std() > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_other_numbers_than_bytes_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"`images` must be uint8, got {dtype}"):
        teacher()(some_images().to(dtype))


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"must be \[B, 3, H, W\], got \[1, 4, 8, 8\]"):
        teacher()(torch.zeros(1, 4, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="sides of multiples of 4, got 30 x 64"):
        teacher()(some_images(30, 64))


@pytest.mark.parametrize("backbone", ["sam_test", "dinov2_test"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (36, 68), (4, 4)])
@torch.no_grad()
def test_maps_have_a_quarter_of_the_sides(backbone: str, height: int, width: int) -> None:
    network = teacher(backbone)
    maps = network(some_images(height, width))
    assert len(maps) == network.num_stages == 4
    want = (2, network.patch_channels, height // 4, width // 4)
    assert {m.shape for m in maps} == {want}
    assert all(m.isfinite().all() for m in maps)


def test_padding_has_the_mean_colour() -> None:
    backbone = Brightness()
    Teacher(TeacherConfig(peft=FROZEN), backbone=backbone)(some_images(36, 68))
    assert backbone.seen.shape == (2, 3, 48, 80)
    assert not backbone.seen[:, :, 36:].any()
    assert not backbone.seen[..., 68:].any()


@torch.no_grad()
def test_order_of_colours_matters() -> None:
    x = some_images()
    network = teacher()
    assert not torch.allclose(network(x)[0], network(x.flip(1))[0], atol=1e-3)


# ---- maps ----------------------------------------------------------------------------------------


@torch.no_grad()
def test_patch_decoder_by_hand() -> None:
    """Every pixel of the map comes from one token, through two matrices."""
    decoder = PatchDecoder(5, 6, 7)
    tokens = torch.randn(1, 5, 2, 3)
    got = decoder(tokens)
    row, column = 5, 10  # token (1, 2), its second row and column, in that the first and first
    first = tokens[0, :, 1, 2] @ decoder.upscale1.weight[:, :, 0, 1] + decoder.upscale1.bias
    hidden = functional.gelu(functional.layer_norm(first, (6,), eps=1e-6))
    want = functional.gelu(hidden @ decoder.upscale2.weight[:, :, 1, 0] + decoder.upscale2.bias)
    assert_close(got[0, :, row, column], want, atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_gives_equal_gradients() -> None:
    x = some_images()
    for backbone in ("sam_test", "dinov2_test"):
        gradients = []
        for checkpointing in (False, True):
            network = teacher(backbone, PeftConfig(), gradient_checkpointing=checkpointing)
            sum((m * m).mean() for m in network(x)).backward()
            gradients.append({n: p.grad for n, p in network.named_parameters() if p.requires_grad})
        kept, recomputed = gradients
        assert [n for n in kept if "lora_E" in n and kept[n].abs().sum() > 0]
        for name in kept:
            assert_close(recomputed[name], kept[name], atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("backbone", ["sam_test", "dinov2_test"])
def test_stages_that_are_not_asked_for_are_left_out(backbone: str) -> None:
    config = TeacherConfig(backbone, random_weights=True)
    whole, part = (Teacher(config, 10, stages=stages) for stages in (None, (1, 3)))
    assert (part.num_stages, part.stages, len(part.decoders)) == (4, (1, 3), 2)
    for index, stage in enumerate((0, 2)):
        part.decoders[index].load_state_dict(whole.decoders[stage].state_dict())
    x = some_images()
    maps, every = part(x), whole(x)
    assert_close(maps, [every[0], every[2]], atol=0, rtol=0)
    (sum(m.square().mean() for m in maps) + part.regularization()).backward()
    assert not [n for n, p in part.named_parameters() if p.requires_grad and not p.grad.any()]
    for stages in ((), (2, 1), (0,), (5,)):
        with pytest.raises(ValueError, match=r"`stages` must be of 1\.\.4 and rise, got \("):
            Teacher(config, 10, stages=stages)


def test_frozen_encoder_keeps_nothing_for_gradients() -> None:
    network = teacher()
    sum(m.square().mean() for m in network(some_images())).backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None for p in network.decoders.parameters())


@pytest.mark.parametrize("backbone", ["sam_test", "dinov2_test"])
def test_bfloat16_autocast(backbone: str) -> None:
    network, x = teacher(backbone, PeftConfig()), some_images()
    with torch.no_grad():
        want = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = network(x)
        term = network.regularization()
    assert term.dtype == torch.float32
    assert_close(term, network.regularization())
    for a, b in zip(got, want, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.float() - b).norm() < 0.05 * b.norm()
    sum(m.float().square().mean() for m in got).backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_a_copy_on_any_device_is_a_teacher_of_its_own(device: torch.device) -> None:
    """As averaged weights are made, and as training runs."""
    network, x = teacher(peft=PeftConfig()), some_images()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copied = copy.deepcopy(network).to(device)
    for a, b in zip(copied(x.to(device)), network(x), strict=True):
        assert_close(a.cpu(), b, atol=1e-4, rtol=1e-4)
    optimizer = torch.optim.SGD((p for p in copied.parameters() if p.requires_grad), lr=0.1)
    for step in range(1, 11):
        optimizer.zero_grad()
        (sum(m.square().mean() for m in copied(x.to(device))) + copied.regularization()).backward()
        optimizer.step()
        copied.after_step(step, updated=True)
    assert int(copied.adapters.allocator.kept.sum()) == 8 * 48
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# ---- configuration -------------------------------------------------------------------------------


def test_weights_are_a_choice() -> None:
    for config in (TeacherConfig(), TeacherConfig(checkpoint="sam.pth", random_weights=True)):
        with pytest.raises(EliteError, match="either `checkpoint` or `random_weights`"):
            Teacher(config, total_steps=1)
    with pytest.raises(EliteError, match=r"sam\.pth: no such file"):
        Teacher(TeacherConfig(checkpoint="sam.pth"), total_steps=1)


def test_paper_parity_is_not_ignored() -> None:
    with pytest.raises(EliteError, match="`paper_parity` is for Segment Anything's encoder only"):
        teacher("dinov2_test", paper_parity=True)


def test_config_survives_yaml() -> None:
    config = TeacherConfig("sam_vit_h", "sam.pth", peft=PeftConfig("lora", target_rank=4))
    assert from_mapping(TeacherConfig, json.loads(json.dumps(to_mapping(config)))) == config
    defaults = TeacherConfig().peft
    assert (defaults.kind, defaults.init_rank, defaults.target_rank) == ("adalora", 12, 8)
    assert (defaults.warmup, defaults.final, defaults.interval) == (1 / 6, 1 / 2, 1 / 300)
    assert (defaults.beta1, defaults.beta2, defaults.orthogonality_weight) == (0.85, 0.85, 0.1)


# ---- feature cache -------------------------------------------------------------------------------


class TestFeatureCache:
    def test_same_maps_and_gradients(self, tmp_path) -> None:
        network, x = teacher(), some_images(batch_size=3)
        want = network(x)
        cache = network.use_cache(tmp_path)
        for hits, misses in ((0, 3), (3, 3), (6, 3)):
            got = network(x)
            assert (cache.hits, cache.misses) == (hits, misses)
            assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        got[0].sum().backward()
        assert network.decoders[0].upscale1.weight.grad.abs().sum() > 0

    @torch.no_grad()
    def test_computes_only_what_is_new(self, tmp_path) -> None:
        network, x = teacher(), some_images(batch_size=3)
        want = network(x)
        cache = network.use_cache(tmp_path)
        network(x[1:2])
        got = network(x)
        assert (cache.hits, cache.misses) == (1, 3)
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_other_weights_and_precisions_have_files_of_their_own(self, tmp_path) -> None:
        x = some_images(batch_size=1)
        network = teacher()
        cache = network.use_cache(tmp_path)
        network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network(x)
        other = teacher(seed=1)
        other_cache = other.use_cache(tmp_path)
        other(x)
        assert (cache.misses, other_cache.misses) == (2, 1)
        assert len(list(tmp_path.iterdir())) == 3

    @torch.no_grad()
    def test_damaged_files_are_computed_anew(self, tmp_path) -> None:
        network, x = teacher(), some_images(batch_size=1)
        cache = network.use_cache(tmp_path)
        want = network(x)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:100])
        got = network(x)
        assert cache.misses == 2
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))

    @torch.no_grad()
    def test_stops_at_its_size(self, tmp_path) -> None:
        network = teacher()
        one_image = 4 * 32 * 4 * 6 * 4  # bytes
        network.use_cache(tmp_path, max_bytes=2 * one_image + 1)
        network(some_images(batch_size=3))
        assert len(list(tmp_path.iterdir())) == 2

    def test_adapted_encoder_is_refused(self, tmp_path) -> None:
        with pytest.raises(EliteError, match="features of an encoder with lora can't be kept"):
            teacher(peft=PeftConfig("lora")).use_cache(tmp_path)


# ---- DINOv2 --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dinov2_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dinov2")
    Dinov2Encoder("test", seed=3).model.save_pretrained(folder)
    return folder


class TestDinov2:
    @torch.no_grad()
    def test_reads_a_folder(self, dinov2_folder) -> None:
        config = TeacherConfig("dinov2_test", str(dinov2_folder), peft=FROZEN)
        network = Teacher(config)
        assert network.backbone.report.loaded
        x = torch.randn(1, 3, 32, 64)
        for a, b in zip(network.backbone(x), Dinov2Encoder("test", seed=3)(x), strict=True):
            assert_close(a, b)

    def test_a_folder_that_does_not_fit_is_refused(self, dinov2_folder, tmp_path) -> None:
        with pytest.raises(EliteError, match=r"no such folder with a config.json"):
            Dinov2Encoder("test", tmp_path)
        with pytest.raises(EliteError, match="`hidden_size` of base is 768, got 32"):
            Dinov2Encoder("base", dinov2_folder)
        (tmp_path / "config.json").write_text((dinov2_folder / "config.json").read_text())
        state = load_file(dinov2_folder / "model.safetensors")
        del state["layernorm.weight"]
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(EliteError, match=r"missing: layernorm.weight"):
            Dinov2Encoder("test", tmp_path)

    @torch.no_grad()
    def test_stages_equal_the_library(self) -> None:
        encoder = Dinov2Encoder("test").eval()
        x = torch.randn(1, 3, 64, 96)
        shrunk = functional.interpolate(x, size=(56, 84), mode="bilinear", antialias=True)
        hidden = encoder.model(shrunk, output_hidden_states=True).hidden_states
        for stage, want in zip(encoder(x), hidden[1:], strict=True):
            assert_close(stage.flatten(2).transpose(1, 2), want[:, 1:], atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_a_token_shows_its_sixteen_pixels(self) -> None:
        """The grid of patches of 14 pixels lies where that of tokens at stride 16 shall."""
        encoder = Dinov2Encoder("test")
        x = torch.zeros(1, 3, 64, 96)
        plain = encoder.model.embeddings(functional.interpolate(x, scale_factor=14 / 16))
        x[..., 16:32, 48:64] = 5.0
        shrunk = functional.interpolate(x, size=(56, 84), mode="bilinear", antialias=True)
        change = (encoder.model.embeddings(shrunk) - plain)[0, 1:].norm(dim=1).view(4, 6)
        assert change.argmax().item() == 1 * 6 + 3
        assert change[1, 3] > 5 * change.flatten().sort().values[-2]
