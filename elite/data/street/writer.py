"""Writes a synthetic street to disk in SemanticKITTI's layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from elite.data.scan_files import write_labels, write_points
from elite.data.street.camera import KITTI_CAMERA, CameraModel
from elite.data.street.lidar import HDL64E, LidarModel
from elite.data.street.noise import Array
from elite.data.street.street import PERIOD, Frame, Street
from elite.errors import EliteError
from elite.files import replacing, write_text
from elite.processes import available_cores, process_pool

Progress = Callable[[int, int], None]  # frames done, frames in all

# raise it with every change to the bytes of a frame, so that no sequence mixes two generations
GENERATION = 1
# where a point lies for the cameras that are not simulated, relative to camera 0, metres
STEREO = (-0.54, 0.0, 0.0)
COLOR_STEREO = (-0.47, 0.003, 0.004)
FILES = {
    "velodyne": ".bin",
    "labels": ".label",
    "image_2": ".png",
    "image_labels": ".png",
    "image_instances": ".png",
}


def simulate(
    folder: str | Path,
    *,
    sequences: Mapping[str, int],
    seed: int = 0,
    sensor: LidarModel = HDL64E,
    camera: CameraModel = KITTI_CAMERA,
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
        camera: The camera.
        workers: Processes; by default one for each core, and none but this one for a few frames.
            They import the calling script, which must guard its call by
            `if __name__ == "__main__":`.
        progress: Called with the number of frames that are done and of all frames.

    Raises:
        ValueError: A number is out of its range.
        EliteError: The folder holds a sequence that was made with other settings.
    """
    for name, count in sequences.items():
        if count < 1:
            raise ValueError(f"simulate: `sequences` must have frames, got {count} for {name!r}")
    root = Path(folder) / "sequences"
    for name, count in sequences.items():
        _prepare(root / name, Street(seed, name, lidar=sensor, camera=camera), seed, count)
    tasks = [
        (str(root / name), seed, name, sensor, camera, index)
        for name, count in sequences.items()
        for index in range(count)
        if not _complete(root / name, index)
    ]
    total = sum(sequences.values())
    report = progress or (lambda done, total: None)
    report(total - len(tasks), total)
    for done, _ in enumerate(_run(tasks, workers), start=total - len(tasks) + 1):
        report(done, total)


_Task = tuple[str, int, str, LidarModel, CameraModel, int]


def _run(tasks: list[_Task], workers: int | None) -> Iterator[None]:
    """Makes the frames, in this process or in several, in order."""
    workers = min(available_cores(), len(tasks) // 4) if workers is None else workers
    if workers <= 1:
        yield from map(_make, tasks)
        return
    with process_pool(workers) as pool:
        yield from pool.map(_make, tasks, chunksize=4)


@lru_cache(maxsize=4)
def _street(seed: int, name: str, sensor: LidarModel, camera: CameraModel) -> Street:
    return Street(seed, name, lidar=sensor, camera=camera)


def _make(task: _Task) -> None:
    folder, seed, name, sensor, camera, index = task
    write_frame(Path(folder), _street(seed, name, sensor, camera).frame(index))


def write_frame(folder: Path, frame: Frame) -> None:
    """Writes the five files of a frame into a sequence's folder."""
    write_points(_path(folder, "velodyne", frame.index), frame.points)
    semantic, instance = frame.labels & np.uint32(0xFFFF), frame.labels >> np.uint32(16)
    write_labels(_path(folder, "labels", frame.index), semantic, instance)
    _write_png(_path(folder, "image_2", frame.index), frame.image)
    _write_png(_path(folder, "image_labels", frame.index), frame.image_labels)
    _write_png(_path(folder, "image_instances", frame.index), frame.image_instances)


def _path(folder: Path, kind: str, index: int) -> Path:
    return folder / kind / f"{index:06d}{FILES[kind]}"


def _complete(folder: Path, index: int) -> bool:
    return all(_path(folder, kind, index).exists() for kind in FILES)


def _prepare(folder: Path, street: Street, seed: int, count: int) -> None:
    """Makes a sequence's folder and the files that concern all of its frames."""
    settings = json.dumps(
        {
            "generation": GENERATION,
            "seed": seed,
            "sensor": asdict(street.lidar),
            "camera": asdict(street.camera),
        }
    )
    manifest = folder / "street.json"
    if manifest.exists() and manifest.read_text() != settings:
        raise EliteError(
            f"{folder} holds a street that was made with other settings ({manifest})",
            "Delete the folder or simulate into another one.",
        )
    write_text(manifest, settings)
    write_text(folder / "calib.txt", _calibration(street.camera))
    present = [int(path.stem) + 1 for path in (folder / "velodyne").glob("*.bin")]
    frames = range(max([count, *present]))
    write_text(folder / "poses.txt", "".join(_line(pose) for pose in _camera_poses(street, frames)))
    write_text(folder / "times.txt", "".join(f"{index * PERIOD:.6e}\n" for index in frames))


def _camera_poses(street: Street, frames: range) -> Iterator[Array]:
    """Camera 0 of each frame to camera 0 of the first: [3, 4]."""
    scanner = np.linalg.inv(street.camera.tr)
    start = np.linalg.inv(street.pose(0) @ scanner)
    for index in frames:
        yield (start @ street.pose(index) @ scanner)[:3]


def _calibration(camera: CameraModel) -> str:
    """P0..P3 of a rectified rig, and Tr from the scanner to camera 0."""
    rig = {"P0": (0.0, 0.0, 0.0), "P1": STEREO, "P2": camera.offset, "P3": COLOR_STEREO}
    rows = {name: camera.projection(offset) for name, offset in rig.items()}
    rows["Tr"] = camera.tr[:3]
    return "".join(f"{name}: {_line(matrix)}" for name, matrix in rows.items())


def _line(matrix: Array) -> str:
    return " ".join(f"{value:.12e}" for value in matrix.reshape(-1)) + "\n"


def _write_png(path: Path, pixels: Array) -> None:
    """Writes uint8 [H, W, 3] or uint16 [H, W]; the default level is several times slower."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1)
