"""What `elite_ops._C` is compiled from and with.

The one place for it: setup.py imports it, and the Makefile asks it as a program, so that what CI
compiles is what users compile.

    python tools/build_flags.py nvcc      nvcc's flags as torch's build passes them, for make
    python tools/build_flags.py cxx       those of the C++ compiler, for a build with CUDA
    python tools/build_flags.py libraries what the extension is linked against
    python tools/build_flags.py toolkit   where the CUDA toolkit is
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

DEFAULT_CUDA_ARCHITECTURES = "8.0;9.0+PTX"
USUAL_TOOLKIT = Path("/usr/local/cuda")

# -fopenmp is for compiling only: at::parallel_for is a header template, and leaving the flag out at
# link time makes its calls resolve to the OpenMP runtime that torch has loaded already: one thread
# pool in the process instead of two.
CXX_FLAGS = [
    *("-O3", "-g0", "-std=c++20", "-fopenmp", "-ffp-contract=off", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unknown-pragmas"),
]

# torch's build forbids the operators and conversions of half types, which the kernels use.
HALF_MACROS = ["HALF_OPERATORS", "HALF_CONVERSIONS", "BFLOAT16_CONVERSIONS", "HALF2_OPERATORS"]

# What torch's build and Python's add on Linux to the flags above.
ADDED_CXX_FLAGS = [
    *("-fPIC", "-DNDEBUG"),
    *("-DTORCH_API_INCLUDE_EXTENSION_H", "-DTORCH_EXTENSION_NAME=_C"),
]

# What the extension is linked against, beside the CUDA runtime; all of it comes with torch.
LIBRARIES = ["c10", "torch", "torch_cpu", "torch_python", "c10_cuda", "torch_cuda"]

NVCC_FLAGS = [
    *("-O3", "-std=c++20", "-lineinfo"),
    *(f"-U__CUDA_NO_{kind}__" for kind in HALF_MACROS),
]


def sources(with_cuda: bool) -> list[str]:
    """Paths from the project's root."""
    patterns = ["bindings/*.cpp", "cpu/*.cpp"] + (["cuda/*.cu"] if with_cuda else [])
    return sorted(str(path) for pattern in patterns for path in Path("csrc").glob(pattern))


def architectures() -> str:
    """TORCH_CUDA_ARCH_LIST, which torch's build reads, with our default."""
    return os.environ.setdefault("TORCH_CUDA_ARCH_LIST", DEFAULT_CUDA_ARCHITECTURES)


def macros(with_cuda: bool) -> list[tuple[str, str | None]]:
    if not with_cuda:
        return [("ELITE_CUDA_ARCHITECTURES", '""')]
    return [("ELITE_WITH_CUDA", None), ("ELITE_CUDA_ARCHITECTURES", f'"{architectures()}"')]


def nvcc_flags() -> list[str]:
    """As torch's BuildExtension passes them: its own flags, then ours, then the architectures'."""
    from torch.utils import cpp_extension as torch_build

    architectures()
    own = torch_build._get_cuda_arch_flags()
    return [*macro_flags(), *torch_build.COMMON_NVCC_FLAGS, *NVCC_FLAGS, *own]


def cxx_flags() -> list[str]:
    """Of a build with CUDA, without the folders of headers."""
    return [*macro_flags(), *CXX_FLAGS, *ADDED_CXX_FLAGS]


def macro_flags() -> list[str]:
    return [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in macros(True)]


def torch_headers(torch_folder: Path) -> list[Path]:
    """pybind11's are among them."""
    include = torch_folder / "include"
    return [include, include / "torch/csrc/api/include"]


def write_note(package: Path, torch_version: str) -> None:
    """Says beside the extension what it was built for: elite_ops compares it before loading it."""
    note = {"torch": torch_version, "python": sysconfig.get_python_version()}
    temporary = package / "_build.tmp"
    temporary.write_text(json.dumps(note) + "\n")
    temporary.replace(package / "_build.json")


# ---- the CUDA toolkit ----------------------------------------------------------------------------


class MissingToolkit(Exception):
    """Says where the toolkit was looked for."""


def toolkit() -> Path:
    """The folder of the CUDA toolkit.

    torch takes the parent of the folder of the nvcc on the PATH, which is another one where that
    nvcc is a script or a link; nvcc itself knows.

    Raises:
        MissingToolkit: if there is none, or CUDA_HOME names a folder without nvcc.
    """
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if given := os.environ.get(variable):
            if (Path(given) / "bin/nvcc").exists():
                return Path(given)
            raise MissingToolkit(f"{variable}={given} has no bin/nvcc")
    if (nvcc := shutil.which("nvcc")) and (home := _home_of(nvcc)):
        return home
    if (USUAL_TOOLKIT / "bin/nvcc").exists():
        return USUAL_TOOLKIT
    raise MissingToolkit(
        "no nvcc was found: CUDA_HOME and CUDA_PATH are not set, no working nvcc is on the PATH, "
        f"and {USUAL_TOOLKIT}/bin has none"
    )


def _home_of(nvcc: str) -> Path | None:
    command = [nvcc, "--dryrun", "-x", "cu", "-E", os.devnull]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    top = re.search(r"^#\$ TOP=(.+)$", said, re.MULTILINE)
    home = Path(top[1].strip()).resolve() if top else None
    return home if home and (home / "bin/nvcc").exists() else None


def toolkit_release(home: Path) -> str:
    """Such as "13.0"."""
    command = [home / "bin/nvcc", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"release (\d+\.\d+)", said)
    if found is None:
        raise MissingToolkit(f"{home}/bin/nvcc --version names no release")
    return found[1]


def torch_runtime(torch: ModuleType) -> Path | None:
    """The CUDA runtime that this torch loads, where it brings one of its own."""
    return runtime_beside(Path(torch.__file__).parent, torch.version.cuda)


def runtime_beside(folder: Path, release: str) -> Path | None:
    """The same for a torch that is not imported: its folder, and the release it was built for."""
    name = f"libcudart.so.{release.split('.')[0]}"
    places = [folder / "lib", *sorted(folder.parent.glob("nvidia/*/lib"))]
    return next((place / name for place in places if (place / name).exists()), None)


def cxx_runtime(compiler: list[str]) -> list[str]:
    """The C++ runtime that torch loads as well, to be named before every library.

    A compiler that has the archive alone, or prefers it, would put a second runtime into the
    extension. Streams are then made by one and written to by the other, whose locales differ: the
    first number in an error message ends the process, or the message.
    """
    if shutil.which(compiler[0]) is None:
        return []
    ask = [*compiler, "-print-file-name=libstdc++.so.6"]
    found = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    return [found] if Path(found).is_absolute() else []


if __name__ == "__main__":
    answers = {
        "nvcc": lambda: shlex.join(nvcc_flags()),
        "cxx": lambda: shlex.join(cxx_flags()),
        "libraries": lambda: " ".join(f"-l{name}" for name in LIBRARIES),
        "toolkit": toolkit,
    }
    print(answers[sys.argv[1]]())
