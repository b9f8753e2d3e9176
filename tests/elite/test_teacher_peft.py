"""Adapters: what they add, and AdaLoRA's allocator in trainings that are not ideal."""

import copy
from types import SimpleNamespace

import peft
import pytest
import torch
from peft.tuners.adalora import AdaLoraModel, SVDLinear
from torch import Tensor, nn
from torch.testing import assert_close

from elite.teacher import PeftConfig, Teacher, TeacherConfig
from elite.teacher.rank_allocator import RankAllocator, RankSchedule


def teacher(kind: str, total_steps: int | None = None, **options: object) -> Teacher:
    torch.manual_seed(0)
    config = TeacherConfig(
        "sam_test", random_weights=True, peft=PeftConfig(kind, **options), decoder_hidden=8
    )
    return Teacher(config, total_steps)


def some_images(seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=g)


def ranks(allocator: RankAllocator) -> list[int]:
    return [int((e != 0).sum()) for _, e, _ in allocator._triplets]


# ---- what adapters add ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "backbone", "adapters"),
    [("adalora", 88_883_456, 1_991_520), ("lora", 88_883_456, 294_912), ("none", 88_883_456, 0)],
)
def test_parameter_counts(kind: str, backbone: int, adapters: int) -> None:
    with torch.device("meta"):
        full = Teacher(TeacherConfig(random_weights=True, peft=PeftConfig(kind)), total_steps=100)
    parts = {True: 0, False: 0}
    for name, parameter in full.backbone.named_parameters():
        if not name.endswith("ranknum.default"):  # one constant an adapter
            parts[parameter.requires_grad] += parameter.numel()
    assert parts == {True: adapters, False: backbone}
    decoders = [p for p in full.decoders.parameters() if p.requires_grad]
    assert sum(p.numel() for p in decoders) == 2_656_896
    assert full.frozen == (kind == "none")


@pytest.mark.parametrize("kind", ["adalora", "lora"])
@torch.no_grad()
def test_fresh_adapters_change_nothing(kind: str) -> None:
    x = some_images()
    adapted, plain = teacher(kind, total_steps=10), teacher("none")
    plain.decoders.load_state_dict(adapted.decoders.state_dict())
    for got, want in zip(adapted(x), plain(x), strict=True):
        assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "per_block"), [("adalora", 6), ("lora", 2), ("none", 0)])
def test_adapters_are_where_they_belong(kind: str, per_block: int) -> None:
    """Not on the convolution that cuts the image up, though it is called `proj` as well."""
    adapted = [n for n, m in teacher(kind, 10).named_modules() if hasattr(m, "base_layer")]
    assert len(adapted) == per_block * 8
    assert not [n for n in adapted if "patch_embed" in n]


def test_every_adapter_learns() -> None:
    network = teacher("adalora", total_steps=10)
    for name, p in network.named_parameters():
        if "lora_E" in name:
            nn.init.ones_(p)
    sum(m.square().mean() for m in network(some_images())).backward()
    trained = {n: p for n, p in network.backbone.named_parameters() if p.requires_grad}
    assert len(trained) == 3 * 6 * 8
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())


def test_total_steps_are_needed() -> None:
    for steps in (None, 0):
        with pytest.raises(ValueError, match=f"`total_steps` of at least 1, got {steps}"):
            teacher("adalora", steps)


def test_config_is_checked() -> None:
    with pytest.raises(ValueError, match=r"`target_rank` must be in 1..`init_rank`, got 13 of 12"):
        PeftConfig(target_rank=13)
    with pytest.raises(ValueError, match="`warmup` and `final` must leave steps between them"):
        PeftConfig(warmup=0.5, final=0.5)


# ---- AdaLoRA, against the library's own ----------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(loss=self.c(self.b(self.a(x).relu()).relu()).square().mean())


def library_model(total_steps: int) -> AdaLoraModel:
    torch.manual_seed(1)
    config = peft.AdaLoraConfig(
        init_r=4, target_r=2, target_modules=["a", "b", "c"], total_step=total_steps,
        tinit=total_steps // 6, tfinal=total_steps // 2, deltaT=3, orth_reg_weight=0.1,
    )  # fmt: skip
    return AdaLoraModel(Small(), config, "default")


def own_allocator(model: nn.Module, total_steps: int) -> RankAllocator:
    layers = [m for m in model.modules() if isinstance(m, SVDLinear)]
    config = PeftConfig(init_rank=4, target_rank=2, interval=3 / total_steps)
    schedule = RankSchedule.of(config, total_steps, len(layers))
    return RankAllocator(layers, schedule, 0.85, 0.85)


def test_allocator_equals_the_library_in_an_ideal_training() -> None:
    steps = 60
    theirs, ours = library_model(steps), library_model(steps)
    allocator = own_allocator(ours, steps)
    data = torch.randn(steps + 1, 16, 6, generator=torch.Generator().manual_seed(2))
    history = []
    for step in range(1, steps + 1):
        for model in (theirs, ours):
            model.zero_grad()
            model.model(data[step]).loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    if p.grad is not None:
                        p -= 0.05 * p.grad
        theirs.update_and_allocate(step)
        allocator.after_step(step, updated=True)
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert_close(a, b, atol=1e-6, rtol=1e-5)
        history.append(int(allocator.kept.sum()))
    assert (history[10], history[29], history[-1]) == (12, 6, 6)
    assert history == sorted(history, reverse=True)
    assert len(set(history)) > 4


def test_regularization_equals_the_library() -> None:
    network = teacher("adalora", total_steps=10, orthogonality_weight=0.1)
    model = library_model(10)
    model.model.forward = lambda: SimpleNamespace(loss=torch.zeros(()))
    want = model().loss
    adapters = network.adapters
    layers = [m for m in model.modules() if isinstance(m, SVDLinear)]
    adapters._right = [layer.lora_A["default"] for layer in layers]
    adapters._left = [layer.lora_B["default"] for layer in layers]
    assert_close(network.regularization(), want)
    network.regularization().backward()
    assert all(layer.lora_A["default"].grad.abs().sum() > 0 for layer in layers)
    assert float(teacher("none").regularization()) == float(teacher("lora").regularization()) == 0


# ---- trainings that are not ideal ----------------------------------------------------------------


def train(network: Teacher, steps: range, skipped: frozenset[int] = frozenset()) -> None:
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for step in steps:
        optimizer.zero_grad()
        loss = sum(m.square().mean() for m in network(some_images(step)))
        (loss + network.regularization()).backward()
        if step in skipped:
            for p in network.parameters():
                if p.grad is not None:
                    p.grad.fill_(torch.nan)
        else:
            optimizer.step()
        network.after_step(step, updated=step not in skipped)


@pytest.mark.parametrize("total_steps", [1, 2, 3, 5, 12])
def test_short_schedules_end_with_the_target_rank(total_steps: int) -> None:
    network = teacher("adalora", total_steps)
    train(network, range(1, total_steps + 1))
    allocator = network.adapters.allocator
    assert int(allocator.kept.sum()) == 8 * 48
    # Every adapter lives on: before the first gradients all scores tie.
    assert total_steps > 2 or (allocator.kept.sum(dim=1) == 8).all()
    assert sum(ranks(allocator)) <= 8 * 48


@pytest.mark.parametrize("skipped", [{1}, {6, 7}, {4, 5, 6, 7, 8}, set(range(1, 12))])
def test_skipped_steps_leave_no_trace(skipped: set[int]) -> None:
    """Also on the step that settles the ranks, number 6: it happens on the next one."""
    network = teacher("adalora", total_steps=12)
    train(network, range(1, 13), frozenset(skipped))
    allocator = network.adapters.allocator
    assert int(allocator.kept.sum()) == 8 * 48
    assert all(b.isfinite().all() for b in allocator.buffers())
    assert all(p.isfinite().all() for p in network.parameters())


def test_dropped_values_stay_dropped() -> None:
    network = teacher("adalora", total_steps=8)
    train(network, range(1, 5))
    dropped = ~network.adapters.allocator.kept
    assert int(dropped.sum()) == 4 * 48
    train(network, range(5, 9))
    values = torch.stack([e[:, 0] for _, e, _ in network.adapters.allocator._triplets])
    assert not values[dropped].any()
    assert values[~dropped].any()


def test_stages_without_gradient_are_no_obstacle() -> None:
    network = teacher("adalora", total_steps=4)
    for step in range(1, 5):
        network.zero_grad()
        network(some_images(step))[0].square().mean().backward()  # the first stage alone
        network.after_step(step, updated=True)
    assert int(network.adapters.allocator.kept.sum()) == 8 * 48


def test_target_equal_to_initial_rank() -> None:
    network = teacher("adalora", total_steps=6, init_rank=4, target_rank=4)
    train(network, range(1, 7))
    assert network.adapters.allocator.kept.all()


def test_resumed_training_equals_the_undisturbed() -> None:
    undisturbed = teacher("adalora", total_steps=10)
    train(undisturbed, range(1, 11))
    first = teacher("adalora", total_steps=10)
    train(first, range(1, 7))  # beyond the step that settles the ranks
    second = teacher("adalora", total_steps=10)
    nn.init.zeros_(second.decoders[0].upscale1.weight)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(second, range(7, 11))
    want = undisturbed.state_dict()
    assert all(torch.equal(value, want[name]) for name, value in second.state_dict().items())
