"""Whether the server or the model is why replies do not do what their requests ask.

No single form of a request is easy for every model: each sample of noise on the weights makes
another one hard (`reference_engine.faults.layers.models`). But a model repeats its mistake at every
try of a greedy request, over both APIs and in both modes, and does not fail in all forms. What is
right at one try and wrong at another, or never right in any form, shows the server. A request that
is wrong at every try while others are right says something about the model.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import Mode
from harness.rules.missing import NotVerifiableError, Unlike
from harness.rules.probe import Sent, Trials
from harness.rules.rule import Problem

_FEWEST_REPLIES = 2  # replies; one alone shows nothing

Right = Callable[[str, Reply], bool | Unlike | None]
"""Whether a reply to the request of this name does what it asks; what it has instead if nothing
tells why, and None if another rule judges it."""


def disobeyed(
    sent: Sent, right: Right, problem: Callable[[str, ParsedExchange, Reply], Problem]
) -> Trials:
    """Judge the replies to several forms of one request over one API.

    A problem that the model may have is information. One that all replies of a mode have, and none
    of another mode or API to the same requests, is proven. Raises NotVerifiableError if nothing is
    right and there are not two replies.
    """
    judged: list[tuple[str, Mode, ParsedExchange, Reply, bool]] = []
    able: set[str] = set()
    for each in sent:
        for rollout in each.rollouts:
            for exchange, reply in islice(rollout.replies, 1):
                shown = right(each.name, reply)
                if isinstance(shown, Unlike):
                    yield shown
                elif shown is not None:
                    judged.append((each.name, rollout.mode, exchange, reply, shown))
                    able |= {each.name} if shown else set()
        able |= {each.name for _, reply in each.elsewhere if right(each.name, reply) is True}
    if judged and not able and len(judged) < _FEWEST_REPLIES:
        raise NotVerifiableError("too_few_replies", request=judged[0][0])
    modes = [mode for _, mode, *_ in judged]
    lost = {mode for mode in modes if modes.count(mode) >= _FEWEST_REPLIES} - {
        mode for _, mode, *_, shown in judged if shown
    }
    for name, mode, exchange, reply, shown in judged:
        wrong = None if shown else problem(name, exchange, reply)
        if wrong and able and name not in able:
            message = (
                f"{wrong.message} Every try of this request does so; similar requests succeed."
            )
            yield replace(wrong, message=message, severity="info")
        else:
            yield wrong and replace(wrong, proven=mode in lost)
