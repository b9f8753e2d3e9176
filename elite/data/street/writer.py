"""Writes a synthetic street to disk in SemanticKITTI's layout."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from elite.data.street.camera import CameraModel
from elite.data.street.lidar import HDL64E, LidarModel
from elite.data.street.noise import Array
from elite.data.street.street import PERIOD, Frame, Street

Progress = Callable[[int, int], None]  # frames done, frames in all

# changes with everything that changes the bytes of a frame
GENERATION = 1
RIG = (0.0, 0.54, -0.06, 0.47)  # metres from camera 0 to cameras 0..3 along the rig
FILES = {
    "velodyne": ".bin",
    "labels": ".label",
    "image_2": ".png",
    "image_labels": ".png",
    "image_instances": ".png",
}


def simulate(
    folder: Path,
    sequences: Mapping[str, int],
    *,
    seed: int = 0,
    sensor: LidarModel = HDL64E,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes sequences of a synthetic street, as a car with a scanner and a camera records it.

    A frame depends on `seed`, its sequence's name and its number alone. Files appear under their
    name only when they are complete, and frames that are there already are not made again, so an
    interrupted call can be repeated, and a sequence can be lengthened.

    Args:
        folder: The dataset's folder; `sequences/NN/` is made in it, with velodyne, labels, image_2,
            image_labels, image_instances, calib.txt, poses.txt, times.txt and street.json.
        sequences: Frames of each sequence by its name, such as `{"00": 200, "08": 50}`; 10 frames
            make a second.
        seed: Not negative.
        sensor: The scanner.
        workers: Processes; by default one for each core, and none but this one for a few frames.
        progress: Called with the number of frames that are done and of all frames.

    Raises:
        ValueError: A number is out of its range, or the folder holds a sequence made with other
            settings.
    """
    for name, count in sequences.items():
        if count < 1:
            raise ValueError(f"simulate: `sequences` must have frames, got {count} for {name!r}")
    root = Path(folder) / "sequences"
    for name, count in sequences.items():
        _prepare(root / name, Street(seed, name, lidar=sensor), seed, count)
    tasks = [
        (str(root / name), seed, name, sensor, index)
        for name, count in sequences.items()
        for index in range(count)
        if not _complete(root / name, index)
    ]
    total = sum(sequences.values())
    report = progress or (lambda done, total: None)
    report(total - len(tasks), total)
    for done, _ in enumerate(_run(tasks, workers), start=total - len(tasks) + 1):
        report(done, total)


_Task = tuple[str, int, str, LidarModel, int]


def _run(tasks: list[_Task], workers: int | None) -> Iterator[None]:
    """Makes the frames, in this process or in several, in order."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(cores or 1, len(tasks) // 4) if workers is None else workers
    if workers <= 1:
        yield from map(_make, tasks)
        return
    # spawned, since a fork of a process with threads (torch has some) may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make, tasks, chunksize=4)


@lru_cache(maxsize=4)
def _street(seed: int, name: str, sensor: LidarModel) -> Street:
    return Street(seed, name, lidar=sensor)


def _make(task: _Task) -> None:
    folder, seed, name, sensor, index = task
    write_frame(Path(folder), _street(seed, name, sensor).frame(index))


def write_frame(folder: Path, frame: Frame) -> None:
    """Writes the five files of a frame into a sequence's folder."""
    content = {
        "velodyne": frame.points.astype("<f4").tobytes(),
        "labels": frame.labels.astype("<u4").tobytes(),
        "image_2": _png(frame.image),
        "image_labels": _png(frame.image_labels),
        "image_instances": _png(frame.image_instances),
    }
    for kind, data in content.items():
        _write(_path(folder, kind, frame.index), data)


def _path(folder: Path, kind: str, index: int) -> Path:
    return folder / kind / f"{index:06d}{FILES[kind]}"


def _complete(folder: Path, index: int) -> bool:
    return all(_path(folder, kind, index).exists() for kind in FILES)


def _prepare(folder: Path, street: Street, seed: int, count: int) -> None:
    """Makes a sequence's folders and the files that concern all of its frames."""
    for kind in FILES:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    settings = {"generation": GENERATION, "seed": seed, "sensor": street.lidar.name}
    manifest = folder / "street.json"
    if manifest.exists():
        found = json.loads(manifest.read_text())
        if found != settings:
            raise ValueError(
                f"simulate: `folder` holds {folder.name} made with {found}, not {settings}; "
                "delete it or choose another folder"
            )
    _write(manifest, (json.dumps(settings) + "\n").encode())
    _write(folder / "calib.txt", _calibration(street.camera).encode())
    count = max(count, *(1 + int(p.stem) for p in (folder / "velodyne").glob("*.bin")), 0)
    tr = street.camera.tr
    world = np.linalg.inv(street.pose(0) @ np.linalg.inv(tr))
    poses = (world @ street.pose(index) @ np.linalg.inv(tr) for index in range(count))
    _write(folder / "poses.txt", "".join(_line(pose[:3]) for pose in poses).encode())
    times = "".join(f"{index * PERIOD:.6e}\n" for index in range(count))
    _write(folder / "times.txt", times.encode())


def _calibration(camera: CameraModel) -> str:
    """P0..P3 of a rectified rig, and Tr from the scanner to camera 0."""
    lines = [f"P{i}: {_line(camera.projection(offset))}" for i, offset in enumerate(RIG)]
    lines[2] = f"P2: {_line(camera.projection())}"
    return "".join([*lines, f"Tr: {_line(camera.tr[:3])}"])


def _line(matrix: Array) -> str:
    return " ".join(f"{value:.12e}" for value in matrix.reshape(-1)) + "\n"


def _png(pixels: Array) -> bytes:
    """A PNG of uint8 [H, W, 3] or uint16 [H, W]; the default level takes several times longer."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Writes under another name first: the file is there completely or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    os.replace(partial, path)
