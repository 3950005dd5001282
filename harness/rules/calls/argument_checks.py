"""The arguments of calls: whole JSON objects that fit the schemas of their tools."""

import ast
from collections.abc import Iterator

from harness.api.json_schema import misfit, text_misfit
from harness.api.json_text import ends_early, parsed_object, parsed_value
from harness.api.ledger import ledger
from harness.rules.calls.name_checks import is_built_in
from harness.rules.check import Family
from harness.rules.evidence.subjects import Call, calls
from harness.rules.habits import BROKEN_JSON, UNUSABLE_CALLS
from harness.rules.rule import CHAT, FUNCTION_CALLING, Problem

family = Family("calls", CHAT, component="calls")
_MOST_CLOSED = 64  # brackets at the end of arguments that are read
# The most characters of empty arguments, such as `{}` or `null`, and the fewest tokens of lost
# ones.
_EMPTY, _FEWEST_TOKENS = 4, 4
_MOST_CHARACTERS = 20_000  # of arguments that are compared with Python's notation
_NO_ARGUMENTS = ("", "{}", "null")


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
    is_program = call.call.name == "python" and is_built_in(call)
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


def _is_cut(call: Call) -> bool:
    reply = call.exchange.reply
    return reply is not None and reply.finish == "length"


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
