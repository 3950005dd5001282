"""`python -m benchmarks.gpu` without a GPU: stages, resuming, failures, and what is counted."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import torch
from tiny_model import random_transformer

pytest.importorskip("triton", reason="Triton is not installed")

from benchmarks.gpu import repeat, report, small
from benchmarks.gpu.__main__ import _run_apart, main, results
from benchmarks.gpu.cards import CARDS, required
from benchmarks.gpu.engine import NotFiniteError
from benchmarks.gpu.http import http, missing
from benchmarks.gpu.load import Requests, Streams, receive
from benchmarks.gpu.measuring import Limits, Result, Setup, Task
from benchmarks.gpu.peers import gpt_oss_triton
from harmony import vocabulary
from reference_engine.generation.sampling import Token

CPU = Setup("cpu", "tiny")
ROOT = Path(__file__).parents[2]
BARE = """
import sys, sysconfig
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

ALLOWED = {allowed!r}
PACKAGES = sysconfig.get_path("purelib")

class Installed(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        found = PathFinder.find_spec(name) if "." not in name else None
        if found and str(found.origin).startswith(PACKAGES) and name not in ALLOWED:
            raise ImportError(name)

sys.meta_path.insert(0, Installed())
import benchmarks.gpu.__main__
"""
"""A program in which only ALLOWED packages are installed."""


# --- Stages


def test_it_needs_only_pytorch_triton_and_numpy() -> None:
    known = {_normal(need) for name in ("torch", "triton", "numpy") for need in _needed(name)}
    modules = {
        module
        for module, names in packages_distributions().items()
        if known & {_normal(name) for name in names}
    }
    subprocess.run([sys.executable, "-c", BARE.format(allowed=modules)], cwd=ROOT, check=True)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(name: str) -> list[str]:
    """A package and those that it requires."""
    needs = [re.match(r"[\w.-]+", need) for need in requires(name) or () if "extra ==" not in need]
    found = [name]
    for match in needs:
        with contextlib.suppress(PackageNotFoundError):
            found += _needed(match[0])
    return found


def test_a_failed_task_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> Iterator[Result]:
        yield Result("first", 1, "s")
        raise MemoryError("out of memory | tried 1 GiB\nmore")

    first, failed = results(Task("decode", run))
    assert first.passed is None
    assert (failed.name, failed.passed) == ("decode", False)
    assert failed.note == "MemoryError: out of memory / tried 1 GiB"
    assert "Traceback" in capsys.readouterr().err


def test_a_measured_card_has_requirements_and_an_unknown_one_has_none() -> None:
    decode = "decode, batch 1"
    for card in CARDS:
        least = card.shares["20b"][decode]
        near = Limits(1.03 * card.limits.bandwidth, 0.97 * card.limits.operations)
        assert required("20b", decode, least, near)[0] is True
        assert required("20b", decode, least - 0.01, near)[0] is False
        assert required("20b", "decode, batch 3", 0.1, near) == (None, "")
        passed, note = required("20b", decode, 0.1, Limits(near.bandwidth, 2 * near.operations))
        assert (passed, note[:14]) == (None, "no requirement")


@pytest.mark.slow
def test_a_stage_that_is_stopped_keeps_its_results_and_prints_its_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("benchmarks.gpu.__main__.GRACE", 60)  # on a busy machine, for its start
    *_, stage = _run_apart("speed-20b", 1, tmp_path)
    assert stage.failed
    assert stage.error is not None
    assert "within 1 s" in stage.error
    assert 'File "' in stage.error  # The beginning of a long stack is cut.
    assert "=== speed-20b" in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_stages_run_once_and_a_failed_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of three processes imports PyTorch, and `errors` interprets every kernel."""
    monkeypatch.chdir(ROOT)
    command = ["device", "errors", "--out", str(tmp_path), "--minutes", "9"]
    assert main(command) == 0, (tmp_path / "results.json").read_text()
    stages = json.loads((tmp_path / "results.json").read_text())
    assert list(stages) == ["device", "errors"]
    assert all(result["passed"] for result in stages["errors"]["results"])
    page = (tmp_path / "report.md").read_text()
    assert "Every requirement is met." in page
    assert "Not run: launches, repeat, steps" in page

    assert main(["launches", *command[2:-1], "0"]) == 1
    assert "No time is left for launches." in capsys.readouterr().out

    stages["device"]["error"] = "CUDA error"
    stages["errors"]["results"][0]["passed"] = False
    (tmp_path / "results.json").write_text(json.dumps(stages))
    capsys.readouterr()
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "device …" in said
    assert "errors …" not in said
    assert "Failed: errors." in (tmp_path / "report.md").read_text()


# --- What stages that repeat work count


def test_launches_that_differ_or_write_nothing_are_counted() -> None:
    out = torch.empty(4)
    differing = iter([[1.0, 2, 3, 4], [1, 2, 3, 5]])

    def launched(launch: Callable[[], object]) -> Result:
        return repeat._launched("kernel", launch, out, CPU)

    found = launched(lambda: out.copy_(torch.tensor(next(differing))))
    assert (found.value, found.passed) == (1, False)
    silent = launched(lambda: None)
    assert not silent.passed
    assert silent.note.endswith("; 8 values not finite")
    equal = launched(lambda: out.fill_(1))
    assert (equal.value, equal.passed) == (0, True)


def test_runs_that_differ_or_are_not_finite_are_counted() -> None:
    outcomes = iter([None, 1, 1, 2])

    def run() -> torch.Tensor:
        value = next(outcomes)
        if value is None:
            raise NotFiniteError
        return torch.tensor([value])

    found = repeat._compared("prompts", run, 4)
    assert (found.value, found.passed) == (2, False)
    assert "1 with logits" in found.note


def test_replies_must_be_equal_and_their_logprobs_close() -> None:
    expected = [[Token(1, -0.5), Token(2, -1.0)], [Token(3, -0.1)]]
    near = [[Token(1, -0.5), Token(2, -1.25)], [Token(3, -0.1)]]
    equal, difference = small._compared("float32", lambda: near, expected, 0.1)
    assert (equal.value, equal.passed) == (2, True)
    assert (difference.value, difference.passed) == (0.25, False)
    other = [[Token(1), Token(4)], [Token(3)]]
    (equal,) = small._compared("float32", lambda: other, expected, 0.1)
    assert (equal.value, equal.passed) == (1, False)
    assert len(set(small.prompts())) == 40


# --- The server under load


def test_figures_of_streams() -> None:
    streams = Streams([10.0, 10.5], [[11.0, 12.0, 14.0], [12.5, 13.5]])
    assert (streams.count, streams.rate, streams.first) == (5, 5 / 4, 2.0)
    assert [streams.between(share) for share in (0, 0.5, 1)] == [1.0, 1.0, 2.0]


@pytest.fixture
def answered() -> Iterator[Callable[[list[bytes]], Requests]]:
    """A request to a server that sends these pieces to its only client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run(pieces: list[bytes]) -> Requests:
            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10_000)
                    for piece in pieces:
                        connection.sendall(piece)

            threading.Thread(target=serve, daemon=True).start()
            port = listener.getsockname()[1]
            return Requests(port, "/v1/completions", [{"prompt": [1]}], '"tok"')

        yield run


def test_tokens_are_counted_in_events_that_arrive_in_pieces(
    answered: Callable[[list[bytes]], Requests],
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [head, b'6\r\ndata: "t', b'ok"\n\n\r\n7\r\ndata: "tok"\n\n\r\n', b"0\r\n\r\n"]
    found = receive(answered(pieces))
    assert found.count == 2
    assert found.first > 0


@pytest.mark.parametrize(
    "pieces", [[b"HTTP/1.1 500 Internal Server Error\r\n\r\n"], [b"HTTP/1.1 200 OK\r\n\r\ndata: "]]
)
def test_a_failed_stream_is_an_error(
    answered: Callable[[list[bytes]], Requests],
    pieces: list[bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        receive(answered(pieces))
    assert "The stream failed" in capfd.readouterr().err


def test_without_packages_or_the_vocabulary_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent() -> None:
        raise vocabulary.VocabularyError("No file.\nTried two sources.")

    assert missing("reference_engine.server.serve") == ""
    with monkeypatch.context() as patch:
        patch.setattr(vocabulary, "token_bytes", absent)
        assert missing("reference_engine.server.serve") == "no vocabulary: No file."
    for name in ("starlette", *(name for name in sys.modules if name.startswith("starlette."))):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "reference_engine.server.serve")
    (task,) = http(CPU)
    (result,) = task.run()
    assert result.value is result.passed is None
    page = report.markdown({"http-20b": report.Stage("HTTP", 1, [result])})
    assert "| HTTP |  |  |  | not measured: not installed: starlette" in page


def test_the_engine_is_measured_with_and_without_http(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_transformer(num_hidden_layers=1, vocab_size=201_088)
    monkeypatch.setattr("benchmarks.gpu.http.random_model", lambda *_: model)
    (task,) = http(CPU)
    found = {result.name: result for result in task.run()}
    http_and_engine = [found[f"{name}, 2 streams"] for name in ("HTTP", "engine without HTTP")]
    assert {result.note for result in http_and_engine} == {"6 tokens, prompts of 8"}
    over_http, alone = (result.value for result in http_and_engine)
    assert found["HTTP / engine without HTTP"].value == pytest.approx(over_http / alone)
    assert over_http > 0


def test_a_peer_that_cannot_be_used_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def only(setup: Setup) -> str:
        (task,) = gpt_oss_triton(setup)
        (result,) = task.run()
        assert result.value is result.passed is None
        return result.note

    assert only(CPU) == "not measured: it needs a GPU"
    monkeypatch.setitem(sys.modules, "gpt_oss", None)  # type: ignore[arg-type]
    note = only(Setup("cuda", "20b"))
    assert note.startswith("not measured: cannot be imported: ModuleNotFoundError: ")
