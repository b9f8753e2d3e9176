"""Wheels brought along to a machine without a network."""

import lzma
import zipfile
from pathlib import Path

import pytest
from unpack_wheels import main, shrink, unpack


def write_wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "peers"
    folder.mkdir()
    files = {
        "peer/__init__.py": b"x = 1\n",
        "peer/core.so.xz": lzma.compress(b"machine code"),
        "peer.libs/libpart.so": bytes(range(256)) * 1000,
        "peer-1.0.data/purelib/extra.py": b"y = 2\n",
        "peer-1.0.data/scripts/tool": b"#!",
        "peer-1.0.dist-info/METADATA": b"Name: peer\nVersion: 1.0\n",
    }
    write_wheel(folder / "peer-1.0-py3-none-any.whl", files)
    (folder / "other").mkdir()
    (folder / "other/big.so.xz").write_bytes(lzma.compress(b"more code"))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_unpacks_wheels_and_what_lies_beside_them(folder: Path, tmp_path: Path) -> None:
    names = unpack(folder, tmp_path / "target")
    assert names == ["peer-1.0-py3-none-any.whl"]
    assert contents(tmp_path / "target") == {
        "peer/__init__.py": b"x = 1\n",
        "peer/core.so": b"machine code",
        "peer.libs/libpart.so": bytes(range(256)) * 1000,
        "extra.py": b"y = 2\n",
        "peer-1.0.dist-info/METADATA": b"Name: peer\nVersion: 1.0\n",
        "other/big.so": b"more code",
    }


def test_the_target_is_emptied(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    unpack(folder, target)
    (target / "left over").touch()
    unpack(folder, target)
    assert "left over" not in contents(target)


def test_shrunk_wheels_unpack_to_the_same(folder: Path, tmp_path: Path) -> None:
    unpack(folder, tmp_path / "before")
    before, after = shrink(folder)
    assert 0 < after < before
    unpack(folder, tmp_path / "after")
    assert contents(tmp_path / "after") == contents(tmp_path / "before")


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py"])
def test_a_wheel_stays_inside_the_target(tmp_path: Path, name: str) -> None:
    write_wheel(tmp_path / "evil-1.0-py3-none-any.whl", {name: b""})
    with pytest.raises(ValueError, match="holds the path"):
        unpack(tmp_path, tmp_path / "target")


def test_no_folder_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), str(tmp_path / "target")]) == 0
    assert "reported as missing" in capsys.readouterr().out
    assert (tmp_path / "target").is_dir()
