"""Seeded calls of ops with arguments that don't fit: `python tests/ops/fuzz.py SEED CALLS [OPS]`.

A call begins with arguments that an op got from its public function (fuzz_scene.py), or, for an op
that the scene doesn't call, with some of its schema. A few are then spoilt. It may return, or raise
one of ERRORS in words that name the op; everything else is a fault, printed with its seed. OPS is a
pattern: with "." they are all, as in the test.
"""

import contextlib
import random
import re
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from fuzz_scene import Arguments, recorded_calls
from fuzz_spoil import spoil, without_rows
from torch import Tensor
from torch._library.simple_registry import singleton as registry

from elite_ops import _C, check_device_errors

ERRORS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)
ENDINGS = ("_backward", "_scale")  # of ops whose errors name what was called, which is shorter
BYTES = 4 << 30  # of memory that a call may ask for; more is refused, and has to be said well


def all_ops(pattern: str) -> list[str]:
    names = torch._C._dispatch_get_all_op_names()
    return sorted(name for name in names if re.match(f"elite_ops::({pattern})", name))


def overload(name: str) -> torch._ops.OpOverload:
    return getattr(torch.ops.elite_ops, name.removeprefix("elite_ops::")).default


def of_schema(rng: random.Random, schema: Any) -> Arguments:
    """Arguments of the right types, for an op that nobody has called."""
    rows, channels = rng.choice((0, 1, 5)), rng.choice((1, 4))
    made: dict[str, Any] = {
        "Tensor": torch.zeros(rows, channels),
        "int": rng.choice((1, 3)),
        "float": 1.0,
        "bool": False,
        "str": "mean",
    }

    def value(kind: str) -> Any:
        if kind.startswith("Optional["):
            return rng.choice((None, value(kind[9:-1])))
        if kind.startswith("List["):
            return [value(kind[5:-1]) for _ in range(3)]
        return made["int" if kind == "SymInt" else kind]

    return {a.name: value(str(a.type)) for a in schema.arguments}


def drawn(seed: int, ops: list[str], calls: dict[str, list[Arguments]]) -> tuple[str, Arguments]:
    """The op and the arguments of one call."""
    rng = random.Random(seed)
    name = ops[seed % len(ops)]
    examples = calls.get(name)
    first = rng.choice(examples) if examples else of_schema(rng, overload(name)._schema)
    arguments = dict(first)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        spoil(rng, arguments)
    if any(arguments[key] is not first[key] for key in first):
        arguments = {key: without_rows(key, value) for key, value in arguments.items()}
    return name, arguments


def tensors_of(arguments: Arguments) -> list[Tensor]:
    values = [v for a in arguments.values() for v in (a if isinstance(a, (list, tuple)) else [a])]
    return [v for v in values if isinstance(v, Tensor)]


def checks_devices(name: str) -> bool:
    """Whether the op's fake is one of elite_ops/registration.py."""
    fake = registry.find(name).fake_impl.kernel
    return fake is not None and fake.func.__module__ == "elite_ops.registration"


def fault_of(name: str, arguments: Arguments) -> str | None:
    """What is wrong with what a call does, if something is."""
    op = name.removeprefix("elite_ops::")
    try:
        overload(name)(**arguments)
    except ERRORS as error:
        text = str(error)
        if "INTERNAL ASSERT" in text:
            return f"{type(error).__name__}: {text.splitlines()[0]}"
        if isinstance(error, torch.OutOfMemoryError) and _C.emulates_cuda:
            return None  # torch's allocator knows no op
        if not any(word in text for word in (op, *(op.partition(end)[0] for end in ENDINGS))):
            return f"an error that doesn't name the op: {type(error).__name__}: {text[:300]}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    else:
        devices = {t.device for t in tensors_of(arguments)}
        if len(devices) > 1 and checks_devices(name):
            return f"tensors on {devices} are accepted"
    return None


def described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)} strides {value.stride()} on {value.device}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(described, value)) + "]"
    return repr(value)


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def main(first: int, count: int, pattern: str = ".") -> int:
    torch.set_num_threads(1)
    ops, calls = all_ops(pattern), recorded_calls()
    limit_memory()
    faults = 0
    for seed in range(first, first + count):
        name, arguments = drawn(seed, ops, calls)
        print(seed, file=sys.stderr)  # the last one is what crashed
        fault = fault_of(name, arguments)
        with contextlib.suppress(IndexError):  # what this call's kernels report is not the next's
            check_device_errors()
        if fault:
            faults += 1
            print(f"seed {seed}: {name}: {fault}")
            for key, value in arguments.items():
                print(f"    {key} = {described(value)}")
    print(f"{count} calls of {len(ops)} ops, {len(set(ops) - set(calls))} of them by schema alone")
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
