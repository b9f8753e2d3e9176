"""The smoke test of a GPU machine, tried on the CPU: it finds what is planted, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import smoke
import torch
from smoke_cases import CASES
from smoke_check import Wrong, check_op
from smoke_processes import Ended, run_all
from smoke_scene import SCENES, Scene
from torch import Tensor

CPU = torch.device("cpu")
OPS = torch.ops.elite_ops


@pytest.fixture(scope="module")
def scene() -> Scene:
    return SCENES["small"]()


def test_every_op_has_a_case() -> None:
    assert smoke.all_ops() == sorted(CASES)
    assert len(CASES) > 30


@pytest.mark.parametrize("op", sorted(CASES))
def test_an_op_of_the_cpu_is_right(op: str, scene: Scene) -> None:
    assert check_op(getattr(OPS, op), CASES[op], scene, CPU) <= 0.6


# ---- planted faults ------------------------------------------------------------------------------


def first_tensor(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else first_tensor(result[0])


def spoiled(op: str, spoil: Callable[[Tensor], object]) -> Callable[..., Any]:
    """The op, with a fault in its first result."""

    def call(*arguments: Any) -> Any:
        result = getattr(OPS, op)(*arguments)
        if arguments[0].dtype != torch.float64:  # that is the truth
            spoil(first_tensor(result))
        return result

    return call


def add_to_one(number: float) -> Callable[[Tensor], object]:
    return lambda result: result.view(-1)[-1:].add_(number)


@pytest.mark.parametrize(
    ("op", "number"),
    [("sparse_conv", 0.01), ("transition", 0.01), ("segment_max", float("nan"))],
)
def test_one_wrong_number_is_found(op: str, number: float, scene: Scene) -> None:
    with pytest.raises(Wrong, match=r"small, call 0 in float32: the error is .*, above the limit"):
        check_op(spoiled(op, add_to_one(number)), CASES[op], scene, CPU)


def test_one_wrong_whole_number_is_found(scene: Scene) -> None:
    wrong = 0

    def call(*arguments: Any) -> Any:
        nonlocal wrong
        wrong += 1  # the truth is computed after the two calls
        result = OPS.confusion_matrix(*arguments)
        return result + (wrong <= 2) * torch.eye(20, dtype=torch.int64)

    with pytest.raises(Wrong, match="20 of 400 whole numbers differ"):
        check_op(call, CASES["confusion_matrix"], scene, CPU)


def test_another_shape_is_found(scene: Scene) -> None:
    def call(*arguments: Any) -> Any:
        result = OPS.voxel_to_point(*arguments)
        return result if result.dtype == torch.float64 else result[1:]

    with pytest.raises(Wrong, match=r"shapes \[\[1022, 20\]\] instead of \[\[1023, 20\]\]"):
        check_op(call, CASES["voxel_to_point"], scene, CPU)


def test_bits_that_change_are_found(scene: Scene) -> None:
    noise = iter([0.0, 1e-6])
    spoil = spoiled("segment_mean", lambda result: result.view(-1)[-1:].add_(next(noise)))
    with pytest.raises(Wrong, match="the second call has other bits"):
        check_op(spoil, CASES["segment_mean"], scene, CPU)


# ---- processes -----------------------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture(scope="module")
def ended() -> dict[str, Ended]:
    commands = {
        "right": python('print(\'{"scene": "small", "error": 0.25}\')'),
        "crash": python(
            'import os, signal; print(\'{"scene": "small", "error": 0.5}\', flush=True);'
            "os.kill(os.getpid(), signal.SIGSEGV)"
        ),
        "hang": python("import time; time.sleep(3600)"),
        "wrong": python('print(\'{"problem": "it is off"}\'); exit(1)'),
        "watched": python('print(\'{"scene": "small", "error": 0}\\n=== 1 error\'); exit(1)'),
        "silent": python("pass"),
    }
    return {one.name: one for one in run_all(commands, jobs=6, timeout=10)}


def test_each_end_is_told_and_the_others_run(ended: dict[str, Ended]) -> None:
    assert {name: smoke.outcome_of(one, ["small"]).problem for name, one in ended.items()} == {
        "right": None,
        "crash": "ended by SIGSEGV",
        "hang": "no end after 10 s",
        "wrong": "it is off",
        "watched": "exit status 1",
        "silent": "it says nothing of the scene small",
    }


def test_what_was_done_before_a_fault_is_kept(ended: dict[str, Ended]) -> None:
    assert smoke.outcome_of(ended["crash"], ["small"]).errors == {"small": 0.5}
    assert smoke.outcome_of(ended["watched"], ["small"]).output == "=== 1 error"


def test_the_table_has_failures_last(ended: dict[str, Ended]) -> None:
    outcomes = [smoke.outcome_of(one, ["small"]) for one in ended.values()]
    header, right, *failed = smoke.table(outcomes, ["small", "scan"]).splitlines()
    assert header.split() == ["op", "small", "scan", "seconds", "problem"]
    assert right.split()[:3] == ["right", "0.25", "-"]
    assert [line.split()[0] for line in failed] == ["crash", "hang", "silent", "watched", "wrong"]
    assert failed[0].endswith("ended by SIGSEGV")


# ---- the program ---------------------------------------------------------------------------------


def planted(monkeypatch: pytest.MonkeyPatch, *codes: str) -> None:
    """Has each op run a line of Python instead."""
    commands = {f"op_{i}": python(code) for i, code in enumerate(codes)}
    monkeypatch.setattr(smoke, "all_ops", lambda: list(commands))
    monkeypatch.setattr(smoke, "run_all", lambda _, *rest: run_all(commands, *rest))


def test_a_failed_op_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, 'print(\'{"scene": "small", "error": 0}\')', "import os; os.abort()")
    path = tmp_path / "smoke.json"
    assert smoke.main(["--device", "cpu", "--scan", "none", "--json", str(path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2 ops are right"
    written = json.loads(path.read_text())
    assert written["complete"]
    assert {o["op"]: o["problem"] for o in written["ops"]} == {
        "op_0": None,
        "op_1": "ended by SIGABRT",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["smoke.json"]


# What a process prints of an op that is right.
SAID = '{"scene": "small", "error": 0.5}\n{"scene": "scan", "error": 0.5}'


def test_an_interrupt_leaves_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(commands: dict[str, list[str]], *_: object) -> Iterator[Ended]:
        yield Ended(next(iter(commands)), SAID, 1.0, None)
        raise KeyboardInterrupt

    monkeypatch.setattr(smoke, "run_all", interrupted)
    monkeypatch.setattr(smoke, "all_ops", lambda: ["done", "not_done"])
    assert smoke.main(["--device", "cpu"]) == 1
    done, not_done, count = capsys.readouterr().out.splitlines()[-3:]
    assert done.split()[0] == "done"
    assert not_done.endswith("was interrupted")
    assert count == "1 of 2 ops are right"


def test_an_interrupt_ends_what_runs() -> None:
    commands = {"short": python(""), "long": python("import time; time.sleep(3600)")}
    running = run_all(commands, 2, 3600)
    assert next(running).name == "short"
    running.close()


def test_all_right_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, 'print(\'{"scene": "small", "error": 0}\')')
    assert smoke.main(["--device", "cpu", "--scan", "none"]) == 0


def test_a_tool_watches_each_op_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[str]] = {}
    environment: dict[str, str] = {}

    def watch(commands: dict[str, list[str]], jobs: int, timeout: float, env: dict[str, str]):
        seen.update(commands)
        environment.update(env)
        return [Ended(name, SAID, 1.0, None) for name in commands]

    monkeypatch.setattr(smoke, "run_all", watch)
    monkeypatch.setattr(smoke, "sanitizer", lambda: "compute-sanitizer")
    smoke.main(["--device", "cpu", "--scan", "none", "--under", "racecheck"])
    assert len(seen) == len(CASES)
    command = " ".join(seen["nms"])
    assert command.startswith("compute-sanitizer ")
    assert "--tool racecheck" in command
    assert command.endswith("--scan none --op nms")
    assert environment["PYTORCH_NO_CUDA_MEMORY_CACHING"] == "1"


def test_without_the_tool_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "SANITIZER", "no-such-sanitizer")
    with pytest.raises(SystemExit, match="no no-such-sanitizer is on the PATH"):
        smoke.main(["--device", "cpu", "--scan", "none", "--under", "racecheck"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_there_is_a_sentence() -> None:
    with pytest.raises(SystemExit, match="torch finds no CUDA device"):
        smoke.main([])


@pytest.fixture
def own_settings() -> Any:
    """Trying an op sets what concerns its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("own_settings")
def test_one_op_prints_a_line_for_each_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(["--device", "cpu", "--scan", "none", "--op", "nms"]) == 0
    assert json.loads(capsys.readouterr().out) == {"scene": "small", "error": 0.0}


@pytest.mark.usefixtures("own_settings")
def test_an_op_without_a_case_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(["--device", "cpu", "--scan", "none", "--op", "forgotten"]) == 1
    assert "no case in tools/gpu/smoke_cases.py" in json.loads(capsys.readouterr().out)["problem"]
