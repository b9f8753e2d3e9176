"""What the faces share: how each takes the place of its library."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("spconv", "torchsparse", "torch_scatter")
SPCONV_ALONE = ("constants", "core", "install")


def run(script: str, *search_path: Path) -> list[str]:
    """The lines that a process of its own prints."""
    paths = [str(path) for path in search_path]
    code = f"import sys; sys.path[:0] = {paths}\n{script}"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_face_is_found() -> None:
    """By import, by `find_spec`, and by its version; a second call does no harm."""
    out = run(f"""
import importlib, importlib.metadata, importlib.util
finders = len(sys.meta_path)
for name in {NAMES}:
    face = importlib.import_module("elite_ops.compat." + name)
    face.install()
    face.install()
    assert len(sys.meta_path) == finders + 1
    assert importlib.import_module(name) is face
    assert importlib.util.find_spec(name) is not None
    for spelling in (name, name.replace("_", "-"), name.title()):
        assert importlib.metadata.version(spelling) == face.__version__
    found = [d.metadata["Name"] for d in importlib.metadata.distributions()]
    assert name in found
    try:
        importlib.metadata.distribution(name).locate_file("")
    except FileNotFoundError as error:
        print(error)
import torchsparse
torchsparse.use_version("1.4")
print(importlib.metadata.version("torchsparse"))
""")
    assert out[:3] == [
        f"{name} is not installed, but elite_ops.compat.{name} in its place" for name in NAMES
    ]
    assert out[3] == "1.4.0"


@pytest.mark.parametrize("name", NAMES)
def test_the_library_itself_is_not_replaced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All say so in the same sentence, and leave nothing behind."""
    face = importlib.import_module(f"elite_ops.compat.{name}")
    theirs = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, theirs)
    before = dict(sys.modules), list(sys.meta_path)
    with pytest.raises(ImportError) as caught:
        face.install()
    assert str(caught.value) == (
        f"elite_ops.compat.{name}.install: `{name}` has been imported already, from an unknown "
        "place; call install() before anything imports it"
    )
    assert (dict(sys.modules), list(sys.meta_path)) == before
    theirs.__file__ = "/somewhere/else.py"
    with pytest.raises(ImportError, match=r"already, from /somewhere/else\.py; call"):
        face.install()


def test_importing_a_face_touches_no_other_library(tmp_path: Path) -> None:
    """Not even one that is installed. Layers come with `spconv.pytorch`, so that
    `import elite_ops.compat.spconv` costs next to nothing.
    """
    for library in (*NAMES, "cumm", "pccm", "MinkowskiEngine"):
        (tmp_path / f"{library}.py").write_text("raise AssertionError(__name__)\n")
    out = run(
        f"""
import importlib
import elite_ops, numpy, torch
before = set(sys.modules)
import elite_ops.compat.spconv
new = set(sys.modules) - before
print(*sorted(name for name in new if name.startswith("elite_ops.")))
for name in {NAMES}:
    importlib.import_module("elite_ops.compat." + name)
new = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(new - set(sys.stdlib_module_names)))
""",
        tmp_path,
    )
    modules = ("", ".installation", ".spconv", *(f".spconv.{n}" for n in SPCONV_ALONE))
    assert out[0].split() == ["elite_ops.compat" + name for name in modules]
    assert out[1] == "elite_ops"
