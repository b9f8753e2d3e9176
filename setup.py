"""Builds `elite_ops._C`: the CPU ops always, the CUDA ops when torch has CUDA and nvcc exists.

ELITE_CUDA=0 leaves the CUDA ops out, ELITE_CUDA=1 insists on them. TORCH_CUDA_ARCH_LIST chooses the
architectures (default "8.0;9.0+PTX"), MAX_JOBS the number of compiler processes. Sources and flags
are in tools/build_flags.py.
"""

import importlib.util
import os
import shlex
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import build_flags

# pip builds in an isolated environment whose path leaves out the one that is being installed into;
# the torch to build against is there.
if importlib.util.find_spec("torch") is None:
    sys.path.append(sysconfig.get_paths()["purelib"])
if importlib.util.find_spec("torch") is None:
    if {"sdist", "egg_info"} & set(sys.argv):  # a source package needs no torch
        setup()
        sys.exit()
    sys.exit(
        "elite-lidar builds against the torch that you use, and none was found.\n"
        "Install it first (see pytorch.org for the CUDA variant), then repeat:\n"
        "    pip install torch && pip install -e .\n"
        "A wheel is built by `pip wheel --no-deps .`"
    )

import pybind11
import torch


def find_toolkit() -> Path | None:
    """The CUDA toolkit to build with, None for CPU ops alone; exits where that can't be done."""
    wish = os.environ.get("ELITE_CUDA", "")
    if wish not in ("", "0", "1"):
        sys.exit(f"ELITE_CUDA must be 0 or 1, got {wish!r}")
    if wish == "0":
        return None
    if torch.version.cuda is None:
        if wish == "1":
            sys.exit(f"ELITE_CUDA=1, but torch {torch.__version__} is a build without CUDA")
        return None
    try:
        home = build_flags.toolkit()
        release = build_flags.toolkit_release(home)
    except build_flags.MissingToolkit as missing:
        if wish == "1":
            sys.exit(f"ELITE_CUDA=1, but {missing}")
        print(f"elite-lidar: the CUDA ops are left out, as {missing}")
        return None
    if release.split(".")[0] != torch.version.cuda.split(".")[0]:
        sys.exit(
            f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, but {home} is CUDA "
            f"{release}: set CUDA_HOME to a toolkit of torch's CUDA, install a torch for CUDA "
            f"{release} (pytorch.org), or leave the CUDA ops out by ELITE_CUDA=0"
        )
    return home


toolkit = find_toolkit()
if toolkit is not None:
    os.environ["CUDA_HOME"] = str(toolkit)  # before torch's build looks for it

from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension  # noqa: E402


def extension(with_cuda: bool):
    make = CUDAExtension if with_cuda else CppExtension
    made = make(
        "elite_ops._C",
        build_flags.sources(with_cuda),
        include_dirs=[pybind11.get_include(), str(Path("csrc").resolve())],
        define_macros=build_flags.macros(with_cuda),
        depends=sorted(str(p) for p in Path("csrc").glob("*/*.*h")),
        extra_compile_args={"cxx": build_flags.CXX_FLAGS, "nvcc": build_flags.NVCC_FLAGS},
    )
    if with_cuda and (runtime := build_flags.torch_runtime(torch)):
        # Instead of the toolkit's, which may be newer than the one that torch loads.
        made.libraries.remove("cudart")
        made.extra_objects.append(str(runtime))
    made.extra_objects += build_flags.cxx_runtime(shlex.split(os.environ.get("CXX", "c++")))
    return made


class Build(BuildExtension):
    """Leaves a note beside the extension: a mismatch is found before the library is loaded."""

    def run(self) -> None:
        super().run()
        package = Path(self.get_ext_fullpath("elite_ops._C")).parent
        build_flags.write_note(package, str(torch.__version__))


setup(ext_modules=[extension(toolkit is not None)], cmdclass={"build_ext": Build})
