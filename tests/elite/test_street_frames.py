"""What a recorded frame of the synthetic street must be."""

import numpy as np
import pytest

from elite.data import DatasetSpec
from elite.data.street import HDL64E, KITTI_CAMERA, CameraModel, Frame, LidarModel, Street
from elite.data.street.materials import ROUGHNESS, Material

SMALL_CAMERA = CameraModel(width=124, height=37, focal=71.8, centre=(60.7, 18.5))
FLAT = (40, 60)  # road, lane marking: the plane z = 0
THINGS = (10, 11, 15, 18, 30, 252, 253, 254, 255, 257, 258)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Full frames from three streets."""
    return [Street(seed, "00").frame(index) for seed, index in ((0, 3), (1, 120))]


@pytest.fixture(scope="module")
def scans() -> list[Frame]:
    """More scans, with a camera too small to cost anything."""
    places = ((2, 0), (3, 333), (4, 500), (5, 1000))
    return [Street(seed, "05", camera=SMALL_CAMERA).frame(index) for seed, index in places]


def in_world(frame: Frame) -> np.ndarray:
    return frame.points[:, :3] @ frame.pose[:3, :3].T + frame.pose[:3, 3]


def test_same_seed_same_bytes() -> None:
    """However many frames came before, and in whichever object."""
    lidar = LidarModel("thin", (0.0, -4.0, -12.0), columns=500)
    alone = Street(5, "01", lidar=lidar, camera=SMALL_CAMERA).frame(42)
    street = Street(5, "01", lidar=lidar, camera=SMALL_CAMERA)
    frames = street.frames(start=41)
    after_others = [next(frames) for _ in range(2)][-1]
    for name in ("points", "labels", "image", "image_labels", "image_instances", "pose"):
        assert getattr(alone, name).tobytes() == getattr(after_others, name).tobytes(), name
    for other in (Street(6, "01", lidar=lidar), Street(5, "02", lidar=lidar)):
        assert not np.array_equal(other.pose(42), alone.pose)


def test_shapes_and_types(frames: list[Frame]) -> None:
    for frame in frames:
        assert frame.points.dtype == np.float32
        assert frame.points.shape == (len(frame.labels), 4)
        assert frame.labels.dtype == np.uint32
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (376, 1241, 3)
        assert frame.image_labels.dtype == frame.image_instances.dtype == np.uint16
        assert frame.image_labels.shape == frame.image_instances.shape == (376, 1241)


def test_a_scan_is_one_turn_of_the_scanner(frames: list[Frame], scans: list[Frame]) -> None:
    for frame in (*frames, *scans):
        assert len(frame.points) > 100_000
        distance = np.linalg.norm(frame.points[:, :3], axis=1)
        assert distance.max() < HDL64E.max_range
        assert distance.min() > 1.0
        remission = frame.points[:, 3]
        assert remission.min() >= 0
        assert remission.max() < 1
        elevation = np.degrees(np.arcsin(frame.points[:, 2] / distance))
        beam = np.abs(elevation[:, None] - np.array(HDL64E.elevations)).argmin(axis=1)
        np.testing.assert_allclose(elevation, np.array(HDL64E.elevations)[beam], atol=1e-3)
        assert (np.diff(beam) >= 0).all()  # beam by beam, from the top
        assert len(np.unique(beam)) == 64


def test_the_beams_are_an_hdl64e() -> None:
    upper, lower = HDL64E.elevations[:32], HDL64E.elevations[32:]
    assert (upper[0], upper[-1], lower[0], lower[-1]) == pytest.approx(
        (2, -8.33, -8.83, -24.33), abs=0.01
    )
    np.testing.assert_allclose(np.diff(upper), -1 / 3)
    np.testing.assert_allclose(np.diff(lower), -1 / 2)
    assert 360 / HDL64E.columns == pytest.approx(0.173, abs=0.001)


def test_the_road_is_a_plane(frames: list[Frame]) -> None:
    """The range of a road point is that of its ray to z = 0, give or take the scanner's noise."""
    for frame in frames:
        flat = np.isin(frame.labels & 0xFFFF, FLAT)
        points = frame.points[flat, :3].astype(np.float64)
        measured = np.linalg.norm(points, axis=1)
        ray = points / measured[:, None] @ frame.pose[:3, :3].T
        error = measured - frame.pose[2, 3] / -ray[:, 2]
        assert flat.sum() > 20_000
        assert np.abs(error).max() < 0.12
        assert error.std() == pytest.approx(HDL64E.range_noise, rel=0.05)
        assert abs(error.mean()) < 1e-3


def test_the_sidewalk_is_a_kerb_higher(frames: list[Frame]) -> None:
    for frame in frames:
        height = in_world(frame)[(frame.labels & 0xFFFF) == 48, 2]
        assert np.median(height) == pytest.approx(0.12, abs=0.01)
        assert height.min() > -0.04  # the kerb's face reaches down to the road
        assert height.max() < 0.18


def test_grass_stands_above_the_ground(frames: list[Frame]) -> None:
    """Its points lie anywhere up to the height of its blades, and the scanner's noise beyond."""
    heights = []
    for frame in frames:
        near = np.linalg.norm(frame.points[:, :3], axis=1) < 30  # farther, rays are cut short
        heights.append(in_world(frame)[near & ((frame.labels & 0xFFFF) == 72), 2] - 0.12)
    height, blades = np.concatenate(heights), ROUGHNESS[Material.GRASS]
    assert len(height) > 1000
    assert np.mean((height > 0) & (height < blades)) > 0.9
    assert height.std() == pytest.approx(blades / np.sqrt(12), rel=0.1)


def test_labels_are_known_ids(frames: list[Frame], scans: list[Frame], spec: DatasetSpec) -> None:
    known = {raw for row in spec.classes for raw in row.raw_ids}
    for frame in (*frames, *scans):
        semantic, instance = frame.labels & 0xFFFF, frame.labels >> 16
        pixels = frame.image_labels.reshape(-1)
        present = np.bincount(semantic, minlength=300) + np.bincount(pixels, minlength=300)
        assert set(np.flatnonzero(present)) <= known
        np.testing.assert_array_equal(instance > 0, np.isin(semantic, THINGS))
        things = np.unique(frame.labels[instance > 0])
        assert len(np.unique(things >> 16)) == len(things)  # one class for each instance


def test_every_main_class_is_there(scans: list[Frame], spec: DatasetSpec) -> None:
    semantic = np.concatenate([frame.labels & 0xFFFF for frame in scans])
    present = {row.name for row in spec.classes if np.isin(semantic, row.raw_ids).sum() > 50}
    missing = {row.name for row in spec.classes} - present
    assert missing <= {"motorcyclist", "other-ground", "other-vehicle"}


def test_points_agree_with_pixels(frames: list[Frame]) -> None:
    """Projected by the calibration, a point hits a pixel of its own class and instance."""
    projection = KITTI_CAMERA.p2 @ KITTI_CAMERA.tr
    for frame in frames:
        ahead = frame.points[:, 0] > 0
        homogeneous = (
            np.column_stack([frame.points[ahead, :3], np.ones(ahead.sum())]) @ projection.T
        )
        column, row = np.floor(homogeneous[:, :2] / homogeneous[:, 2:]).astype(int).T
        inside = (row >= 2) & (row < 374) & (column >= 2) & (column < 1239)
        row, column, labels = row[inside], column[inside], frame.labels[ahead][inside]
        truth = frame.image_labels | frame.image_instances.astype(np.uint32) << 16
        windows = np.lib.stride_tricks.sliding_window_view(truth, (5, 5))[row - 2, column - 2]
        uniform = (windows == windows[:, 2:3, 2:3]).all(axis=(1, 2))
        assert uniform.sum() > 8_000
        assert (truth[row, column] == labels)[uniform].mean() > 0.97
        assert (truth[row, column] == labels).mean() > 0.85


def test_what_stands_still_stays_and_what_moves_moves() -> None:
    """Where each thing is in the world, over two seconds; raw labels from 252 on are moving."""
    street = Street(3, "00")

    def places(index: int) -> dict[int, np.ndarray]:
        found = {}
        for part in street.scene(index).parts:
            identity = part.label.astype(np.uint32) | part.instance.astype(np.uint32) << 16
            for thing in np.unique(identity[part.instance > 0]):
                found[int(thing)] = part.centre[identity == thing].mean(axis=0)
        return found

    before, after = places(0), places(20)
    both = before.keys() & after.keys()
    shift = {thing: np.linalg.norm(after[thing] - before[thing]) for thing in both}
    still = [value for thing, value in shift.items() if thing & 0xFFFF < 252]
    walking = [value for thing, value in shift.items() if thing & 0xFFFF == 254]
    riding = [value for thing, value in shift.items() if thing & 0xFFFF in (252, 253)]
    assert min(len(still), len(walking), len(riding)) > 5
    assert max(still) == 0
    assert 2.2 < min(walking) <= max(walking) < 3.1
    assert 9 < min(riding) <= max(riding) < 26
