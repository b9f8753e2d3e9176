"""Configuration files and overrides: what fits is taken, what does not is named."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from elite.config import ConfigError, dump_config, load_config


@dataclass(frozen=True)
class Optimizer:
    lr: float = 0.24
    nesterov: bool = True


@dataclass(frozen=True)
class Example:
    name: str
    steps: int = 10
    roots: tuple[str, ...] = ()
    scale: tuple[float, float] = (0.95, 1.05)
    precision: Literal["no", "bf16"] = "no"
    limit: float | None = None
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    optimizer: Optimizer = field(default_factory=Optimizer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "example.yaml"
    path.write_text("name: test\nsplits: {train: ['00']}\noptimizer: {lr: 1}\n")
    return path


@pytest.mark.parametrize("text", ["00", "08", "11", "00,08"])
def test_a_name_of_digits_stays_a_name(path: Path, text: str) -> None:
    assert load_config(Example, path, [f"name={text}"]).name == text
    assert load_config(Example, path, [f'name="{text}"']).name == text


def test_values_come_from_file_overrides_and_defaults(path: Path) -> None:
    config = load_config(Example, path, ["steps=3", "roots=[a, b]", "optimizer.nesterov=false"])
    assert config == Example(
        name="test",
        steps=3,
        roots=("a", "b"),
        splits={"train": ("00",)},
        optimizer=Optimizer(lr=1.0, nesterov=False),
    )
    assert type(config.optimizer.lr) is float


def test_an_exponent_without_a_point_is_a_number(path: Path) -> None:
    assert load_config(Example, path, ["optimizer.lr=1e-4"]).optimizer.lr == 1e-4


def test_an_optional_value_may_be_null(path: Path) -> None:
    assert load_config(Example, path, ["limit=2"]).limit == 2.0
    assert load_config(Example, path, ["limit=null"]).limit is None


def test_a_dumped_configuration_is_read_back(path: Path, tmp_path: Path) -> None:
    config = load_config(Example, path, ["scale=[0.5, 2]", "precision=bf16"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert load_config(Example, copy) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.lr=1", r"`optimiser` is not a key\nDid you mean `optimizer`\?"),
        ("optimizer.rate=1", r"`optimizer.rate` is not a key\nKnown keys: lr, nesterov"),
        ("steps=1.5", "`steps` must be int, got 1.5"),
        ("steps=true", "`steps` must be int, got True"),
        ("optimizer.lr=fast", "`optimizer.lr` must be float, got 'fast'"),
        ("optimizer.nesterov=1", "`optimizer.nesterov` must be bool, got 1"),
        ("roots=a", "`roots` must be .*, got 'a'"),
        ("roots=[1]", r"`roots\[0\]` must be str, got 1"),
        ("scale=[1]", "`scale` must have 2 items, got 1"),
        ("precision=fp8", "`precision` must be .*, got 'fp8'"),
        ("splits.train=[0]", r"`splits.train\[0\]` must be str, got 0"),
        ("optimizer=3", "`optimizer` must hold keys, got 3"),
        ("name.first=x", "`name` has a value and no keys below it"),
        ("steps", "an override is written key=value, got 'steps'"),
        ("steps=[", "the value of `steps` is not YAML"),
    ],
)
def test_what_does_not_fit_is_named(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Example, path, [override])


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigError, match="`name` is missing and has no default"):
        load_config(Example, tmp_path / "empty.yaml")


def test_a_missing_file_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match=r"no file semantic_kity\nShipped .*semantic_kitti"):
        load_config(Example, "semantic_kity")
