"""Prompt tokens of long prompts: nothing is lost at the front, in the middle or at the end.

Each count is compared with that of the shortest prompt: the difference must be exactly harmony's,
because text that a provider adds to every prompt cancels out.
"""

import re
from contextlib import suppress
from functools import cache

from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import Api
from harness.rules.evidence.rendering import Prompt, bare_lengths, differences
from harness.rules.long.requests import (
    COUNTED,
    FEW_TOKENS,
    FITS,
    GRID,
    GROUP,
    LONG_RESULT,
    ONE_TOOL,
    OVER,
    SHORTEST,
    SLACK,
    STEPS,
    cell,
    steps,
)
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Sent, TrialResult, Trials
from harness.rules.refusals import failure, outcome, refused
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


def _grown(longer: Sent, shorter: Sent) -> TrialResult:
    """Judge the prompt tokens of one request against those of a shorter one."""
    less = shorter.prompt
    exchange, more = longer.counted()
    run = longer.responses
    right = _added(run.api, run.max_context, longer.name, shorter.name)
    if more - less in right:
        return None
    nearest = min(right, key=lambda tokens: abs(tokens - (more - less)))
    missing = nearest - (more - less)
    what = f"lacks {missing:,} tokens" if missing > 0 else f"has {-missing:,} tokens too many"
    return Problem(
        exchange,
        f"The prompt of the request {longer.name!r} {what}.",
        f"{nearest:,} more prompt tokens than {shorter.name!r}",
        f"{more - less:,} more ({more:,} and {less:,})",
        "$.usage",
    )


_FIX = "Refuse prompts beyond the limit with a 4xx status instead of cutting them."
_ONE_STEP = steps(STEPS[0])
_SHORTER = (
    dict.fromkeys(_LONG, _SHORT)
    | dict.fromkeys(map(steps, STEPS[1:]), _ONE_STEP)
    | {_ONE_STEP: ONE_TOOL, LONG_RESULT: ONE_TOOL}
)
"""By request, the one with which its prompt is compared."""


@GROUP.probe("long.tokens", dict.fromkeys((_SHORT, *_SHORTER, *_SHORTER.values())), fix=_FIX)
def _all_grown(prompts: Sent) -> Trials:
    """A long prompt reaches the model complete: its prompt tokens are exactly harmony's.

    A server that truncates prompts silently answers without part of the input. An agent that loses
    earlier steps of a tool loop repeats them, a tool that is left out cannot be called, and results
    of 20,000 tokens are files and pages that agents read.
    """
    sent = prompts.beside(_SHORT, *_SHORTER).usable
    readable = {each.name: each for each in sent if each.readable}
    if not readable:
        first, *_ = sent
        _ = first.first  # Raises, and says why.
    for name, shorter in _SHORTER.items():
        if name in readable:
            yield _grown(readable[name], prompts.beside(shorter))


_SENT = (_SHORT, *_LONG, steps(STEPS[-1]), LONG_RESULT, FITS)


@GROUP.probe("long.answered", _SENT, source=ERRORS, component="refusals")
def _answers(prompts: Sent) -> Trials:
    """A prompt within the context length gets a reply.

    Clients retry a request that failed with 5xx, and each retry costs a long prompt. A refusal is a
    warning: the models have 131,072 tokens of context; state a provider's own limit with
    --max-context.
    """
    short = prompts.beside(_SHORT).prompt
    run = prompts.responses
    bare = min(bare_lengths(_prompts(run.api, run.max_context)[_SHORT]))
    for name in prompts.names:
        for rollout in run.rollouts[name]:
            last = rollout.exchanges[-1]
            if not refused(rollout):
                yield failure(rollout, f"a long prompt ({name})")
            elif name != FITS or short - bare <= SLACK:  # Text that it adds may not fit.
                message = f"The provider rejects a prompt that fits into its context ({name})."
                yield Problem(last, message, "a reply", outcome(last), severity="warning")


@GROUP.probe("long.limit", FITS, OVER, _SHORT, fix=_FIX)
def _limit(fits: Sent, over: Sent, short: Sent) -> Trials:
    """A prompt up to the context length is read completely, and a longer one is rejected.

    Servers that miscalculate the room for the reply cut the last tokens, which are the question.
    Silent truncation loses the client's input, and clients retry a request that failed with 5xx.
    Clients shorten the conversation to the limit that the rejection names.
    """
    with suppress(NotVerifiableError):
        yield _grown(fits, short)
    for rollout, last in over.intact:
        if refused(rollout):
            yield _unnamed(last, over.responses.max_context)
        elif last.reply is None:
            message = "A prompt that is one token too long was not rejected."
            yield Problem(last, message, "status 400 or 413", outcome(last))
        else:
            yield _grown(over, short)


def _unnamed(last: ParsedExchange, most: int) -> TrialResult:
    """Return the problem of a rejection that does not name the context length."""
    numbers = map(int, _NUMBER.findall(re.sub(r"(?<=\d)[,_](?=\d{3})", "", outcome(last))))
    if any(_NAMED * most <= number <= most for number in numbers):
        return None
    message = "The rejection of a prompt that is too long does not name the limit."
    expected = f"a number of tokens up to {most - FEW_TOKENS:,} or {most:,}"
    return Problem(last, message, expected, outcome(last), severity="warning")
