"""Every probe passes with the replies of a healthy server, and finds a defect in those of another.

Both tables name servers by the beginning of the ids of the probes; the longest that fits counts. A
probe that no row proves, here or in the tests of its group, fails here by its id.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import pytest
import test_numerics_probes as numerics
import test_probe_answers as answers
import test_probe_builtin as builtin
import test_probe_clients as clients
import test_probe_cot as cot
import test_probe_echo as echo
import test_probe_errors as errors
import test_probe_limits as limits
import test_probe_load as load
import test_probe_long as long_prompts
import test_probe_parity as parity
import test_probe_prompt as prompt
import test_probe_sampling as sampling
import test_probe_tools as tools
import test_probe_websocket as websocket
from golden_replay import GOLDEN, Replay
from healthy import exchange, json_response
from healthy import response as healthy_response
from probing import Provider, judged, refusal
from replies import Reply, chat_whole, responses_whole

from harness.golden.content import Golden
from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, Api
from harness.records.rollouts import Response, TransportFailure
from harness.records.settings import CONTEXT
from harness.rules.calls.argument_probes import TEXTS
from harness.rules.catalogue import PROBES
from harness.rules.evidence.rendering import Rendering
from harness.rules.numerics.golden_prompts import long, long_fingerprint
from harness.rules.probe import ProbeRequest
from harness.rules.prompt.probes import PROMPTS
from harness.run.attempts import Attempt

Results = Mapping[str, RuleResult]
LONG = GOLDEN.model_copy(
    update={
        "continuations": {each.id: GOLDEN.continuations["list"] for each in long("chat")},
        "requests_sha256": long_fingerprint(),
    }
)


@dataclass(frozen=True)
class Healthy:
    """A healthy server, and the run in which both servers are judged."""

    server: Provider
    apis: tuple[Api, ...] = BOTH_APIS
    golden: Golden | None = None
    max_context: int = CONTEXT


# --- Servers


def rendering(how: Rendering) -> Provider:
    """A server that renders prompts in this way, and reports their tokens."""

    def server(request: ProbeRequest, attempt: Attempt) -> Response:
        tokens = prompt.healthy(PROMPTS[request.id], how) - prompt._SYSTEM_MESSAGE
        return clients.answer(attempt.condition.api, tokens)

    return server


def counting_otherwise(request: ProbeRequest, attempt: Attempt) -> Any:
    """A server whose prompt tokens have nothing to do with the prompt."""
    return clients.answer(attempt.condition.api, 100 + 3 * sum(map(ord, request.id)))


def refusing_forms(request: ProbeRequest, attempt: Attempt) -> Any:
    """A server that accepts only plain requests."""
    return refusal() if request.id.startswith("form ") else clients.healthy(request, attempt)


def damaging(request: ProbeRequest, _: Attempt) -> Reply:
    """A server that loses the same part of all texts in arguments."""
    text = TEXTS[request.id]
    damaged = tools._changing(f"{text.before}{text.after}".rstrip() or text.special[:-3], request)
    return replace(damaged, reasoning=f"The text is: {text.intact}")


def escaping(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A server that escapes letters beyond ASCII in streams."""
    text = TEXTS[request.id]
    said = json.dumps(text.arguments, ensure_ascii=attempt.condition.streaming)
    return Reply(call=(text.tool, said))


def in_every_form(request: ProbeRequest, _: Attempt, *, but: str = "") -> Response | Reply:
    """A server whose answers are JSON in every form, or not in one."""
    said = answers.PROSE if request.id == but else answers.FREE
    whole = chat_whole(said)
    if request.id != "choices":
        return said
    first = chat_whole(answers.FREE)["choices"][0]
    others = [{**whole["choices"][0], "index": index} for index in (1, 2, 3)]
    return json_response({**whole, "choices": [first, *others]})


def in_namespace(request: ProbeRequest, attempt: Attempt) -> Any:
    """A server whose calls name the namespace of their function."""
    if request.id != "namespace":
        return tools._chosen(request, attempt)
    said = healthy_response("responses", streaming=attempt.condition.streaming, reply=WEATHER)
    named = f'"name": "{tools.WEATHER.name}"'
    changed = said.model_dump_json().replace(
        json.dumps(named)[1:-1], json.dumps(f'{named}, "namespace": "forecasts"')[1:-1]
    )
    return Response.model_validate_json(changed)


def leaving(after: Reply | Response) -> Provider:
    """A server that answers in this way after a client has left its stream."""

    def server(request: ProbeRequest, attempt: Attempt) -> Any:
        if request.id == "next":
            return after
        begun = healthy_response(attempt.condition.api, streaming=True, reply=UNANSWERED)
        left = TransportFailure(kind="left", message="the client left the stream")
        begun = begun.model_copy(update={"complete": False})
        return [exchange(attempt.condition.api, True, begun, failure=left)]

    return server


def following(**second: object) -> Provider:
    """A server whose responses run in the background, and have these members when retrieved."""

    def server(request: ProbeRequest, _: Attempt) -> Any:
        done = responses_whole(Reply(text="Hello!")) | {"store": True}
        if request.id == "kept":
            return [json_response(done), json_response(done | second)]
        begun = done | {"status": "queued", "output": [], "background": True}
        ended = {} if request.id == "background" else {"status": "cancelled", "output": []}
        return [json_response(begun), json_response(done | {"background": True} | ended | second)]

    return server


def writing(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A server whose calls have the arguments that the request asks for."""
    if request.id not in TEXTS:
        return tools._typed({})(request, attempt)
    return tools._writing(TEXTS[request.id].intact, request)


def retyping(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A server that leaves out what is in the arguments of streams."""
    written = writing(request, attempt)
    if not attempt.condition.streaming:
        return written
    return replace(written, call=(str(request.wanted and request.wanted.name), "{}"))


def filing(request: ProbeRequest, attempt: Attempt, *, loses: bool = False) -> Reply:
    """A server whose calls write the wanted file, or lose it in streams."""
    assert request.wanted
    right = json.dumps(request.wanted.arguments)
    sent = "{}" if loses and attempt.condition.streaming else right
    return Reply(call=(request.wanted.name, sent), wrote=(request.wanted.name, right))


def lengthening(request: ProbeRequest, attempt: Attempt) -> Reply:
    """A server that makes the names of functions longer."""
    said = tools._offered(request, attempt)
    name, given = said.call or ("", "")
    return replace(
        said,
        call=(f"{name}_of_server", given),
        wrote=said.call,
        reasoning=f"I call {name}.",
    )


def announced(text: str | None, tokens: int) -> Provider:
    whole = chat_whole(replace(tools.calling(tools.WEATHER), text=text))
    whole["usage"] |= {"completion_tokens": tokens}
    return lambda *_: json_response(whole)


def copied(*_: object) -> Response:
    """A server that fills an empty answer with the CoT."""
    whole = chat_whole(Reply(text=""))
    message = whole["choices"][0]["message"]
    message["content"] = message["reasoning"]
    return json_response(whole)


def in_streams(change: Callable[[Reply], Reply]) -> Provider:
    """A server that changes the replies of streams."""

    def server(request: ProbeRequest, attempt: Attempt) -> Reply:
        said = parity.reply(request)
        return change(said) if attempt.condition.streaming else said

    return server


def long_but(beginning: str, **changes: Any) -> Provider:
    """A server that fails in the long prompts whose names begin so."""
    return long_prompts.healthy_except(
        long_prompts.starting(*beginning.split(",")), partial(long_prompts.reply, **changes)
    )


def copying(**changes: Any) -> Provider:
    """A server whose long replies have these properties."""

    def server(request: ProbeRequest, attempt: Attempt) -> Response:
        copied = request.id in long_prompts.COPIED
        healthy = long_prompts.healthy
        return long_prompts.copying(attempt, **changes) if copied else healthy(request, attempt)

    return server


WEATHER = tools.calling(tools.WEATHER)
UNANSWERED = Reply(text="Hello!")

HEALTHY: Mapping[str, Healthy] = {
    "errors": Healthy(errors.healthy),
    "errors.overflow": Healthy(lambda *_: errors.REFUSED),
    "tools.arguments": Healthy(writing),
    "tools.choice": Healthy(tools._chosen),
    "tools.names": Healthy(tools._offered),
    "tools.namespace": Healthy(in_namespace, ("responses",)),
    "tools.preamble": Healthy(announced("I look it up.", 60), ("chat",)),
    "tools.files": Healthy(filing),
    "tools.loop": Healthy(tools._looping),
    "tools.results": Healthy(tools._with_results),
    "tools.results.order": Healthy(tools._telling(lambda asked: asked)),
    "tools.schema": Healthy(lambda *_: WEATHER),
    "cot": Healthy(cot.reader()),
    "cot.alone": Healthy(lambda *_: Reply(text=""), ("chat",)),
    "structured": Healthy(answers.structures(answers.GOOD, answers.FREE), ("chat",)),
    "structured.object.streaming": Healthy(in_every_form, ("chat",)),
    "structured.object.tools": Healthy(in_every_form, ("chat",)),
    "structured.choices": Healthy(in_every_form, ("chat",)),
    "state.retrieved": Healthy(following(), ("responses",)),
    "state.websocket": Healthy(websocket.serving(), ("responses",)),
    "state.background": Healthy(following(), ("responses",)),
    "state": Healthy(cot.continued(), ("responses",)),
    "parity": Healthy(in_streams(lambda reply: reply)),
    "echo": Healthy(echo.provider(echo.unchanged, echo.unchanged)),
    "prompt": Healthy(rendering(Rendering())),
    "clients": Healthy(clients.healthy),
    "limits": Healthy(limits.healthy),
    "long": Healthy(long_prompts.healthy, ("chat",), max_context=long_prompts.CONTEXT),
    "long.output": Healthy(copying(), ("chat",), max_context=32_768),
    "long.numerics": Healthy(Replay(golden=LONG), golden=GOLDEN.model_copy(update={"long": LONG})),
    "load.left": Healthy(leaving(UNANSWERED)),
    "load": Healthy(lambda request, _: load.about(request.id, request)),
    "builtin": Healthy(builtin.served(), ("responses",)),
    "sampling": Healthy(sampling.healthy),
    "sampling.distribution": Healthy(
        numerics.drawing(lambda texts, number: texts[3 * number % len(texts)]), ("chat",), GOLDEN
    ),
    "sampling.probabilities": Healthy(answers.sampled(1.0), ("chat",)),
    "numerics": Healthy(Replay(), golden=GOLDEN),
    "options": Healthy(answers.repeats(), ("responses",)),
}
PROVEN = {
    rule
    for rows in (
        *(tools.SERVERS, cot.SERVERS, sampling.SERVERS, errors.SERVERS),
        *(answers.SERVERS, answers.OPTIONS, limits.SERVERS, numerics.SERVERS, websocket.SERVERS),
        *(long_prompts.SERVERS, long_prompts.OUTPUTS, dict(enumerate(answers.STRUCTURED))),
    )
    for row in rows.values()
    for found in row
    if isinstance(found, Mapping)
    for rule, status in found.items()
    if status.startswith(("failed", "warned"))
}
"""The probes that find a defect in the servers of the tests of their group."""
BROKEN: Mapping[str, Provider] = {
    "tools.arguments": lambda *each: (damaging if each[0].id in TEXTS else retyping)(*each),
    "tools.arguments.encoding": escaping,
    "tools.choice": lambda request, _: UNANSWERED if request.id != "none" else WEATHER,
    "tools.choice.parallel": lambda *_: refusal(500),
    "tools.files.readable": lambda *_: refusal(500),
    "tools.files.kept": partial(filing, loses=True),
    "tools.names.kept": lengthening,
    "tools.loop.goes_on": lambda *each: [tools._looping(*each)[0], refusal(500)],
    "tools.schema": lambda *_: refusal(500),
    "structured.object.streaming": partial(in_every_form, but="object streamed"),
    "structured.object.tools": partial(in_every_form, but="object with a tool"),
    "structured.choices": partial(in_every_form, but="choices"),
    "state.previous_response.cot": cot.continued(keeps_cot=False),
    "state.previous_response.answer": cot.continued(keeps_answer=False),
    "state.previous_response.tools": cot.continued(tools="old"),
    "state.retrieved": following(output=[]),
    "state.background": following(status="in_progress"),
    "parity.reasoning": in_streams(lambda reply: replace(reply, reasoning="")),
    "parity.calls": in_streams(lambda reply: replace(reply, call=None, text="Hm.")),
    "parity.finish": in_streams(lambda reply: replace(reply, call=None, text="Hm.")),
    "parity.text": in_streams(lambda reply: replace(reply, text=reply.text and "")),
    "parity.usage.prompt": in_streams(
        lambda reply: replace(reply, prompt=reply.prompt + 1, reasoning="Another prompt.")
    ),
    "parity.usage.prompt.count": in_streams(lambda reply: replace(reply, prompt=reply.prompt + 1)),
    "parity.usage.output": parity._counting(completion_tokens=400),
    "echo.returned": echo.provider(echo.unchanged, str.upper),
    "prompt": counting_otherwise,
    "prompt.tool.order": rendering(Rendering(instructions_last=True)),
    "clients": refusing_forms,
    "long.foreign": long_but("6000", says=long_prompts.WORDS["1000 at 2%"]),
    "long.words": long_but("6000,25 steps", says="I do not know."),
    "long.prefix.numbers": long_but("warm,again", shift=2),
    "long.numerics.logprobs": Replay(golden=LONG, noise=2 * LONG.tolerance.median),
    "long.numerics.greedy": numerics.Other(golden=LONG, least=2 * LONG.tolerance.gap),
    "load.cross_talk": lambda request, _: load.about("nowhere", request),
    "load.left": leaving(refusal(500)),
    "load.served": lambda *_: refusal(500),
    "builtin.offered": builtin.served("builtin-undeclared"),
    "builtin.shown": builtin.served("program-hidden"),
    "builtin.results": builtin.served("builtin-reasoning-dropped"),
    "builtin.limit": builtin.served("builtin-calls-unlimited"),
    "builtin.citations": builtin.served("citations-unmapped"),
    "sampling.distribution": numerics.drawing(lambda texts, _: texts[0][::-1]),
    "numerics.recipient": Replay(golden=GOLDEN.in_order("after")),
}


def row(table: Mapping[str, object], probe: str) -> str:
    """The name of the row of a table that fits a probe best. Raises LookupError."""
    fitting = [name for name in table if f"{probe}.".startswith(f"{name}.")]
    if not fitting:
        raise LookupError(f"no row has replies that prove {probe}")
    return max(fitting, key=len)


@cache
def judged_together(server: Provider, healthy: str, rules: tuple[str, ...]) -> Results:
    """The results of the probes that a row proves, in the run of a healthy server."""
    run = HEALTHY[healthy]
    groups = {PROBES[rule].group.name: PROBES[rule].group for rule in rules}
    return {
        name: result
        for group in groups.values()
        for name, result in judged(
            replace(group, probes=[each for each in group.probes if each.id in rules]),
            server,
            run.apis,
            run.golden,
            run.max_context,
        ).items()
    }


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_passes_on_a_healthy_server(probe: str) -> None:
    name = row(HEALTHY, probe)
    rules = tuple(rule for rule in PROBES if row(HEALTHY, rule) == name)
    assert judged_together(HEALTHY[name].server, name, rules)[probe].status == "passed"


@pytest.mark.parametrize("probe", sorted(PROBES.keys() - PROVEN))
def test_a_probe_finds_a_defect(probe: str) -> None:
    name, healthy = rows = row(BROKEN, probe), row(HEALTHY, probe)
    rules = tuple(
        rule
        for rule in sorted(PROBES.keys() - PROVEN)
        if (row(BROKEN, rule), row(HEALTHY, rule)) == rows
    )
    assert judged_together(BROKEN[name], healthy, rules)[probe].failures


def test_every_row_proves_a_probe() -> None:
    assert {row(HEALTHY, probe) for probe in PROBES} == HEALTHY.keys()
    assert {row(BROKEN, probe) for probe in PROBES.keys() - PROVEN} == BROKEN.keys()
