"""The forms of requests that clients send: how they are judged, and which clients they break."""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from functools import cache

import pytest
from healthy import json_response, stream_response
from probing import judged, refusal
from replies import Reply, chat_whole, responses_items, responses_whole

from harness.api import DIALECTS, items
from harness.api.items import RequestSettings, ToolCall
from harness.records.analysis import ClientResult, RuleResult
from harness.records.conditions import BOTH_APIS, Api, Condition
from harness.records.rollouts import Response
from harness.records.scores import Evidence, Finding, Score
from harness.rules.catalogue import PROBES, RULES
from harness.rules.clients.forms import (
    CLIENTS,
    CLIENTS_OF,
    FORMS,
    Form,
    Variant,
    form_requests,
)
from harness.rules.clients.results import client_results
from harness.rules.evidence.rendering import Prompt, after_calls, count
from harness.rules.probe import ProbeRequest
from harness.rules.prompt import probes as prompt
from harness.run.attempts import Attempt

GROUP = replace(
    prompt.GROUP, probes=[each for each in PROBES.values() if each.id.startswith("clients.")]
)
VARIANTS = [
    pytest.param(form, variant, api, id=f"{form.name} {variant.name} {api}")
    for form in FORMS
    for variant in form.variants
    for api in variant.apis
]
Counts = dict[str, tuple[int, int]]
Provider = Callable[[ProbeRequest, Attempt], Response | list[Reply]]
CONVERSATIONS = [each for form in FORMS for each in form.variants if each.turns > 1]


@cache
def twins() -> dict[tuple[str, Api], str]:
    """The request whose prompt tokens each form must have, by the request of the form and API."""
    return {
        (variant.request, api): form.twin(variant) or variant.base
        for form in FORMS
        for variant in form.variants
        for api in variant.apis
    }


@cache
def added() -> dict[str, int]:
    """The prompt tokens that the form of a request adds."""
    return {each.request: each.adds for each in variants()}


def answer(api: Api, tokens: int | None) -> Response:
    make, name = {
        "chat": (chat_whole, "prompt_tokens"),
        "responses": (responses_whole, "input_tokens"),
    }[api]
    whole = make(Reply(text="Hello."))
    if tokens is None:
        del whole["usage"]
    else:
        whole["usage"] |= {name: tokens, "total_tokens": tokens + 20}
    return json_response(whole)


def conversation(request: ProbeRequest, *, kept: bool = True, called: bool = True) -> list[Reply]:
    """A call and the answer to its result; the second prompt has the CoT if it is `kept`."""
    answer = Reply(text="2.4 m")
    if not called:
        return [answer]
    call = ToolCall("call_1", "get_tide", '{"harbour": "Brest"}')
    first = Reply(call=(call.name, call.arguments))
    said = items.Reply(first.reasoning if kept else "", "", (call,), "tool_calls", None, {})
    before = Prompt(request.turns, request.tools)
    more = count(after_calls(before, said)) - count(before)
    return [first, replace(answer, prompt=first.prompt + more)]


def healthy(request: ProbeRequest, attempt: Attempt) -> Response | list[Reply]:
    """A server whose forms have as many prompt tokens as their twins."""
    api, names = attempt.condition.api, twins()
    if attempt.max_turns > 1:
        return conversation(request)
    name = request.id
    while (name, api) in names and names[name, api] != name:
        name = names[name, api]
    tokens = 100 + sum(map(ord, name)) + added().get(request.id, 0)
    if attempt.condition.streaming:
        return [Reply(text="Hello.", prompt=tokens)]
    return answer(api, tokens)


def with_other(variant: Variant, api: Api, other: Response | list[Reply]) -> Provider:
    """A healthy server that answers one variant in another way."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response | list[Reply]:
        changed = request.id == variant.request and attempt.condition.api == api
        return other if changed else healthy(request, attempt)

    return provider


def by_client(results: Mapping[str, RuleResult], api: Api) -> dict[str, ClientResult]:
    return {each.client: each for each in client_results(results.values()) if each.api == api}


def test_a_healthy_server_passes_and_breaks_no_client() -> None:
    """A client of which rules of other families judge most forms is not verifiable here."""
    results = judged(GROUP, healthy)
    assert {each.status for each in results.values()} == {"passed"}
    statuses = {each.status for api in BOTH_APIS for each in by_client(results, api).values()}
    assert statuses == {"works", "not_verifiable"}


@pytest.mark.parametrize(("form", "variant", "api"), VARIANTS)
def test_a_refused_form_breaks_the_clients_that_send_it(
    form: Form, variant: Variant, api: Api
) -> None:
    results = judged(GROUP, with_other(variant, api, refusal()))
    result = results[form.rule]
    expected = variant.refusal or variant.severe
    assert {each.severity for each in result.examples} == {expected}
    assert result.status == {"error": "failed", "warning": "warned", "info": "passed"}[expected]
    sends = variant.clients(api)
    senders = {
        CLIENTS[name].title for name in CLIENTS_OF[api] if sends.get(CLIENTS[name].like or name)
    }
    broken = {
        client
        for client, found in by_client(results, api).items()
        if variant.name in found.breaking and found.status == "breaks"
    }
    assert broken == senders


@pytest.mark.parametrize(("form", "variant", "api"), VARIANTS)
def test_a_form_with_another_prompt_is_a_problem_only_if_it_must_have_the_same(
    form: Form, variant: Variant, api: Api
) -> None:
    tokens = 100 + sum(map(ord, variant.base)) - 40
    results = judged(GROUP, with_other(variant, api, answer(api, tokens)))
    same = form.twin(variant) not in (None, variant.request)
    assert ((api, variant.request) in results[form.rule].failing) == same


def test_a_failure_is_worse_than_a_clear_refusal() -> None:
    (variant,) = (each for each in variants() if each.name == "namespace")
    failing = judged(GROUP, with_other(variant, "responses", refusal(500)))
    refusing = judged(GROUP, with_other(variant, "responses", refusal(422)))
    assert failing["clients.tool_types"].status == "failed"
    assert refusing["clients.tool_types"].status == "warned"


NAMED = [each for form in FORMS for each in form.variants if each.named]


@pytest.mark.parametrize("variant", NAMED)
def test_a_refusal_that_names_what_only_some_servers_offer_is_information(variant: Variant) -> None:
    (form,) = (each for each in FORMS if variant in each.variants)
    named = {"error": {"message": f"{variant.named} is not supported.", "type": "x"}}
    for api in variant.apis:
        result = judged(GROUP, with_other(variant, api, json_response(named, 400)))[form.rule]
        assert result.status == "passed"
        assert [each.message for each in result.examples] == [
            f"The provider refuses the form {variant.name!r} of requests, and names it."
        ]


@pytest.mark.parametrize("variant", CONVERSATIONS, ids=lambda each: each.name)
def test_the_cot_of_a_call_reaches_the_next_prompt(
    variant: Variant,
) -> None:
    rule = next(form.rule for form in FORMS if variant in form.variants)
    (request,) = (each for each in GROUP.requests("responses") if each.id == variant.request)
    for replies, status in (
        (conversation(request, kept=False), "failed"),
        (conversation(request, called=False), "not_verifiable"),
    ):
        assert judged(GROUP, with_other(variant, "responses", replies))[rule].status == status


@pytest.mark.parametrize("api", BOTH_APIS)
def test_a_reply_that_depends_on_accept_breaks_only_the_clients_that_send_it(api: Api) -> None:
    """9router 0.5.69 streams unless `Accept` is exactly `application/json`."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Response | list[Reply]:
        plain = request.sender.accept == "application/json"
        unwanted = not plain and not attempt.condition.streaming
        return stream_response(["data: {}"]) if unwanted else healthy(request, attempt)

    results = judged(GROUP, provider)
    found = {name for name, of in by_client(results, api).items() if of.status == "breaks"}
    (variant,) = (each for each in variants() if each.name == "any type")
    assert found == {CLIENTS[name].title for name in variant.clients(api)}
    assert "openai 3.57 (Python)" not in found
    example, *_ = results["clients.accept"].examples
    assert example.message == (
        "A request with the header `Accept: */*` gets a different kind of reply."
    )


def test_references_name_all_items_but_calls() -> None:
    (form,) = (each for each in FORMS if each.name == "item_references")
    output = responses_items(Reply(text="Wait.", call=("get_tide", "{}")))
    reply = items.Reply("", "", (), "tool_calls", None, {"output": output})
    body = {"input": [{"role": "user", "content": "Hi there!"}]}
    sent = DIALECTS["responses"].next_request(body, reply, (), history=form.variants[0].history)
    thought, call, text = output
    assert sent["input"][1:] == [
        {"type": "item_reference", "id": thought["id"]},
        {key: call[key] for key in ("type", "call_id", "name", "arguments")},
        {"type": "item_reference", "id": text["id"]},
    ]


def add_failed(results: MutableMapping[str, RuleResult], rule: str, counts: Counts) -> None:
    """Add a failed rule of another family with these failures and trials by condition."""
    passed = results["clients.call_content"]
    about = passed.check.model_copy(update={"id": rule})
    changed = {"check": about, "status": "failed", "counts": counts, "failing": ()}
    results[rule] = passed.model_copy(update=changed)


@pytest.mark.parametrize(("rule", "broken"), [("usage.missing", True), ("reply.stored", False)])
def test_a_form_that_got_the_reply_of_another_request_breaks_no_client(
    rule: str, broken: bool
) -> None:
    (variant,) = (each for each in variants() if each.name == "strict")
    results = judged(GROUP, with_other(variant, "chat", [Reply(text="Hello.", prompt=7)]))
    condition = Condition(model="m", api="chat", mode="non-streaming")
    shown = Evidence(record="r", exchange=0, expected="", got="")
    found = Finding(id=rule, severity="error", message="", evidence=shown, proven=True)
    score = Score("r", "prompt", variant.request, condition, 1, "answered", findings=(found,))
    clients = client_results(results.values(), scores=[score], mixing={"reply.stored"})
    breaking = {name for each in clients if each.api == "chat" for name in each.breaking}
    assert breaking == ({"strict"} if broken else set())


@pytest.mark.parametrize(
    ("rule", "counts", "broken"),
    [
        ("prompt.developer", {"responses": (1, 1)}, {"Codex 0.171"}),
        ("prompt.instructions", {"responses": (1, 1)}, {"openai-agents 0.24"}),
        ("request.limit_name", {"chat · streaming": (5, 5)}, {"opencode 1.18"}),
        ("finish.limit", {"chat": (1, 4)}, set()),
    ],
)
def test_a_rule_of_another_family_breaks_only_clients_that_send_what_it_judges(
    rule: str, counts: Counts, broken: set[str]
) -> None:
    results = judged(GROUP, healthy)
    add_failed(results, rule, counts)
    found = {each.client for each in client_results(results.values()) if each.status == "breaks"}
    assert found & {"Codex 0.171", "openai-agents 0.24", "opencode 1.18"} == broken


@pytest.mark.parametrize(
    ("received", "judged_too"), [("reasoning", True), ("reasoning_content", False)]
)
def test_cot_is_sent_back_only_in_a_field_that_was_received(
    received: str, judged_too: bool
) -> None:
    (variant,) = (each for each in variants() if each.name == "reasoning")
    whole = chat_whole(Reply(text="Hello."))
    message = whole["choices"][0]["message"]
    message[received] = message.pop("reasoning")
    others = with_other(variant, "chat", refusal())

    def provider(request: ProbeRequest, attempt: Attempt) -> Response | list[Reply]:
        plain = attempt.condition.api == "chat" and request.id != variant.request
        return json_response(whole) if plain else others(request, attempt)

    failing = judged(GROUP, provider)["clients.cot_field"].failing
    assert (("chat", variant.request) in failing) == judged_too


def test_cot_that_reaches_the_model_in_no_field_is_no_fault_of_one_form() -> None:
    def dropped(request: ProbeRequest, attempt: Attempt) -> Response | list[Reply]:
        thought = twins().get((request.id, "chat"), request.id) == "thought"
        return healthy(replace(request, id="called") if thought else request, attempt)

    result = judged(GROUP, dropped)["clients.cot_field"]
    assert {example.message.partition("adds")[2] for example in result.examples} == {
        " does not reach the model, as it does not in its plain form."
    }


def test_without_usage_forms_with_a_twin_are_not_verifiable() -> None:
    results = judged(GROUP, lambda _, attempt: answer(attempt.condition.api, None))
    assert results["clients.call_content"].status == "not_verifiable"
    assert results["clients.tool_types"].status == "not_verifiable"


def test_a_tool_that_a_server_drops_is_not_supported() -> None:
    """As OmniRoute drops custom tools (PR#4862)."""
    (variant,) = (each for each in variants() if each.name == "custom")
    dropped = answer("responses", 100 + sum(map(ord, "tool")))
    result = judged(GROUP, with_other(variant, "responses", dropped))["clients.tool_types"]
    assert result.status == "warned"
    assert "accepts the form 'custom', and ignores it" in result.examples[0].message


def test_a_form_is_not_judged_if_the_plain_request_is_refused_too() -> None:
    results = judged(GROUP, lambda _, __: refusal())
    assert {each.status for each in results.values()} <= {"not_verifiable", "warned"}
    assert "CrewAI 1.15" not in by_client(results, "chat")


def variants() -> list[Variant]:
    return [variant for form in FORMS for variant in form.variants]


def test_the_table_names_known_clients_and_rules_once() -> None:
    for api in BOTH_APIS:
        sent = [each for form in FORMS for each in form.parts]
        assert {name for each in sent for name in each.clients(api)} == {
            name for name, client in CLIENTS.items() if api in client.apis and not client.like
        }
        names = [each.request for each in variants() if api in each.apis]
        assert len(names) == len(set(names))
    assert {name for form in FORMS for shared in form.rules for name in shared.ids} <= RULES.keys()


def test_a_form_changes_only_what_its_row_says() -> None:
    plain = {each.id: each for each in prompt.GROUP.requests("responses")}
    forms = (each for each in form_requests(plain) if "responses" in each.apis)
    sent = {each.id: each.over("responses") for each in forms}
    assert sent["form id"].options == {
        "input": [
            {"type": "message", "role": "user", "content": plain["called"].turns[0].text},
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "get_tide",
                "arguments": '{"harbour": "Brest"}',
                "id": "fc_1",
            },
            {"type": "function_call_output", "call_id": "call_1", "output": '{"height_m": 2.4}'},
        ]
    }
    assert sent["form id"].settings(RequestSettings("m")).max_tokens == plain["called"].max_tokens
