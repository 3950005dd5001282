"""Completions that requests with different faults share."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from scripted import ANSWER, COT, ScriptedEngine, serving

from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

BODY = {"model": "gpt-oss-small", "messages": [{"role": "user", "content": "Hi"}]}


class Served:
    """A server whose n-th generation is the answer n; requests can name faults."""

    def __init__(self, url: str, engine: ScriptedEngine) -> None:
        self.url, self.engine = url, engine

    def reply(self, fault: str = "", **fields: object) -> str:
        headers = {"X-Fault": fault} if fault else {}
        reply = httpx.post(f"{self.url}/chat/completions", json=BODY | fields, headers=headers)
        return reply.json()["choices"][0]["message"]["content"]

    @property
    def generated(self) -> int:
        return len(self.engine.prompts)


@pytest.fixture
def served() -> Iterator[Served]:
    numbers = itertools.count(1)
    engine = ScriptedEngine(
        lambda *_: f"{COT}<|channel|>final<|message|>Answer {next(numbers)}.<|return|>"
    )
    app = faulty_parts((), by_request=True).app(engine, AppSettings())
    with serving(app) as url:
        yield Served(url, engine)


def test_each_fault_gets_the_same_completions_in_turn(served: Served):
    healthy = [served.reply(), served.reply()]
    assert healthy == ["Answer 1.", "Answer 2."]
    assert [served.reply("usage-zero") for _ in range(3)] == [*healthy, "Answer 3."]
    assert served.generated == 3


def test_a_fault_with_a_rate_also_gets_its_own_completions_in_turn(served: Served):
    assert [served.reply("usage-zero:0.5") for _ in range(2)] == [served.reply(), served.reply()]


def test_a_fault_that_changes_the_prompt_or_the_sampling_gets_new_completions(served: Served):
    served.reply()
    assert served.reply("effort-ignored", reasoning_effort="high") == "Answer 1."
    assert served.reply(reasoning_effort="high") == "Answer 2."
    assert served.reply(temperature=0.5) == "Answer 3."


def test_requests_with_a_schema_also_share_completions(served: Served):
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    function = {"name": "wait", "parameters": schema, "strict": True}
    fields = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "tools": [{"type": "function", "function": function}],
    }
    assert served.reply(**fields) == served.reply("usage-zero", **fields) == "Answer 1."
    assert served.reply("usage-zero", tools=fields["tools"]) == "Answer 2."


def test_a_completion_that_no_request_reads_to_its_end_is_cancelled_and_not_shared(served: Served):
    served.engine.pause = 0.01
    assert served.reply(stop="swer") == "An"
    assert served.reply("usage-zero") == "Answer 2."
    assert served.engine.cancelled == 1


def test_simultaneous_requests_of_two_faults_share_one_generation(served: Served):
    served.engine.pause = 0.01
    with ThreadPoolExecutor() as pool:
        replies = list(pool.map(served.reply, ["", "usage-zero", "done-missing"]))
    assert replies == ["Answer 1."] * 3
    assert served.generated == 1


def test_an_error_of_the_engine_reaches_every_request(served: Served):
    served.engine.full = True
    body, headers = BODY, {"X-Fault": "usage-zero"}
    assert [
        httpx.post(f"{served.url}/chat/completions", json=body, headers=chosen).status_code
        for chosen in ({}, headers)
    ] == [429, 429]


def test_an_unexpected_failure_of_the_engine_does_not_look_like_the_end_of_a_reply(served: Served):
    script, served.engine.script = served.engine.script, lambda *_: 1 / 0
    assert httpx.post(f"{served.url}/chat/completions", json=BODY).status_code == 500
    served.engine.script = script
    assert served.reply("usage-zero") == "Answer 1."


def test_without_faults_by_request_nothing_is_kept():
    engine = ScriptedEngine(ANSWER)
    with serving(faulty_parts(()).app(engine, AppSettings())) as url:
        server = Served(url, engine)
        server.reply()
        server.reply()
    assert server.generated == 2
