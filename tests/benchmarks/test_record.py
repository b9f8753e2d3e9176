"""Benchmarks on few points, from the run to the JSON; the report is made of such files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import record
from results_file import Results, read_results

BENCHMARKS = Path(record.__file__).parent
FILES = [str(BENCHMARKS / name) for name in record.DEFAULT]
SMALL = "cpu and (copy or (b1 and (c16 or s8 or s1)))"


def recorded(folder: Path, *options: str) -> Path:
    """A recorded run on few points, in a process of its own as pytest does not nest well."""
    command = [sys.executable, BENCHMARKS / "record.py", "--name", "small", "--results", folder]
    command += ["--points", "1000", "-p", "no:xdist", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "small.json"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("results"), "-k", SMALL)


@pytest.fixture(scope="module")
def results(path: Path) -> Results:
    return read_results(path)


def test_the_heading_says_where_and_with_what(path: Path) -> None:
    raw = json.loads(path.read_text())
    machine = {"processor", "cores", "threads", "python", "torch", "compiler"}
    assert machine <= raw["machine"].keys()
    assert raw["name"] == "small"
    assert raw["complete"]
    assert raw["date"].count("-") == 2
    assert raw["commit"]
    assert len(raw["load"]) == 2


def test_every_group_has_ours_and_its_sizes(results: Results) -> None:
    for group in ("convolution forward, map given", "convolution backward, map given"):
        (row,) = results.group(group).values()
        assert {"elite_ops", "reference"} <= row.keys()
        ours = row["elite_ops"]
        assert (ours["device"], ours["channels"], ours["batch"], ours["precision"]) == (
            "cpu",
            16,
            1,
            "fp32",
        )
        assert ours.info["flop"] > 0
        assert ours.info["voxels"] > 0
        assert 0 < ours.info["rms_error"] < 1e-5
    assert len(results.group("kernel map")) == 2
    assert len(results.group("voxelization")) == 1
    assert results.bandwidth["cpu"] > 0


def test_what_is_missing_says_why(results: Results) -> None:
    reasons = [entry["reason"] for entry in results.missing]
    assert any(reason.startswith("missing: warpconvnet: ") for reason in reasons)
    assert all(entry["benchmarks"] > 0 for entry in results.missing)
    assert len(set(reasons)) == len(reasons)


def test_a_form_of_the_student_has_its_tails_its_memory_and_its_agreement(tmp_path: Path) -> None:
    options = (str(BENCHMARKS / "bench_end_to_end.py"), "-k", "cpu and elite_ops and not literal")
    results = read_results(recorded(tmp_path, *options))
    (row,) = results.group("a scan, from its file to labels").values()
    info = row["elite_ops"].info
    assert row["elite_ops"].shortest <= row["elite_ops"].wall <= info["p90"] <= info["p99"]
    told = {"peak_mb", "process_mb", "memory"} & info.keys()
    assert told in ({"peak_mb", "process_mb"}, {"memory"})  # figures, or that there are none
    assert info["agreement"] == 1
    assert len(results.group("a scan, the network alone")) == 1


def test_when_the_time_is_up_what_was_measured_is_kept(tmp_path: Path) -> None:
    options = ("--seconds", "0", str(BENCHMARKS / "bench_voxelize.py"), "-k", "cpu-s1-b1")
    raw = json.loads(recorded(tmp_path, *options).read_text())
    assert len(raw["results"]) == 1
    assert not raw["complete"]


def test_a_run_that_is_killed_leaves_what_was_measured(tmp_path: Path) -> None:
    """The second benchmark ends the process as the system would."""
    (tmp_path / "bench_two.py").write_text(
        "import os\n"
        "def bench_first(benchmark):\n"
        "    benchmark(len, [])\n"
        "    benchmark.extra_info['compiler'] = 'none'\n"
        "def bench_second(benchmark):\n"
        "    benchmark(os.abort)\n"
    )
    command = [sys.executable, BENCHMARKS / "record.py", "--name", "cut", "--results", tmp_path]
    command += [tmp_path / "bench_two.py", "-c", BENCHMARKS.parent / "pyproject.toml"]
    command += ["-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode < 0
    raw = json.loads((tmp_path / "cut.json").read_text())
    assert [result["group"] for result in raw["results"]] == ["bench_first"]
    assert not raw["complete"]


def entry(**changes: Any) -> dict[str, Any]:
    statistics = {"median": 2.0, "min": 1.0, "iqr": 0.5, "rounds": 10, "mean": 3.0}
    base = {"group": "g", "name": "bench_x", "params": {"device": "cpu", "odd": [1]}}
    return record.entry(
        {**base, "stats": statistics, "extra_info": {"threads": 1, "flop": 5}, **changes}
    )


def test_an_entry_is_condensed() -> None:
    assert entry() == {
        "group": "g",
        "case": {"device": "cpu"},
        "seconds": {"median": 2.0, "min": 1.0, "iqr": 0.5, "rounds": 10},
        "info": {"flop": 5},
    }
    assert entry(group=None, params=None)["group"] == "bench_x"
    params = {"dtype": "UNSERIALIZABLE[torch.float16]", "channels": 64}
    assert entry(params=params)["case"] == {"dtype": "torch.float16", "channels": 64}


def test_reasons_are_counted_and_choices_left_out() -> None:
    reasons = {"a": "missing: x", "b": "missing: x", "c": "broken: y", "d": "not needed: z"}
    assert record.missing_entries(reasons) == [
        {"reason": "missing: x", "benchmarks": 2},
        {"reason": "broken: y", "benchmarks": 1},
    ]


def test_nothing_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "run", lambda *_: 0)
    assert record.main(["--name", "none", "--results", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "run"),
    [
        ([], FILES),
        (["-k", "cuda"], [*FILES, "-k", "cuda"]),
        (["some/bench_x.py::bench_y"], ["some/bench_x.py::bench_y"]),
    ],
)
def test_the_targets_are_run_unless_files_are_named(
    given: list[str], run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(record, "record", lambda name, rest, *_: called.append(rest) or 0)
    record.main(["--name", "n", *given])
    assert called == [run]


@pytest.fixture
def git_of_no_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's settings, nor a repository around this one or its hooks, play a part."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def test_results_do_not_make_a_commit_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, git_of_no_one: None
) -> None:
    """What one run has written says nothing against the next."""

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(record, "HERE", tmp_path / "benchmarks")
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    source, results = tmp_path / "source.py", tmp_path / "benchmarks/results/cpu.json"
    assert record.commit() == "unknown"
    git("init")
    source.touch()
    results.touch()
    git("add", ".")
    git("commit", "-m", "first")
    clean = record.commit()
    results.write_text("{}")
    assert record.commit() == clean
    source.write_text("1")
    assert record.commit() == f"{clean}-dirty"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert record.commit() == "unknown"
