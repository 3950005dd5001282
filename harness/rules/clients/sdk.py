"""What OpenAI's Python SDK and frameworks, as they are installed, make of a recorded reply."""

import json
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from harness.api.items import ToolCall
from harness.api.json_text import parsed_object, parsed_value
from harness.api.ledger import is_below_limit
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.clients.frameworks import REPLAY, client, distribution, frameworks
from harness.rules.clients.readers import READERS, Called, Got

SDK: Mapping[str, bool] = {"oai-py": False, "oai-py-stream": True}
"""The clients that are the SDK itself, and whether they use its helpers."""
_LONGEST = 80
"""Characters of an exception that are shown."""


def reading(exchange: ParsedExchange) -> set[str]:
    """Return the clients that `reads` asks about a response.

    A framework raises at a reply that a limit cut, and at calls that the model wrote wrongly.
    """
    reply = exchange.reply
    if reply is None:
        return {*SDK, *frameworks()}
    cut = reply.finish == "length" and not is_below_limit(exchange)
    wrong = any(parsed_object(call.arguments) is None for call in reply.calls)
    empty = not (reply.text or reply.calls)
    return {*SDK} if cut or wrong or empty else {*SDK, *frameworks()}


def package(name: str) -> str:
    """Return the package and the version that read replies as a client does."""
    return f"{distribution(name)} {version(distribution(name))}"


def reads(exchange: ParsedExchange, name: str) -> str | None:
    """Return why a client gets nothing usable from a response; None if it does.

    Usable is what the reply has by our own, lenient reading: a text arrives, a call has an id and
    arguments that are JSON.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydantic warns of unexpected types
            got = _got(exchange, name)
    except Exception as error:  # noqa: BLE001 (whatever it raises, a program gets)
        said = " ".join(str(error).split())[:_LONGEST]
        return f"{type(error).__name__}: {said}" if said else type(error).__name__
    return _unusable(got, exchange)


def _got(exchange: ParsedExchange, name: str) -> Got:
    framework = None if name in SDK else frameworks()[name]
    assert exchange.recorded.response is not None
    REPLAY.recorded = exchange.recorded.response
    api, streams = exchange.api, exchange.request.stream
    if framework:
        called = (call.name for call in (exchange.reply.calls if exchange.reply else ()))
        return framework(api, streams, {*exchange.request.functions, *called})
    resource: Any = client().chat.completions if api == "chat" else client().responses
    prompt: Mapping[str, Any] = {"messages": []} if api == "chat" else {"input": ""}
    return READERS[api, streams, SDK[name]](resource, {"model": "m", **prompt})


def _unusable(got: Got, exchange: ParsedExchange) -> str | None:
    reply = exchange.reply
    for call in got.calls:
        if not (isinstance(call.id, str) and call.id):
            return "a call has no id, so its result cannot be sent"
        if not isinstance(call.arguments, str):
            return f"call arguments are a {type(call.arguments).__name__}, not a string"
    if reply is None:
        whole = all(_is_json(str(call.arguments)) for call in got.calls)
        arrives = None if got.text or got.calls else "nothing arrives"
        return arrives if whole else "the arguments of a call are no JSON"
    if reply.text and not got.text:
        return "the text does not arrive"
    if len(got.calls) < len(reply.calls):
        return "a call does not arrive"
    wrong = (_wrong(*both) for both in zip(got.calls, reply.calls, strict=False))
    return next(filter(None, wrong), None)


def _wrong(call: Called, ours: ToolCall) -> str | None:
    if call.name != ours.name:
        return f"the name of a call becomes {call.name}"
    if _is_json(ours.arguments) and not _is_json(str(call.arguments)):
        return "the arguments of a call are no JSON"
    if parsed_value(str(call.arguments)) != parsed_value(ours.arguments):
        return "the arguments of a call do not arrive"
    return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
