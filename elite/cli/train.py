"""elite train: the student alone."""

from __future__ import annotations

from elite.cli.options import Json
from elite.cli.training import (
    Config,
    DataFolders,
    Output,
    Overrides,
    Resume,
    Start,
    configure,
    data_changes,
    report,
)


def train(
    overrides: Overrides = None,
    config: Config = "student",
    data: DataFolders = None,
    output: Output = None,
    resume: Resume = None,
    weights: Start = None,
    json: Json = False,
) -> None:
    """Train the student; several GPUs by `accelerate launch -m elite train ...`."""
    from elite.engine.train import train as run
    from elite.engine.train_config import TrainConfig

    changes = [*(overrides or []), *data_changes(data)]
    settings, folder = configure(TrainConfig, config, changes, resume, output, weights)
    report(run(settings, folder, resume=resume is not None, weights=weights), json)
