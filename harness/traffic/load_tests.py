"""Load testers: which one wrote an object, and the request and the reply that it keeps. No I/O.

Two keep what was sent and received: aiperf 0.13.0 (`--export-level raw`), each event with its time,
and inference-perf 0.7.0, the bytes. The others keep texts, counts or times; `make meters` runs
them, and shows what their files have.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from harness.api.fields import nested, objects
from harness.records.rollouts import StreamPart
from harness.traffic.spans import REFUSED

CANCELLED = "request that the load tester cancelled"
_STATUS = re.compile(r"HTTP Error (\d{3})$")


class Tested(NamedTuple):
    """What a load tester measured of a request.

    `seconds` until its reply had arrived, whether each event has its time, and why the reply broke.
    """

    seconds: float
    timed: bool
    broke: str | None


class _Tester(NamedTuple):
    """A load tester whose file is not read: what it is, and members that only its objects have."""

    says: str
    members: frozenset[str]


_UNREAD = (
    _Tester(
        "aiperf's profile_export.jsonl, which has times without texts; run aiperf with "
        "`--export-level raw`, and import profile_export_raw.jsonl",
        frozenset({"metadata", "metrics"}),
    ),
    _Tester(
        "a report of guidellm, which has texts and times, without replies and failed ones' status",
        frozenset({"request_args", "input_metrics", "output_metrics"}),
    ),
    _Tester(
        "a file of llmeter, which has texts and times, without replies (no id, finish or calls)",
        frozenset({"response_text", "input_payload", "time_to_first_token"}),
    ),
    _Tester(
        "a file of genai-bench, which has counts and times, without requests and replies",
        frozenset({"aggregated_metrics", "individual_request_metrics"}),
    ),
    _Tester(
        "a result of `vllm bench serve`, which has texts and times, without requests and replies",
        frozenset({"ttfts", "itls", "generated_texts"}),
    ),
    _Tester(
        "a result of `vllm bench serve`, which has figures only",
        frozenset({"backend", "request_throughput", "mean_ttft_ms"}),
    ),
    _Tester(
        "output of k6, which has metrics without bodies", frozenset({"metric", "type", "data"})
    ),
    _Tester(
        "a summary of k6, which has metrics without bodies", frozenset({"metrics", "root_group"})
    ),
    _Tester(
        "statistics of locust, which have counts and times, without requests and replies",
        frozenset({"num_requests", "num_failures", "response_times"}),
    ),
    _Tester(
        "a summary of evalscope perf; its bodies are pickled in benchmark_data.db, and unpickling "
        "runs what a file says",
        frozenset({"Time taken for tests (s)", "Number of concurrency"}),
    ),
)


def load_test(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a load tester kept of one request as a pair, or as `refused`; else None."""
    if "start_perf_ns" in entry and "responses" in entry:
        return _of_aiperf(entry)
    if "start_time" in entry and "end_time" in entry and {"request", "response"} <= entry.keys():
        return _of_inference_perf(entry)
    unread = next((tester for tester in _UNREAD if tester.members <= entry.keys()), None)
    return unread and {REFUSED: unread.says}


def _of_aiperf(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a line of `profile_export_raw.jsonl`; times are in nanoseconds of two clocks."""
    if nested(entry, "metadata", "was_cancelled"):
        return {REFUSED: CANCELLED}
    began, received = entry["start_perf_ns"], objects(entry["responses"])
    response = {"status": entry.get("status") or 0, "headers": entry.get("response_headers")}
    error = entry.get("error")
    if error and not received:  # the body of a refusal is the message of the error
        response["body"] = nested(error, "message")
    elif any("packets" in each for each in received):
        response["parts"] = tuple(
            StreamPart((each["perf_ns"] - began) * 1e-9, _block(objects(each.get("packets"))))
            for each in received
        )
    elif received:
        response["body"] = received[0].get("text")
        kind = received[0].get("content_type")
        response["headers"] = response["headers"] or (kind and {"content-type": kind})
    return {
        "request": {"body": entry.get("payload")},  # its headers are those of aiperf, redacted
        "response": response if response["status"] else None,
        "client": False,
        "started_at": _date(nested(entry, "metadata", "request_start_ns")),
        "tested": Tested(
            max([(each["perf_ns"] - began) * 1e-9 for each in received], default=0.0),
            timed=True,
            broke=str(nested(error, "message") or error) if error and received else None,
        ),
    }


def _block(fields: Sequence[Mapping[str, Any]]) -> str:
    """Return an event as it was sent, without the white space around values that aiperf strips."""
    if len(fields) == 1 and fields[0]["name"] == "data":
        return f"data: {fields[0].get('value') or ''}"
    lines = []
    for field in fields:
        name = "" if field.get("name") == "comment" else str(field.get("name"))
        value = field.get("value")
        lines.append(name if value is None else f"{name}: {value}")
    return "\n".join(lines)


def _date(nanoseconds: object) -> str | None:
    if not isinstance(nanoseconds, int):
        return None
    return datetime.fromtimestamp(nanoseconds * 1e-9, UTC).isoformat()


def _of_inference_perf(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry of `per_request_lifecycle_metrics.json`; its times have no date.

    The status of a refusal is in the type of its error; after any other error, the body is what
    arrived of a stream.
    """
    error = entry.get("error")
    refused = _STATUS.match(str(nested(error, "error_type")))
    body = entry["response"]
    status = int(refused[1]) if refused else 200
    return {
        "request": {"body": entry["request"]},
        "response": {"status": status, "body": body} if body or refused else None,
        "client": False,
        "tested": Tested(
            entry["end_time"] - entry["start_time"],
            timed=False,
            broke=str(nested(error, "error_msg")) if error and body and not refused else None,
        ),
    }
