"""Who changed the content of a call: the server, or the model.

The reported completion tokens are those that the model wrote. If they fit the returned call, the
model wrote it; if they only fit the intended one, the server changed it. The other calls show how
many tokens of the format a model and a server add. The server also changed a call if the CoT of the
same reply has the intended name, or the intended texts, and not the returned ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.api.items import Reply, ToolCall
from harness.rules.evidence.json_text import parsed_object
from harness.rules.evidence.ledger import extra_tokens
from harness.rules.evidence.subjects import Call as FoundCall
from harness.rules.evidence.subjects import calls
from harness.rules.probe import ProbeResponses, TrialResult, Trials

Author = Literal["model", "server", "unknown"]

_FEWEST_INTACT = 2
_USUAL, _USUAL_OF_ALL = 0.2, 0.5
"""The share of calls that makes a number of tokens usual: of intact ones, or of all."""
_SHORTEST_TEXT = 4
_FEWEST_REPEATED = 2
_LEAST_REPEATED = 2 / 3


@dataclass(frozen=True)
class ExtraTokens:
    """How many tokens a provider reports beyond those of its calls: usual numbers, and all.

    `intact`: whether they are those of intact calls.
    """

    usual: Collection[int]
    seen: Collection[int]
    intact: bool

    @classmethod
    def of(cls, made: Iterable[tuple[FoundCall, bool]]) -> ExtraTokens:
        """The extra tokens of the intact calls in `made`; of all calls if too few are intact."""
        judged = list(made)
        enough = sum(intact for _, intact in judged) >= _FEWEST_INTACT
        replies = (call.exchange.reply for call, intact in judged if intact or not enough)
        found = Counter(extra_tokens(reply) for reply in replies if reply is not None)
        counts = {tokens: times for tokens, times in found.items() if tokens is not None}
        least = (_USUAL if enough else _USUAL_OF_ALL) * sum(counts.values())
        return cls([tokens for tokens, times in counts.items() if times >= least], counts, enough)


def named_calls(responses: ProbeResponses, *names: str) -> Iterator[tuple[str, FoundCall]]:
    """The calls in replies, with request names. Raises NotVerifiableError without replies."""
    return ((name, call) for name, rollout in responses.named(*names) for call in calls(rollout))


def author(made: FoundCall, intended: Sequence[ToolCall], tokens: ExtraTokens) -> Author:
    """Who is responsible for a call that differs from the intended one, given in each spelling.

    `tokens` are the extra tokens of intact calls of the provider.
    """
    reply = made.exchange.reply
    if reply is None:
        return "unknown"
    found = extra_tokens(reply)
    instead = {extra_tokens(with_call(reply, made.call, call)) for call in intended}
    own = found in tokens.usual and instead.isdisjoint(tokens.seen)
    if own and tokens.intact:
        return "model"
    if all(_named_in_cot(reply, made.call, call) for call in intended):
        return "server"
    if own:
        return "model"
    if found not in tokens.seen and not instead.isdisjoint(tokens.usual):
        return "server"
    in_cot = all(_texts_in_cot(reply, made.call, call) for call in intended)
    return "server" if in_cot and found not in tokens.usual else "unknown"


def proven(found: Iterable[tuple[TrialResult, Author]]) -> Trials:
    """Return the trials without the model's mistakes.

    A problem whose author is unknown counts if it is repeated: in at least two replies, and in two
    thirds of all.
    """
    judged = [(result, who) for result, who in found if result is None or who != "model"]
    unproven = sum(result is not None and who == "unknown" for result, who in judged)
    repeated = unproven >= max(_FEWEST_REPEATED, _LEAST_REPEATED * len(judged))
    return (result for result, who in judged if result is None or who == "server" or repeated)


def _named_in_cot(reply: Reply, made: ToolCall, intended: ToolCall) -> bool:
    changed = made.name != intended.name
    return changed and intended.name in reply.reasoning and made.name not in reply.reasoning


def _texts_in_cot(reply: Reply, made: ToolCall, intended: ToolCall) -> bool:
    """Whether the CoT has the intended texts of the arguments, and none of those that differ."""
    given, planned = (_texts(call.arguments) for call in (made, intended))
    changed = given - planned
    in_cot = all(text in reply.reasoning for text in planned - given)
    return bool(changed) and in_cot and not any(text in reply.reasoning for text in changed)


def _texts(arguments: str) -> set[str]:
    """Return the texts of more than a few characters in the arguments of a call."""
    values = (parsed_object(arguments) or {}).values()
    return {text for text in values if isinstance(text, str) and len(text) >= _SHORTEST_TEXT}


def with_call(reply: Reply, made: ToolCall, intended: ToolCall) -> Reply:
    """Return the reply with one call replaced by another."""
    return replace(reply, calls=tuple(intended if call == made else call for call in reply.calls))


def with_arguments(call: ToolCall, arguments: object) -> list[ToolCall]:
    """Return the call with other arguments, in the two spellings of JSON that models write."""
    spellings = (
        json.dumps(arguments, ensure_ascii=False, separators=separators)
        for separators in (None, (",", ":"))
    )
    return [replace(call, arguments=spelling) for spelling in spellings]
