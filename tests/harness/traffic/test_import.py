"""Recordings become conversations: what is joined, left out, redacted and rejected."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from healthy import SUITE, correct, response, rollout
from judged_replies import CALL
from judged_replies import LONG as ANSWER
from recorded_runs import write_finished_run
from recordings import WRITERS, har, json_lines, text_of
from replies import Reply, chat_whole, responses_whole

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.run.run_log import ROLLOUTS_FILE, read_run_info
from harness.traffic.conversations import Traffic, read_traffic

MODEL = "openai/gpt-oss-20b"
ASK = {"role": "user", "content": "What is the weather in Lisbon?"}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
CASE = SUITE.cases[0]


def pair(body: dict[str, Any], reply: object, **members: Any) -> dict[str, Any]:
    request = {"url": "https://api.test/v1/chat/completions", "body": {"model": MODEL, **body}}
    return {"request": request, "response": {"status": 200, "body": reply}, **members}


def written(folder: Path, *pairs: object) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    return path


def traffic(folder: Path, *pairs: object, **options: Any) -> Traffic:
    return read_traffic([written(folder, *pairs)], **options)


def judged(capsys: pytest.CaptureFixture[str], code: int, path: Path, *options: str) -> Any:
    """The printed verdict of an imported recording, which exits with this code."""
    assert run(["import", str(path), "--provider", "mine", "--json", *options]) == code
    return json.loads(capsys.readouterr().out)


def statuses(verdict: Any) -> dict[str, str]:
    return {each["id"]: each["status"] for each in verdict["checks"]}


def lengths(found: Traffic) -> list[int]:
    return sorted(len(each.exchanges) for each in found.rollouts)


def failures(found: Traffic) -> list[str | None]:
    """Why each request has no reply."""
    ends = [exchange.failure for each in found.rollouts for exchange in each.exchanges]
    return [end and end.message for end in ends]


def chat(say: Reply, number: int = 1) -> dict[str, Any]:
    return {**chat_whole(say), "id": f"chatcmpl-{number}", "model": MODEL}


@pytest.mark.parametrize(
    ("change", "shortened"),
    [
        ({}, False),
        ({"id": "chatcmpl-..."}, True),
        ({"id": None, "object": None, "created": None, "model": None}, True),
        ({"...": "..."}, True),
        ({"id": ""}, False),
    ],
)
def test_a_recording_whose_author_shortened_it_has_lost_fields(
    tmp_path: Path, change: dict[str, Any], shortened: bool
) -> None:
    body = {name: value for name, value in {**chat(ANSWER), **change}.items() if value is not None}
    for recorded in (body, json.dumps(body)):
        (rollout,) = traffic(tmp_path, pair({"messages": [ASK]}, recorded)).rollouts
        assert ("fields" in rollout.recording.lost) == shortened


def test_chat_requests_that_repeat_a_conversation_continue_it_in_any_order(tmp_path: Path):
    call = chat(CALL)["choices"][0]["message"]["tool_calls"][0]
    spaced = {**call["function"], "arguments": json.dumps({"location": "Lisbon"}, indent=1)}
    sent = {"role": "assistant", "content": None, "tool_calls": [{**call, "function": spaced}]}
    answer = {"role": "assistant", "content": ANSWER.text}
    first = pair({"messages": [ASK]}, chat(CALL, 1))
    second = pair({"messages": [ASK, sent, RESULT]}, chat(ANSWER, 2))
    third = pair({"messages": [ASK, sent, RESULT, answer, ASK]}, chat(ANSWER, 3))
    assert lengths(traffic(tmp_path, third, first, second)) == [3]
    other = pair({"messages": [ASK, sent, RESULT]}, chat(Reply(text="Elsewhere."), 4))
    assert lengths(traffic(tmp_path, first, second, other)) == [1, 2]


def test_a_request_with_a_different_reply_starts_a_new_conversation(tmp_path: Path):
    said = {"role": "assistant", "content": "Something else."}
    first = pair({"messages": [ASK]}, chat(ANSWER))
    second = pair({"messages": [ASK, said, ASK]}, chat(ANSWER, 2))
    assert lengths(traffic(tmp_path, first, second)) == [1, 1]


def test_responses_continue_by_previous_response_id_or_by_items(tmp_path: Path):
    def asked(number: int, say: Reply = ANSWER, **body: Any) -> dict[str, Any]:
        reply = {**responses_whole(say), "id": f"resp_{number}", "model": MODEL}
        made = pair({"input": "Hello?", **body}, reply)
        made["request"]["url"] = "https://api.test/v1/responses"
        return made

    assert lengths(traffic(tmp_path, asked(1), asked(2, previous_response_id="resp_1"))) == [2]
    items = responses_whole(CALL)["output"]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    history = [{"role": "user", "content": "Hello?"}, *items, result]
    assert lengths(traffic(tmp_path, asked(1, CALL), asked(2, input=history))) == [2]


def test_equal_requests_are_attempts_at_one_sample(tmp_path: Path):
    first = pair({"messages": [ASK], "temperature": 1}, chat(ANSWER, 1))
    again = pair({"messages": [ASK], "temperature": 1}, chat(ANSWER, 2))
    found = traffic(tmp_path, first, again, pair({"messages": [ASK]}, chat(ANSWER, 3)), first)
    assert [each.id for each in found.rollouts] == [
        "traffic/pairs:1/1",
        "traffic/pairs:1/2",
        "traffic/pairs:3/1",
    ]
    assert found.info.left_out == {"recorded twice": 1}
    assert [each.recording and each.recording.source for each in found.rollouts] == [
        f"pairs.jsonl, request {number}" for number in (1, 2, 3)
    ]


def test_the_order_of_properties_is_part_of_a_request_and_that_of_options_is_not(tmp_path: Path):
    """The prompt has the properties in the order in which the request has them."""
    ask = {"messages": [ASK], "temperature": 1}
    orders = (("city", "unit"), ("unit", "city"))
    requests = [ask, dict(reversed(ask.items()))] + [
        ask | {"response_format": {"properties": {key: {"type": "string"} for key in order}}}
        for order in orders
    ]
    found = traffic(tmp_path, *(pair(each, chat(ANSWER, n)) for n, each in enumerate(requests)))
    assert [each.sample for each in found.rollouts] == ["pairs:1", "pairs:1", "pairs:3", "pairs:4"]


def test_other_models_and_apis_are_left_out_and_counted(tmp_path: Path):
    kept = pair({"messages": [ASK]}, chat(ANSWER))
    embeddings = {
        "request": {"url": "https://api.test/v1/embeddings?key=1", "body": {"model": MODEL}},
        "response": {"body": {}},
    }
    other = pair({"messages": [ASK], "model": "gpt-4o"}, {**chat_whole(ANSWER), "model": "gpt-4o"})
    silent = pair({"messages": [ASK]}, None)
    cut = pair({"messages": [ASK], "stream": True}, {"b64": ""})
    summary = {"request": {"model": MODEL, "messages": [ASK]}, "response": {"content": "Sunny."}}
    pairs = (kept, embeddings, embeddings, other, silent, cut, summary)
    found = traffic(tmp_path, *pairs)
    assert found.info.left_out == {"POST /v1/embeddings": 2, "model gpt-4o": 1}
    assert failures(found) == [
        None, "reply without a body", "reply without a body",
        "response that is not a reply of the API",
    ]  # fmt: skip
    assert traffic(tmp_path, *pairs, models=("gpt-4o",)).info.requests == 5
    with pytest.raises(ConfigurationError, match=r"1 × model gpt-4o.*pass --model gpt-4o"):
        traffic(tmp_path, other)


def test_a_model_of_bedrock_is_in_the_path(tmp_path: Path):
    def invoked(model: str) -> dict[str, Any]:
        url = f"https://bedrock-runtime.us-west-2.amazonaws.com/model/{model}/invoke"
        request = {"url": url, "body": {"messages": [ASK]}}
        reply = {**chat_whole(ANSWER), "model": model}
        return {"request": request, "response": {"status": 200, "body": reply}}

    found = traffic(tmp_path, invoked("openai.gpt-oss-120b-1%3A0"), invoked("other.model-1%3A0"))
    assert found.info.left_out == {"model other.model-1:0": 1}
    (only,) = found.rollouts
    assert only.condition.api == "chat"
    assert only.exchanges[0].request.body == {
        "messages": [ASK],
        "model": "openai.gpt-oss-120b-1:0",
    }


def test_requests_to_two_hosts_are_two_samples_and_a_verdict_needs_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    here = pair({"messages": [ASK]}, chat(ANSWER, 1))
    there = pair({"messages": [ASK]}, chat(ANSWER, 2))
    there["request"]["url"] = "https://other.test/v1/chat/completions"
    both = traffic(tmp_path, here, there)
    assert [each.sample for each in both.rollouts] == ["pairs:1", "pairs:2"]
    chosen = traffic(tmp_path, here, there, host="other.test")
    assert chosen.hosts == {"other.test": 1}
    assert chosen.info.left_out == {"host api.test": 1}
    assert run(["import", str(written(tmp_path, here, there)), "-p", "mine", "--verdict"]) == 2
    assert "choose one with --host" in capsys.readouterr().err


def test_keys_are_redacted(tmp_path: Path):
    secret = "hidden-0123456789abcdef"
    shaped = f"sk-{'a1b2' * 8}"
    body = {"messages": [{"role": "user", "content": f"My keys are {secret} and {shaped}."}]}
    sent = pair(body, {**chat(ANSWER), "echo": secret})
    sent["request"]["headers"] = {"x-api-key": secret, "Cookie": "session=1"}
    sent["request"]["url"] = f"https://me:{secret}@api.test/v1/chat/completions?key={secret}"
    sent["response"]["headers"] = {"set-cookie": "session=1"}
    text = "".join(each.model_dump_json() for each in traffic(tmp_path, sent).rollouts)
    assert secret not in text
    assert shaped not in text
    assert "session=1" not in text


@pytest.mark.parametrize("name", ["chunks", "lines", "sse"])
def test_a_stream_stored_next_to_the_body_is_read(tmp_path: Path, name: str):
    sent = pair({"messages": [ASK]}, None)
    sent["response"][name] = ["data: {}\n", "\n", "data: [DONE]\n", "\n"]
    (found,) = traffic(tmp_path, sent).rollouts
    replies = [each.response for each in found.exchanges if each.response]
    assert [part.raw for part in replies[0].parts] == ["data: {}", "data: [DONE]"]


@pytest.mark.parametrize(
    ("reply", "lost", "parts"),
    [
        ("data: {}\n\ndata: [DONE]\n\n", ("headers",), 2),
        ("data: {}\r\n\r\n: ping\r\n\r\ndata: [DONE]\r\n\r\n", ("headers",), 3),
        ("data: {}\ndata: [DONE]\n", ("framing", "headers"), 2),
        (["event: a", "data: {}", "data: [DONE]"], ("framing", "headers"), 2),
        ([{"event": "a", "data": "{}"}, {"data": "[DONE]"}], ("framing", "headers"), 2),
        ([{"object": "chat.completion.chunk"}], ("framing", "headers"), 1),
        ({"kind": "sse", "chunks": ["data: {}", "data: [DONE]"]}, ("framing", "headers"), 2),
        (
            [{"__type__": "openai.Chunk", "__data__": {"id": "1"}}],
            ("fields", "framing", "headers"),
            1,
        ),
        (
            [{"__type__": "other.Chunk", "__data__": {"id": "1"}}],
            ("extras", "fields", "framing", "headers"),
            1,
        ),
    ],
)
def test_streams_are_read_in_every_format(
    tmp_path: Path, reply: object, lost: Sequence[str], parts: int
):
    sent = pair({"messages": [ASK]}, reply, started_at="2026-01-02T03:04:05Z")
    (found,) = traffic(tmp_path, sent).rollouts
    assert found.recording.lost == lost
    assert found.condition.mode == "streaming"
    assert [len(each.response.parts) for each in found.exchanges if each.response] == [parts]


SENT = {"model": MODEL, "messages": [ASK]}


@pytest.mark.parametrize(
    "recorded",
    [
        {"request": SENT, "response": chat(ANSWER)},
        {
            "req": {"url": "/v1/chat/completions", "body": SENT},
            "res": {"statusCode": 200, "body": chat(ANSWER)},
        },
        {"request_body": SENT, "response_body": chat(ANSWER), "status_code": 200},
        {"requestBody": json.dumps(SENT), "responseBody": json.dumps(chat(ANSWER))},
        {
            **SENT,
            "response": chat(ANSWER),
            "model_parameters": {"stream": True, "temperature": 0.5},
        },
        {"messages": [ASK], "response": chat(ANSWER), "kwargs": {"tools": None, "top_p": 1}},
        {"responses_create_params": {"input": [ASK]},
         "response": {**responses_whole(ANSWER), "model": MODEL}},
    ],
    ids=lambda recorded: " ".join(recorded),
)  # fmt: skip
def test_a_line_may_name_its_request_and_response_in_several_ways(tmp_path: Path, recorded: Any):
    found = traffic(tmp_path, recorded)
    (only,) = found.rollouts
    assert only.end == "answered"
    assert only.condition.model == MODEL
    assert only.condition.mode == "non-streaming"
    assert found.info.left_out == {}


def test_objects_of_a_client_lack_what_its_sdk_does_not_keep(tmp_path: Path):
    line = {**SENT, "response": chat(ANSWER), "kwargs": {"stream": True, "top_p": 0.5}}
    (only,) = traffic(tmp_path, line).rollouts
    assert only.exchanges[0].request.body == {**SENT, "top_p": 0.5}
    assert {"extras", "fields", "framing"} <= set(only.recording.lost)


def test_results_of_tools_in_an_output_are_the_summary_of_a_client(tmp_path: Path):
    reply = {**responses_whole(CALL), "model": MODEL}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    summary = {**reply, "output": [*reply["output"], result, *responses_whole(ANSWER)["output"]]}
    params = {"responses_create_params": {"input": "Weather?"}}
    lines = ({**params, "response": reply}, {**params, "response": summary})
    reason = "summary of a client: its output has results of tools"
    assert traffic(tmp_path, *lines).info.left_out == {reason: 1}


def test_the_output_of_a_batch_is_read_with_its_input(tmp_path: Path):
    def line(name: str, **members: object) -> str:
        return json.dumps({"custom_id": name, **members}) + "\n"

    def answer(number: int) -> dict[str, object]:
        return {"status_code": 200, "request_id": "1", "body": chat(ANSWER, number)}

    sent, received = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    asked = {"method": "POST", "url": "/v1/chat/completions", "body": SENT}
    names = ("a", "b", "b", "c")
    sent.write_text("".join(line(each, **asked, n=n) for n, each in enumerate(names)))
    received.write_text("".join(line(each, response=answer(1), error=None) for each in "abd"))
    found = read_traffic([received, sent])
    assert found.info.requests == 1
    assert found.info.left_out == {
        "reply of a batch to several requests of these files": 1,
        "reply of a batch to no request of these files": 1,
        "request of a batch without a reply in these files": 1,
    }
    with pytest.raises(ConfigurationError, match="3 × reply of a batch to no request"):
        read_traffic([received])


def test_what_is_left_out_is_counted(tmp_path: Path):
    found = traffic(tmp_path, pair({"messages": [ASK]}, chat(ANSWER)), {"event": "start"}, 3)
    assert found.info.left_out == {"entry without a request and its response": 2}
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    assert read_traffic([tmp_path]).info.left_out["file without recorded requests"] == 1


def test_ruby_and_old_python_tags_are_read(tmp_path: Path):
    body = json.dumps({"model": MODEL, "messages": [ASK]})
    text = json.dumps(chat(ANSWER))
    (tmp_path / "tags.yml").write_text(
        f"""
http_interactions:
- request:
    method: !ruby/symbol post
    uri: !!python/unicode https://api.test/v1/chat/completions
    body: {{encoding: UTF-8, string: {json.dumps(body)}}}
  response:
    status: {{code: 200}}
    body: {{encoding: UTF-8, string: !!python/str {json.dumps(text)}}}
  recorded_at: 2026-08-13 10:11:30 Z
""",
        encoding="utf-8",
    )
    (found,) = read_traffic([tmp_path]).rollouts
    assert found.end == "answered"
    assert found.exchanges[0].started_at.startswith("2026-08-13T10:11:30")


SESSION = f"""
    $ curl https://api.test/v1/chat/completions -d '{json.dumps(SENT)}'
    {json.dumps(chat(ANSWER))}
"""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.har", '{"log": {"entries": [', "a.har is cut off: its JSON ends in line 1"),
        ("a.png", "\x89PNG\r\n\x1a\n", "a.png is not a recording"),
        ("a.md", SESSION, "a.md is not a recording"),
        ("a.log", json.dumps(SENT) + "\n{}\nPOST /v1", r"not a recording: .*\(line 3: "),
        ("flows", "1234:9:websocket;0:~8:response;", "mitmdump -nr flows --set hardump=flows.har"),
        ("a.har", '{"log": {"entries": []}}', "has no recorded requests"),
        ("a.yaml", "a: [1", r"a.yaml, line \d+ is not YAML"),
        ("a.yaml", "a: 1", "has no recorded requests"),
        ("a.yaml", "a: !!bool x", "a.yaml has an invalid value"),
        ("a.txt", '{"model": ' + "9" * 5000, "a.txt is not a recording"),
        ("a.jsonl", '{"request": 1, "response": 2}\n{"a"\n', r"a recording: .*\(line 2: "),
        ("a.json", "[1, 2]", "has no recorded requests"),
        ("a.json", '{"request": 1, "response": 2}', "have no request to gpt-oss"),
    ],
)  # fmt: skip
def test_bad_files_are_rejected(tmp_path: Path, name: str, content: str, message: str):
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=message):
        read_traffic([path])


BODY = f"{{model: {MODEL}, messages: [{{role: user, content: Hi}}], extra: %s}}"
REPLY = f"{{object: chat.completion, model: {MODEL}, choices: [], extra: %s}}"
FITTING = "1"


@pytest.mark.parametrize(
    ("url", "sent", "received", "reason"),
    [
        ("http://[x/v1/chat/completions", FITTING, FITTING, "address that is not a URL"),
        ("http://[x@y]/v1/chat/completions", FITTING, FITTING, "address that is not a URL"),
        ("", "9" * 30, FITTING, "values that JSON does not have"),
        ("", "&a [*a]", FITTING, "values that JSON does not have"),
        ("", "{!!binary /w==: 1}", FITTING, "values that JSON does not have"),
    ],
)
def test_a_pair_that_cannot_be_recorded_is_left_out(
    tmp_path: Path, url: str, sent: str, received: str, reason: str
):
    path = tmp_path / "a.yaml"
    path.write_text(
        f"request:\n  url: '{url}'\n  body: {BODY % sent}\nresponse:\n  body: {REPLY % received}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError, match=f"left out: 1 × .*{reason}.*mitmdump --mode"):
        read_traffic([path])


def test_odd_keys_times_and_ids_are_read(tmp_path: Path):
    path = tmp_path / "a.yaml"
    odd = "{1: 2}"
    path.write_text(f"request: {{body: {BODY % odd}}}\nresponse: {{body: {REPLY % odd}}}\n")
    assert read_traffic([path]).info.requests == 1
    time = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    assert traffic(tmp_path, pair({"messages": [ASK]}, chat(ANSWER), time=time)).info.requests == 1
    url = "https://api.test/v1/responses"
    body = {"model": MODEL, "input": "Hi", "previous_response_id": {"a": 1}}
    response = {"status": 200, "body": {**responses_whole(ANSWER), "id": ["a"], "model": MODEL}}
    found = traffic(tmp_path, {"request": {"url": url, "body": body}, "response": response})
    assert lengths(found) == [1]
    odd_role = pair({"messages": [{"role": ["user"], "content": "Hi"}]}, chat(ANSWER))
    odd_result = {**RESULT, "type": "function_call_output", "call_id": {}}
    odd_call = pair({"messages": [ASK, odd_result]}, chat(ANSWER, 2))
    assert lengths(traffic(tmp_path, odd_role, odd_call)) == [1, 1]


def test_missing_and_useless_paths_are_rejected(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"none\.har cannot be read"):
        read_traffic([tmp_path / "none.har"])
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"settings\.json has no recorded requests"):
        read_traffic([tmp_path])


def test_pairs_are_found_at_any_depth(tmp_path: Path):
    call = {"request": {"model": MODEL, "messages": [ASK]}, "response": chat(ANSWER)}
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"samples": [{"events": [{"event": "model", "call": call}]}]}))
    assert read_traffic([path]).info.requests == 1


def test_a_folder_is_read_as_its_recordings(tmp_path: Path):
    exchanges = rollout([ANSWER]).exchanges
    for writer in WRITERS:
        writer(tmp_path, exchanges)
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    found = read_traffic([tmp_path])
    assert len(found.info.files) == len(WRITERS)
    assert found.info.requests + found.info.left_out["recorded twice"] == len(WRITERS)


def test_a_run_of_this_tool_is_judged_as_recheck_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Whatever file of it is given; without its other files, it is not taken for traffic."""
    monkeypatch.chdir(tmp_path)
    run_folder = tmp_path / "runs" / "mine"
    write_finished_run(run_folder, [rollout(correct(CASE), sample=CASE.id)], apis=("chat",))
    code = run(["recheck", str(run_folder), "--json"])
    expected = json.loads(capsys.readouterr().out)
    for path in (run_folder, run_folder / ROLLOUTS_FILE, run_folder / "report.html"):
        assert judged(capsys, code, path, "--verdict") == expected
    lone = tmp_path / "copy.jsonl"
    lone.write_bytes((run_folder / ROLLOUTS_FILE).read_bytes())
    har(tmp_path / "runs", rollout([ANSWER]).exchanges)
    assert read_traffic([tmp_path / "runs"]).info.requests == 1
    for paths in (lone, tmp_path), (run_folder, lone):
        assert run(["import", *map(str, paths), "--provider", "mine"]) == 2
        assert "gpt-oss-verify recheck" in capsys.readouterr().err


def test_a_rejected_request_does_not_fail_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    refused = pair({"messages": []}, {"error": {"message": "no messages"}})
    refused["response"]["status"] = 400
    checks = statuses(judged(capsys, 4, written(tmp_path, refused), "--verdict"))
    assert checks["request.refused"] == "not_verifiable"
    assert "failed" not in checks.values()


@pytest.mark.parametrize(("status", "found"), [(200, "failed"), (None, "not_verifiable")])
def test_an_error_with_status_200_is_no_reply(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int | None,
    found: str,
):
    """Without a status, it may be an error of the client."""
    monkeypatch.chdir(tmp_path)
    request = pair({"messages": [ASK]}, "")["request"]
    failed = {"request": request, "response": {"error": {"message": "No start token."}}}
    failed |= {"status": status} if status else {}
    checks = statuses(judged(capsys, 1 if status else 4, written(tmp_path, failed), "--verdict"))
    assert checks["reply.unreadable"] == found


@pytest.mark.parametrize(("status", "others"), [(429, 0), (502, 0), (503, 2)])
def test_requests_without_a_reply_are_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    others: int,
):
    monkeypatch.chdir(tmp_path)
    limited = pair({"messages": [ASK]}, {"error": {"message": "Come back later."}})
    limited["response"]["status"] = status
    served = [pair({"messages": [ASK], "seed": n}, chat(ANSWER, n)) for n in range(others)]
    assert run(["import", str(written(tmp_path, limited, *served)), "-p", "mine"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 × the status was {status}" in said
    assert ("1 of 3 recorded requests got no reply" in said) == bool(others)
    assert ("No recorded request got a reply" in said) == (not others)


def test_words_and_masked_ids_shared_by_requests_are_not_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    other = {"role": "user", "content": "Is windows11 new?"}
    answer = Reply(text="Use windows11, which has a newer start menu than its predecessor has.")
    pairs = [
        pair({"messages": [turn]}, {**chat(answer), "id": "<ID>"}, timestamp=f"{at}T03:04:05Z")
        for at, turn in (("2026-01-02", ASK), ("2026-01-03", other))
    ]
    checks = statuses(judged(capsys, 0, written(tmp_path, *pairs)))
    for check in ("reply.foreign", "reply.id.shared"):
        assert checks[check] == "not_verifiable"
    assert "failed" not in checks.values()


def test_imported_traffic_is_judged_and_rechecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    answers = [Reply(text=f"{ANSWER.text} It is {n}.") for n in range(29)]
    healthy = har(tmp_path, (each for say in answers for each in rollout([say]).exchanges))
    assert run(["import", str(healthy), "-p", "mine"]) == 0
    assert "FINDINGS" in capsys.readouterr().out
    assert run(["import", str(healthy), "-p", "mine", "--verdict", "--out", "other"]) == 0
    assert "PASS" in capsys.readouterr().out
    leaky = Reply(text="<|channel|>final<|message|>It is sunny.", wrote="It is sunny.")
    broken = json_lines(tmp_path, rollout([leaky]).exchanges)
    assert run(["import", str(broken), "-p", "mine", "--verdict", "--out", "third"]) == 1
    assert "error harmony.markers · failed in 1 of 1 attempt" in capsys.readouterr().out
    (folder,) = (tmp_path / "third").iterdir()
    assert read_run_info(folder).tasks[0].imported is not None
    assert (folder / ROLLOUTS_FILE).exists()
    assert run(["recheck", str(folder)]) == 1
    assert run(["recheck", str(folder), "--may-warn", "text"]) == 4
    (folder,) = (tmp_path / "other").iterdir()
    assert read_run_info(folder).provider.base_url == "http://test/v1"


def test_a_finding_of_recorded_traffic_is_reproduced_at_its_address_or_at_a_named_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    request = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Weather?"}]}
    leaky = chat_whole(Reply(text="<|channel|>final<|message|>It is sunny.", wrote="It is sunny."))
    closed = "http://localhost:9/v1"
    for url, name in ((f"{closed}/chat/completions", "there"), (None, "nowhere")):
        sent = {"url": url, "method": "POST", "body": request} if url else request
        answer = {"status": 200, "body": leaky} if url else leaky
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"request": sent, "response": answer}))
        assert run(["import", str(path), "-p", name, "--out", name]) == 0
        (folder,) = (tmp_path / name).iterdir()
        again = ["reproduce", str(folder), "harmony.markers", "--times", "1"]
        printed = " ".join(capsys.readouterr().out.split())
        options = "" if url else " --base-url URL --model NAME"
        assert f"reproduce {name}/{folder.name} harmony.markers{options} " in f"{printed} "
        assert run(again) == (3 if url else 2)
        said = capsys.readouterr().err
        assert (closed if url else "do not have the address of the server; name it") in said
        assert run([*again, "--base-url", closed, "--model", "gpt-oss-20b"]) == 3
        assert "gpt-oss-verify retest" not in capsys.readouterr().err
        assert run(["retest", str(folder)]) == 2
        assert "is recorded traffic" in capsys.readouterr().err
    entry = {"base_url": closed, "model": "gpt-oss-20b"}
    Path("providers.yaml").write_text(json.dumps({"providers": {"nowhere": entry}}), "utf-8")
    assert run(["recheck", str(folder)]) == 0
    assert "harmony.markers --provider nowhere" in " ".join(capsys.readouterr().out.split())
    again = 'harmony.markers <span class="unbroken">--provider</span> nowhere'
    assert (folder / "report.html").read_text("utf-8").count(again) == 1
    assert run(["reproduce", str(folder), "harmony.markers", "--provider", "nowhere"]) == 3


def test_a_recording_without_enough_judged_replies_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    def reasons(*pairs: object) -> str:
        return str(judged(capsys, 4, written(tmp_path, *pairs), "--verdict")["verdict"]["reasons"])

    first = text_of(response("chat", True, ANSWER)).partition("\n\n")[0] + "\n\n"
    cut = [pair({"messages": [ASK], "stream": True, "seed": n}, first) for n in range(3)]
    whole = [pair({"messages": [ASK], "seed": n}, chat(ANSWER, n)) for n in range(28)]
    assert "3 of 3 recorded replies could not be judged" in (found := reasons(*cut))
    assert "3 × the reply broke off" in found
    refused = pair({"messages": []}, {"error": {"message": "no messages"}})
    refused["response"]["status"] = 429
    assert "1 × the status was 429" in reasons(refused)
    assert "28 of the recorded replies were judged" in (found := reasons(*whole, *cut))
    assert "could not be judged" not in found


def test_a_stream_without_an_end_is_incomplete(tmp_path: Path):
    delta = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": None}]}
    chunk = {"object": "chat.completion.chunk", "model": MODEL, "id": "chatcmpl-1", **delta}
    cut = f"data: {json.dumps(chunk)}\n\n"
    ends = {cut: False, f"{cut}data: [DONE]\n\n": True, cut.replace("null", '"stop"'): True}
    for reply, complete in ends.items():
        (found,) = traffic(tmp_path, pair({"messages": [ASK], "stream": True}, reply)).rollouts
        assert [each.response and each.response.complete for each in found.exchanges] == [complete]


@pytest.mark.parametrize(("streams", "status"), [(1, "passed"), (5, "warned")])
def test_streams_without_an_end_are_noted_and_counted(tmp_path: Path, streams: int, status: str):
    blocks = [f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': word}}]})}"
              for word in ("It", " is")]  # fmt: skip
    pairs = [
        pair({"messages": [ASK], "stream": True, "seed": at}, "\n\n".join(blocks) + "\n\n")
        for at in range(streams)
    ]
    path = written(tmp_path, *pairs)
    assert run(["import", str(path), "--provider", "case", "--out", str(tmp_path / "runs")]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    analysis = json.loads((folder / "analysis.json").read_text("utf-8"))
    (cut,) = [each for each in analysis["checks"] if each["check"]["id"] == "stream.cut"]
    assert (cut["status"], cut["failures"], cut["applicable"]) == (status, streams, streams)
    assert cut["examples"][0]["message"] == "The stream broke off before its end."
