"""Function names are accepted, and returned unchanged."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from harness.api.parsed_rollout import ParsedRollout
from harness.records.replies import Wanted
from harness.rules.calls.argument_probes import is_call_changed
from harness.rules.evidence.offers import BY_NAME, offered
from harness.rules.evidence.tables import table
from harness.rules.missing import required, unlike
from harness.rules.probe import ProbeGroup, Sent, Trials, account_judge
from harness.rules.refusals import failure, outcome
from harness.rules.rule import FUNCTION_CALLING, HARMONY


@dataclass(frozen=True)
class Renamed:
    """A tool, the name under which it is offered, and a prompt that determines its call."""

    tool: str
    name: str
    prompt: str
    arguments: Mapping[str, str]


NAMES = TypeAdapter(dict[str, Renamed]).validate_python(table("calls")["names"])

_UNKNOWN_CALL = re.compile(
    r"(?:undeclared|unknown|unavailable) (?:tool|function) call|call\w* \S+ .{0,80}not in request",
    re.IGNORECASE,
)
"""What codex-relay and Groq say if the model calls a function that the request does not offer."""

GROUP = ProbeGroup("tools.names", FUNCTION_CALLING, family="calls", component="refusals")
_REQUESTS = GROUP.send_all(
    replace(
        offered(name, renamed.prompt, (replace(BY_NAME[renamed.tool], name=renamed.name),)),
        temperature=0.0,
        wanted=Wanted(name=renamed.name, arguments=renamed.arguments),
    )
    for name, renamed in NAMES.items()
)


@GROUP.probe("tools.names.accepted", _REQUESTS)
def _accepted(asked: Sent) -> Trials:
    """Function names of up to 64 letters, digits, _ and - are accepted.

    The API guarantees it, and programs generate such names. A reply that the provider refused
    because the model called another function is not judged.
    """
    named = [(rollout, NAMES[rollout.rollout.sample].name) for rollout in asked.rollouts]
    judged = [pair for pair in named if not _calls_another(*pair)]
    for rollout, name in required(judged, "not_called_by_name"):
        yield failure(rollout, f"a request with a function named {name}")
    yield from (unlike(outcome(e.exchanges[-1])) for e, name in named if _calls_another(e, name))


def _calls_another(rollout: ParsedRollout, offered: str) -> bool:
    """Whether the provider answered with an error because the model called an unknown function.

    An error with the offered name may be caused by a server that reads more into the name.
    """
    last = rollout.exchanges[-1]
    said = "" if last.good_status else outcome(last)
    return _UNKNOWN_CALL.search(said) is not None and offered not in said


GROUP.probe(
    "tools.names.kept",
    _REQUESTS,
    source=HARMONY,
    unjudged="not_called_by_name",
    component="calls",
    text="Function names are returned unchanged, including hyphens and long names. A client cannot "
    "run a tool by a name that it does not know.",
)(account_judge(is_call_changed))
