"""Builds `elite_ops._C`: the CPU ops always, the CUDA ops when torch has CUDA and nvcc exists.

ELITE_CUDA=0 leaves the CUDA ops out, ELITE_CUDA=1 insists on them. TORCH_CUDA_ARCH_LIST chooses the
architectures (default "8.0;9.0+PTX"; "9.0a" adds what only Hopper has), MAX_JOBS the number of
compiler processes.
"""

import importlib.util
import json
import os
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

DEFAULT_CUDA_ARCHITECTURES = "8.0;9.0+PTX"

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

import pybind11  # noqa: E402
import torch  # noqa: E402
from torch.utils.cpp_extension import (  # noqa: E402
    CUDA_HOME,
    BuildExtension,
    CppExtension,
    CUDAExtension,
)


def use_cuda() -> bool:
    """Whether the CUDA ops are built; exits when ELITE_CUDA=1 asks for what can't be had."""
    wish = os.environ.get("ELITE_CUDA", "")
    if wish not in ("", "0", "1"):
        sys.exit(f"ELITE_CUDA must be 0 or 1, got {wish!r}")
    missing = []
    if torch.version.cuda is None:
        missing.append(f"torch {torch.__version__} is a build without CUDA")
    if CUDA_HOME is None:
        missing.append("nvcc was not found (set CUDA_HOME)")
    if wish == "1" and missing:
        sys.exit("ELITE_CUDA=1, but " + " and ".join(missing))
    return wish != "0" and not missing


def extension(with_cuda: bool):
    sources = sorted(str(p) for d in ("bindings", "cpu") for p in Path("csrc", d).glob("*.cpp"))
    # -fopenmp is for compiling only: at::parallel_for is a header template, and leaving the flag
    # out at link time makes its calls resolve to the OpenMP runtime that torch has loaded already:
    # one thread pool in the process instead of two.
    cxx = ["-O3", "-g0", "-std=c++20", "-fopenmp", "-ffp-contract=off", "-fvisibility=hidden"]
    cxx += ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unknown-pragmas"]
    macros = []
    architectures = ""
    make = CppExtension
    if with_cuda:
        make = CUDAExtension
        architectures = os.environ.setdefault("TORCH_CUDA_ARCH_LIST", DEFAULT_CUDA_ARCHITECTURES)
        sources += sorted(str(p) for p in Path("csrc/cuda").glob("*.cu"))
        macros.append(("ELITE_WITH_CUDA", None))
        if "9.0a" in architectures:  # holds warpgroup products (csrc/cuda/sparse_conv_wgmma.cu)
            macros.append(("ELITE_WITH_SM90A", None))
    macros.append(("ELITE_CUDA_ARCHITECTURES", f'"{architectures}"'))
    return make(
        "elite_ops._C",
        sources,
        include_dirs=[pybind11.get_include(), str(Path("csrc").resolve())],
        define_macros=macros,
        depends=sorted(str(p) for p in Path("csrc").glob("*/*.*h")),
        extra_compile_args={"cxx": cxx, "nvcc": ["-O3", "-std=c++20", "-lineinfo"]},
    )


class Build(BuildExtension):
    """Leaves a note beside the extension: a mismatch is found before the library is loaded."""

    def run(self) -> None:
        super().run()
        note = {"torch": str(torch.__version__), "python": sysconfig.get_python_version()}
        target = Path(self.get_ext_fullpath("elite_ops._C")).with_name("_build.json")
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps(note) + "\n")
        temporary.replace(target)


setup(ext_modules=[extension(use_cuda())], cmdclass={"build_ext": Build})
