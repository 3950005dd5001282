"""A finding as a curl command, as Python with the openai package, and as an issue text. No I/O."""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from inspect import signature
from operator import attrgetter

from harness.api import DIALECTS
from harness.records.conditions import Api
from harness.records.rollouts import Exchange
from harness.reproduction.resend import CONTINUES, Body, Repeats, Subject
from harness.transport.redact import REDACTED

KEY_VARIABLE = "API_KEY"
NOT_SENT = frozenset({"accept", "accept-encoding", "user-agent", "content-type", "authorization"})
"""Headers that a command does not repeat; the key is added by name."""
LONGEST_REPLY = 3_000  # characters of a response in an issue text


def curl(exchange: Exchange, body: Body | str | None, key: str | None) -> str:
    """A request as a curl command with this body; `key` is the environment variable of the key."""
    lines = [f"curl -sS {shlex.quote(exchange.request.url)}", "-H 'Content-Type: application/json'"]
    lines += _key_headers(exchange, key)
    if body is not None:
        text = (
            body if isinstance(body, str) else json.dumps(dict(body), ensure_ascii=False, indent=1)
        )
        lines.append(f"-d {shlex.quote(text)}")
    return " \\\n  ".join(lines)


def python(api: Api, base_url: str, bodies: Sequence[Body], key: str | None) -> str:
    """Requests as a Python program with the openai package."""
    api_key = "'none'" if key is None else f"os.environ[{key!r}]"
    lines = [
        *(["import os", ""] if key else []),
        "from openai import OpenAI",
        "",
        f"client = OpenAI(base_url={base_url!r}, api_key={api_key}, max_retries=0)",
    ]
    for body in bodies:
        lines += _call(api, body, first=body is bodies[0])
    return "\n".join(lines)


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


def issue(subject: Subject, commands: list[str], repeats: Repeats | None) -> str:
    """A finding as an issue in Markdown: what was sent, expected and received."""
    finding, about = subject.finding, subject.rule.about
    lines = [
        f"# {about.summary.rstrip('.')}: violated under {subject.rollout.condition.name}",
        "",
        finding.message,
        "",
        f"- Expected: {finding.evidence.expected}",
        f"- Received: {finding.evidence.got}",
        f"- Seen in a run: {subject.result.share} replies"
        + (f", and in {repeats.seen} of {repeats.sent} repetitions" if repeats else ""),
        f"- Specification: {about.source}",
    ]
    if about.why:
        lines.append(f"- Why it matters: {about.why}")
    lines += ["", "## Request", ""]
    for command in commands:
        lines += ["```sh", command, "```", ""]
    lines += ["## Response", "", "```", *_response(subject.exchange), "```", ""]
    lines.append(f"Found by the {about.kind} `{about.id}` of gpt-oss-verify.")
    return "\n".join(lines)


def _parameters(api: Api) -> Collection[str]:
    """The parameters of `create` in the openai package; others are sent as `extra_body`."""
    from openai import OpenAI

    create = attrgetter(f"{DIALECTS[api].sdk}.create")(OpenAI(api_key="-"))
    return signature(create).parameters


def _key_headers(exchange: Exchange, key: str | None) -> Iterator[str]:
    if key is not None:
        yield f'-H "Authorization: Bearer ${key}"'
    for name, value in exchange.request.headers.items():
        if name.lower() not in NOT_SENT:
            shown = f"${{{name.upper().replace('-', '_')}}}" if value == REDACTED else value
            quoted = f'"{name}: {shown}"' if value == REDACTED else shlex.quote(f"{name}: {value}")
            yield f"-H {quoted}"


def _response(exchange: Exchange) -> Iterator[str]:
    response = exchange.response
    if exchange.failure is not None:
        yield exchange.failure.message
    if response is None:
        return
    yield f"HTTP {response.status}"
    text = response.body or "\n\n".join(part.raw for part in response.parts)
    yield text if len(text) <= LONGEST_REPLY else f"{text[:LONGEST_REPLY]}…"
