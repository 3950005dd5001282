"""Probes: rules about several requests that are judged together.

A probe group defines requests, and each of its probes judges the responses to some of them, so that
probes share requests. A probe is a pure function from recorded responses to trial results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Unpack

from harness.api.fields import objects
from harness.api.items import History, Reply, RequestSettings, Sample
from harness.api.json_text import parsed_object
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.statuses import TIMEOUTS, lockout, overloaded
from harness.golden.content import Golden
from harness.records.conditions import APIS, BOTH_APIS, Api, Mode
from harness.records.reasons import Reason
from harness.records.replies import Wanted
from harness.records.rollouts import SDK, Sender
from harness.records.runs import Capability
from harness.records.settings import CONTEXT, SuiteName
from harness.rules.account import NO_ACCOUNT, Account
from harness.rules.account.differences import has_arguments
from harness.rules.account.entry import Entry
from harness.rules.missing import NotVerifiableError, Unlike, unlike
from harness.rules.refusals import (
    declined,
    failure,
    foreign_reason,
    is_refusal,
    outcome,
    refused,
    require_intact,
)
from harness.rules.rule import Declared, OnceWith, Problem, Relation, Rule, Shared, members

GARBLED = frozenset({"text.garbled", "text.garbled.beyond_ascii"})
"""Checks to skip for text that is truncated within a character or sampled at high temperature."""
MAY_BE_REFUSED = frozenset({"request.refused"})
"""What a request provokes that a provider may refuse: its refusal violates no check."""
REPLY_TOKENS = 1024
"""Default limit of output tokens of a probe request.

Of the recorded replies of gpt-oss to short requests, a few are longer; `MORE_TOKENS` is for these.
"""
PUZZLE_TOKENS = 2048  # output tokens of the reply to a puzzle, whose CoT is long
MORE_TOKENS = 4096  # output tokens of the retry of a reply that `REPLY_TOKENS` truncated
_TOO_MANY = frozenset({"429", "rate_limit_exceeded", "rate_limit_error", "too_many_requests"})
"""The code or type of the same error in a response with another status: gateways report the rate
limit of an upstream provider in a 200, and OpenAI's API in `response.failed`."""
_CUT = "cut"
EQUAL_REFUSALS = OnceWith("request.refused", fewest=4)
_FEWEST_ALIKE = 2  # replies with one wrong value, which are no single slip
NON_STREAMING: tuple[Mode, ...] = ("non-streaming",)


@dataclass(frozen=True)
class ProbeRequest(Sample):
    """One conversation, sent over every API and mode of the probes that use it.

    `max_tokens` is part of the experiment, unless it is `REPLY_TOKENS` or `PUZZLE_TOKENS`: these
    only end endless replies, and the token limit of the run replaces them. `options` are additional
    members of the request body, `options_of` makes those that differ by API. `history` is as in
    `RequestSettings`, `sender` as in `Attempt`.
    """

    effort: str | None = None
    temperature: float | None = None
    max_tokens: int | None = REPLY_TOKENS
    options: Mapping[str, Any] = field(default_factory=dict)
    options_of: Callable[[Api], Mapping[str, Any]] | None = None
    apis: tuple[Api, ...] = APIS  # over which it is sent, if a probe of its group needs them
    omits: frozenset[str] = frozenset()  # members that are left out of the request body
    tries: int = 1
    confirming: int = 0
    """How many of the tries are made only if the run has found something without them."""
    sequential: bool = False  # whether each try begins when the previous one has ended
    after: str | None = None
    """The request of the same group whose try of the same number ends before this begins."""
    context: int = 0  # tokens of prompt and reply that must fit the context; 0 if they always do
    max_turns: int = 1
    history: History = "sent"
    sender: Sender = SDK
    modes: tuple[Mode, ...] = ()
    """The modes in which it is sent with any probe of its group, so that checks judge the replies;
    it is always sent in those of the probes that use it."""
    whole: bool = True
    """Whether only a whole reply can be judged. One that the token limit cut is not judged; unless
    that was the limit of the run, it is requested once more with `MORE_TOKENS`."""
    valid: bool = True
    """Whether the request is valid. No check judges the response to an invalid one."""
    provokes: frozenset[str] = frozenset()
    """The checks that the response may violate because of the request."""
    wanted: Wanted | None = None
    """What the reply must have in it if the model does as the request says. The account of the
    replies says whether the server or the model wrote something else. Requests with the same
    conversation need no such declaration to be compared: one that a limit or a stop string ends
    must be the beginning of one that neither ends."""

    def over(self, api: Api) -> ProbeRequest:
        """Return the request with its options over an API."""
        if self.options_of is None:
            return self
        return replace(self, options={**self.options_of(api), **self.options}, options_of=None)

    def within(self, max_context: int) -> ProbeRequest | None:
        """Return the request for a provider with this context length; None if it does not fit."""
        return self if self.context <= max_context else None

    def unusable(self, rollout: ParsedRollout) -> Reason | None:
        """Why a rollout is not evidence about the provider; None if it is."""
        if not rollout.exchanges:
            return self._reason("not_sent")
        last = rollout.exchanges[-1]
        failure = last.recorded.failure
        if rollout.under_load:
            return self._reason("under_load", got=_unreadable(rollout))
        if last.recorded.response is not None and lockout(last.recorded.response) is not None:
            return self._reason("locked_out", status=last.status or 0)
        # A 503 may be the server's answer to just this request, such as a long prompt.
        if overloaded(last.recorded) and last.status != 503:
            return self._reason("not_admitted", status=last.status or 0)
        if last.reply is None and _is_rate_limited(last):
            return self._reason("rate_limited", status=last.status or 0)
        if last.status in TIMEOUTS or (failure and failure.kind == "timeout"):
            return self._reason("timed_out")
        if failure and failure.kind == "connect":
            return self._reason("not_reached")
        if last.reply is not None and last.reply.finish == "content_filter":
            return self._reason("filtered")
        return self._reason(_CUT) if self.whole and last.truncated else None

    def _reason(self, code: str, **values: str | float) -> Reason:
        return Reason(code=code, values={"request": self.id, **values})

    def settings(self, shared: RequestSettings) -> RequestSettings:
        """Return the settings of the run with those of this request."""
        loose = self.max_tokens in (REPLY_TOKENS, PUZZLE_TOKENS)
        return replace(
            shared,
            reasoning_effort=self.effort,
            temperature=self.temperature,
            max_tokens=(shared.max_tokens if loose else None) or self.max_tokens,
            seed=None,
            history=self.history,
            omits=self.omits,
            extra_body={**shared.extra_body, **self.options},
        )


@dataclass(frozen=True)
class ProbeOptions:
    """What all probe groups of a run share."""

    model: str
    apis: tuple[Api, ...]
    golden: Golden | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    max_context: int = CONTEXT  # context length in tokens; requests that need more are not sent
    max_tokens: int | None = None  # the token limit of the run (see `ProbeRequest`)
    confirming: bool = True  # whether tries are made that only confirm


@dataclass(frozen=True)
class ProbeResponses:
    """The usable rollouts of a group's requests over one API, in all modes and tries, by name.

    `unusable` has the reason for each request without any (see `ProbeRequest.unusable`), and `cut`
    the rollouts that are not used because the token limit cut a reply that must be whole. `golden`
    is the part of the run's golden file that the group needs, if any; `without_part` tells that the
    run has a golden file without this part. `max_context` is the context length that the provider
    is expected to have, in tokens.
    """

    api: Api
    rollouts: Mapping[str, Sequence[ParsedRollout]]
    unusable: Mapping[str, Reason] = field(default_factory=dict)
    golden: Golden | None = None
    without_part: bool = False
    max_context: int = CONTEXT
    cut: Mapping[str, Sequence[ParsedRollout]] = field(default_factory=dict)
    wanted: Mapping[str, Wanted] = field(default_factory=dict)  # by request that has any
    other_apis: Mapping[str, Sequence[ParsedRollout]] = field(default_factory=dict)
    """All rollouts of the requests over other APIs, as evidence of what the model can do."""
    account: Account = field(default_factory=Account)  # who wrote the texts of the replies

    @classmethod
    def of(
        cls,
        requests: Iterable[ProbeRequest],
        rollouts: Mapping[str, Sequence[ParsedRollout]],
        api: Api,
        golden: Golden | None = None,
        max_context: int = CONTEXT,
        account: Account = NO_ACCOUNT,
    ) -> ProbeResponses:
        """Return the usable ones of all rollouts of a group."""
        usable: dict[str, list[ParsedRollout]] = {}
        unusable: dict[str, Reason] = {}
        cut: dict[str, list[ParsedRollout]] = {}
        for request in requests:
            made = rollouts.get(request.id, ())
            sent = [rollout.final for rollout in made if rollout.rollout.api == api]
            judged = [(rollout, request.unusable(rollout)) for rollout in sent]
            usable[request.id] = [rollout for rollout, reason in judged if reason is None]
            cut[request.id] = [
                rollout for rollout, reason in judged if reason is not None and reason.code == _CUT
            ]
            if not usable[request.id]:
                not_sent = Reason(code="not_sent", values={"request": request.id})
                unusable[request.id] = next((reason for _, reason in judged if reason), not_sent)
        others = {
            name: [rollout.final for rollout in made if rollout.rollout.api != api]
            for name, made in rollouts.items()
        }
        return cls(
            api,
            usable,
            unusable,
            golden,
            max_context=max_context,
            cut=cut,
            wanted={request.id: request.wanted for request in requests if request.wanted},
            other_apis=others,
            account=account,
        )


Answer = tuple[ParsedExchange, Reply]


@dataclass(frozen=True)
class Sent:
    """What came back for the requests that one argument of a judge names, over one API.

    Of several requests, each is one `Sent` when they are iterated. With `mode`, only rollouts of
    this mode count. Members that need evidence raise NotVerifiableError without any.
    """

    responses: ProbeResponses
    names: tuple[str, ...]
    mode: Mode | None = None

    def __iter__(self) -> Iterator[Sent]:
        return (replace(self, names=(name,)) for name in self.names)

    @property
    def name(self) -> str:
        """The name of the request, or of the first of several."""
        return self.names[0]

    def beside(self, *names: str) -> Sent:
        """Return what came back for other requests of the group, as far as they were sent."""
        return replace(self, names=names)

    def within(self, mode: Mode) -> Sent:
        """Return what came back in one mode."""
        return replace(self, mode=mode)

    @property
    def made(self) -> tuple[ParsedRollout, ...]:
        """The usable rollouts: there may be none."""
        return tuple(
            rollout
            for name in self.names
            for rollout in self.responses.rollouts.get(name, ())
            if self.mode in (None, rollout.mode)
        )

    @property
    def usable(self) -> Sent:
        """Those of several requests that have usable rollouts; the first one if none has any."""
        names = tuple(each.name for each in self if each.made)
        return replace(self, names=names or self.names[:1])

    @property
    def rollouts(self) -> tuple[ParsedRollout, ...]:
        """The usable rollouts. Raises NotVerifiableError."""
        rollouts = self.made
        if not rollouts:
            values = {"request": self.name, "mode": str(self.mode)}
            other = Reason(code="no_reply_in_mode", values=values)
            raise NotVerifiableError(self.responses.unusable.get(self.name, other))
        return rollouts

    @property
    def last(self) -> Iterator[tuple[ParsedRollout, ParsedExchange]]:
        """Each rollout and its last exchange. Raises NotVerifiableError."""
        return ((rollout, rollout.exchanges[-1]) for rollout in self.rollouts)

    @property
    def intact(self) -> Iterator[tuple[ParsedRollout, ParsedExchange]]:
        """The same, if no last response is damaged. Raises NotVerifiableError."""
        for rollout, last in self.last:
            require_intact(last)
            yield rollout, last

    @property
    def readable(self) -> Sequence[Answer]:
        """The first reply of each usable rollout that has one: there may be none."""
        return [answer for rollout in self.made for answer in islice(rollout.replies, 1)]

    @property
    def replies(self) -> Iterator[Answer]:
        """The same. Raises NotVerifiableError without rollouts, or if a request has no reply."""
        for each in self if self.rollouts else ():
            if each.made and not each.readable:
                got = _unreadable(each.made[0])
                raise NotVerifiableError("no_reply", request=each.name, got=got)
            yield from each.readable

    @property
    def first(self) -> Answer:
        """The first of `replies`. Raises NotVerifiableError."""
        return next(self.replies)

    def counted(self, *, streaming: bool = False) -> tuple[ParsedExchange, int]:
        """Return the reported prompt tokens of the first reply. Raises NotVerifiableError.

        A reply of the wanted mode is preferred: a server may count otherwise in streams, which
        `parity.usage.prompt` judges.
        """
        exchange, reply = min(self.replies, key=lambda each: each[0].request.stream != streaming)
        return exchange, prompt_tokens(reply)

    @property
    def prompt(self) -> int:
        """The reported prompt tokens, rather of a reply without streaming."""
        return self.counted()[1]

    @property
    def elsewhere(self) -> Iterator[Answer]:
        """The first reply to the same requests at each try over other APIs."""
        for name in self.names:
            for rollout in self.responses.other_apis.get(name, ()):
                yield from islice(rollout.replies, 1)

    @property
    def cut(self) -> Sequence[ParsedExchange]:
        """Replies that are not used because the token limit cut them, which must be whole."""
        cut = (self.responses.cut.get(name, ()) for name in self.names)
        return [rollout.exchanges[-1] for rollouts in cut for rollout in rollouts]

    def entries(self) -> Iterator[tuple[ParsedRollout, ParsedExchange, Reply, Entry]]:
        """Yield each reply, with what the account says of it. Raises NotVerifiableError."""
        for rollout in self.rollouts:
            for exchange, reply in rollout.replies:
                entry = self.responses.account.of(rollout.rollout.id, exchange.index)
                yield rollout, exchange, reply, entry

    def served(self, feature: str) -> Sent:
        """Return what was not refused.

        `feature` is what the provider may lack, as the object of a sentence. Raises
        NotVerifiableError if a request was always refused, or not sent. Only a refusal of the
        feature is legitimate: `request.refused.foreign` reports others.
        """
        kept = {each.name: each._served(feature) for each in self}
        return replace(self, responses=replace(self.responses, rollouts=kept))

    def _served(self, feature: str) -> Sequence[ParsedRollout]:
        kept = [rollout for rollout, last in self.last if not is_refusal(last)]
        if not kept:
            own = (rollout for rollout in self.made if not declined(rollout))
            last = next(own, self.made[0]).exchanges[-1]
            if reason := foreign_reason(last):
                raise NotVerifiableError("refuses_otherwise", feature=feature, cause=reason)
            raise NotVerifiableError("refuses_feature", feature=feature, status=last.status or 0)
        return kept

    def served_replies(self, feature: str) -> Iterator[Answer]:
        """Yield the last exchange and reply of each served rollout. Raises NotVerifiableError."""
        for each in self:
            for rollout in each._served(feature):
                last = rollout.exchanges[-1]
                if last.reply is None:
                    raise NotVerifiableError("fails_on_feature", feature=feature, got=outcome(last))
                yield last, last.reply

    def used_or_refused(
        self, feature: str, ignored: Callable[[ParsedExchange, Reply], TrialResult]
    ) -> Trials:
        """Yield a trial of each rollout: `ignored` judges a reply, and a refusal is a pass."""
        for rollout, last in self.last:
            if last.reply is not None:
                yield ignored(last, last.reply)
            else:
                yield None if refused(rollout) else failure(rollout, feature)


def account_judge(
    reports: Callable[[Entry], object],
) -> Callable[[Sent], Trials]:
    """Return a judge of what the account says of the replies to requests.

    Replies that it does not know are not judged, but those that lack what they should have count as
    unlike it. If all replies to a request have the same value instead of the wanted one, a model
    and a server may both be the author, so the reason names it, unless there are problems.
    """

    def judge(sent: Sent) -> Trials:
        instead: dict[str, list[str]] = defaultdict(list)
        found = False
        for rollout, exchange, reply, entry in sent.entries():
            name = rollout.rollout.sample
            if reports(entry):
                found = True
                yield Problem(exchange, entry.message, entry.wanted, entry.got)
            elif got := _instead(reply, sent.responses.wanted.get(name)):
                instead[name].append(got)
            elif got is not None:
                yield unlike(reply.text)
            elif entry.kind == "intact":
                yield None
        for values in instead.values():
            made = [unlike(value) for value in values]
            if len(made) >= _FEWEST_ALIKE and len(set(made)) == 1 and not found:
                raise NotVerifiableError("same_value", got=made[0].got)
            yield from made

    return judge


def _instead(reply: Reply, wanted: Wanted | None) -> str | None:
    """Return what a reply has in the place of what its request wants; empty without a text or call.

    None if it has what is wanted, or if nothing is.
    """
    if wanted is None:
        return None
    if wanted.text:
        return None if wanted.text in reply.text else reply.text
    made = [(call.name, parsed_object(call.arguments)) for call in reply.calls]
    named = [given for name, given in made if wanted.name in ("", name)]
    if not named:
        return ", ".join(call.name for call in reply.calls)
    if wanted.arguments is None or any(has_arguments(wanted.arguments, each) for each in named):
        return None
    return reply.calls[0].arguments


TrialResult = Problem | None
"""The result of one repetition of an experiment: a problem, or None if it passed."""

Trials = Iterator[TrialResult | Unlike]
Judge = Callable[..., Iterable[TrialResult | Unlike]]
"""Gets a `Sent` for each argument. May raise NotVerifiableError, and RenderError or VocabularyError
if tokens cannot be counted."""
_Named = ProbeRequest | str  # a request, or the name of one that is generated


@dataclass(frozen=True)
class Probe(Rule):
    """A probe: the group and the requests of each argument of its judge."""

    group: ProbeGroup
    requests: tuple[tuple[_Named, ...], ...]
    judge: Judge
    proves: Callable[..., str] | None = None
    """What a pass with these responses proves, in a sentence."""
    unjudged: str = "no_response"
    """The code of the reason if the judge yields no trial."""
    in_other_mode: str = ""  # the probe that tests the same in the other mode

    @cached_property
    def uses(self) -> tuple[str, ...]:
        """The names of its requests."""
        return tuple(dict.fromkeys(_name(each) for some in self.requests for each in some))

    @property
    def scope(self) -> str:
        """See `Rule.scope`; of a probe, with the suite."""
        return f"{super().scope}; probe, suite {self.suite}"

    def sent(self, responses: ProbeResponses) -> Iterator[Sent]:
        """Yield the arguments of its judge."""
        return (Sent(responses, _over(responses.api, each)) for each in self.requests)


Requests = Callable[[Api], Sequence[ProbeRequest]]


@dataclass
class ProbeGroup:
    """Requests that belong together, and the probes that judge the responses."""

    name: str  # names the group; its probes usually begin with it
    source: str  # documents the requirements of its probes, unless a probe names another source
    component: str  # of its probes, unless a probe has its own
    suite: SuiteName = "standard"
    """The smallest suite that includes its probes, unless a probe has its own."""
    apis: tuple[Api, ...] = BOTH_APIS  # the APIs of its probes, unless a probe has its own
    modes: tuple[Mode, ...] = NON_STREAMING  # the modes of its probes, unless a probe has its own
    needs: Capability | None = None
    """The capability that its probes need, unless a probe has its own."""
    relations: tuple[Relation, ...] = ()
    """The relations of its probes to other rules, besides those of a probe itself."""
    family: str = ""  # the family of its probes; by default the first part of its name
    typical: bool = False  # whether its requests resemble those of most clients
    burst: int | None = None  # send the requests after all others, this many concurrently
    golden: Callable[[Golden], Golden | None] | None = None
    """The part of a golden file that the probes need; no request is sent if the run's golden file
    lacks it."""
    expensive: bool = False
    """Send the requests over the first API of the run only, and list the cost of each probe."""
    generated: Requests | None = None  # makes requests over an API when they are needed
    sent: list[ProbeRequest] = field(default_factory=list)  # filled by `send`
    probes: list[Probe] = field(default_factory=list)  # filled by `probe`

    def __post_init__(self) -> None:
        self.family = self.family or self.name.partition(".")[0]
        self._made: dict[Api, tuple[ProbeRequest, ...]] = {}

    def send(self, request: ProbeRequest) -> ProbeRequest:
        """Add a request, whose id is unique in the group, and return it."""
        self.sent.append(request)
        return request

    def send_all(self, requests: Iterable[ProbeRequest]) -> tuple[ProbeRequest, ...]:
        """Add requests, and return them."""
        return tuple(map(self.send, requests))

    def requests(self, api: Api) -> Sequence[ProbeRequest]:
        """Return the requests over an API; they are made once."""
        if api not in self._made:
            sent = (request.over(api) for request in self.sent if api in request.apis)
            self._made[api] = (*(self.generated(api) if self.generated else ()), *sent)
        return self._made[api]

    def golden_of(self, options: ProbeOptions) -> Golden | None:
        """Return the part of the run's golden file that its probes need, if any."""
        whole = options.golden
        return self.golden(whole) if self.golden and whole else None

    def responses(
        self,
        rollouts: Mapping[str, Sequence[ParsedRollout]],
        api: Api,
        options: ProbeOptions,
        account: Account = NO_ACCOUNT,
    ) -> ProbeResponses:
        """Return the usable responses to its requests over an API."""
        requests, golden = self.requests(api), self.golden_of(options)
        made = ProbeResponses.of(requests, rollouts, api, golden, options.max_context, account)
        return replace(made, without_part=golden is None and options.golden is not None)

    def probe(
        self,
        rule_id: str,
        *requests: _Named | Iterable[_Named],
        text: str | None = None,
        proves: Callable[..., str] | None = None,
        unjudged: str = "no_response",
        in_other_mode: str = "",
        **given: Unpack[Declared],
    ) -> Callable[[Judge], Judge]:
        """Register the decorated function as a probe, which judges the responses over one API.

        It gets a `Sent` for each of the `requests`, or one for several that stand together. `text`
        is the summary and reason if the function has no docstring. `proves` states what a pass
        proves, `unjudged` is the code of the reason if there are no trials, and `in_other_mode` the
        probe that tests the same in the other mode. `given` is what else the rule declares.
        """
        shared = Shared(
            family=self.family,
            source=self.source,
            component=self.component,
            apis=self.apis,
            modes=self.modes,
            suite=self.suite,
            needs=self.needs,
            relations=(EQUAL_REFUSALS, *self.relations),
        )

        def add(judge: Judge) -> Judge:
            self.probes.append(
                Probe(
                    **members("probe", rule_id, text or judge.__doc__, given, shared),
                    group=self,
                    requests=tuple(map(_listed, requests)),
                    judge=judge,
                    proves=proves,
                    unjudged=unjudged,
                    in_other_mode=in_other_mode,
                )
            )
            return judge

        return add


def _listed(requests: _Named | Iterable[_Named]) -> tuple[_Named, ...]:
    """Return one request, or several that stand together."""
    return (requests,) if isinstance(requests, str | ProbeRequest) else tuple(requests)


def _name(request: _Named) -> str:
    return request if isinstance(request, str) else request.id


def _over(api: Api, requests: Iterable[_Named]) -> tuple[str, ...]:
    """Return the names of those that are sent over an API; all if none is."""
    sent = [each for each in requests if isinstance(each, str) or api in each.apis]
    return tuple(map(_name, sent or requests))


def prompt_tokens(reply: Reply) -> int:
    """Return the reported prompt tokens. Raises NotVerifiableError if there are none."""
    if not reply.input_tokens:
        raise NotVerifiableError("no_prompt_tokens")
    return reply.input_tokens


def _is_rate_limited(exchange: ParsedExchange) -> bool:
    """Whether an error in the body or in an event of a response is a rate limit."""
    bodies = [exchange.body, *(event.data for event in exchange.error_events)]
    bodies += [(body or {}).get("response") for body in bodies]
    parsed = [body for body in bodies if isinstance(body, dict)]
    errors = objects([*parsed, *(body.get("error") for body in parsed)])
    return any(str(error.get(name)) in _TOO_MANY for error in errors for name in ("code", "type"))


def _unreadable(rollout: ParsedRollout) -> str:
    """Why a rollout has no readable reply, in a few words."""
    last = rollout.exchanges[-1]
    if last.recorded.failure is not None:
        return last.recorded.failure.message
    if last.status is not None and not last.good_status:
        return f"status {last.status}"
    return last.unreadable or "it is empty"
