"""Who changed what a call should contain: the server, or the model that wrote it so.

The reported completion tokens are those that the model wrote. If they fit the returned call, the
model wrote it; if they only fit the intended one, the server changed it. It also did if the CoT of
the same reply has the intended name, and not the returned one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal

from harmony.conversation import Answer, Call, Preamble, Reasoning
from harmony.render import RenderError
from harmony.vocabulary import VocabularyError
from harness.api.base import Reply, ToolCall
from harness.checks.accounting import in_prompt, tokens_of
from harness.checks.subjects import Call as MadeCall
from harness.probes.base import TrialResult, Trials

Author = Literal["model", "server", "unknown"]

_CONTENT_TYPE = range(-2, 1)
"""Tokens by which a call may differ from the rendered one without a change of its text."""
_FEWEST_REPEATED = 2
_LEAST_REPEATED = 2 / 3


def author(made: MadeCall, *intended: ToolCall) -> Author:
    """Who is responsible for a call that differs from the intended one, in any of its spellings."""
    reply = made.exchange.reply
    if reply is None:
        return "unknown"
    if all(_named_in_cot(reply, made.call, each) for each in intended):
        return "server"
    fitting = fits(reply, _CONTENT_TYPE)
    instead = [fits(_with_call(reply, made.call, each), _CONTENT_TYPE) for each in intended]
    if fitting is None or fitting == any(instead):
        return "unknown"
    return "model" if fitting else "server"


def proven(found: Iterable[tuple[TrialResult, Author]]) -> Trials:
    """The trials without the model's mistakes.

    A problem whose author is unknown counts if it is repeated: in two replies at least, and in two
    thirds of them.
    """
    judged = [(result, who) for result, who in found if result is None or who != "model"]
    unproven = sum(result is not None and who == "unknown" for result, who in judged)
    repeated = unproven >= max(_FEWEST_REPEATED, _LEAST_REPEATED * len(judged))
    return (result for result, who in judged if result is None or who == "server" or repeated)


def _named_in_cot(reply: Reply, made: ToolCall, intended: ToolCall) -> bool:
    changed = made.name != intended.name
    return changed and intended.name in reply.reasoning and made.name not in reply.reasoning


def _with_call(reply: Reply, made: ToolCall, intended: ToolCall) -> Reply:
    return replace(reply, calls=tuple(intended if each == made else each for each in reply.calls))


def fits(reply: Reply, usual: Collection[int] = (0,)) -> bool | None:
    """Whether the reply has the reported completion tokens; None if they cannot be compared.

    Args:
        reply: The reply.
        usual: How many of them may not be those of its messages.
    """
    more = beside(reply)
    return None if more is None else more in usual


def beside(reply: Reply) -> int | None:
    """The reported completion tokens that are not those of the reply's messages.

    The messages are counted without content types; None if they cannot be counted.
    """
    if not reply.output_tokens:
        return None
    said = Preamble(reply.text) if reply.calls else Answer(reply.text)
    messages = [
        *([Reasoning(reply.reasoning)] if reply.reasoning else ()),
        *([said] if reply.text else ()),
        *(Call(call.name, call.arguments) for call in reply.calls),
    ]
    try:
        tokens = [tokens_of(each) for each in messages]
    except (RenderError, VocabularyError):
        return None
    return reply.output_tokens - (sum(tokens) - in_prompt())
