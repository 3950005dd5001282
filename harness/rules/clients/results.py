"""Which clients work with a server: by what they send, and by the conversations they would have."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from harness.records.analysis import ClientResult, RuleResult
from harness.records.conditions import BOTH_APIS, Api, Mode, parts_of
from harness.records.scores import Finding, Score
from harness.rules.account.court import exceeds
from harness.rules.clients.conversations import Conversation, shares
from harness.rules.clients.damages import DAMAGES, Found
from harness.rules.clients.forms import CLIENTS, FORMS, SharedRules, Variant
from harness.rules.clients.needs import (
    ARGUMENTS,
    CONTENT_RULES,
    EVERY,
    UNTRIED,
    broken_by,
    measured,
)
from harness.rules.clients.sdk import SDK, package
from harness.rules.habits import MALFORMED_HEADERS

_LEAST_JUDGED = 0.5
"""A client works only if more than this share of its forms was judged."""
_EARLIER_CALLS = frozenset({"called", "thought"})
"""The plain requests that return a call and its result."""
_UNTRIED = "replies that were not tried with it"
_CALLS = "earlier calls"


def client_results(
    rules: Iterable[RuleResult],
    conversations: Sequence[Conversation] = (),
    scores: Iterable[Score] = (),
    mixing: Collection[str] = (),
) -> tuple[ClientResult, ...]:
    """Return what each client can expect of the server over each API that it uses.

    `rules` are the results of all checks and probes. Without any of this family, as in recorded
    traffic, the forms are unknown, and only clients that break are returned. `scores` have the
    findings of the conversations, with tolerances applied. A form that got the reply of another
    request, as the rules `mixing` found, was not tried.
    """
    results = {rule.check.id: rule for rule in rules}
    sent = any(form.rule in results for form in FORMS)
    if not (sent or conversations):
        return ()
    scores = tuple(scores)
    read = {made.record: made for made in conversations}
    found = {score.record: score.findings for score in scores}
    broken = {
        record: broken_by(
            _shown(made, found.get(record, ())),
            {each.id for each in found.get(record, ()) if each.severity != "info"},
            made.api,
            made.mode,
        )
        for record, made in read.items()
    }
    spoilt = dict(_spoilt(read, scores, recorded=not sent))
    mixed = {
        (score.condition.api, score.sample)
        for score in scores
        if any(each.id in mixing and each.severity != "info" for each in score.findings)
    }
    judged = (
        _client_result(name, api, results if sent else {}, conversations, broken, spoilt, mixed)
        for name in CLIENTS
        for api in BOTH_APIS
        if api in CLIENTS[name].apis
    )
    return tuple(result for result in judged if result is not None)


def _client_result(
    name: str,
    api: Api,
    results: Mapping[str, RuleResult],
    conversations: Iterable[Conversation],
    broken: Mapping[str, Mapping[str, str]],
    spoilt: Mapping[str, Mapping[str, str]],
    mixed: Set[tuple[Api, str]],
) -> ClientResult | None:
    """Return the result of a client; None if the run judged nothing that it sends or receives."""
    client = CLIENTS[name]
    breaking, on_request, verified, unverified = _sent_forms(name, api, results, mixed)
    own = any(isinstance(p, Variant) and p.base in _EARLIER_CALLS for p in verified)
    unverified += [] if own or _calls_judged(api, results) else [_CALLS]
    made = [c for c in conversations if c.api == api and c.mode in client.modes]
    problems = dict(_problems(name, made, broken, own_calls=own))
    sometimes: list[str] = []
    for text, mostly in shares(made, problems):
        (breaking if mostly else sometimes).append(text)
    others = {
        c.record: spoilt[c.record].get(name, spoilt[c.record].get(EVERY, ""))
        for c in made
        if {name, EVERY} & spoilt.get(c.record, {}).keys() and c.record not in problems
    }
    sometimes += [text for text, _ in shares(made, others)]
    unsure = [
        broken.get(c.record, {}) for c in made if c.record not in problems and name not in c.read
    ]
    untried = {f"{UNTRIED}{name}", f"{UNTRIED}{EVERY}"}
    if any(untried & found.keys() or (found and name not in measured()) for found in unsure):
        unverified.append(_UNTRIED)
    planned = len(breaking) + len(verified) + len(unverified)
    if not (breaking or verified or sometimes):
        return None
    works = len(verified) > _LEAST_JUDGED * planned and not {_UNTRIED, _CALLS} & {*unverified}
    known = "sometimes" if sometimes else "works" if works else "not_verifiable"
    return ClientResult(
        client=client.title,
        api=api,
        status="breaks" if breaking else known,
        breaking=tuple(breaking),
        breaking_on_request=tuple(on_request),
        sometimes=tuple(sometimes),
        not_verifiable=tuple(unverified),
        returns_cot=client.over(api) or "",
        read_by=package(name) if any(name in c.read for c in made) else "",
    )


class _SentForms(NamedTuple):
    """What a client sends, as the rules judged it: names of forms, and parts that work."""

    breaking: list[str]
    on_request: list[str]  # breaking ones that it sends only if its user asks for them
    verified: list[Variant | SharedRules]
    unverified: list[str]


def _sent_forms(
    name: str, api: Api, results: Mapping[str, RuleResult], mixed: Set[tuple[Api, str]]
) -> _SentForms:
    """Return how the forms that a client sends over an API were judged."""
    client, found = CLIENTS[name], _SentForms([], [], [], [])
    for form in FORMS:
        for part in form.parts:
            if (default := part.clients(api).get(client.like or name)) is None:
                continue
            ids = part.ids if isinstance(part, SharedRules) else (form.rule,)
            rules = [results[id_] for id_ in ids if id_ in results]
            if isinstance(part, Variant) and (api, part.request) in mixed:
                rules = []
            if _breaks(rules, part, api, client.modes):
                (found.breaking if default else found.on_request).append(part.name or form.name)
            elif default and any(group.startswith(api) for r in rules for group in r.counts):
                found.verified.append(part)
            elif default:
                found.unverified.append(part.name or form.name)
    return found


def _shown(made: Conversation, findings: Iterable[Finding]) -> Mapping[str, Found]:
    """Return the damages of a conversation that no tolerance lets the model write."""
    told = any(each.id.startswith(ARGUMENTS) and each.severity != "info" for each in findings)
    return {name: how for name, how in made.damages.items() if told or not DAMAGES[name].own}


def _spoilt(
    read: Mapping[str, Conversation], scores: Iterable[Score], *, recorded: bool
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the records whose reply clients cannot use, but which a tolerance lets the model write.

    Each has the clients that it breaks, and the damage. Of each kind, they count if more are spoilt
    than by the headers of a model, so that a worse one accuses no server. In a recording, one
    counts.
    """
    kinds: dict[tuple[Api, Mode, bool], list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
    tolerated = {
        score.record: {f.id for f in score.findings if f.severity == "info"} & CONTENT_RULES
        for score in scores
    }
    for record, made in read.items():
        own = {name: how for name, how in made.damages.items() if DAMAGES[name].own}
        if broken := broken_by(own, tolerated.get(record, ()), made.api, made.mode):
            kinds[made.api, made.mode, made.calls].append((record, broken))
    for kind, found in kinds.items():
        every = sum((c.api, c.mode, c.calls) == kind for c in read.values())
        if recorded or exceeds(len(found), every, MALFORMED_HEADERS.share):
            yield from found


def _calls_judged(api: Api, results: Mapping[str, RuleResult]) -> bool:
    """Whether the run could judge a form of requests with an earlier call, if it has any.

    A server that refuses the plain ones may accept them from the programs that send all items back,
    as the conversations do, and not from those that send the calls alone.
    """
    bases = {
        form.rule: {v.base for v in form.variants if v.over(api) is not None} for form in FORMS
    }
    rules = [
        results[rule]
        for rule, of in bases.items()
        if of and of <= _EARLIER_CALLS and rule in results
    ]
    return not rules or any(group.startswith(api) for rule in rules for group in rule.counts)


def _problems(
    name: str,
    made: Iterable[Conversation],
    broken: Mapping[str, Mapping[str, str]],
    *,
    own_calls: bool,
) -> Iterator[tuple[str, str]]:
    """Yield the conversations that a client cannot have, each with the reason.

    A refused result of a call says nothing about a client with `own_calls`: a form of its own in
    which the server accepts them.
    """
    for conversation in made:
        found = broken.get(conversation.record, {})
        if conversation.failed is not None:
            if not (conversation.turn and own_calls):
                yield conversation.record, conversation.failed
        elif why := _unusable(name, conversation, found):
            yield conversation.record, why


def _unusable(name: str, conversation: Conversation, found: Mapping[str, str]) -> str | None:
    """Return why a client can use nothing of an answered conversation; None if it can.

    What it did with these replies outweighs what the rows say of their damages (`found`). A row
    about the SDK itself is about the program that uses it.
    """
    was_read = name in conversation.read
    why = conversation.read.get(name)
    if name in SDK or not was_read:
        why = why or found.get(name)
    if conversation.readable or not was_read:
        why = why or found.get(EVERY)
    return why


def _breaks(
    rules: Sequence[RuleResult],
    part: Variant | SharedRules,
    api: Api,
    modes: Sequence[Mode],
) -> bool:
    """Whether rules show that a part does not work over an API, in one of the modes of a client."""
    if isinstance(part, Variant):
        return any((api, part.request) in rule.failing for rule in rules)
    for rule in rules:
        for condition, (failures, _) in rule.counts.items():
            over, *mode = parts_of(condition)
            if failures and over == api and {*mode} <= {*modes} and rule.status in _FAILED:
                return True
    # A refusal that another rule counts leaves this rule without a verdict of its own.
    refused = (rule.failing for rule in rules if rule.status == "not_verifiable")
    return any(request.api == api for failing in refused for request in failing)


_FAILED = ("failed", "warned")
