"""Recorded requests in forms that the API defines: a server that refuses one says so."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedExchange
from harness.api.statuses import meaning
from harness.rules.check import Family
from harness.rules.evidence.subjects import exchanges
from harness.rules.rule import CHAT, Problem

family = Family("clients", CHAT, component="refusals")


def _ends_with_cot(body: Mapping[str, Any]) -> bool:
    """Whether a reasoning item of the input has no message of the assistant or call after it."""
    kinds = [
        "said" if item.get("role") == "assistant" else item.get("type", "message")
        for item in objects(body.get("input"))
    ]
    follows = zip(kinds, [*kinds[1:], None], strict=False)
    return any(
        kind == "reasoning" and after not in ("said", "function_call", "reasoning")
        for kind, after in follows
    )


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
    "reasoning": ("a reasoning item that no message or call follows", _ends_with_cot),
}
"""By the name that a refusal has in it: forms of requests that the API defines."""


def _forms(exchange: ParsedExchange) -> Mapping[str, str]:
    body = exchange.request.body
    return {name: form for name, (form, has) in _FORMS.items() if has(body)}


@family.check(
    "clients.refused_form",
    exchanges,
    lambda exchange: exchange.imported and _forms(exchange),
    fix="Accept every form of the input that the API defines.",
    example=(
        "A stop string that is a text is refused.",
        "https://github.com/raullenchai/Rapid-MLX/issues/2358",
    ),
)
def _refused_form(exchange: ParsedExchange) -> Iterator[Problem]:
    """A form of a recorded request that the API defines is not refused.

    In a run, the probes of the forms show what a server refuses. In recordings, the refusal names
    it. Clients send these forms by default, and users cannot change that.
    """
    response = exchange.recorded.response
    if response is None or meaning(response) != "refusal":
        return
    for name, form in _forms(exchange).items():
        if re.search(rf"\b{name}\b", response.text):
            message = f"The provider refuses {form}."
            got = f"status {response.status}: {response.text}"
            yield Problem(exchange, message, "a reply", got, f"$.{name}")
