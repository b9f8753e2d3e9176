"""Programs of the Makefile: built with the cores and the memory at hand, and run."""

import fcntl
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

from elite.processes import available_cores

__all__ = ["ORDERS", "ROOT", "make", "run"]

ROOT = Path(__file__).parents[2]
# In which an emulated block's threads take turns: from the first to the last, and back.
ORDERS: dict[str, dict[str, str]] = {"forward": {}, "reversed": {"EMULATION_REVERSED": "1"}}
ENDLESS = 1800  # seconds: a program that takes so long waits for what never comes
COMPILER = 1 << 30  # bytes that one takes at most


def make(*targets: str | Path) -> None:
    """One call after the other: two of them would write the same files."""
    lock = ROOT / "build" / ".lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        command = ["make", "--silent", f"-j{jobs()}", *targets]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def jobs() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(available_cores(), memory // COMPILER))


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What became of a program, with these variables in its environment."""
    return subprocess.run(
        [*steady(), *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDLESS,
    )


@cache
def steady() -> tuple[str, ...]:
    """Begins a command whose addresses are not random: sanitizers can't work at every address."""
    if shutil.which("setarch") is None:
        return ()
    wrapper = ("setarch", platform.machine(), "--addr-no-randomize")
    works = subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode == 0
    return wrapper if works else ()
