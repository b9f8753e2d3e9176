"""The Python of docs/quickstart.md runs as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clustered_scan import scan
from code_blocks import run_page
from plain_student import random_reference_checkpoint

from elite.data import write_points


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_points(tmp_path / "scan.bin", scan(900, seed=1).numpy())
    torch.save(random_reference_checkpoint(seed=0), tmp_path / "best_model.ckpt")
    with torch.no_grad():
        names = run_page("docs/quickstart.md")
    output, valid = names["output"], names["valid"]
    assert names["logits"].shape == (900, 20)
    torch.testing.assert_close(names["logits"][valid], output.logits[valid], rtol=1e-3, atol=1e-3)
