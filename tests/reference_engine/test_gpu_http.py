"""The HTTP load of `benchmarks.gpu`."""

import importlib.util
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_figures_of_streams():
    from benchmarks.gpu.load import Streams

    streams = Streams([10.0, 10.5], [[11.0, 12.0, 14.0], [12.5, 13.5]])
    assert (streams.count, streams.rate) == (5, 5 / 4)
    assert streams.first == 2.0
    assert [streams.between(share) for share in (0, 0.5, 1)] == [1.0, 1.0, 2.0]


@pytest.fixture
def answered():
    """The port of a server that sends these pieces to its only client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run(pieces: list[bytes]) -> int:
            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10_000)
                    for piece in pieces:
                        connection.sendall(piece)

            threading.Thread(target=serve, daemon=True).start()
            return listener.getsockname()[1]

        yield run


def test_tokens_are_counted_in_events_that_arrive_in_pieces(answered):
    from benchmarks.gpu.load import Requests, receive

    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    port = answered([head, b'6\r\ndata: "t', b'ok"\n\n\r\n7\r\ndata: "tok"\n\n\r\n', b"0\r\n\r\n"])
    found = receive(Requests(port, "/v1/completions", [{"prompt": [1]}], '"tok"'))
    assert found.count == 2
    assert found.first > 0


@pytest.mark.parametrize(
    "pieces", [[b"HTTP/1.1 500 Internal Server Error\r\n\r\n"], [b"HTTP/1.1 200 OK\r\n\r\ndata: "]]
)
def test_a_failed_stream_is_an_error(answered, pieces, capfd):
    from benchmarks.gpu.load import Requests, receive

    with pytest.raises(subprocess.CalledProcessError):
        receive(Requests(answered(pieces), "/v1/completions", [{}], '"tok"'))
    assert "The stream failed" in capfd.readouterr().err


def test_without_the_packages_of_the_server_nothing_is_measured():
    from benchmarks.gpu import report
    from benchmarks.gpu.measuring import Result

    program = """
import json, sys
from dataclasses import asdict
from benchmarks.gpu.http import http
from benchmarks.gpu.measuring import Setup

sys.modules["starlette"] = None
(task,) = http(Setup("cpu", "tiny"))
(result,) = task.run()
print(json.dumps(asdict(result)))
"""
    said = subprocess.check_output(
        [sys.executable, "-c", program], text=True, cwd=BENCHMARKS.parent
    )
    result = Result(**json.loads(said))
    assert (result.value, result.passed) == (None, None)
    assert result.note.startswith("not measured: not installed: starlette")
    page = report.markdown({"http-20b": report.Stage("HTTP", 1, [result])})
    assert "| HTTP |  |  |  | not measured: not installed: starlette" in page


def test_without_the_vocabulary_nothing_is_measured(monkeypatch):
    from benchmarks.gpu.http import missing
    from harmony import vocabulary

    def absent():
        raise vocabulary.VocabularyError("No file.\nTried two sources.")

    assert missing("reference_engine.server.serve") == ""
    monkeypatch.setattr(vocabulary, "token_bytes", absent)
    assert missing("reference_engine.server.serve") == "no vocabulary: No file."


@pytest.mark.slow
def test_the_stage_measures_both(monkeypatch, tmp_path):
    """A process of its own runs the kernels in Triton's interpreter, a second of CPU per token."""
    from benchmarks.gpu.__main__ import main
    from benchmarks.gpu.report import read

    monkeypatch.chdir(BENCHMARKS.parent)
    assert main(["http-20b", "--out", str(tmp_path), "--minutes", "9"]) == 0
    results = {result.name: result for result in read(tmp_path)["http-20b"].results}
    for name in ("engine without HTTP, 2 streams", "HTTP, 2 streams"):
        assert results[name].note == "6 tokens, prompts of 8"
        assert results[name].value > 0
    rates = [results[f"{name}, 2 streams"].value for name in ("HTTP", "engine without HTTP")]
    assert results["HTTP / engine without HTTP"].value == pytest.approx(rates[0] / rates[1])
