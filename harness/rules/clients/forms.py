"""The forms of requests that clients send, as `forms.yaml` lists them."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from pydantic import TypeAdapter

from harness.api import DIALECTS
from harness.api.items import History, RequestSettings
from harness.records.conditions import BOTH_APIS, MODES, Api, Mode
from harness.records.rollouts import SDK
from harness.records.scores import Severity
from harness.rules.evidence.tables import table
from harness.rules.probe import MAY_BE_REFUSED, NON_STREAMING, REPLY_TOKENS, ProbeRequest
from harness.rules.rule import CHAT

_SEVERITIES: Sequence[Severity] = ("error", "warning", "info")
_TOOL: Mapping[Api, str] = {"chat": "tools.0.function", "responses": "tools.0"}
"""The path of the definition of the first function."""
_ON_REQUEST = "*"  # marks a client that sends a form only if its user asks for it


@dataclass(frozen=True)
class _ByApi:
    """A text for each API over which something is sent."""

    chat: str | None = None
    responses: str | None = None

    def over(self, api: Api) -> str | None:
        """Return its text for an API; None if it is not sent over the API."""
        return self.chat if api == "chat" else self.responses

    @property
    def apis(self) -> tuple[Api, ...]:
        """The APIs over which it is sent."""
        return tuple(api for api in BOTH_APIS if self.over(api) is not None)


@dataclass(frozen=True)
class Client(_ByApi):
    """A client, and over which APIs it returns the CoT of earlier replies, in a few words."""

    title: str = ""
    wide: bool = False  # whether it is in wide use
    like: str | None = None  # the client whose requests it sends, if it only reads otherwise
    modes: tuple[Mode, ...] = MODES


CLIENTS = TypeAdapter(dict[str, Client]).validate_python(table("clients", "forms")["clients"])
CLIENTS_OF: Mapping[Api, Sequence[str]] = {
    api: [name for name, client in CLIENTS.items() if api in client.apis] for api in BOTH_APIS
}
"""The names of the clients of each API."""


class _Sent(_ByApi):
    """What is sent over each API by the clients that it names, separated by spaces."""

    def clients(self, api: Api) -> Mapping[str, bool]:
        """Return the clients that send it over an API, and whether they do so by default."""
        named = self.over(api) or ""
        return {name.rstrip(_ON_REQUEST): not name.endswith(_ON_REQUEST) for name in named.split()}


@dataclass(frozen=True)
class SharedRules(_Sent):
    """The probes and checks of other families that judge a form."""

    ids: tuple[str, ...] = ()
    name: str = ""  # without one, it has that of its form


@dataclass(frozen=True)
class Variant(_Sent):
    """One way in which clients write a form; `forms.yaml` explains the fields."""

    name: str = ""
    base: str = "base"
    set: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    omits: frozenset[str] = frozenset()
    twin: str | None = None
    slack: int = 0
    adds: int = 0  # the fewest tokens that the form has more than its twin, if any
    severity: Severity | None = None
    refusal: Severity | None = None
    named: str | None = None
    turns: int = 1
    history: History = "sent"
    received: str | None = None
    accept: str = SDK.accept

    @property
    def request(self) -> str:
        """The id of its request; that of the plain request if nothing is changed."""
        changed = self.set or self.drop or self.omits or self.accept != SDK.accept
        plain = not changed and self.turns == 1
        return self.base if plain else f"form {self.name}"

    @cached_property
    def severe(self) -> Severity:
        """The severity of a problem: error if a client in wide use sends it by default."""
        if self.severity is not None:
            return self.severity
        senders = (sender for api in self.apis for sender in self.clients(api).items())
        return "error" if any(default and CLIENTS[c].wide for c, default in senders) else "warning"

    def changes(self, plain: ProbeRequest, api: Api) -> Mapping[str, Any]:
        """Return the members of the body over an API that differ from those of `plain`."""
        body = DIALECTS[api].first_request(
            plain.turns,
            instructions=plain.instructions,
            tools=plain.tools,
            streaming=False,
            settings=RequestSettings("", history=self.history),
        )
        changed = deepcopy(body)
        for path in self.drop:
            parent, key = _place(changed, path, api)
            del parent[key]
        for path, value in self.set.items():
            parent, key = _place(changed, path.removeprefix("+"), api)
            if path.startswith("+"):
                parent.insert(key, value)
            else:
                parent[key] = value
        return {key: member for key, member in changed.items() if member != body.get(key, ...)}

    def sent(self, plain: ProbeRequest) -> ProbeRequest:
        """Return its request, which changes members of the body of `plain`."""
        request = replace(
            plain,
            id=self.request,
            options={},
            options_of=partial(self.changes, plain),
            apis=self.apis,
            omits=self.omits,
            provokes=plain.provokes | MAY_BE_REFUSED | {"request.failed"},
            sender=replace(plain.sender, accept=self.accept),
        )
        if self.turns == 1:
            return request
        whole = replace(request, max_tokens=REPLY_TOKENS, whole=True)
        return replace(whole, max_turns=self.turns, history=self.history)


def _place(body: dict[str, Any], path: str, api: Api) -> tuple[Any, Any]:
    """Return the list or object that contains the member of a path, and its index or key."""
    steps = path.replace("tool.", f"{_TOOL[api]}.", 1) if path.startswith("tool.") else path
    *parents, last = (int(step) if step.isdigit() else step for step in steps.split("."))
    parent: Any = body
    for step in parents:
        parent = parent[step]
    return parent, last


@dataclass(frozen=True)
class Form:
    """What several clients send: variants of requests, and rules of other families."""

    name: str
    summary: str
    why: str
    source: str = CHAT
    variants: tuple[Variant, ...] = ()
    rules: tuple[SharedRules, ...] = ()
    modes: tuple[Mode, ...] = NON_STREAMING  # in which its variants are sent

    @property
    def severity(self) -> Severity:
        """The severity of its most severe variant."""
        return min((variant.severe for variant in self.variants), key=_SEVERITIES.index)

    @property
    def rule(self) -> str:
        """The id of its probe."""
        return f"clients.{self.name}"

    @property
    def parts(self) -> tuple[Variant | SharedRules, ...]:
        """Its variants, and the rules of others."""
        return (*self.variants, *self.rules)

    def twin(self, variant: Variant) -> str | None:
        """Return the request with the same prompt, if a variant has one."""
        if variant.twin is None:
            return variant.base
        named = (other.request for other in self.variants if other.name == variant.twin)
        return next(named, variant.twin) or None


FORMS = TypeAdapter(tuple[Form, ...]).validate_python(table("clients", "forms")["forms"])


def form_requests(plain: Mapping[str, ProbeRequest]) -> Iterator[ProbeRequest]:
    """Yield the requests of all variants that change one of these requests."""
    for form in FORMS:
        for variant in form.variants:
            if variant.request != variant.base:
                yield variant.sent(plain[variant.base])
