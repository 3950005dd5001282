"""Load tests as recordings: what aiperf and inference-perf write, and who is refused by name."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from replies import Reply, blocks, whole

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.traffic.conversations import Traffic, read_traffic

MODEL = "openai/gpt-oss-20b"
TEXT = "The tide turns at nine in the evening, and the harbour opens an hour later than that."
LIMIT = json.dumps({"error": {"message": "Rate limit reached", "type": "requests"}})
DIED = json.dumps({"error": {"message": "engine died", "type": "InternalServerError"}})
Sent = Mapping[str, Any]


def said(number: int) -> Reply:
    return Reply(text=TEXT, mark=str(number), model=MODEL, created=1_796_049_425)


def asked(number: int, *, chat: bool = True, stream: bool = True) -> dict[str, Any]:
    text = f"When does tide {number} turn?"
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    options = {"stream_options": {"include_usage": True}} if chat else {}
    body = body if chat else {"input": text}
    return {"model": MODEL, **body, **({"stream": True, **options} if stream else {})}


def packets(block: str) -> list[dict[str, str]]:
    pairs = (line.split(":", 1) for line in block.split("\n"))
    return [{"name": name or "comment", "value": value.strip()} for name, value in pairs]


def aiperf(
    number: int, events: Sequence[str], *, chat: bool = True, at: Callable[[int], float]
) -> dict[str, Any]:
    """A line of aiperf 0.13.0's profile_export_raw.jsonl; `at` is when each event arrived."""
    metadata = {"session_num": number, "request_start_ns": 1_796_049_425_516_801_990 + number}
    return {
        "metadata": {**metadata, "was_cancelled": False},
        "start_perf_ns": 1_149_869_174_547,
        "request_headers": {"User-Agent": "aiperf/0.13.0", "X-Session-Affinity": "<redacted>"},
        "status": 200,
        "responses": [
            {"perf_ns": 1_149_869_174_547 + int(at(place) * 1e9), "packets": packets(event)}
            for place, event in enumerate(events)
        ],
        "payload": asked(number, chat=chat),
    }


def steady(place: int) -> float:
    return 0.3 + place * 0.05


def healthy(number: int, *, chat: bool = True) -> dict[str, Any]:
    return aiperf(number, blocks(said(number), chat=chat), chat=chat, at=steady)


def refused(number: int) -> dict[str, Any]:
    error = {"code": 429, "type": "Too Many Requests", "message": LIMIT}
    return {**aiperf(number, [], at=steady), "status": 429, "error": error}


def cut(number: int, last: str | None = None, error: object = None) -> dict[str, Any]:
    events = [*blocks(said(number), chat=True)[:4], *([last] if last else [])]
    return {**aiperf(number, events, at=steady), **({"error": error} if error else {})}


def inference_perf(number: int, response: str | None, error: object = None) -> dict[str, Any]:
    """An entry of inference-perf 0.7.0's per_request_lifecycle_metrics.json."""
    entry = {"start_time": number, "end_time": number + 1.5, "request": json.dumps(asked(number))}
    return {**entry, "response": response, "info": None, "error": error}


def stream(number: int) -> str:
    return "".join(f"{block}\n\n" for block in blocks(said(number), chat=True))


def lines(folder: Path, entries: Sequence[object]) -> Path:
    path = folder / "profile_export_raw.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    return path


def report(folder: Path, entries: Sequence[object]) -> Path:
    path = folder / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def read(path: Path) -> Traffic:
    return read_traffic([path])


def judged(path: Path, code: int, capsys: pytest.CaptureFixture[str]) -> Any:
    out = str(path.parent / "runs")
    assert run(["import", str(path), "-p", "mine", "--verdict", "--json", "--out", out]) == code
    return json.loads(capsys.readouterr().out)


LIMITED = {"error_type": "HTTP Error 429", "error_msg": LIMIT}
BROKEN = {"type": "ClientPayloadError", "message": "Response payload is not completed"}
PASSING = {
    "aiperf": lambda folder: lines(folder, [*map(healthy, range(40)), refused(40), refused(41)]),
    "inference-perf": lambda folder: report(
        folder,
        [
            *(inference_perf(number, stream(number)) for number in range(40)),
            *(inference_perf(number, LIMIT, LIMITED) for number in (40, 41)),
        ],
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_forty_healthy_replies_with_two_rate_limits_pass(name, tmp_path, capsys):
    path = PASSING[name](tmp_path)
    statuses = [
        rollout.exchanges[0].response and rollout.exchanges[0].response.status
        for rollout in read(path).rollouts
    ]
    assert (statuses.count(200), statuses.count(429)) == (40, 2)
    verdict = judged(path, 0, capsys)
    assert [each["id"] for each in verdict["checks"] if each["status"] == "failed"] == []


def test_each_event_of_aiperf_has_its_time_and_first_tokens_are_measured(tmp_path, capsys):
    path = lines(tmp_path, [*map(healthy, range(30)), healthy(30, chat=False)])
    *_, last = read(path).rollouts
    assert last.condition.api == "responses"
    assert last.recording.lost == ("headers",)
    response = last.exchanges[0].response
    assert [part.raw for part in response.parts] == blocks(said(30), chat=False)
    assert [part.at for part in response.parts[:2]] == pytest.approx([0.3, 0.35])
    assert last.exchanges[0].elapsed == pytest.approx(response.parts[-1].at)
    assert last.exchanges[0].started_at.startswith("2026-11-30T")
    run(["import", str(path), "-p", "mine", "--out", str(tmp_path / "runs")])
    (folder,) = (tmp_path / "runs").iterdir()
    latency = json.loads((folder / "analysis.json").read_text())["recorded"]
    assert latency["first_token"]["p50"] == pytest.approx(0.35)
    assert "first token (CoT or answer) 0.35 / 0.35 s" in " ".join(capsys.readouterr().out.split())


def test_streams_that_arrive_at_once_are_seen_in_files_with_times_only(tmp_path, capsys):
    def late(place: int) -> float:
        return 6.0 + place * 1e-6

    burst = [aiperf(n, blocks(said(n), chat=True), at=late) for n in range(30)]
    verdict = judged(lines(tmp_path, burst), 0, capsys)
    statuses = {each["id"]: each["status"] for each in verdict["checks"]}
    assert statuses["stream.burst"] == "warned"
    verdict = judged(PASSING["aiperf"](tmp_path), 0, capsys)
    assert {each["id"]: each["status"] for each in verdict["checks"]}["stream.burst"] == "passed"
    verdict = judged(PASSING["inference-perf"](tmp_path), 0, capsys)
    assert "stream.burst" not in {
        each["id"] for each in verdict["checks"] if each["status"] == "passed"
    }


@pytest.mark.parametrize(
    ("died", "found"),
    [
        (cut(0, error=BROKEN), BROKEN["message"]),
        (cut(0), "the reply broke off"),
        (inference_perf(0, stream(0)[:900], {"error_type": "X", "error_msg": "Y"}), "Y"),
    ],
)
def test_a_stream_that_died_is_no_reply_whatever_the_tester_calls_it(died, found, tmp_path, capsys):
    path = report(tmp_path, [died, *(healthy(number) for number in range(1, 31))])
    (exchange,) = read(path).rollouts[0].exchanges
    assert not exchange.response.complete
    assert bool(exchange.failure) == bool(died.get("error"))
    out = str(tmp_path / "runs")
    assert run(["import", str(path), "-p", "mine", "--verdict", "--out", out]) == 0
    counted = f"1 of 31 recorded requests got no reply (1 × {found})"
    assert counted in " ".join(capsys.readouterr().out.split())


def test_an_error_in_mid_stream_is_found_although_aiperf_counts_a_success(tmp_path, capsys):
    died = [cut(n, last=f"data: {DIED}") for n in range(10)]
    path = lines(tmp_path, [*died, *(healthy(number) for number in range(10, 40))])
    verdict = judged(path, 1, capsys)
    statuses = {each["id"]: each["status"] for each in verdict["checks"]}
    assert statuses["stream.error_event"] == "failed"


def test_whole_replies_have_no_events(tmp_path):
    body = json.dumps(whole(said(0), chat=True))
    received = [{"perf_ns": 1_150_869_174_547, "text": body, "content_type": "application/json"}]
    entry = {**healthy(0), "responses": received, "payload": asked(0, stream=False)}
    (rollout,) = read(lines(tmp_path, [entry])).rollouts
    assert rollout.condition.mode == "non-streaming"
    assert rollout.exchanges[0].response.body == body
    assert rollout.exchanges[0].elapsed == 1.0
    assert rollout.recording.lost == ()


def test_what_the_tester_cancelled_is_left_out(tmp_path):
    gone = healthy(1)
    gone["metadata"]["was_cancelled"] = True
    found = read(lines(tmp_path, [healthy(0), gone]))
    assert found.info.left_out == {"request that the load tester cancelled": 1}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"metadata": {}, "metrics": {}}, "--export-level raw"),
        ({"benchmarks": [{"requests": {"successful": [GUIDE := {
            "request_args": "{}", "input_metrics": {}, "output_metrics": {}}]}}]}, "guidellm"),
        ({"response_text": "4", "input_payload": {}, "time_to_first_token": 1}, "llmeter"),
        ({"aggregated_metrics": {}, "individual_request_metrics": []}, "genai-bench"),
        ({"ttfts": [], "itls": [], "generated_texts": []}, "vllm bench serve"),
        ({"backend": "openai-chat", "request_throughput": 1, "mean_ttft_ms": 1}, "vllm bench"),
        ({"metric": "http_reqs", "type": "Point", "data": {}}, "k6"),
        ({"metrics": {}, "root_group": {}}, "k6"),
        ([{"num_requests": 1, "num_failures": 0, "response_times": {}}], "locust"),
        ({"Time taken for tests (s)": 1.0, "Number of concurrency": 1}, "evalscope perf"),
    ],
)  # fmt: skip
def test_files_without_bodies_are_refused_by_the_name_of_their_writer(content, name, tmp_path):
    with pytest.raises(ConfigurationError, match=name):
        read(report(tmp_path, content))
