"""docs/performance.md from results, with figures that can be checked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import report
from report_plot import plot
from report_tables import duration, forms_table, group_table, section
from results_file import Results, read_results

FORWARD = "convolution forward, map given"
FILE = "a scan, from its file to labels"


def entry(group: str, contestant: str | None, seconds: float, **more: Any) -> dict[str, Any]:
    info = {"bytes_moved": 1e9, "flop": 0, **more.pop("info", {})}
    case = {"device": "cuda", **more}
    if contestant:
        case["contestant"] = contestant
    statistics = {"median": seconds, "min": seconds, "iqr": 0.0, "rounds": 10}
    return {"group": group, "case": case, "seconds": statistics, "info": info}


def write(folder: Path, entries: list[dict[str, Any]], **more: Any) -> Results:
    machine = {
        "processor": "P",
        "cores": 2,
        "threads": 1,
        "python": "3",
        "torch": "2",
        "compiler": "c",
    }
    raw = {
        "name": "a",
        "date": "2026-01-01",
        "commit": "abc",
        "machine": machine,
        "load": [0.5, 0.5],
    }
    raw |= {"options": [], "complete": True, "results": entries, "missing": [], **more}
    path = folder / "a.json"
    path.write_text(json.dumps(raw))
    return read_results(path)


CONVOLUTION = {"channels": 64, "batch": 1, "precision": "fp16"}
LIMITS = [
    entry("limits: copy", None, 1.0, info={"bytes_moved": 1e12}),
    entry("limits: matrix product", None, 1.0, precision="fp16", info={"flop": 4e14}),
]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """1 TB/s copied, 400 TFLOP/s multiplied; ours takes 2 ms, its rivals 3 and 5."""
    info = {"flop": 4e11, "rms_error": 2e-4, "contestant_version": "2.3"}
    entries = [
        *LIMITS,
        entry(FORWARD, "elite_ops", 2e-3, **CONVOLUTION, info=info),
        entry(FORWARD, "reference", 1e-3, **CONVOLUTION, info=info),
        entry(FORWARD, "spconv", 3e-3, **CONVOLUTION, info={**info, "rms_error": 3e-4}),
        entry(FORWARD, "ocnn", 9e-3, **CONVOLUTION, info={**info, "device_seconds": 5e-3}),
        entry("voxelization", "elite_ops", 1e-4, scales=5, batch=1),
        entry("voxelization", "unique_keys", 25e-4, scales=5, batch=1),
        entry("voxelization", "unique_rows", 99e-4, scales=5, batch=1),
    ]
    missing = [{"reason": "missing: x: because", "benchmarks": 3}]
    return write(tmp_path, entries, missing=missing)


def test_the_rival_is_the_fastest_peer_never_the_reference(results: Results) -> None:
    text = group_table(results, FORWARD)
    assert text.splitlines()[0].startswith("| device | channels | batch | precision | elite_ops |")
    assert "| 1.50 x |" in text


def test_the_time_of_the_device_comes_before_that_of_the_call(results: Results) -> None:
    assert "| 5 ms (9 ms) |" in group_table(results, FORWARD)


def test_the_roofline_is_the_slower_of_memory_and_arithmetic(results: Results) -> None:
    (row,) = results.group(FORWARD).values()
    assert results.roofline(row["elite_ops"]) == pytest.approx(0.5)  # 1 ms each, of 2 ms
    (row,) = results.group("voxelization").values()
    assert results.roofline(row["unique_rows"]) == pytest.approx(1 / 9.9)


def test_no_roofline_without_its_limits(tmp_path: Path) -> None:
    ours = entry(FORWARD, "elite_ops", 1.0, **CONVOLUTION, info={"flop": 1})
    for limits in ([], LIMITS[:1]):
        results = write(tmp_path, [*limits, ours])
        assert results.roofline(results.all[-1]) is None


def test_variants_are_compared_side_by_side(tmp_path: Path) -> None:
    entries = [entry("sparse_conv variants", None, 1.0, variant=v) for v in ("table", "resident")]
    text = section(write(tmp_path, entries))
    assert "| device | table | resident |" in text


def test_variants_of_the_student_have_a_row_each(tmp_path: Path) -> None:
    info = {"p90": 3.0, "p99": 4.0, "peak_mb": 100, "process_mb": 400, "agreement": 0.998}
    slow = {**info, "convolution_threads": 1, "computes_in": "fp16"}
    entries = [
        entry(FILE, "elite_ops", 2.0, precision="fp16", info=info),
        entry(FILE, "spconv_rows", 5.0, precision="fp16", info=slow),
    ]
    first, second = forms_table(write(tmp_path, entries), FILE).splitlines()[2:]
    times = "2 s | 3 s | 4 s | 2 s | 10 | 1.00 x | 100 MiB | 400 MiB | 99.800% |"
    assert first == f"| cuda, fp16 | elite_ops | {times}  |"
    assert "| 5 s | 3 s | 4 s | 5 s | 10 | 2.50 x |" in second
    assert second.endswith("| convolutions on 1 thread, computes in fp16 |")


def test_memory_that_is_not_resolved_or_not_told_is_called_so(tmp_path: Path) -> None:
    times = {"p90": 3.0, "p99": 4.0}
    infos = {"elite_ops": {"peak_mb": 0, "process_mb": 300}, "torch_rows": {"memory": "not told"}}
    entries = [entry(FILE, name, 2.0, info={**times, **info}) for name, info in infos.items()]
    first, second = forms_table(write(tmp_path, entries), FILE).splitlines()[2:]
    assert "| below 1 MiB | 300 MiB |" in first
    assert second.endswith("|  |  |  | memory not told |")


def test_a_section_says_where_how_exact_and_what_is_missing(results: Results) -> None:
    text = section(results)
    assert "1 of 2 cores of P, torch 2, Python 3, compiler c; commit abc, 2026-01-01." in text
    assert "copies 1e+03 GB/s (read and written), multiplies matrices at fp16 400 TFLOP/s" in text
    assert "| spconv | 2.3 | fp16 | 3.0e-04 |" in text
    assert "- missing: x: because (3 benchmarks)" in text
    assert "noisy" not in text


def test_a_busy_machine_is_called_noisy(tmp_path: Path) -> None:
    assert "noisy" in section(write(tmp_path, [], load=[0.1, 2.1]))


def test_processor_time_is_called_so(tmp_path: Path) -> None:
    options = ["--benchmark-timer=time.process_time"]
    assert "processor time" in section(write(tmp_path, [], options=options))
    assert "processor time" not in section(write(tmp_path, []))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234, "1.23 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (1e-8, "0.01 µs")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_only_what_stands_between_the_markers_changes() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.insert(page, "new")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.insert(once, "new") == once
    with pytest.raises(ValueError, match="no line"):
        report.insert("before", "new")


def test_the_picture_repeats(results: Results, tmp_path: Path) -> None:
    pictures = [tmp_path / "1.svg", tmp_path / "2.svg"]
    for picture in pictures:
        plot(results, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert b"spconv" in pictures[0].read_bytes()


def test_the_page_shows_the_results_that_are_kept() -> None:
    paths = sorted(Path(report.ROOT, "benchmarks/results").glob("*.json"))
    files = [read_results(path) for path in paths]
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.insert(page, report.results_text(files)) == page
    assert all((report.IMAGES / report.image_name(results)).exists() for results in files)
