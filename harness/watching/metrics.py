"""The state as Prometheus text, served over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.errors import ConfigurationError
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Watched
from harness.watching.signals import Signal

PATH = "/metrics"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "gpt_oss_verify"


class Metrics:
    """The text that is served; replace it after each round."""

    def __init__(self) -> None:
        """Serve nothing yet."""
        self.text = ""

    @contextmanager
    def served(self, port: int | None, host: str = "127.0.0.1") -> Iterator[int | None]:
        """Serve in a thread until the end of the block; yields the port.

        Args:
            port: The port; 0 for any, None to serve nothing.
            host: The address to listen on.

        Raises:
            ConfigurationError: The port cannot be used.
        """
        if port is None:
            yield None
            return
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.partition("?")[0] == PATH
                body = metrics.text.encode() if found else b"see /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", _TYPE if found else "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing."""

        try:
            server = ThreadingHTTPServer((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"--metrics-port {port} cannot be used on {host}: {error}."
            ) from None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()


def exposition(every: Iterable[tuple[Watched, Iterable[Signal]]]) -> str:
    """All providers in the text format of Prometheus (version 0.0.4)."""
    rows: dict[tuple[str, str, str], list[str]] = {}

    def add(name: str, kind: str, what: str, value: float, **labels: str) -> None:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        rows.setdefault((name, kind, what), []).append(f"{_PREFIX}_{name}{{{shown}}} {value:.12g}")

    for watched, signals in every:
        mine = {"provider": watched.provider}
        rounds = watched.rounds
        tries = _total(watched, TOOL_CALLS)
        add("rounds_total", "counter", "Rounds.", len(rounds), **mine)
        requests = sum(each.requests for each in rounds)
        add("requests_total", "counter", "Requests.", requests, **mine)
        add("cost_dollars_total", "counter", "Cost.", sum(x.cost for x in rounds), **mine)
        add("tool_calls_total", "counter", "Attempts at tool calls.", tries[1], **mine)
        add("tool_call_failures_total", "counter", "Failed attempts.", tries[0], **mine)
        if rounds:
            last = rounds[-1]
            failed = (last.counts or {}).get(AVAILABILITY, (0, 0))[0]
            add("up", "gauge", "Whether the last round reached it.", 1 - failed, **mine)
            what = "When the last round began."
            add("last_round_timestamp_seconds", "gauge", what, last.started, **mine)
        open_ = {each.signal for each in watched.open}
        for signal in signals:
            what = "Whether the signal is worse than before."
            labels = mine | {"signal": signal.name}
            add("incident_open", "gauge", what, int(signal.name in open_), **labels)
    return "".join(
        f"# HELP {_PREFIX}_{name} {what}\n# TYPE {_PREFIX}_{name} {kind}\n"
        + "".join(f"{line}\n" for line in lines)
        for (name, kind, what), lines in rows.items()
    )


def _total(watched: Watched, stream: str) -> tuple[int, int]:
    found = [(each.counts or {}).get(stream, (0, 0)) for each in watched.rounds]
    return sum(failures for failures, _ in found), sum(trials for _, trials in found)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
