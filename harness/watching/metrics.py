"""The state as Prometheus metrics, served over HTTP."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from harness.errors import ConfigurationError
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Round, Watched
from harness.watching.signals import Signal

_PREFIX = "gpt_oss_verify"


class Metrics:
    """Counters of this process, and gauges of the latest round of each provider."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._rounds = self._counter("rounds", "Rounds.")
        self._requests = self._counter("requests", "Requests.")
        self._cost = self._counter("cost_dollars", "Cost.")
        self._calls = self._counter("tool_calls", "Attempts at tool calls.")
        self._failures = self._counter("tool_call_failures", "Failed attempts at tool calls.")
        self._up = self._gauge("up", "Whether the last round reached the provider.")
        self._last = self._gauge("last_round_timestamp_seconds", "When the last round began.")
        self._open = self._gauge(
            "incident_open", "Whether the signal is worse than before.", "signal"
        )

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, ["provider"], namespace=_PREFIX, registry=self._registry)

    def _gauge(self, name: str, what: str, *more: str) -> Gauge:
        labels = ["provider", *more]
        return Gauge(name, what, labels, namespace=_PREFIX, registry=self._registry)

    def count(self, one: Round) -> None:
        """Count a round that has just been judged."""
        failures, calls = one.of(TOOL_CALLS)
        values = (1, one.requests, one.cost, calls, failures)
        counters = (self._rounds, self._requests, self._cost, self._calls, self._failures)
        for counter, value in zip(counters, values, strict=True):
            counter.labels(one.provider).inc(value)

    def show(self, watched: Watched, signals: Iterable[Signal]) -> None:
        """Set the gauges of a provider."""
        if watched.rounds:
            last = watched.rounds[-1]
            self._up.labels(watched.provider).set(1 - last.of(AVAILABILITY)[0])
            self._last.labels(watched.provider).set(last.started)
        open_ = {each.signal for each in watched.open}
        for signal in signals:
            self._open.labels(watched.provider, signal.name).set(signal.name in open_)

    @contextmanager
    def served(self, port: int | None, host: str = "127.0.0.1") -> Iterator[int | None]:
        """Serve until the end of the block (0: any port, None: none). Raises ConfigurationError."""
        if port is None:
            yield None
            return
        try:
            server, thread = start_http_server(port, host, self._registry)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"--metrics-port {port} cannot be used on {host}: "
                f"{getattr(error, 'strerror', None) or error}."
            ) from None
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
