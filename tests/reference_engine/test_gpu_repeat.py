"""Stages of `benchmarks.gpu` that repeat work: what they count."""

import importlib.util
from collections.abc import Iterator

import pytest
import torch

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def test_launches_that_differ_or_write_nothing_are_counted() -> None:
    from benchmarks.gpu.measuring import Setup
    from benchmarks.gpu.repeat import _launched

    out = torch.empty(4)
    results: Iterator[list[float]] = iter([[1, 2, 3, 4], [1, 2, 3, 5]])
    found = _launched(
        "kernel", lambda: out.copy_(torch.tensor(next(results))), out, Setup("cpu", "")
    )
    assert (found.value, found.passed) == (1, False)

    silent = _launched("kernel", lambda: None, out, Setup("cpu", ""))
    assert not silent.passed
    assert silent.note.endswith("; 8 values not finite")

    equal = _launched("kernel", lambda: out.fill_(1), out, Setup("cpu", ""))
    assert (equal.value, equal.passed) == (0, True)


def test_runs_that_differ_or_are_not_finite_are_counted() -> None:
    from benchmarks.gpu.engine import NotFiniteError
    from benchmarks.gpu.repeat import _compared

    outcomes = iter([None, 1, 1, 2])

    def run() -> torch.Tensor:
        value = next(outcomes)
        if value is None:
            raise NotFiniteError
        return torch.tensor([value])

    found = _compared("prompts", run, 4)
    assert (found.value, found.passed) == (2, False)
    assert "1 with logits" in found.note


def test_replies_must_be_equal_and_their_logprobs_close() -> None:
    from benchmarks.gpu.small import _compared
    from reference_engine.generation.sampling import Token

    expected = [[Token(1, -0.5), Token(2, -1.0)], [Token(3, -0.1)]]
    near = [[Token(1, -0.5), Token(2, -1.25)], [Token(3, -0.1)]]
    equal, difference = _compared("float32", lambda: near, expected, 0.1)
    assert (equal.value, equal.passed) == (2, True)
    assert (difference.value, difference.passed) == (0.25, False)

    other = [[Token(1), Token(4)], [Token(3)]]
    (equal,) = _compared("float32", lambda: other, expected, 0.1)
    assert (equal.value, equal.passed) == (1, False)


def test_forty_prompts_are_asked() -> None:
    from benchmarks.gpu.small import prompts

    assert len(set(prompts())) == 40
