"""Spans of a tracer, written to a file as opentelemetry-sdk prints them: one JSON object a line."""

from importlib import import_module
from typing import Any


def to_file(path: str) -> Any:  # noqa: ANN401 (this environment lacks its type)
    """Return a tracer provider that appends each span to this file when it ends."""
    trace = import_module("opentelemetry.sdk.trace")
    export = import_module("opentelemetry.sdk.trace.export")
    provider = trace.TracerProvider()
    file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open as long as the process runs)
    printed = export.ConsoleSpanExporter(
        out=file, formatter=lambda span: f"{span.to_json(indent=None)}\n"
    )
    provider.add_span_processor(export.SimpleSpanProcessor(printed))
    return provider
