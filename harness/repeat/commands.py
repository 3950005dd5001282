"""The requests of a finding as shell commands, as Python, and as the text of an issue."""

import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from inspect import signature
from operator import attrgetter

from harness.api import DIALECTS
from harness.api.parsed_request import MESSAGE
from harness.api.responses import FINAL_EVENTS
from harness.records.conditions import Api
from harness.records.redact import REDACTED
from harness.records.register import elsewhere
from harness.records.rollouts import SDK, Exchange, Response
from harness.records.scores import Evidence
from harness.repeat.experiment import Outcome
from harness.repeat.smaller import Body
from harness.repeat.subject import CONTINUES, Subject
from harness.rules.catalogue import PROBES
from harness.rules.suites import CASES

_KEY_VARIABLE = "API_KEY"
_NOT_SENT = re.compile(
    r"accept-encoding|user-agent|connection|content-type|authorization|x-stainless-.*"
)
"""Headers that a command does not repeat; the key is added by name."""
_MOST_LINES = 24  # of all requests and responses in the text of an issue
_LONGEST_LINE = 1_000  # characters of such a line of a response
_MEMBER = re.compile(r"[A-Za-z_]\w*")  # a name in a JSON path


def key_variable(exchange: Exchange, of_entry: str | None = None) -> str | None:
    """Return the environment variable with the key: that of the provider's entry, if it has one.

    None if the request had no key.
    """
    had_one = "authorization" in map(str.lower, exchange.request.headers)
    return of_entry or (_KEY_VARIABLE if had_one else None)


def curl(
    exchange: Exchange, body: Body | str | None, key: str | None, indent: int | None = 1
) -> str:
    """A request as a curl command with this body; `key` is the environment variable of the key.

    A message over WebSocket is a command of websocat.
    """
    if exchange.request.over_websocket:
        message = body if isinstance(body, str) else _shown(body)
        sent = f"printf '%s\\n' {shlex.quote(message)} | websocat -n"
        return " \\\n  ".join(
            [sent, *_key_headers(exchange, key), shlex.quote(exchange.request.url)]
        )
    response = exchange.response
    compressed = "--compressed " if response and "content-encoding" in response.headers else ""
    url = shlex.quote(exchange.request.url)
    lines = [f"curl -sS {compressed}{url}", "-H 'Content-Type: application/json'"]
    lines += _key_headers(exchange, key)
    if isinstance(body, Mapping):
        body = _shown(dict(body), indent)
    if body is not None:
        lines.append(f"-d {shlex.quote(body)}")
    return " \\\n  ".join(lines)


def _shown(body: object, indent: int | None = None) -> str:
    """Return JSON with all characters that a reader sees, and escapes of the others."""
    text = json.dumps(body, ensure_ascii=False, indent=indent)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def python(
    api: Api, base_url: str, bodies: Sequence[Body], key: str | None, accept: str = SDK.accept
) -> str:
    """Requests as a Python program with the openai package; `accept` is the header `Accept`."""
    api_key = "'none'" if key is None else f"os.environ[{key!r}]"
    if accept != SDK.accept:
        api_key += f", default_headers={{'Accept': {accept!r}}}"
    lines = [
        *(["import os", ""] if key else []),
        "from openai import OpenAI",
        "",
        f"client = OpenAI(base_url={base_url!r}, api_key={api_key}, max_retries=0)",
    ]
    if any(body.get("type") == MESSAGE for body in bodies):
        lines.append("with client.responses.connect() as connection:")
        lines += [f"    {line}" for body in bodies for line in _message(body, body is bodies[0])]
        return "\n".join(lines)
    for body in bodies:
        lines += _call(api, body, first=body is bodies[0])
    return "\n".join(lines)


def _message(body: Body, first: bool) -> Iterator[str]:
    """A message over WebSocket, as `_call`."""
    continues = "" if first or CONTINUES not in body else f" | {{{CONTINUES!r}: event.response.id}}"
    yield f"connection.send({dict(body)!r}{continues})"
    yield "for event in connection:"
    yield "    print(event.to_json(indent=None))"
    yield f"    if event.type in {(*FINAL_EVENTS, 'error')!r}:"
    yield "        break"


def _call(api: Api, body: Body, *, first: bool) -> Iterator[str]:
    """A request; one that continues a stored response continues that of the previous request."""
    known = _parameters(api)
    others = {name: value for name, value in body.items() if name not in known}
    yield f"reply = client.{DIALECTS[api].sdk}.create("
    for name, value in body.items():
        if name in known:
            yield f"    {name}={'reply.id' if name == CONTINUES and not first else repr(value)},"
    if others:
        yield f"    extra_body={others!r},"
    yield ")"
    if body.get("stream"):
        yield "for event in reply:\n    print(event.model_dump_json())"
        if api == "responses":
            yield "reply = event.response"
    else:
        yield "print(reply.model_dump_json(indent=2))"


def issue(subject: Subject, commands: Sequence[str], outcome: Outcome) -> str:
    """A finding of a run as an issue in Markdown of at most 60 lines.

    It has what was sent, expected and received, and a command that tests the server again.
    `commands` send its requests, and then the one with which its reply is compared, if any. What
    was received is the reply to the request that is shown, if this was sent again.
    """
    about = subject.rule.about
    finding, received = outcome.again or (subject.finding, subject.exchange)
    lines = [
        f"# {finding.message.rstrip('.')} ({subject.rollout.condition.name})",
        "",
        about.summary,
        "",
        f"- Expected: {finding.evidence.expected}",
        f"- Received: {finding.evidence.shown}",
        f"- Seen in a run: {subject.result.share} replies"
        + (f", and in {outcome.seen} of {outcome.answered} repetitions" * bool(outcome.answered)),
        f"- Specification: {about.source}",
    ]
    if subject.cause is not None:
        lines.append(f"- Likely cause: {subject.cause.sentence} {subject.cause.remedy}")
    if about.why:
        lines.append(f"- Why it matters: {about.why}")
    if seen := elsewhere(about.id):
        lines.append(f"- Also {seen}")
    if subject.compared is not None:
        lines.append(f"- Compare: {subject.difference}")
    answers, own, other = [("", received, finding.evidence.event)], "", ""
    if subject.compared is not None:
        own, other = f" '{subject.rollout.sample}'", f" '{subject.compared.sample}' for comparison"
        answers = [(own, received, finding.evidence.event)]
        answers.append((other, subject.compared.exchanges[-1], None))
    most = _MOST_LINES // (len(commands) + len(answers))
    for name, command in zip([own] * len(subject.requests) + [other], commands, strict=False):
        lines += ["", f"## Request{name}", "", "```sh", command, "```"]
    for name, exchange, event in answers:
        shown = _response(exchange, event, finding.evidence, most)
        lines += ["", f"## Response{name}", "", "```", *shown, "```"]
    origin = f"Found by the {about.kind} `{about.id}` of gpt-oss-verify {version('gpt-oss-verify')}"
    lines += ["", f"{origin}. This tests a server for it:", "", f"    {_command(subject)}"]
    return "\n".join(lines)


def _command(subject: Subject) -> str:
    """Return a command that tests the server for a finding, without the folder of the run.

    Of a check, it sends the request of the probe that has the finding, or the cases.
    """
    rollout, only = subject.rollout, subject.rule.about.id
    sent_by = (p for p in PROBES.values() if p.group.name == rollout.task)
    if only not in PROBES:
        sent = next((p.id for p in sent_by if rollout.sample in p.uses), CASES)
        only = f"{sent} --must-pass {only}"
    address = subject.exchange.request.url.removesuffix(DIALECTS[rollout.api].path)
    if subject.exchange.request.over_websocket:
        address = f"http{address.removeprefix('ws')}"
    model = shlex.quote(rollout.condition.model)
    return f"gpt-oss-verify --base-url {shlex.quote(address)} --model {model} --only {only}"


def _parameters(api: Api) -> Collection[str]:
    """Return the parameters of `create` in the openai package; others are sent as `extra_body`."""
    from openai import OpenAI

    create = attrgetter(f"{DIALECTS[api].sdk}.create")(OpenAI(api_key="-"))
    return signature(create).parameters


def _key_headers(exchange: Exchange, key: str | None) -> Iterator[str]:
    if key is not None:
        yield f'-H "Authorization: Bearer ${key}"'
    for name, value in exchange.request.headers.items():
        if not _NOT_SENT.fullmatch(name.lower()):
            shown = f"${{{name.upper().replace('-', '_')}}}" if value == REDACTED else value
            quoted = f'"{name}: {shown}"' if value == REDACTED else shlex.quote(f"{name}: {value}")
            yield f"-H {quoted}"


def _response(
    exchange: Exchange, event: int | None, evidence: Evidence, most: int
) -> Iterator[str]:
    """Yield the lines of a response; of a long one, the first, and those around the evidence."""
    response = exchange.response
    if exchange.failure is not None:
        yield exchange.failure.message
    if response is None:
        return
    yield f"HTTP {response.status}"
    member = (_MEMBER.findall(evidence.path or "") or [""])[-1]
    lines, at = _lines(response, event, member)
    shown = [_around(line, _place(line, member)[1]) for line in lines]
    begin = 0 if at < most else min(at - most // 2, len(lines) - most + 1)
    if begin:
        yield shown[0]
        yield f"… {begin - 1} more lines"
    end = begin + most - (1 if begin else 0)
    yield from shown[begin:end]
    if len(lines) > end:
        yield f"… {len(lines) - end} more lines"


def _lines(response: Response, event: int | None, member: str) -> tuple[list[str], int]:
    """Return the lines of a response that are not empty, and the one with the evidence.

    This is the first one of an event. Without an event, it is the last one with the member that
    the path of the finding names, or else the end of a stream or the beginning of a body.
    """
    parts = [[line for line in part.raw.splitlines() if line] for part in response.parts]
    lines = [line for part in parts for line in part]
    if event is not None and 0 <= event < len(parts):
        return lines, sum(map(len, parts[:event]))
    lines = lines or [line for line in response.text.splitlines() if line]
    sure, at = max(((_place(e, member)[0], at) for at, e in enumerate(lines)), default=(0, 0))
    return lines, at if sure or parts else 0


def _place(line: str, member: str) -> tuple[int, int]:
    """Return 2 and the last place of a member in a line; 1 if it is only null there, 0 if not."""
    found = re.finditer(rf'"{member}"\s*:\s*(null)?', line)
    return max(((1 if each[1] else 2, each.start()) for each in found), default=(0, 0))


def _around(line: str, place: int) -> str:
    """Return a line, or of a long one the part around a place."""
    if len(line) <= _LONGEST_LINE:
        return line
    begin = max(0, place - _LONGEST_LINE // 2)
    end = begin + _LONGEST_LINE
    return f"{'…' * bool(begin)}{line[begin:end]}{'…' * (end < len(line))}"
