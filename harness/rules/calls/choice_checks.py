"""Options of requests that the calls of a reply must follow, and how often a call is made."""

from collections.abc import Iterator

from harness.rules.check import Family
from harness.rules.evidence.json_text import is_doubled, parsed_object
from harness.rules.evidence.subjects import Answer, every_choice
from harness.rules.rule import CHAT, GUIDE, TOOL_CHOICE, Problem

family = Family("calls", CHAT, component="choice")


def _binds(answer: Answer) -> bool:
    """Whether tool_choice restricts a reply; one that a limit or a filter cut may lack its call."""
    request, reply = answer.exchange.request, answer.reply
    cut = request.forces_call and not reply.calls and reply.finish in ("length", "content_filter")
    return request.tool_choice != "auto" and not cut


@family.check(
    "calls.choice",
    every_choice,
    _binds,
    source=TOOL_CHOICE,
    needs="tool_choice",
)
def _choice(answer: Answer) -> Iterator[Problem]:
    """The reply follows tool_choice none, required, or a named tool.

    Programs rely on it. A provider that does not support it must reject the request.
    """
    exchange, reply = answer
    choice, named = exchange.request.tool_choice, exchange.request.chosen_tool
    called = [call.name for call in reply.calls]
    if choice == "none" and called:
        expected = "no tool call"
    elif exchange.request.forces_call and not called:
        expected = "a tool call"
    elif choice == "named" and any(name != named for name in called):
        expected = f"a call of {named}"
    else:
        return
    message = f"The request set tool_choice to {choice}, but the reply does not follow it."
    yield Problem(exchange, message, expected, f"calls: {', '.join(called) or 'none'}")


@family.check(
    "calls.parallel",
    every_choice,
    lambda answer: (
        answer.reply.calls and answer.exchange.request.body.get("parallel_tool_calls") is False
    ),
    source=TOOL_CHOICE,
    fix="With parallel_tool_calls false, end the reply after the first call.",
)
def _parallel(answer: Answer) -> Iterator[Problem]:
    """With parallel_tool_calls false, a reply has at most one tool call.

    Programs set it because they cannot handle several calls.
    """
    if len(answer.reply.calls) > 1:
        message = "The request disabled parallel tool calls, but the reply has several calls."
        yield Problem(
            answer.exchange, message, "at most 1 call", f"{len(answer.reply.calls)} calls"
        )


@family.check(
    "calls.several",
    every_choice,
    lambda answer: answer.reply.calls,
    severity="info",
    source=GUIDE,
    witness=True,
)
def _several(answer: Answer) -> Iterator[Problem]:
    """A reply has at most one tool call.

    gpt-oss stops after one call. If the server continues generation, the model guesses what the
    first call will return.
    """
    if len(answer.reply.calls) > 1:
        message = "The reply has several tool calls."
        yield Problem(answer.exchange, message, "1 call", f"{len(answer.reply.calls)} calls")


@family.check(
    "calls.repeated",
    every_choice,
    lambda answer: answer.reply.calls,
    tolerated=0.005,
    component="calls",
    fix="Return every call once.",
)
def _repeated(answer: Answer) -> Iterator[Problem]:
    """A reply does not contain the same call twice, nor its arguments as text.

    gpt-oss stops after one call, so the server repeated it. Agents run the tool twice, or show the
    arguments. Some streams repeat only the arguments of the call, which are then not valid JSON.
    """
    doubled = next((call for call in answer.reply.calls if is_doubled(call.arguments)), None)
    if doubled is not None:
        message = f"The call of {doubled.name} has its arguments twice."
        yield Problem(answer.exchange, message, "the arguments once", doubled.arguments)
    made = [(call.name, call.arguments) for call in answer.reply.calls]
    twice = next((call for at, call in enumerate(made) if call in made[:at]), None)
    if twice is not None:
        message = f"The reply calls {twice[0]} twice with the same arguments."
        yield Problem(answer.exchange, message, "the call once", twice[1])
    said = parsed_object(answer.reply.text.strip())
    same = (call for call in answer.reply.calls if said and parsed_object(call.arguments) == said)
    shown = None if answer.exchange.request.wants_json else next(same, None)
    if shown is not None:
        message = f"The text of the reply repeats the arguments of the call of {shown.name}."
        yield Problem(answer.exchange, message, "the arguments in the call only", answer.reply.text)
