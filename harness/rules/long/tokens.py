"""Prompt tokens of long prompts: nothing is lost at the front, in the middle or at the end.

Each count is compared with that of the shortest prompt: the difference must be exactly harmony's,
because text that a provider adds to every prompt cancels out.
"""

import re
from collections.abc import Callable
from functools import cache, partial

from harness.records.conditions import Api
from harness.rules.evidence.refusals import failure, outcome, refused
from harness.rules.evidence.rendering import Prompt, bare_lengths, differences
from harness.rules.long.requests import (
    COUNTED,
    FEW_TOKENS,
    GRID,
    GROUP,
    SHORTEST,
    SLACK,
    STEPS,
    cell,
    steps,
)
from harness.rules.missing import required
from harness.rules.probe import ProbeResponses, TrialResult, Trials
from harness.rules.rule import ERRORS, Problem

_SHORT = cell(SHORTEST, COUNTED)
_LONG = tuple(cell(length, COUNTED) for length in GRID if length > SHORTEST)
_NUMBER = re.compile(r"\d+")
_NAMED = 0.5  # the smallest share of the context length that a rejection may name as the limit


@cache
def _prompts(api: Api, max_context: int) -> dict[str, Prompt]:
    sent = (request.within(max_context) for request in GROUP.requests(api))
    return {
        request.id: Prompt(request.turns, request.tools) for request in sent if request is not None
    }


@cache
def _added(api: Api, max_context: int, longer: str, shorter: str) -> frozenset[int]:
    """How many tokens one prompt may be longer than another."""
    prompts = _prompts(api, max_context)
    return differences(prompts[longer], prompts[shorter])


def _grown(responses: ProbeResponses, longer: str, shorter: str) -> TrialResult:
    """Judge the prompt tokens of one request against those of a shorter one."""
    _, less = responses.prompt_tokens(shorter)
    exchange, more = responses.prompt_tokens(longer)
    right = _added(responses.api, responses.max_context, longer, shorter)
    if more - less in right:
        return None
    nearest = min(right, key=lambda tokens: abs(tokens - (more - less)))
    missing = nearest - (more - less)
    what = f"lacks {missing:,} tokens" if missing > 0 else f"has {-missing:,} tokens too many"
    return Problem(
        exchange,
        f"The prompt of the request {longer!r} {what}.",
        f"{nearest:,} more prompt tokens than {shorter!r}",
        f"{more - less:,} more ({more:,} and {less:,})",
        "$.usage",
    )


def _all_grown(names: tuple[str, ...], shorter: str, responses: ProbeResponses) -> Trials:
    """Judge the requests with a reply. Raises NotVerifiableError if there is none."""
    found = dict.fromkeys(name for name, *_ in responses.readable(*names))
    if not found:
        responses.reply(next(filter(responses.rollouts.get, names), names[0]))
    return (_grown(responses, name, shorter) for name in found)


_PAIRS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    (
        "long.tokens",
        _LONG,
        _SHORT,
        "A long prompt reaches the model complete: its prompt tokens are exactly harmony's. A "
        "server that silently truncates prompts answers without part of the input.",
    ),
    (
        "long.tokens.loop",
        tuple(steps(count, 0) for count in STEPS[1:]),
        steps(STEPS[0], 0),
        "Each step of a tool loop adds its CoT, call and result to the prompt. An agent that "
        "loses earlier steps repeats them, or invents results.",
    ),
    (
        "long.tokens.tools",
        (steps(STEPS[0], 0),),
        "one tool",
        "All 64 offered tools are in the prompt. The model cannot call a tool that is silently "
        "left out.",
    ),
    (
        "long.tokens.result",
        ("long result",),
        "one tool",
        "A tool result of 20,000 tokens reaches the model complete. Agents read files and pages of "
        "this length.",
    ),
)
_RENDER_ALL = "Render every offered function."
_REFUSE = "Refuse prompts beyond the limit with a 4xx status instead of cutting them."
for _id, _longer, _shorter, _text in _PAIRS:
    _judge: Callable[[ProbeResponses], Trials] = partial(_all_grown, _longer, _shorter)
    _tools = _id == "long.tokens.tools"
    GROUP.probe(
        _id,
        (*_longer, _shorter),
        text=_text,
        component="tools" if _tools else "messages",
        fix=_RENDER_ALL if _tools else _REFUSE,
    )(_judge)


_SENT = (_SHORT, *_LONG, steps(STEPS[-1], 0), "long result", "fits")


@GROUP.probe("long.answered", _SENT, source=ERRORS, component="refusals")
def _answers(responses: ProbeResponses) -> Trials:
    """A prompt within the context length gets a reply or a 4xx status.

    Clients retry a request that failed with 5xx, and each retry costs a long prompt.
    """
    for name in _SENT:
        for rollout in responses.rollouts[name]:
            yield None if refused(rollout) else failure(rollout, f"a long prompt ({name})")


@GROUP.probe("long.accepted", _SENT, severity="warning", source=ERRORS, component="refusals")
def _accepted(responses: ProbeResponses) -> Trials:
    """A prompt within the context length is not rejected.

    The models have 131,072 tokens of context; state a provider's own limit with --max-context.
    """
    _, short = responses.prompt_tokens(_SHORT)
    bare = min(bare_lengths(_prompts(responses.api, responses.max_context)[_SHORT]))
    for name in _SENT:
        if name == "fits" and short - bare > SLACK:
            continue  # The provider adds text, which may not fit.
        for rollout in responses.rollouts[name]:
            last = rollout.exchanges[-1]
            message = f"The provider rejects a prompt that fits into its context ({name})."
            yield Problem(last, message, "a reply", outcome(last)) if refused(rollout) else None


@GROUP.probe(
    "long.limit.fits",
    ("fits", _SHORT),
    component="messages",
    fix="Refuse prompts beyond the limit with a 4xx status instead of cutting them.",
)
def _fits(responses: ProbeResponses) -> Trials:
    """A prompt that nearly fills the context reaches the model complete.

    Servers that miscalculate the room for the reply cut the last tokens, which are the question.
    """
    yield _grown(responses, "fits", _SHORT)


@GROUP.probe(
    "long.limit.over",
    ("over", _SHORT),
    component="messages",
    fix="Refuse prompts beyond the limit with a 4xx status instead of cutting them.",
)
def _over(responses: ProbeResponses) -> Trials:
    """A prompt that is one token too long is rejected with a 4xx status, or read completely.

    Silent truncation loses the client's input, and clients retry a request that failed with 5xx.
    """
    for rollout in responses.all("over"):
        last = rollout.exchanges[-1]
        if refused(rollout):
            yield None
        elif last.reply is None:
            message = "A prompt that is one token too long was not rejected."
            yield Problem(last, message, "status 400 or 413", outcome(last))
        else:
            yield _grown(responses, "over", _SHORT)


@GROUP.probe(
    "long.limit.named",
    ("over",),
    severity="warning",
    source=ERRORS,
    component="errors",
    fix="Name the context length in the refusal.",
)
def _limit_named(responses: ProbeResponses) -> Trials:
    """The rejection of a prompt that is too long names the limit.

    Clients shorten the conversation to this limit.
    """
    rejected = (rollout.exchanges[-1] for rollout in responses.all("over") if refused(rollout))
    most = responses.max_context
    for last in required(rejected, "accepts_too_long"):
        numbers = map(int, _NUMBER.findall(re.sub(r"(?<=\d)[,_](?=\d{3})", "", outcome(last))))
        named = any(_NAMED * most <= number <= most for number in numbers)
        message = "The rejection of a prompt that is too long does not name the limit."
        expected = f"a number of tokens up to {most - FEW_TOKENS:,} or {most:,}"
        yield None if named else Problem(last, message, expected, outcome(last))
