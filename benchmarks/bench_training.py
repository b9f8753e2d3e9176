"""Training data: the loader alone, and beside the step of the student."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from workloads import DATA

from elite.data import (
    AugmentationConfig,
    CameraConfig,
    DatasetSpec,
    EpochSampler,
    SemanticKitti,
    TrainingScans,
    class_weights,
    training_loader,
)
from elite.data.street import simulate
from elite.engine.supervised import Supervised
from elite.engine.task import Plan
from elite.engine.train_config import DataConfig, TrainConfig

SCANS = 6
WORKERS = [0, 1, 2]


@cache
def root(camera: bool) -> tuple[str, Path, str]:
    """A name, the folder and the split: labelled real scans; with images, a simulated street."""
    real = DATA / "semantickitti"
    if not camera and real.is_dir():
        return "real scans (SemanticKITTI 00)", real, "00"
    folder = Path(mkdtemp())
    simulate(folder, sequences={"00": 3})
    return "synthetic street", folder, "00"


def loader(workers: int, camera: bool = False, scans: int = SCANS):
    name, folder, split = root(camera)
    data = SemanticKitti([folder], split, DatasetSpec.load("semantic_kitti"), images=camera)
    data.frames = (data.frames * scans)[:scans]
    images = CameraConfig() if camera else None
    training = TrainingScans(data, AugmentationConfig(), 0, camera=images)
    return name, training_loader(training, EpochSampler(scans, 0), 1, workers)


def task(device: torch.device):
    config = TrainConfig(data=DataConfig(roots=()))
    spec = DatasetSpec.load("semantic_kitti")
    plan = Plan(spec, torch.from_numpy(class_weights(spec.counts)), 1)
    return Supervised(replace(config, lovasz_weight=1.0)).task(plan).to(device).train()


@pytest.mark.benchmark(group=f"loader alone, {SCANS} scans, the start of its workers included")
@pytest.mark.parametrize("camera", [False, True], ids=["points", "points and images"])
@pytest.mark.parametrize("workers", WORKERS)
def bench_loader(benchmark, workers, camera):
    name, batches = loader(workers, camera)
    benchmark.extra_info.update(workload=name, workers=workers, scans=SCANS)
    count = benchmark.pedantic(lambda: sum(1 for _ in batches), rounds=3, warmup_rounds=1)
    assert count == SCANS


@pytest.mark.benchmark(group="how long a step waits for its scan")
@pytest.mark.parametrize("workers", [0, 1])
def bench_wait(benchmark, device, workers):
    """What the loader costs beside the step: with workers, the scan should be there already."""
    rounds = 3
    name, batches = loader(workers, scans=rounds + 1)
    trained, stream = task(device), iter(batches)
    batch = next(stream)

    def step():
        trained.zero_grad()
        trained(batch.to(device)).total.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    benchmark.extra_info.update(workload=name, workers=workers)
    benchmark.pedantic(lambda: next(stream), setup=step, rounds=rounds)
