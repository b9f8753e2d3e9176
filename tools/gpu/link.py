"""Finishes on the GPU machine what `make gpu-bundle` began: links `elite_ops._C` and imports it.

    python3 tools/gpu/link.py      in the project's root, first in every call: it takes seconds

module.cpp is compiled here where the Python differs. Where the objects fit neither the sources nor
the torch of this machine, it changes nothing and exits with 3; then the extension can be built from
source. CXX names the compiler (c++).
"""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bundle import MANIFEST, MODULE, OBJECTS, Manifest, build_flags, checksums, object_name

__all__ = ["Machine", "Unfit", "check_fits", "compile_command", "link_command", "main"]

FROM_SOURCE = (
    "build from source, TORCH_CUDA_ARCH_LIST being the GPU's: ELITE_CUDA=1 MAX_JOBS=16 "
    "python3 setup.py build_ext --inplace"
)
PACKAGE = Path("elite_ops")
STAMP = Path("build/gpu/.built")  # what tools/make/gpu.mk looks at


class Unfit(Exception):
    """Says why the bundle is of no use here."""


@dataclass(frozen=True)
class Machine:
    """What is here; torch itself is not imported, which takes seconds."""

    torch: str
    cuda: str
    python: str
    torch_folder: Path

    @classmethod
    def here(cls) -> Machine:
        found = find_spec("torch")
        if found is None or found.origin is None:
            raise Unfit(f"{sys.executable} has no torch; name the Python that has by GPU_PYTHON")
        folder = Path(found.origin).parent
        version = runpy.run_path(str(folder / "version.py"))
        python = sysconfig.get_python_version()
        return cls(version["__version__"], str(version["cuda"]), python, folder)


def check_fits(manifest: Manifest, machine: Machine) -> None:
    """Raises Unfit if the sources or the torch are not those that the objects were made of."""
    if machine.torch != manifest.torch:
        raise Unfit(
            f"the objects were compiled for torch {manifest.torch}, here is {machine.torch}"
        )
    here = checksums(manifest.sources)
    differing = [path for path, sum_ in manifest.sources.items() if here.get(path) != sum_]
    if differing:
        raise Unfit(
            f"{len(differing)} of {len(manifest.sources)} sources are not those that were "
            f"compiled, {differing[0]} for one; repeat `make gpu-bundle`"
        )


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "c++"))


def compile_command(machine: Machine, target: Path) -> list[str]:
    """Of the one source that sees Python."""
    headers = [*build_flags.torch_headers(machine.torch_folder), sysconfig.get_path("include")]
    system = [word for folder in headers for word in ("-isystem", str(folder))]
    flags = [*build_flags.cxx_flags(), "-Icsrc", *system]
    return [*compiler(), *flags, "-c", MODULE, "-o", str(target)]


def link_command(machine: Machine, objects: list[Path], target: Path) -> list[str]:
    runtime = build_flags.runtime_beside(machine.torch_folder, machine.cuda)
    if runtime is None:  # then torch loads the toolkit's
        major = machine.cuda.split(".")[0]
        try:
            runtime = build_flags.toolkit() / f"lib64/libcudart.so.{major}"
        except build_flags.MissingToolkit as missing:
            raise Unfit(f"torch brings no CUDA runtime, and {missing}") from missing
    command = [*compiler(), "-shared", *map(str, objects), "-o", str(target)]
    command += build_flags.cxx_runtime(compiler())
    libraries = [f"-l{name}" for name in build_flags.LIBRARIES]
    return [*command, f"-L{machine.torch_folder / 'lib'}", *libraries, str(runtime)]


def link(manifest: Manifest, machine: Machine) -> None:
    """Links apart from the package, so that what is there is replaced at once or not at all."""
    os.environ["TORCH_CUDA_ARCH_LIST"] = manifest.architectures
    name = f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    with tempfile.TemporaryDirectory(dir="build") as folder:
        with tarfile.open(OBJECTS) as archive:
            archive.extractall(folder, filter="data")
        if machine.python != manifest.python:
            module = Path(folder, object_name(MODULE))
            subprocess.run(compile_command(machine, module), check=True)
        linked = Path(folder, name)
        objects = sorted(Path(folder).glob("*/*.o"))
        subprocess.run(link_command(machine, objects, linked), check=True)
        linked.replace(PACKAGE / name)
    build_flags.write_note(PACKAGE, machine.torch)


# A number in an error message is written by the C++ runtime, of which there must be one alone.
TRIAL = """
import torch, elite_ops
print(elite_ops.build_info(), torch.cuda.is_available())
try:
    torch.ops.elite_ops.build_segments([torch.zeros(0, 7).int()], [1])
except ValueError as error:
    assert "[0, 7]" in str(error), error
else:
    raise SystemExit("a wrong shape was taken")
"""


def import_it() -> int:
    environment = {**os.environ, "PYTHONPATH": "."}
    return subprocess.run([sys.executable, "-c", TRIAL], env=environment, check=False).returncode


def main() -> int:
    try:
        if not MANIFEST.exists():
            raise Unfit(f"there is no {MANIFEST}; make it by `make gpu-bundle` and carry it here")
        manifest, machine = Manifest.read(), Machine.here()
        check_fits(manifest, machine)
    except Unfit as unfit:
        print(f"link: {unfit}.\nOr {FROM_SOURCE}", file=sys.stderr)
        return 3
    try:
        link(manifest, machine)
    except Unfit as unfit:
        print(f"link: {unfit}.\nOr {FROM_SOURCE}", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError as failed:
        print(f"link: {failed.cmd[0]} failed.\nInstead, {FROM_SOURCE}", file=sys.stderr)
        return 1
    status = import_it()
    if status == 0:
        STAMP.parent.mkdir(parents=True, exist_ok=True)
        STAMP.touch()  # newer than every source: make builds nothing more
    return status


if __name__ == "__main__":
    sys.exit(main())
