"""Whether a server accepts what clients send.

Each form of `forms.yaml` is one probe. It compares a request as clients write it with the
same request in its plain form: it must be accepted, and where both are the same prompt, it must
have as many prompt tokens. The requests belong to the group of the family prompt, which also sends
the plain ones.
"""

from dataclasses import replace
from functools import partial

from harness.api.fields import nested, objects
from harness.api.parsed_rollout import ParsedRollout
from harness.records.conditions import BOTH_APIS
from harness.records.rollouts import SDK
from harness.rules.clients.forms import FORMS, Form, Variant, form_requests
from harness.rules.evidence.rendering import after_calls, differences
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Sent, TrialResult, Trials, prompt_tokens
from harness.rules.prompt.probes import GROUP, PROMPTS, REQUESTS, follows_from_added_text
from harness.rules.refusals import declined, failure
from harness.rules.rule import Problem


def _judge(form: Form, sent: Sent) -> Trials:
    """Judge all variants of a form; a pass needs evidence about each."""
    judged = []
    missing: NotVerifiableError | None = None
    for variant in form.variants:
        if sent.responses.api not in variant.apis or not _may_be_sent(variant, sent):
            continue
        try:
            judged.append(_problem(form, variant, sent))
        except NotVerifiableError as error:
            missing = error
    if missing is not None and not any(judged):
        raise missing
    return iter(judged)


def _may_be_sent(variant: Variant, sent: Sent) -> bool:
    """Whether replies have the member or item that the clients send back in a variant."""
    name = variant.received
    rollouts = (rollout for each in sent.responses.rollouts.values() for rollout in each)
    raw = (reply.raw for rollout in rollouts for _, reply in rollout.replies)
    return name is None or any(
        any(nested(choice, "message", name) for choice in objects(reply.get("choices")))
        or any(item.get("type") == name for item in objects(reply.get("output")))
        for reply in raw
    )


def _problem(form: Form, variant: Variant, sent: Sent) -> Problem | None:
    """Return the problem of a variant, if any. Raises NotVerifiableError."""
    (mode,), twin, name = form.modes, form.twin(variant), variant.request
    rollout = max(sent.beside(name).within(mode).rollouts, key=lambda each: each.rollout.alone)
    plain = variant.base if name != variant.base else _PLAIN
    if not any(each.replies for each in sent.beside(plain).within(mode).rollouts):
        raise NotVerifiableError("plain_request_fails", request=plain)
    if variant.accept != SDK.accept and (problem := _unreadable(variant, rollout)):
        if any(
            _is_unreadable(other)
            for other_name, rollouts in sent.responses.rollouts.items()
            for other in rollouts
            if other_name != name
        ):
            raise NotVerifiableError("unreadable_with", feature="others", got=problem.got)
        return _severe(variant, problem)
    problem = failure(rollout, f"the form {variant.name!r} of requests, which clients send")
    if problem is not None:
        return _refused(variant, problem) if declined(rollout) else _severe(variant, problem)
    if variant.turns > 1:
        return _lost_cot(variant, rollout)
    if twin is None:
        return None
    exchange, reply = rollout.replies[0]
    _, of_twin = sent.beside(twin).counted(streaming=mode == "streaming")
    right = _right(variant, of_twin, sent.beside(twin), streaming=mode == "streaming")
    got = prompt_tokens(reply)
    if abs(got - right) <= variant.slack and not variant.adds:
        return None
    if variant.adds:
        message = f"The provider accepts the form {variant.name!r}, and ignores it."
        expected = f"at least {right + variant.adds} prompt tokens"
        ignored = Problem(exchange, message, expected, f"{got}", "$.usage")
        return _severe(variant, ignored) if got < right + variant.adds else None
    if follows_from_added_text(sent, got, [right]):
        raise NotVerifiableError("text_added_to_some", rule="prompt.bare")
    more, word = abs(got - right), "fewer" if got < right else "more"
    message = f"The form {variant.name!r} has {more} {word} prompt tokens than its plain form."
    lost = f"What the form {variant.name!r} adds does not reach the model, as it does not in its "
    message = f"{lost}plain form." if abs(got - of_twin) <= variant.slack else message
    wrong = Problem(exchange, message, f"{right} prompt tokens", f"{got}", "$.usage")
    return _severe(variant, wrong)


def _right(variant: Variant, right: int, twin: Sent, *, streaming: bool) -> int:
    """Return the prompt tokens of a twin, as they are if the twin itself lost nothing.

    A twin that should be longer than the plain request, and is not, lost what makes it longer.
    """
    if twin.name == variant.base or not {twin.name, variant.base} <= PROMPTS.keys():
        return right
    _, plain = twin.beside(variant.base).counted(streaming=streaming)
    more = differences(PROMPTS[twin.name], PROMPTS[variant.base])
    return plain + min(more) if right <= plain and min(more, default=0) > 0 else right


def _is_unreadable(rollout: ParsedRollout) -> bool:
    last = rollout.exchanges[-1]
    return last.good_status and last.unreadable is not None


def _unreadable(variant: Variant, rollout: ParsedRollout) -> TrialResult:
    """Return the problem of a reply that only another media type in `Accept` makes unreadable."""
    last = rollout.exchanges[-1]
    if not _is_unreadable(rollout) or last.unreadable is None:
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
    response = problem.exchange.recorded.response
    if variant.named is not None and response and variant.named in response.text:
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
    wrong = Problem(exchange, message, f"{min(right)} more prompt tokens", f"{got} more", "$.usage")
    return _severe(variant, wrong)


_PLAIN = "called"
"""The plain request for a form that is its own base: a result of a tool."""
GROUP.send_all(form_requests(REQUESTS))
for _form in FORMS:
    if not _form.variants:
        continue
    _twins = (_form.twin(_variant) for _variant in _form.variants)
    _requests = {name for v in _form.variants for name in (v.request, v.base)} | {*_twins} - {None}
    if any(variant.request == variant.base for variant in _form.variants):
        _requests.add(_PLAIN)
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
