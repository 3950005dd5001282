"""Which clients work with a server, judged from the forms of their requests.

Each form of `forms.yaml` is one probe. It compares a request as clients write it with the
same request in its plain form: it must be accepted, and where both are the same prompt, it must
have as many prompt tokens. The requests belong to the group of the family prompt, which also sends
the plain ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeGuard

from harness.api.fields import nested, objects
from harness.api.parsed_rollout import ParsedRollout
from harness.records.analysis import ClientResult, RuleResult
from harness.records.conditions import BOTH_APIS, Api
from harness.records.rollouts import SDK
from harness.rules.clients.forms import (
    CLIENTS,
    FORMS,
    Form,
    SharedRules,
    Variant,
    form_requests,
)
from harness.rules.evidence.refusals import declined, failure
from harness.rules.evidence.rendering import after_calls, differences
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeResponses, TrialResult, Trials, prompt_tokens
from harness.rules.prompt.probes import GROUP, PROMPTS, follows_from_added_text
from harness.rules.rule import Problem

_LEAST_JUDGED = 0.5
"""A client works only if more than this share of its forms was judged."""
_MOST = 0.5
"""The share of unusable replies from which no client works."""


def _judge(form: Form, responses: ProbeResponses) -> Trials:
    """Judge all variants of a form; a pass needs evidence about each."""
    judged = []
    missing: NotVerifiableError | None = None
    for variant in form.variants:
        if responses.api not in variant.apis or not _may_be_sent(variant, responses):
            continue
        try:
            judged.append(_problem(form, variant, responses))
        except NotVerifiableError as error:
            missing = error
    if missing is not None and not any(judged):
        raise missing
    return iter(judged)


def _may_be_sent(variant: Variant, responses: ProbeResponses) -> bool:
    """Whether replies have the member of a message that the clients send back in a variant."""
    if variant.received is None:
        return True
    rollouts = responses.rollouts.get(variant.base, ())
    replies = (reply for rollout in rollouts for _, reply in rollout.replies)
    choices = (choice for reply in replies for choice in objects(reply.raw.get("choices")))
    return any(nested(choice, "message", variant.received) for choice in choices)


def _problem(form: Form, variant: Variant, responses: ProbeResponses) -> Problem | None:
    """Return the problem of a variant, if any. Raises NotVerifiableError."""
    twin, name = form.twin(variant), variant.request
    rollout = max(responses.all(name), key=lambda each: each.rollout.alone)
    if name != variant.base and not any(one.replies for one in responses.all(variant.base)):
        raise NotVerifiableError("plain_request_fails", request=variant.base)
    if variant.accept != SDK.accept and (problem := _unreadable(variant, rollout)):
        return _severe(variant, problem)
    problem = failure(rollout, f"the form {variant.name!r} of requests, which clients send")
    if problem is not None:
        return _refused(variant, problem) if declined(rollout) else _severe(variant, problem)
    if variant.turns > 1:
        return _lost_cot(variant, rollout)
    if twin is None:
        return None
    exchange, reply = rollout.replies[0]
    got, (_, right) = prompt_tokens(reply), responses.prompt_tokens(twin)
    if abs(got - right) <= variant.slack and not variant.adds:
        return None
    if variant.adds:
        message = f"The provider accepts the form {variant.name!r}, and ignores it."
        expected = f"at least {right + variant.adds} prompt tokens"
        ignored = Problem(exchange, message, expected, f"{got}", "$.usage")
        severity = variant.refusal or variant.severe
        return replace(ignored, severity=severity) if got < right + variant.adds else None
    if follows_from_added_text(responses, got, [right]):
        raise NotVerifiableError("text_added_to_some", rule="prompt.bare")
    more, word = abs(got - right), "fewer" if got < right else "more"
    message = f"The form {variant.name!r} has {more} {word} prompt tokens than its plain form."
    found = Problem(exchange, message, f"{right} prompt tokens", f"{got}", "$.usage")
    return _severe(variant, found)


def _unreadable(variant: Variant, rollout: ParsedRollout) -> TrialResult:
    """Return the problem of a reply that only another media type in `Accept` makes unreadable."""
    last = rollout.exchanges[-1]
    if not (last.good_status and last.unreadable):
        return None
    message = (
        f"A request with the header `Accept: {variant.accept}` gets a different kind of reply."
    )
    return Problem(
        last, message, "the reply that the body of the request asks for", last.unreadable
    )


def _severe(variant: Variant, problem: Problem) -> Problem:
    return replace(problem, severity=variant.severe)


def _refused(variant: Variant, problem: Problem) -> Problem:
    """Return the problem of a refusal: information if it names what the client must leave out."""
    if variant.named is not None and variant.named in problem.got:
        message = f"The provider refuses the form {variant.name!r} of requests, and names it."
        return replace(problem, message=message, severity="info")
    return replace(problem, severity=variant.refusal or variant.severe)


def _lost_cot(variant: Variant, rollout: ParsedRollout) -> Problem | None:
    """Return the problem of a conversation whose second prompt lacks the CoT of its first reply.

    Raises NotVerifiableError.
    """
    if len(rollout.replies) < variant.turns:
        raise NotVerifiableError("no_call")
    (_, first), (exchange, second) = rollout.replies
    got = prompt_tokens(second) - prompt_tokens(first)
    before = PROMPTS[variant.base]
    right = differences(after_calls(before, first), before)
    if got in right or not first.reasoning:
        return None
    if got not in differences(after_calls(before, replace(first, reasoning="")), before):
        raise NotVerifiableError("tokens_fit_no_prompt")
    message = f"The prompt of the form {variant.name!r} lacks the CoT before the call."
    expected = f"{min(right)} more prompt tokens"
    found = Problem(exchange, message, expected, f"{got} more", "$.usage")
    return _severe(variant, found)


GROUP.also_send(form_requests)
for _form in FORMS:
    if not _form.variants:
        continue
    _twins = (_form.twin(_variant) for _variant in _form.variants)
    _requests = {name for v in _form.variants for name in (v.request, v.base)} | {*_twins} - {None}
    GROUP.probe(
        _form.rule,
        sorted(filter(None, _requests)),
        severity=_form.severity,
        family="clients",
        component="refusals",
        witness=_form.severity == "info",
        fix="Accept every form of the input that the API defines.",
        source=_form.source,
        modes=_form.modes,
        apis=[api for api in BOTH_APIS if any(api in _variant.apis for _variant in _form.variants)],
        text=f"{_form.summary} {_form.why}",
    )(partial(_judge, _form))


def client_results(rules: Iterable[RuleResult]) -> tuple[ClientResult, ...]:
    """Return what each client can expect of the server over each API that it uses.

    `rules` are the results of all checks and probes; without any of this family, nothing is known.
    """
    results = {rule.check.id: rule for rule in rules}
    if not any(form.rule in results for form in FORMS):
        return ()
    found = (
        _client_result(name, api, results)
        for name in CLIENTS
        for api in BOTH_APIS
        if CLIENTS[name].returns_cot(api) is not None
    )
    return tuple(result for result in found if result is not None)


def _client_result(name: str, api: Api, results: Mapping[str, RuleResult]) -> ClientResult | None:
    """Return the result of a client; None if the run judged nothing that it sends."""
    breaking: list[str] = []
    on_request: list[str] = []
    verified: list[str] = []
    unverified: list[str] = []
    for form in FORMS:
        for sent in form.parts:
            default = sent.clients(api).get(name)
            rules = [results[id_] for id_ in form.judged_by(sent) if id_ in results]
            if default is None:
                continue
            if any(_breaks(rule, sent, api) for rule in rules) or _unusable(rules, sent, api):
                (breaking if default else on_request).append(sent.name or form.name)
            elif default and not _mostly(sent):
                evident = any(group.startswith(api) for rule in rules for group in rule.counts)
                (verified if evident else unverified).append(sent.name or form.name)
    planned = len(breaking) + len(verified) + len(unverified)
    if not (breaking or verified):
        return None
    works = len(verified) > _LEAST_JUDGED * planned
    return ClientResult(
        client=CLIENTS[name].title,
        api=api,
        status="breaks" if breaking else "works" if works else "not_verifiable",
        breaking=tuple(breaking),
        breaking_on_request=tuple(on_request),
        not_verifiable=tuple(unverified),
        returns_cot=CLIENTS[name].returns_cot(api) or "",
    )


def _conditions(sent: SharedRules, api: Api) -> str:
    """Return the beginning of the names of the conditions whose findings count."""
    return api if sent.mode is None else f"{api} · {sent.mode}"


def _mostly(sent: Variant | SharedRules) -> TypeGuard[SharedRules]:
    return isinstance(sent, SharedRules) and sent.mostly


def _unusable(rules: Iterable[RuleResult], sent: Variant | SharedRules, api: Api) -> bool:
    """Whether one of several rules fails in at least half of the replies that they judged."""
    if not _mostly(sent):
        return False
    shown = (item for rule in rules for item in rule.counts.items())
    counts = [count for name, count in shown if name.startswith(_conditions(sent, api))]
    failures = max((failed for failed, _ in counts), default=0)
    return failures > 0 and failures >= _MOST * max(trials for _, trials in counts)


def _breaks(rule: RuleResult, sent: Variant | SharedRules, api: Api) -> bool:
    if isinstance(sent, Variant):
        return f"{api} {sent.request}" in rule.failing
    if sent.mostly:
        return False
    if rule.status in ("failed", "warned"):
        return any(group.startswith(_conditions(sent, api)) for group in rule.groups)
    # A refusal that another rule counts leaves this rule without a verdict of its own.
    return rule.status == "not_verifiable" and any(
        request.startswith(api) for request in rule.failing
    )
