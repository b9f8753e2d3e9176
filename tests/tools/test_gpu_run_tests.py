"""Tests on a GPU machine run with the plugins that are there."""

from __future__ import annotations

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
