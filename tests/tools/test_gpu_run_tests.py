"""Tests on a GPU machine run with the plugins that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import run_tests


def options_with(monkeypatch: pytest.MonkeyPatch, *plugins: str) -> str:
    monkeypatch.setattr(run_tests, "find_spec", lambda name: name in plugins)
    return " ".join(run_tests.options_of_pytest(jobs=12, timeout=60))


def test_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_with(monkeypatch, "xdist", "pytest_timeout")
    assert "-m gpu" in options
    assert "-n 12" in options
    assert "--timeout 60 --timeout-method thread" in options


def test_nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_with(monkeypatch)
    assert "-n" not in options.split()
    assert "--timeout" not in options
    assert "faulthandler_timeout=60" in options


def test_files_with_the_mark_or_the_fixture_are_run(tmp_path: Path) -> None:
    texts = {
        "mark": "@pytest.mark.gpu\ndef test_it(): ...\n",
        "fixture": "def test_it(\n    number: int, device: torch.device\n) -> None: ...\n",
        "neither": 'def test_it(x): y = x.to(device="cpu")\n',
    }
    for name, text in texts.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    found = [Path(path).stem for path in run_tests.files_for_a_gpu(tmp_path)]
    assert found == ["test_fixture", "test_mark"]
