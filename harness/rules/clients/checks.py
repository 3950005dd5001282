"""Recorded requests in forms that the API defines: a server that refuses one says so."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedExchange
from harness.api.statuses import meaning
from harness.records.conditions import Api
from harness.rules.check import Family
from harness.rules.evidence.subjects import exchanges
from harness.rules.rule import CHAT, Problem

family = Family("clients", CHAT, component="refusals")

_FORMS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], bool]]] = {
    "stop": ("a stop string that is a text", lambda body: isinstance(body.get("stop"), str)),
    "tool_choice": (
        "`tool_choice` none or null without tools",
        lambda body: body.get("tool_choice", "auto") in ("none", None) and not body.get("tools"),
    ),
    "stream_options": (
        "a stream without `stream_options`",
        lambda body: bool(body.get("stream")) and "stream_options" not in body,
    ),
    "reasoning": (
        "a reasoning item that no message or call follows",
        lambda body: any(
            item.get("type") == "reasoning" and after.get("role") == "user"
            for item, after in pairwise(objects(body.get("input")))
        ),
    ),
}
"""By the name that a refusal has in it: forms of requests that the API defines."""


_UNREAD = re.compile(r"deserializ|unmarshal|validation error|did not match any variant", re.I)
"""A message of a server that could not read the request."""


@cache
def _turns(api: Api) -> TypeAdapter[Any]:
    """Return the type of the messages or items of a request, as OpenAI's SDK defines it."""
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.responses import ResponseInputItemParam

    return TypeAdapter(
        list[ChatCompletionMessageParam] if api == "chat" else list[ResponseInputItemParam]
    )


def _is_valid(exchange: ParsedExchange) -> bool:
    name = "messages" if exchange.api == "chat" else "input"
    try:
        _turns(exchange.api).validate_python(exchange.request.body.get(name))
    except ValidationError:
        return False
    return True


@family.check(
    "clients.refused_form",
    exchanges,
    lambda exchange: exchange.imported,
    fix="Accept every form of the input that the API defines.",
)
def _refused_form(exchange: ParsedExchange) -> Iterator[Problem]:
    """A form of a recorded request that the API defines is not refused.

    In live traffic, the probes of the forms show it; in recordings, the refusal names the form.
    """
    response = exchange.recorded.response
    if response is not None and meaning(response) == "refusal":
        for name, (form, has) in _FORMS.items():
            if has(exchange.request.body) and re.search(rf"\b{name}\b", response.text):
                got = f"status {response.status}: {response.text}"
                message = f"The provider refuses {form}."
                yield Problem(exchange, message, "a reply", got, f"$.{name}")
        if _UNREAD.search(response.text) and _is_valid(exchange):
            message = "The provider cannot read a request that the API defines."
            got = f"status {response.status}: {response.text}"
            yield Problem(exchange, message, "a reply", got)
