"""The folder of a training run: its configuration, metrics and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from torch.utils.tensorboard import SummaryWriter

from elite.config import dump_config, load_config
from elite.engine.train_config import TrainConfig
from elite.errors import EliteError
from elite.files import write_text

__all__ = ["RunFolder"]

Config = TypeVar("Config", bound=TrainConfig)


class RunFolder:
    """Paths of a run, and the record of its metrics as JSON lines and for TensorBoard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.yaml"
        self.metrics_path = path / "metrics.jsonl"
        self.state_path = path / "last.pt"
        self.last_weights = path / "last.safetensors"
        self.best_weights = path / "best.safetensors"
        self._board: SummaryWriter | None = None

    def refuse_a_second_run(self) -> None:
        """A run that was killed before its first checkpoint has nothing worth keeping."""
        if self.state_path.exists():
            raise EliteError(
                f"{self.path}: there is a run already",
                f"Continue it with --resume {self.path}, or choose another --output.",
            )

    def start(self, config: TrainConfig) -> None:
        """Writes the resolved configuration of a new run."""
        write_text(self.config_path, dump_config(config))
        self.rewind(-1)

    def config(self, kind: type[Config] = TrainConfig) -> Config:  # type: ignore[assignment]
        """The configuration that the run was started with; `kind` is its dataclass."""
        if not self.config_path.is_file():
            raise EliteError(f"{self.path}: there is no run to resume (no config.yaml)")
        return load_config(kind, self.config_path)

    def rewind(self, step: int) -> None:
        """Forgets what a killed process left: records after `step`, and unfinished files."""
        for unfinished in self.path.glob(".*.tmp"):
            unfinished.unlink()
        if not self.metrics_path.exists():
            return
        lines = self.metrics_path.read_text().splitlines(keepends=True)
        # A killed process may have left half a line; only the last one can be broken.
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        write_text(self.metrics_path, "".join(kept))

    def record(self, step: int, **values: Any) -> None:
        """Appends one line of metrics; numbers go to TensorBoard too."""
        with self.metrics_path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is None:
            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step)
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(name, value, step)

    def metrics(self) -> list[dict[str, Any]]:
        """Every recorded line."""
        if not self.metrics_path.exists():
            return []
        return [json.loads(line) for line in self.metrics_path.read_text().splitlines()]

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None
