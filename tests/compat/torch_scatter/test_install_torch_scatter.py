from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

from elite_ops.compat import torch_scatter as face


def names() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "torch_scatter"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name in names():
            patch.delitem(sys.modules, name)
        face.install()
        yield
        for name in names():
            del sys.modules[name]


@pytest.mark.usefixtures("installed")
def test_programs_find_the_face() -> None:
    namespace: dict[str, object] = {}
    exec(
        "import torch_scatter\n"
        "from torch_scatter import scatter_max, segment_csr\n"
        "from torch_scatter.composite import scatter_softmax\n"
        "from torch_scatter.scatter import scatter_mean\n"
        "from torch_scatter.segment_csr import gather_csr\n"
        "from torch_scatter.segment_coo import gather_coo\n"
        "from torch_scatter.utils import broadcast\n",
        namespace,
    )
    assert namespace["torch_scatter"] is face
    assert namespace["scatter_max"] is face.scatter_max
    assert namespace["scatter_mean"] is face.scatter_mean


def test_equals_torch_scatter() -> None:
    real = pytest.importorskip("torch_scatter")
    if not hasattr(real, "scatter"):
        pytest.skip("no torch_scatter")
    src, index = torch.randn(3, 20, 4), torch.randint(0, 6, (20,))
    for reduce in ("sum", "mul", "mean", "min", "max"):
        torch.testing.assert_close(
            face.scatter(src, index, 1, reduce=reduce), real.scatter(src, index, 1, reduce=reduce)
        )
    for name in ("scatter_softmax", "scatter_log_softmax", "scatter_logsumexp", "scatter_std"):
        torch.testing.assert_close(
            getattr(face, name)(src, index, 1), getattr(real, name)(src, index, 1)
        )


def test_every_name_is_there() -> None:
    assert [name for name in face.__all__ if not hasattr(face, name)] == []
