"""The line of clients, against what real clients did under 13 damages (openai 3.57, 2026-11)."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from corpus import damaged, healthy, with_fault
from healthy import stream_response
from replies import Reply, chat_blocks, chat_chunks
from written import asked

from benchmarks.real.clients.replies import DAMAGES
from benchmarks.real.clients.replies import recorded as shown_conversations
from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.records.analysis import ClientResult
from harness.records.rollouts import Exchange, Rollout, TransportFailure
from harness.records.scores import Score
from harness.rules.catalogue import CHECKS, RULES, examine
from harness.rules.clients.conversations import TASKS, conversations, damaging, is_conversation
from harness.rules.clients.damages import DAMAGES as SEEN
from harness.rules.clients.damages import damages_of
from harness.rules.clients.forms import CLIENTS, FORMS
from harness.rules.clients.frameworks import frameworks
from harness.rules.clients.needs import CONTENT_RULES, EVERY, UNTRIED, named, needs
from harness.rules.clients.readers import Got
from harness.rules.clients.results import client_results

SDK, HELPERS = "openai 3.57 (Python)", "openai 3.57 (Python), stream() and parse()"
PYDANTIC, NPM = "pydantic-ai 2.68", "openai 7.59 (npm), stream()"
VERCEL = "Vercel AI SDK 7.0 (@ai-sdk/openai 4.0)"
CONTINUE = "Continue (openai-adapters 1.37)"
Break = tuple[str, str, bool]
"""A client, an API, and whether it streams."""


def with_damage(one: Rollout, damage: str) -> Rollout:
    made = (with_fault(exchange, damage) if damage else exchange for exchange in one.exchanges)
    return one.model_copy(update={"exchanges": tuple(made)})


@cache
def recorded() -> tuple[Rollout, ...]:
    """Three conversations of each task with tools, and one text, over each API and in each mode."""
    made: dict[tuple[str, str, bool], list[Rollout]] = defaultdict(list)
    for one in healthy().rollouts:
        if one.task in TASKS and is_conversation(parse_rollout(one)) and one.task != "echo":
            made[one.task, one.condition.api, one.condition.streaming].append(one)
    most = {"parity": 1}
    return tuple(one for key, each in made.items() for one in each[: most.get(key[0], 3)])


@cache
def checks() -> Mapping[str, object]:
    """The results of the forms of requests, which the task of prompts sends."""
    forms = [one for one in healthy().rollouts if one.task == "prompt"]
    return {rule.check.id: rule for rule in healthy().judged(forms).analysis.checks}


def results(made: Mapping[Rollout, Rollout] | list[Rollout]) -> tuple[ClientResult, ...]:
    tasks = {task.name: task for task in healthy().tasks}
    parsed: list[ParsedRollout] = list(map(parse_rollout, made))
    scores = (tasks[each.rollout.task].score(each) for each in parsed)
    found: list[Score] = [score for score in scores if score is not None]
    return client_results(checks().values(), conversations(parsed, damaging(found)), found)


def under(damage: str) -> tuple[ClientResult, ...]:
    return results([with_damage(one, damage) for one in recorded()])


def breaks(found: tuple[ClientResult, ...], status: str = "breaking") -> Iterator[Break]:
    for result in found:
        for reason in getattr(result, status):
            yield result.client, result.api, "streamed" in reason


REALITY: Mapping[str, set[Break]] = {
    "content-index-missing": {(HELPERS, "responses", True)},
    "done-events-repeated": set(),
    "usage-null": set(),
    "status-of-a-cut": set(),
    "arguments-always-objects": {
        *((client, "chat", streams) for client in (SDK, HELPERS) for streams in (False, True)),
        *((client, "responses", False) for client in (SDK, HELPERS)),
        (HELPERS, "responses", True),
    },
    "id-of-call-missing": {
        *((client, "chat", streams) for client in (SDK, HELPERS) for streams in (False, True)),
    },
    "ok:empty-choices": set(),
    "error-event": {
        (client, api, True) for client in (SDK, HELPERS) for api in ("chat", "responses")
    },
    "ok:carriage-returns": set(),
    "ok:keep-alive-comments": set(),
}
"""What broke; an answer that `parse()` returns has no call there, so calls are read as by hand."""


TABLE: Mapping[str, set[Break]] = {
    "content-index-missing": {(PYDANTIC, "responses", True), (NPM, "responses", True)},
    "done-events-repeated": {(VERCEL, "responses", True)},
    "status-of-a-cut": {(VERCEL, "responses", True), (VERCEL, "responses", False)},
    "arguments-always-objects": {
        *((client, "chat", True) for client in (PYDANTIC, NPM, VERCEL)),
        *((client, "chat", False) for client in (PYDANTIC, VERCEL)),
        *((client, "responses", True) for client in (PYDANTIC, NPM, VERCEL)),
        (VERCEL, "responses", False),
    },
    "output-text-empty": {(NPM, "responses", True)},
    "id-of-call-missing": {
        (PYDANTIC, "chat", False),
        *((client, "responses", True) for client in (PYDANTIC, NPM, VERCEL)),
        (VERCEL, "responses", False),
    },
}
"""What broke of the clients that the table knows."""


AGENTS = "openai-agents 0.24"
BY_AGENTS: Mapping[str, set[Break]] = {
    "content-index-missing": set(),
    "done-events-repeated": set(),
    "status-of-a-cut": {(AGENTS, "responses", False)},
    "arguments-always-objects": {
        *((AGENTS, api, streams) for api in ("chat", "responses") for streams in (False, True)),
    },
    "id-of-call-missing": {(AGENTS, "chat", streams) for streams in (False, True)},
    "error-event": {(AGENTS, api, True) for api in ("chat", "responses")},
}
"""What broke of a framework that the tests install, and that reads the replies itself."""


BROKE = (
    (REALITY, {SDK, HELPERS}),
    (TABLE, {PYDANTIC, NPM, VERCEL}),
    (BY_AGENTS, {AGENTS}),
)


def of(found: Iterable[Break], *clients: str) -> set[Break]:
    return {each for each in found if each[0] in clients}


@pytest.mark.parametrize("damage", {**REALITY, **TABLE, **BY_AGENTS})
def test_clients_break_where_they_broke(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every installed client reads three conversations of each kind."""
    found = under(damage)
    broken = set(breaks(found))
    for table, clients in BROKE:
        if damage in table:
            assert of(broken, *clients) == table[damage]
    assert "openai.agents" not in {record.name for record in caplog.records}
    by = {result.read_by.partition(" ")[0] for result in found if result.client == AGENTS}
    assert by == {"openai-agents"}


def test_a_version_that_cannot_read_a_healthy_reply_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = {"lc-py": ("json", "langchain-openai", lambda *_: Got("", []))}
    monkeypatch.setattr("harness.rules.clients.frameworks._FRAMEWORKS", other)
    assert frameworks.__wrapped__() == {}


def test_the_table_names_known_clients_and_damages() -> None:
    states = {named(name, state) for name in SEEN for state in ("missing", "null", "empty")}
    for need in needs().values():
        assert {name.removeprefix(UNTRIED) for name in need.breaks} <= {*CLIENTS, EVERY}
        assert need.damage in states
    assert RULES.keys() >= CONTENT_RULES


def seen_in(one: Rollout, exchanges: Sequence[Exchange]) -> dict[str, Any]:
    parsed = parse_rollout(one.model_copy(update={"exchanges": tuple(exchanges)}))
    return {name: how for each in parsed.exchanges for name, how in damages_of(each)}


def tried(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith(UNTRIED)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_bytes_of_a_damage_tell_whom_it_broke_and_those_of_healthy_replies_nothing(
    damage: str,
) -> None:
    """What is seen beside it breaks no client that it did not break."""
    for place, conversation in shown_conversations().items():
        one = conversation.rollout
        api, mode = place.split()
        assert seen_in(one, one.exchanges) == {}
        changed = [with_fault(exchange, DAMAGES[damage]) for exchange in one.exchanges]
        need = needs().get((damage, api, mode))
        if all(new is old for new, old in zip(changed, one.exchanges, strict=True)) or not need:
            continue
        seen = {named(name, how) for name, how in seen_in(one, changed).items()}
        assert damage in seen
        if EVERY in need.breaks:
            continue
        others = (needs().get((name, api, mode)) for name in seen)
        broken = {client for other in others if other for client in tried(other.breaks)}
        assert broken == tried(need.breaks)


def keys_of(one: Rollout, exchange: Exchange) -> set[str]:
    parsed = parse_rollout(one.model_copy(update={"exchanges": (exchange,)}))
    return {finding.id for finding in examine(parsed, except_for=(), broken={})[1]}


STATES = (("missing", ...), ("null", None), ("empty", ""), ("of another type", 7))


@pytest.mark.parametrize(("state", "value"), STATES)
@pytest.mark.parametrize("member", ["id", "call_id", "name"])
def test_a_member_is_named_as_it_was_found(member: str, state: str, value: object) -> None:
    one = shown_conversations()["responses non-streaming"].rollout

    def change(body: dict[str, Any]) -> None:
        for item in body["output"]:
            if item["type"] == "function_call":
                item[member] = value
                if value is ...:
                    del item[member]

    seen = seen_in(one, [with_body(one.exchanges[0], change)])
    damage = {"id": "id-of-call-missing", "call_id": "call-id-missing"}.get(member)
    assert seen == {damage or "call-name-missing": state}


def test_a_state_that_nobody_tried_breaks_no_client_and_lets_none_work() -> None:
    def change(body: dict[str, Any]) -> None:
        for item in body["output"]:
            item.update({"call_id": 7} if item["type"] == "function_call" else {})

    made = [
        one.model_copy(update={"exchanges": tuple(with_body(e, change) for e in one.exchanges)})
        if one.condition.name == "responses · non-streaming"
        else one
        for one in recorded()
    ]
    found = [each for each in results(made) if each.api == "responses" and not each.read_by]
    whole = {one.title for one in CLIENTS.values() if "non-streaming" in one.modes}
    assert {each.status for each in found if each.client in whole} == {"not_verifiable"}


def test_counts_in_every_chunk_break_who_takes_each_for_the_last_and_one_chunk_does_not() -> None:
    """The same rule finds both: where it found them tells which."""
    found = under("usage-in-every-chunk")
    assert of(breaks(found), CONTINUE, SDK, NPM) == {(CONTINUE, "chat", True)}
    unasked = [asked(one, {"stream_options": None}) for one in recorded() if one.api == "chat"]
    assert "usage.unasked" in {key for one in unasked for key in keys_of(one, one.exchanges[0])}
    assert not of(breaks(results(unasked)), CONTINUE)


@pytest.mark.parametrize(
    ("fault", "clients"),
    [
        ("namespaces-lost", {"Codex 0.171"}),
        ("cot-as-answer", {SDK, HELPERS, PYDANTIC}),
        ("cot-before-structured-answers", {SDK, HELPERS, PYDANTIC}),
        ("cot-in-both", {SDK, HELPERS, PYDANTIC}),
        ("words-with-logprobs-masked", {SDK, HELPERS, PYDANTIC}),
        ("answers-declined-in-their-place", {SDK, HELPERS, PYDANTIC}),
        ("answers-cut-in-half", {SDK, HELPERS, PYDANTIC}),
    ],
)
def test_a_client_does_not_work_if_its_user_gets_something_else(
    fault: str, clients: set[str]
) -> None:
    """Nothing raises: a name without its namespace, or a text that is not the answer."""
    run = healthy()
    found = run.judged(damaged(run.rollouts, fault), clients=True).analysis.clients
    assert clients <= {each.client for each in found if each.status in ("breaks", "sometimes")}


def test_a_page_of_a_gateway_now_and_then_is_called_so() -> None:
    found = under("pages-with-status-200")
    partly = {*breaks(found, "sometimes"), *breaks(found)}
    assert {each for each in partly if each[0] == SDK} == {
        (SDK, api, False) for api in ("chat", "responses")
    }


def test_a_healthy_server_breaks_no_client() -> None:
    assert not [each for each in under("") if each.status in ("breaks", "sometimes")]


def test_bytes_that_cannot_be_decoded_break_every_client() -> None:
    failure = TransportFailure(kind="protocol", message="The response is compressed with zstd.")
    lost = {"response": None, "failure": failure}
    found = results(
        [
            one.model_copy(update={"exchanges": (one.exchanges[0].model_copy(update=lost),)})
            for one in recorded()
        ]
    )
    assert {result.status for result in found} == {"breaks"}
    assert all("compressed with zstd" in reason for _ in found for reason in found[0].breaking)


def with_body(exchange: Exchange, change: Callable[[dict[str, Any]], object]) -> Exchange:
    body = json.loads(exchange.response.body or "{}")
    change(body)
    response = exchange.response.model_copy(update={"body": json.dumps(body)})
    return exchange.model_copy(update={"response": response})


def without_cot_items(body: dict[str, Any]) -> None:
    """Leave out the reasoning items, as converters do."""
    body["output"] = [i for i in body.get("output", ()) if i["type"] != "reasoning"]


def with_more_prompt(body: dict[str, Any]) -> None:
    body["usage"]["input_tokens"] += 11


@pytest.mark.parametrize(("returned", "status"), [(True, "failed"), (False, "passed")])
def test_reasoning_items_that_no_reply_has_are_sent_by_no_client(
    returned: bool, status: str
) -> None:
    made = [
        one
        for one in healthy().rollouts
        if one.task == "prompt" and one.api == "responses" and not one.condition.streaming
    ]
    for at, one in enumerate(made):
        changes = [with_more_prompt] * ("null and status" in one.sample)
        for change in [*changes, *[without_cot_items] * (not returned)]:
            one = one.model_copy(
                update={"exchanges": tuple(with_body(e, change) for e in one.exchanges)}
            )
        made[at] = one
    results = {rule.check.id: rule for rule in healthy().judged(made).analysis.checks}
    assert results["clients.reasoning_items"].status == status


def test_a_client_does_not_work_for_certain_if_the_plain_calls_are_refused() -> None:
    """Two gateways refuse a call after a message of the user, and answer whole items."""
    of_prompt = [one for one in healthy().rollouts if one.task == "prompt"]
    rules = {rule.check.id: rule for rule in healthy().judged(of_prompt).analysis.checks}
    for form in FORMS:
        if form.rule in rules and any(v.base in ("called", "thought") for v in form.variants):
            rule = rules[form.rule]
            counts = {key: n for key, n in rule.counts.items() if not key.startswith("responses")}
            rules[form.rule] = rule.model_copy(update={"counts": counts})
    found = client_results(rules.values(), conversations(map(parse_rollout, recorded())))
    assert {each.status for each in found if each.api == "responses"} == {"not_verifiable"}
    assert "works" in {each.status for each in found if each.api == "chat"}


def test_what_a_rule_says_to_raise_in_a_client_was_tried() -> None:
    """A rule whose text names a helper or client that fails has a damage that was measured."""
    said = {
        name
        for name, rule in CHECKS.items()
        if re.search(r"(helpers?|clients?) of OpenAI's SDKs?|LangChain|Codex", rule.about.why)
    }
    assert "responses.stream.parts" in said
    found: set[str] = set()
    for damage, fault in DAMAGES.items():
        for conversation in shown_conversations().values():
            one = conversation.rollout
            changed = ((each, with_fault(each, fault)) for each in one.exchanges)
            found |= {
                rule
                for old, new in changed
                if new is not old and any(need.damage == damage for need in needs().values())
                for rule in keys_of(one, new)
            }
    assert said <= found | CONTENT_RULES


def test_a_foreign_first_event_in_streams_of_probes_breaks_those_that_raise() -> None:
    """What programs do with a reply that its limit cut is their own, so whole ones are taken."""
    made = [
        with_damage(one, "foreign-event-first")
        for one in healthy().rollouts
        if one.task == "structured" and one.condition.name == "chat · streaming"
    ]
    assert made
    found = results([*recorded(), *made])
    assert of({*breaks(found), *breaks(found, "sometimes")}, SDK, HELPERS) == {
        (HELPERS, "chat", True)
    }


def test_lost_calls_of_a_few_replies_break_every_client_now_and_then() -> None:
    tools = [one for one in healthy().rollouts if one.task == "tools.choice"]
    made = [
        with_damage(one, "calls-missing") if one.condition.name == "chat · non-streaming" else one
        for one in tools
    ]
    found = results([*recorded(), *made])
    partly = {result.client for result in found if result.api == "chat" and result.sometimes}
    broken = {result.client for result in found if result.api == "chat" and result.breaking}
    chat = {
        client.title
        for client in CLIENTS.values()
        if client.chat and "non-streaming" in client.modes
    }
    assert partly | broken >= chat
    assert not any(result.sometimes for result in found if result.api == "responses")


COMMANDS = {"codex", "opencode", "qwen-code", "aider", "qwen"}
"""Clients that are offered no function of ours, so that they have no call."""


@pytest.mark.parametrize(
    ("damage", "survive"),
    [
        ("arguments-in-a-fence", {"lc-py", "lc-groq", "instr", *COMMANDS}),
        ("arguments-in-single-quotes", {"adk", "sk", "agno", *COMMANDS}),
        ("arguments-without-brace", set()),  # all that were tried
    ],
)
def test_arguments_that_are_no_json_break_those_that_cannot_read_them(
    damage: str, survive: set[str]
) -> None:
    """In streams of Chat; langchain-openai, for one, reads the object before a fence."""
    made = [
        with_damage(one, damage) if one.condition.name == "chat · streaming" else one
        for one in recorded()
    ]
    partly = {each.client for each in results(made) if each.sometimes or each.breaking}
    streams = {name for name, each in CLIENTS.items() if each.chat and "streaming" in each.modes}
    assert partly == {CLIENTS[name].title for name in streams - survive}


def test_a_recording_names_only_clients_that_break() -> None:
    ours = [
        one.model_copy(update={"task": "traffic", "id": f"traffic/{one.id}"}) for one in recorded()
    ]
    assert client_results((), conversations(list(map(parse_rollout, ours))), ()) == ()
    lost = [parse_rollout(with_damage(one, "content-index-missing")) for one in ours]
    found = client_results((), conversations(lost), ())
    assert {result.client for result in found} == {HELPERS, PYDANTIC, NPM}
    assert {result.status for result in found} == {"breaks"}


@pytest.mark.parametrize("written", ["9" * 5000, "[" * 100_000])
def test_arguments_that_python_cannot_read_are_read_by_no_client(written: str) -> None:
    first = streamed_calls()[0]
    reply = Reply(call=("get_weather", f'{{"location": {written}}}'))
    exchange = first.exchanges[0].model_copy(
        update={"response": stream_response(chat_blocks(chat_chunks(reply)))}
    )
    made = conversations([parse_rollout(first.model_copy(update={"exchanges": (exchange,)}))])
    assert [one.calls for one in made] == [True]


def test_custom_tools_and_cut_replies_are_no_conversations_of_all_clients() -> None:
    one = next(one for one in recorded() if one.task == "tool_calling")
    assert is_conversation(parse_rollout(one.model_copy(update={"task": "traffic"})))
    first, *tools = one.exchanges[0].request.body["tools"]
    other = one.model_copy(update={"task": "traffic", "exchanges": one.exchanges[:1]})
    custom = {"tools": [{**first, "type": "custom"}, *tools]}
    assert not is_conversation(parse_rollout(asked(other, custom)))


@pytest.mark.parametrize(("damage", "clients"), [("", set()), ("usage-details-null", {"codex"})])
def test_a_cut_reply_breaks_whom_its_usage_breaks(damage: str, clients: set[str]) -> None:
    cut = [
        with_damage(one, damage).model_copy(update={"task": "traffic"})
        for one in healthy().rollouts
        if one.task == "limits" and one.condition.name == "responses · streaming"
    ]
    parsed = [each for each in map(parse_rollout, cut) if each.exchanges[0].truncated]
    found = client_results((), conversations(filter(is_conversation, parsed)), ())
    assert parsed
    assert {each.client for each in found} == {CLIENTS[name].title for name in clients}


def streamed_calls() -> list[Rollout]:
    """Conversations with calls over Chat, the shortest first."""
    found = [
        one
        for one in healthy().rollouts
        if one.task == "tool_calling" and one.condition.api == "chat" and one.condition.streaming
    ]
    return sorted(found, key=lambda one: sum(len(e.response.parts) for e in one.exchanges))


@pytest.mark.parametrize(("odd", "broken"), [((11,), 1), ((0,), 1), (range(12), 12)])
def test_what_is_not_read_is_like_most_of_what_is_read(odd: Iterable[int], broken: int) -> None:
    """Of sixteen conversations, twelve are read; what their bytes show tells them apart."""
    those = [
        parse_rollout(with_damage(one, "call-index-missing") if at in odd else one)
        for at, one in enumerate(streamed_calls()[:16])
    ]
    assert sum(any(one.read.values()) for one in conversations(those)) == broken


def test_replies_of_one_form_are_read_once_and_each_as_if_it_were_alone():
    """Texts and numbers change nothing; a member, an event or the framing of one does."""
    first, *others = streamed_calls()[:6]
    those = [parse_rollout(one) for one in (with_damage(first, "call-index-missing"), *others)]
    made = {one.record: one for one in conversations(those)}
    alone = {one.rollout.id: conversations([one])[0] for one in those}
    assert made == alone
    forms = {tuple(sorted(one.read.items())) for one in alone.values()}
    assert len({id(one.read) for one in made.values()}) < len(made)
    assert len(forms) == 2
