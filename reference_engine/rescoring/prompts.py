"""The prompt that a request must become, as the server of the reference reads it.

With a fault, the prompt is the one that this fault would make: faults of prompts are the hypotheses
about a provider whose replies are improbable after the right one.
"""

import copy
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from harmony.render import Order, RenderError, render_prompt
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.fault import Fault, activated, changed
from reference_engine.faults.hooks import GENERATION, INPUT, PROMPT, REQUEST
from reference_engine.faults.http import BODY, ClientRequest
from reference_engine.server.api_error import ApiError
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.fields import parse_request
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.raw_completions import CompletionRequest
from reference_engine.server.responses.input_items import history_of
from reference_engine.server.responses.request import ResponsesRequest

Api = Literal["chat", "responses", "harmony"]
_POINTS = {"request", "generation", "prompt", "input"}
_OF_OTHER_REQUESTS = frozenset(
    {
        "prefix-of-another-prompt",
        "prefix-cache-ignores-tools",
        "prefix-cache-ignores-effort",
        "reply-of-another-request",
    }
)
"""Faults whose prompts depend on other requests, so that no single one shows them."""


@dataclass(frozen=True)
class Rendering:
    """What healthy servers render differently: a line with the date, the order of recipients."""

    dated: bool = False
    order: Order = "before"


def hypotheses() -> Sequence[Fault]:
    """Return the faults and allowed variations that may change a prompt."""
    return [
        fault
        for fault in CATALOGUE.values()
        if _POINTS & fault.changes.keys() and fault.name not in _OF_OTHER_REQUESTS
    ]


def prompt_of(
    api: Api,
    body: Mapping[str, Any],
    rendering: Rendering,
    date: str,
    fault: Fault | None = None,
) -> tuple[int, ...] | None:
    """Return the tokens that the model reads; None if the request, or the fault, refuses it.

    Raises RenderError if the request cannot become a prompt of harmony.
    """

    def work() -> tuple[int, ...] | None:
        BODY.set(dict(body))
        with activated([fault] if fault else []):
            given = dict(body)
            if api != "harmony" and fault and "request" in fault.changes:
                request = ClientRequest(api, copy.deepcopy(given), "gpt-oss")
                try:
                    given = changed(REQUEST, copy.deepcopy(given), request)
                except (ApiError, AttributeError, KeyError, TypeError):
                    return None
            try:
                order = _order(api, given, date if rendering.dated else None)
            except ApiError as error:
                if fault is None:
                    raise RenderError(str(error)) from error
                return None
            if isinstance(order, CompletionRequest):
                return tuple(changed(INPUT, list(order.tokens())))
            order = changed(GENERATION, order)
            rendered = render_prompt(order.conversation, rendering.order)
            return tuple(changed(INPUT, list(changed(PROMPT, rendered, order.conversation))))

    return copy_context().run(work)


def _order(
    api: Api, body: Mapping[str, Any], date: str | None
) -> GenerationRequest | CompletionRequest:
    """Read a body as the server does, without members that it does not know. Raises ApiError."""
    if api == "harmony":
        return parse_request(CompletionRequest, _known(body, CompletionRequest))
    if api == "chat":
        return parse_request(ChatRequest, _known(body, ChatRequest)).generation_request(date)
    request = parse_request(ResponsesRequest, _known(body, ResponsesRequest))
    history = history_of(request.items, (), {}, lambda _: None)
    return request.generation_request(history, date)


def _known(body: Mapping[str, Any], model: type[Any]) -> bytes:
    names = {field.alias or name for name, field in model.model_fields.items()}
    return orjson.dumps({name: value for name, value in body.items() if name in names})
