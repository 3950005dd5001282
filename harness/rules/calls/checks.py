"""Tool calls: usable ids, offered names, JSON arguments."""

import ast
import re
from collections.abc import Collection, Iterator
from itertools import pairwise

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.items import Tool
from harness.api.json_schema import conforms, misfit, text_misfit
from harness.api.json_text import (
    ends_early,
    parsed_object,
    parsed_value,
    strings,
    trailing_object,
)
from harness.api.ledger import ANSWER_HEADER, call_header, ledger, may_be_headers
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.rules.account.counting import LONGEST_HEADER
from harness.rules.check import Family
from harness.rules.evidence.subjects import (
    BUILT_IN,
    Answer,
    Call,
    calls,
    conversations,
    ended,
    exchanges,
    repeats,
)
from harness.rules.habits import BROKEN_JSON, UNUSABLE_CALLS, Habit, recorded
from harness.rules.rule import CHAT, FUNCTION_CALLING, GUIDE, HARMONY, ExcusedIf, Problem

family = Family("calls", CHAT, component="calls")

_MOST_CLOSED = 64  # brackets at the end of arguments that are read

# What a harmony header can leave around the name of a tool, with or without its special tokens:
# ` to=functions.NAME<|channel|>commentary <|constrain|>json<|message|>`. A content type counts only
# where it directly follows the name, because a model may invent `search_code` for `search`.
_BEFORE_NAME = r"(?:.*to=)?(?:functions?[._:/]*)*"
_END_OF_COT = 200
# What is before the arguments of a call: a header of harmony, or of the format of other models.
# What an error says, or the member that has the call, if a server refuses what its model wrote.
_OWN_CALL = re.compile(
    r"failed_generation|tool_use_failed|tool call validation failed"
    r"|model (?:output|generated|made|returned|called)[^.]{0,40}\b(?:tool|function)"
    r"|(?:generated|output) (?:tool|function) call",
    re.IGNORECASE,
)
_OTHER_FORMAT = "<function="
_CALL_HEADER = re.compile(rf"(?:\bto=functions\.|{_OTHER_FORMAT})([\w-]+)")
_CONTENT_TYPE = 5  # the most tokens of a content type in the header of a call, and of its spelling
_ARGUMENTS = ("arguments", "parameters")
# The most characters of empty arguments, such as `{}` or `null`, and the fewest tokens of lost
# ones.
_EMPTY, _FEWEST_TOKENS = 4, 4
_MOST_CHARACTERS = 20_000  # of arguments that are compared with Python's notation
_FAILED = re.compile(r"error|exception|traceback|fail|unavailable|time.?out|retry|again", re.I)
_NO_ARGUMENTS = ("", "{}", "null")
_AFTER_NAME = (
    r"(?:(?:<\||\s|[._:/]*(?:commentary|analysis|channel|constrain|assistant)).*|json|code)?"
)


@family.check("calls.id.missing", calls, fix="Give every call an id of its own.")
def _call_id(call: Call) -> Iterator[Problem]:
    """Every tool call has an id. Without an id, a client cannot send the tool result back."""
    if not call.call.id:
        message = f"The call of {call.call.name} has no id."
        yield Problem(call.exchange, message, "a non-empty string", repr(call.call.id))


def _call_ids(parsed: ParsedRollout) -> list[tuple[ParsedExchange, str | None]]:
    """Return the ids of the calls in a conversation, each with its exchange."""
    before = ((parsed.exchanges[0], call_id) for call_id in _recorded_ids(parsed))
    return [*before, *((exchange, call.id or None) for exchange, call in calls(parsed))]


@family.check(
    "calls.id.repeated",
    conversations,
    lambda parsed: len(_call_ids(parsed)) > 1,
    fix="Give every call an id of its own.",
)
def _repeated_call_id(parsed: ParsedRollout) -> Iterator[Problem]:
    """Tool calls within a conversation have distinct ids.

    Otherwise their results cannot be told apart. In recorded traffic, the calls in its requests
    count as earlier calls.
    """
    for exchange, call_id in repeats(_call_ids(parsed)):
        message = "The tool call reuses the id of an earlier call in the conversation."
        yield Problem(exchange, message, "a new id", call_id)


def _recorded_ids(parsed: ParsedRollout) -> Iterator[str]:
    """Yield the ids of calls in the history of the first request of recorded traffic.

    A client may send a call again, so an id counts once, but for each different call of one turn.
    """
    if parsed.rollout.recording is None:
        return
    known: set[str] = set()
    parallel: dict[str, object] = {}
    for turn in DIALECTS[parsed.rollout.api].turns(parsed.exchanges[0].request.body):
        if not isinstance(turn, dict) or turn.get("type") not in ("function_call", "reasoning"):
            parallel = {}
        for call in (turn, *objects(turn.get("tool_calls"))) if isinstance(turn, dict) else ():
            made = call.get("type") in ("function", "function_call")
            call_id = call.get("call_id", call.get("id"))
            said = call.get("function") or (call.get("name"), call.get("arguments"))
            if not made or not isinstance(call_id, str):
                continue
            if call_id not in known or parallel.get(call_id, said) != said:
                yield call_id
            known.add(call_id)
            parallel[call_id] = said


@family.check(
    "calls.name.unknown",
    calls,
    lambda call: not _is_json_answer(call),
    severity="warning",
    source=GUIDE,
    habit=Habit(0.02),
    witness=True,
)
def _unknown_name(call: Call) -> Iterator[Problem]:
    """Tool calls name a tool that the request offered.

    A model occasionally invents a tool or corrects an odd name, and the attempt fails. More often,
    the server changes names or does not show the tools to the model.
    """
    offered = {*call.exchange.request.functions, *call.exchange.request.custom_tools}
    named = call.call.name and not (_is_built_in(call) or _intended(call))
    if named and call.call.name not in offered:
        message = "The reply calls a tool that the request did not offer."
        yield Problem(call.exchange, message, f"one of {sorted(offered)}", call.call.name)


@family.check(
    "calls.custom",
    calls,
    lambda call: call.call.name in call.exchange.request.custom_tools,
    source=f"{FUNCTION_CALLING}#custom-tools",
    fix="Return the call of a custom tool as a custom tool call, with its input as the text.",
    example=(
        "The call of a custom tool comes back as a function call.",
        "https://github.com/Wei-Shaw/sub2api/issues/5659",
    ),
)
def _custom(call: Call) -> Iterator[Problem]:
    """The call of a custom tool is a custom tool call. Clients find no function of that name."""
    message = f"{call.call.name} was offered as a custom tool, and its call is a function call."
    yield Problem(call.exchange, message, "a custom tool call", call.call.arguments)


@family.check(
    "calls.name.built_in",
    calls,
    severity="warning",
    source=HARMONY,
    habit=Habit(0.02),
    relations=[ExcusedIf("prompt.bare", "built_in_unasked")],
    component="prompt",
    fix="Offer the built-in tools in the system message only if the request offers them.",
    example=(
        "The response to a request without tools is a call of a built-in tool.",
        "https://github.com/vllm-project/vllm/issues/27385",
    ),
)
def _built_in(call: Call) -> Iterator[Problem]:
    """The reply does not call a built-in tool of harmony that the request did not offer.

    gpt-oss does this occasionally. It becomes frequent if the system message advertises built-in
    tools that are not available.
    """
    if _is_built_in(call):
        message = "The reply calls a built-in harmony tool that the request did not offer."
        yield Problem(call.exchange, message, "no call of a built-in tool", call.call.name)


@family.check(
    "calls.name.polluted",
    calls,
    source=HARMONY,
    habit=Habit(0.01),
    fix="Take the name from the recipient only, wherever the header has it.",
)
def _polluted_name(call: Call) -> Iterator[Problem]:
    """Tool names are returned as the model wrote them, without parts of the harmony header.

    The model may write the recipient before or after the channel, and the provider's harmony parser
    handles only one of the two. Agents see an unknown tool and abort. A call with the wrong tool's
    name is also reported if the CoT names only one tool, and the arguments fit only the schema of
    that tool. A model rarely writes no name.
    """
    intended, meant = _intended(call), _meant(call)
    if intended is not None:
        message = f"The tool name {intended} was returned with parts of its harmony header."
        # A model may write the namespace twice.
        own = call.call.name == f"functions.{intended}"
        yield Problem(call.exchange, message, intended, call.call.name, proven=not own)
    elif not call.call.name:
        message = "The call has an empty name."
        yield Problem(call.exchange, message, "the name of a tool", repr(call.call.name))
    elif meant is not None:
        message = "The call has the arguments of the tool that the CoT names, but a different name."
        yield Problem(call.exchange, message, meant.name, call.call.name)


def _is_without_arguments(call: Call) -> bool:
    """Whether a call has no arguments, and its function requires none."""
    tool = call.exchange.request.functions.get(call.call.name)
    if tool is None or misfit({}, tool.parameters) is not None:
        return False
    return not tool.parameters.get("properties") or call.call.arguments.strip() in _NO_ARGUMENTS


@family.check(
    "calls.arguments.json",
    calls,
    lambda call: not (_is_cut(call) or _is_without_arguments(call)),
    severity="warning",
    habit=BROKEN_JSON,
    error_above=UNUSABLE_CALLS,
    witness=True,
)
def _arguments(call: Call) -> Iterator[Problem]:
    """The arguments of a tool call are a JSON object.

    A model occasionally writes invalid JSON, and the attempt fails. More often, the server changes
    or truncates the arguments, or sends their pieces in the wrong order. Invalid JSON in nearly all
    calls of an API or mode is an error. The arguments of the built-in tool python are a program
    instead.
    """
    is_program = call.call.name == "python" and _is_built_in(call)
    if parsed_object(call.call.arguments) is None and not is_program:
        message = f"The arguments of {call.call.name} are not a JSON object."
        yield Problem(call.exchange, message, "a JSON object", call.call.arguments)


family.check(
    "calls.arguments.json.none",
    calls,
    lambda call: not _is_cut(call) and _is_without_arguments(call),
    severity="warning",
    habit=BROKEN_JSON,
    text="The arguments of a call without arguments are {}, a JSON object. gpt-oss writes it for a "
    "function without parameters, too. Clients that parse an empty text as JSON fail.",
    witness=True,
)(_arguments)


@family.check(
    "calls.arguments.cut",
    calls,
    lambda call: not (_is_cut(call) or call.exchange.at_limit),
    habit=BROKEN_JSON,
    error_above=UNUSABLE_CALLS,
)
def _ends_early(call: Call) -> Iterator[Problem]:
    """The arguments of a finished tool call are one whole JSON object, closed once.

    The model completes the JSON before it ends the call, as in all 170 recorded calls. A server
    that reads the call in pieces can lose the last piece, or all pieces, or send it twice. Empty
    arguments are reported if the function requires some and the reply has fewer tokens than it
    reports.
    """
    if ends_early(call.call.arguments):
        message = f"The arguments of {call.call.name} are a truncated JSON object."
        yield Problem(call.exchange, message, "a complete JSON object", call.call.arguments)
    elif _closes_twice(call.call.arguments):
        message = f"The arguments of {call.call.name} have a closing bracket too many."
        yield Problem(call.exchange, message, "one JSON object", call.call.arguments)
    elif (missing := _missing_tokens(call)) is not None:
        name = call.call.name
        message = f"The arguments of {name} are empty, although the reported tokens include some."
        got = f"{call.call.arguments!r} and {missing} unexplained tokens"
        yield Problem(call.exchange, message, "the required arguments", got)


def _closes_twice(text: str) -> bool:
    """Whether a text is a JSON object and further closing brackets."""
    text, kept = text.strip(), text.rstrip("]} \n\t")
    ends = range(len(kept) + 1, min(len(text), len(kept) + _MOST_CLOSED))
    return any(parsed_object(text[:end]) is not None for end in ends)


def _missing_tokens(call: Call) -> int | None:
    """The reported tokens that a reply lacks, if a call lacks all of its required arguments."""
    tool, counted = call.exchange.request.functions.get(call.call.name), ledger(call.exchange)
    empty = not parsed_object(call.call.arguments or "{}") and len(call.call.arguments) <= _EMPTY
    if tool is None or counted is None or not empty or counted.difference < _FEWEST_TOKENS:
        return None
    return None if misfit({}, tool.parameters) is None else counted.difference


@family.check("calls.arguments.escaped", calls, habit=BROKEN_JSON, error_above=UNUSABLE_CALLS)
def _escaped(call: Call) -> Iterator[Problem]:
    """The arguments of a tool call are encoded as JSON, and only once.

    Clients parse the arguments once and pass a string to the tool instead of an object. Objects in
    the notation of Python, such as {'city': None}, cannot be parsed.
    """
    inner = parsed_value(call.call.arguments)
    if isinstance(inner, str) and parsed_object(inner) is not None:
        message = f"The arguments of {call.call.name} are encoded as JSON twice."
        yield Problem(call.exchange, message, inner, call.call.arguments)
    elif inner is None and _is_python(call.call.arguments):
        message = f"The arguments of {call.call.name} are in the notation of Python."
        yield Problem(call.exchange, message, "a JSON object", call.call.arguments)


def _is_python(text: str) -> bool:
    """Whether a text is a dictionary that a server wrote with Python's `str`."""
    if not text.startswith("{") or len(text) > _MOST_CHARACTERS:
        return False
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
    return isinstance(value, dict) and str(value) == text


@family.check(
    "calls.arguments.strict",
    calls,
    lambda call: call.call.name in call.exchange.request.strict and not _is_cut(call),
    source=f"{FUNCTION_CALLING}#strict-mode",
    component="structured",
    fix="Constrain the arguments of strict functions to their schema.",
)
def _strict(call: Call) -> Iterator[Problem]:
    """The arguments of a function with `strict: true` conform to its schema.

    Clients rely on this guarantee. A provider that cannot give it must reject the request.
    """
    name, arguments = call.call.name, call.call.arguments
    problem: str | None = "not a JSON object"
    if parsed_object(arguments) is not None:
        schema = call.exchange.request.functions[name].parameters
        problem = text_misfit(arguments, schema, strict=True)
    if problem is not None:
        message = f"The arguments of {name} violate its schema, although the function is strict."
        yield Problem(call.exchange, message, "arguments that conform to the schema", problem)


@family.check(
    "calls.in_text",
    ended,
    lambda answer: answer.exchange.request.functions and not answer.reply.calls,
    source=HARMONY,
    habit=recorded(0.01),
    component="output",
    example=(
        "The arguments of a call are returned as content.",
        "https://github.com/vllm-project/vllm/issues/25560",
    ),
)
def _in_text(answer: Answer) -> Iterator[Problem]:
    """A tool call is returned as a tool call, not as text.

    The provider's harmony parser failed. Agents show the arguments to the user and stop. The words
    of a call's header before the arguments, or the tokens of one in the count, prove it.
    """
    exchange, reply = answer
    text, functions = reply.text.strip(), exchange.request.functions
    text = text[1:-1] if text.startswith("[") and text.endswith("]") else text  # a list of calls
    headers = [name for name in _CALL_HEADER.findall(text) if name in functions]
    # Of several tools that the arguments fit, the one whose name the text has last.
    tools = sorted(functions.values(), key=lambda tool: text.rfind(tool.name), reverse=True)
    tool = _tool_of(trailing_object(text), [functions[headers[-1]]] if headers else tools)
    if tool is not None and not exchange.request.wants_json:
        message = f"The answer contains what looks like the arguments of {tool.name}."
        counted = answer.ledger
        own = counted is not None and counted.exact and counted.difference <= 0
        asked = _OTHER_FORMAT in exchange.prompt
        foreign = _OTHER_FORMAT in text and not asked  # The model knows only harmony.
        proven = (bool(headers) and (foreign or not (own or asked))) or _counts_call(answer, tool)
        yield Problem(exchange, message, "a tool call", reply.text[-200:], proven=proven)


def _counts_call(answer: Answer, tool: Tool) -> bool:
    """Whether the count of a reply with the arguments as text is that of a call.

    It then includes the header of the call instead of that of an answer, and that of the CoT if its
    text is before the arguments.
    """
    counted = answer.ledger
    texts = answer.reply.reasoning, answer.reply.text
    if counted is None or not counted.exact or may_be_headers(counted.difference, *texts):
        return False
    header = call_header(tool.name)
    least = header if not answer.reply.reasoning else header - ANSWER_HEADER
    return least <= counted.difference <= least + _CONTENT_TYPE


@family.check(
    "calls.refused",
    exchanges,
    lambda exchange: exchange.request.functions,
    source=GUIDE,
    component="failures",
    fix="Pass on the calls that the model makes; the client checks their arguments.",
    example=(
        "A call that does not match the schema becomes an error within the stream.",
        "https://github.com/BerriAI/litellm/issues/40566",
    ),
)
def _refuses_own(exchange: ParsedExchange) -> Iterator[Problem]:
    """The server passes on the calls of its own model, and does not answer with an error.

    A client tells the model what is wrong with a call. After an error, an agent has no call.
    """
    response = exchange.recorded.response
    errors: list[tuple[str, int | None]] = [(e.text, e.number) for e in exchange.error_events]
    if response is not None and not response.good_status:
        errors = [(f"status {response.status}: {response.text}", None)]
    for text, number in errors:
        if _OWN_CALL.search(text):
            message = "The server refuses a call that its own model made."
            yield Problem(exchange, message, "the call", text, event=number)


@family.check(
    "calls.lost",
    ended,
    lambda answer: answer.exchange.request.functions and not answer.reply.calls,
    source=HARMONY,
    habit=Habit(0.02),
    counts=True,
    component="output",
    example=(
        "The arguments of a call are returned as chain of thought.",
        "https://github.com/vllm-project/vllm/issues/24076",
    ),
    reads=("extras",),
)
def _lost(answer: Answer) -> Iterator[Problem]:
    """The CoT does not end with a tool call that is missing from the reply.

    Otherwise the provider's harmony parser took the call for reasoning, or dropped it. Agents stop
    without an answer. A CoT that only announces a call is reported if the reply also lacks the
    tokens of a call.
    """
    exchange, reply = answer
    request = exchange.request
    counted = answer.ledger
    if counted is not None and counted.difference <= 0:
        return  # The model itself wrote no call.
    whole = parsed_object(reply.reasoning.strip())
    last = whole if whole or reply.text.strip() else trailing_object(reply.reasoning)
    tool = _tool_of(last, request.functions.values())
    if tool is not None and not request.wants_json:
        header = call_header(tool.name)
        if counted is not None and counted.difference < header and not reply.text.strip():
            return  # The model wrote an empty answer instead.
        message = f"The CoT ends with the arguments of {tool.name}, and the reply has no tool call."
        proven = counted is not None  # else the model may have ended its reply after a draft
        yield Problem(exchange, message, "a tool call", reply.reasoning[-200:], proven=proven)
    elif counted is not None and counted.exact and reply.text.strip():
        end = reply.reasoning[-_END_OF_COT:]
        named = [name for name in request.functions if name in end]
        shortest = min(map(call_header, named), default=None)
        lost = shortest is not None and counted.difference >= max(shortest, counted.spelling)
        if lost and not may_be_headers(counted.difference, reply.reasoning, reply.text):
            message = f"The CoT announces a call of {named[0]}, whose tokens are not in the reply."
            got = f"{counted.difference} unexplained tokens"
            proven = counted.difference > LONGEST_HEADER  # else it may be a malformed header
            yield Problem(exchange, message, "a tool call", got, "$.usage", proven=proven)


def _is_cut(call: Call) -> bool:
    reply = call.exchange.reply
    return reply is not None and reply.finish == "length"


def _tool_of(arguments: object, tools: Collection[Tool]) -> Tool | None:
    """Return the tool that these arguments fit, without unknown or missing properties.

    The arguments may be part of an object that names the tool, the format of other models.
    """
    if not isinstance(arguments, dict) or not arguments:
        return None
    if isinstance(arguments.get("name"), str):
        inner = next((arguments[key] for key in _ARGUMENTS if key in arguments), None)
        named = [tool for tool in tools if tool.name == arguments["name"]]
        if named and isinstance(inner, dict | str):
            return named[0]
    for tool in tools:
        properties = tool.parameters.get("properties")
        known = set(properties) if isinstance(properties, dict) else set()
        if arguments.keys() <= known and conforms(arguments, tool.parameters):
            return tool
    return None


def _meant(call: Call) -> Tool | None:
    """The tool that the model means, if CoT and arguments show that it is not the called one."""
    functions, reply = call.exchange.request.functions, call.exchange.reply
    own, arguments = functions.get(call.call.name), parsed_object(call.call.arguments)
    if own is None or arguments is None or reply is None:
        return None
    named = [tool for name, tool in functions.items() if name in reply.reasoning]
    if len(named) != 1 or own in named or misfit(arguments, own.parameters) is None:
        return None
    without = named[0] if conforms({}, named[0].parameters) else None
    return _tool_of(arguments, named) if arguments else without


def _is_json_answer(call: Call) -> bool:
    """Whether `chat.answer.item` or `responses.answer.item` reports a call."""
    reply = call.exchange.reply
    return reply is not None and Answer(call.exchange, reply).misplaced is not None


def _is_built_in(call: Call) -> bool:
    name, request = call.call.name, call.exchange.request
    return (
        name not in {*request.functions, *request.custom_tools}
        and BUILT_IN.fullmatch(name) is not None
    )


def _intended(call: Call) -> str | None:
    """The offered tool whose name is returned with parts of a header; None for any other name."""
    name, offered = call.call.name, call.exchange.request.functions
    patterns = ((tool, f"{_BEFORE_NAME}{re.escape(tool)}{_AFTER_NAME}") for tool in offered)
    matching = (tool for tool, pattern in patterns if re.fullmatch(pattern, name, re.DOTALL))
    return None if name in offered else next(matching, None)


def _after_results(parsed: ParsedRollout) -> Iterator[tuple[Answer, Answer]]:
    """Yield each reply with calls, and the reply to their results, unless a result is a failure."""
    for (before, reply), (exchange, later) in pairwise(parsed.replies):
        called = {call.id for call in reply.calls}
        items = objects(DIALECTS[exchange.api].turns(exchange.request.body))
        results = [
            item for item in items if (item.get("tool_call_id") or item.get("call_id")) in called
        ]
        outputs = [item.get("content", item.get("output", "")) for item in results]
        texts = [text for output in outputs for text in strings(output)]
        if any(texts) and not any(map(_FAILED.search, texts)):
            yield Answer(before, reply), Answer(exchange, later)


@family.check(
    "calls.again",
    _after_results,
    habit=Habit(0.05),
    component="history",
    behaviour=True,
    fix="Render every tool result, and reuse no cached prompt beyond the tokens that both share.",
    example=(
        "After a partial hit of the prefix cache, the model does not see the tool result.",
        "https://github.com/ddalcu/mlx-serve/issues/492",
    ),
)
def _again(pair: tuple[Answer, Answer]) -> Iterator[Problem]:
    """The reply to a tool result does not repeat the call that led to it.

    A model that does not see the result makes the same call again, and agents never end. Results
    that report a failure do not count.
    """
    before, later = pair
    made = {(call.name, call.arguments) for call in before.reply.calls}
    for call in later.reply.calls[:1]:
        if (call.name, call.arguments) in made:
            message = f"The reply to the result of {call.name} makes the same call again."
            yield Problem(later.exchange, message, "a different reply", call.arguments)


family.account_rule(
    "calls.arguments.changed",
    "Calls reach the client with the name and the arguments that the model wrote. Changed "
    "arguments that still match the schema make a tool do what the model did not intend.",
    lambda row, entry: row.calls and entry.kind != "unknown",
)
family.account_rule(
    "calls.arguments.retyped",
    "Values in arguments are not turned into strings, nor lists of one entry into the entry. "
    "Tools that check types reject such a call.",
    lambda row, entry: row.calls and entry.kind != "unknown",
)
