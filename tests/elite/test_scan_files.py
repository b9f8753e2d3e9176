"""Point and label files: layout on disk, errors, and writes that a killed process can't spoil."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elite.data import read_labels, read_points, write_labels, write_points
from elite.data.example_scan import example_scan
from elite.data.street import Street
from elite.errors import EliteError
from elite.files import remove_leftovers, replacing, write_shared, write_text


def test_points_are_little_endian_float32(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x00\x00\x80\x3f" * 4)  # 1.0, four times
    assert read_points(path).tolist() == [[1.0, 1.0, 1.0, 1.0]]
    write_points(path, np.array([[1, 2, 3, 0.5]], dtype=np.float32))
    assert path.read_bytes() == np.array([1, 2, 3, 0.5], dtype="<f4").tobytes()


def test_labels_hold_class_and_instance(tmp_path: Path) -> None:
    path = tmp_path / "a.label"
    path.write_bytes(bytes([252, 0, 7, 1, 40, 0, 0, 0]))  # 252 of instance 263, 40 of none
    raw, instances = read_labels(path, 2)
    assert raw.tolist() == [252, 40]
    assert instances.tolist() == [263, 0]
    write_labels(tmp_path / "b.label", raw, instances)
    assert (tmp_path / "b.label").read_bytes() == path.read_bytes()


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(17))
    with pytest.raises(EliteError, match=r"a\.bin: 17 bytes are not a whole number of points"):
        read_points(path)
    with pytest.raises(EliteError, match=r"17 bytes are 4\.25 labels, but the scan has 4 points"):
        read_labels(path, 4)
    with pytest.raises(EliteError, match=r"b\.bin: no such file"):
        read_points(tmp_path / "b.bin")


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from elite.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", program, str(path)], env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_processes_may_write_the_same_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_bytes = Path.write_bytes

    def and_another_starts(temporary: Path, content: bytes) -> None:
        write_bytes(temporary, content)
        remove_leftovers(path)
        path.write_text("same")

    (tmp_path / ".a.txt.4711.tmp").write_text("half")
    monkeypatch.setattr(Path, "write_bytes", and_another_starts)
    write_shared(path, b"same")
    assert path.read_text() == "same"
    assert list(tmp_path.iterdir()) == [path]


def test_example_scan_reads_a_file_or_makes_a_scan(tmp_path: Path) -> None:
    points = np.arange(8, dtype=np.float32).reshape(2, 4)
    write_points(tmp_path / "scan.bin", points)
    assert np.array_equal(example_scan(str(tmp_path / "scan.bin")).numpy(), points)
    assert np.array_equal(example_scan(None).numpy(), Street(0).frame(0).points)
    with pytest.raises(SystemExit, match=r"nowhere\.bin: no such file"):
        example_scan(str(tmp_path / "nowhere.bin"))
