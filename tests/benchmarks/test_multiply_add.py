"""The peak of the cores: what is counted is computed."""

import multiply_add
import pytest


def test_every_sum_is_computed() -> None:
    try:
        library = multiply_add.compiled()
    except OSError:
        pytest.skip("no C++ compiler")
    sums = multiply_add.flop(library, 1) / multiply_add.ROUNDS / 2
    assert multiply_add.run(library, 2) == [2 * sums] * 2  # x / 2 + 1 ends at 2


def test_a_compiler_that_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiply_add, "FLAGS", ["-no-such-flag"])
    multiply_add.compiled.cache_clear()
    with pytest.raises(RuntimeError, match="no-such-flag"):
        multiply_add.compiled()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(OSError, match="no-such-compiler"):
        multiply_add.compiled()
    multiply_add.compiled.cache_clear()
