"""A few cheap requests before a run, which reject a provider that cannot be sampled."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from harness.api import DIALECTS
from harness.api.chat import REASONING_FIELDS
from harness.api.fields import json_object, objects
from harness.api.items import Message, RequestSettings
from harness.api.responses import CODE_INTERPRETER, CODE_INTERPRETER_CALL
from harness.api.statuses import explanation, out_of_credit
from harness.errors import (
    ModelNotFoundError,
    ProviderUnauthorizedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from harness.providers.entries import Provider
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response
from harness.run.client import TRIES, NotConnectedError, Say, Seen, request
from harness.transport import open_transport
from harness.transport.retry import NO_RETRIES, retry_after, waits_too_long

FEWEST_TOKENS = 16
TRIES_WITH_PYTHON = 3
LONGEST_LIST = 10.0  # seconds for the list of models
LONGEST_WAIT = 60.0  # seconds for the smallest request: a server may first have to load the model
MODELS_SHOWN = 8
ALTERNATIVES = (20, 5, 1)
REJECTED = frozenset({400, 422})
NO_SUCH_MODEL = ("model_not_found", "model not found", "unknown model", "invalid model")
_NOT_FOUND = frozenset({404, 405, 410, 501})
_FORBIDDEN = 403
_OF_PLACE = re.compile(r"\b(?:country|countries|region|territory|location)\b", re.I)
GATEWAY_STATUSES = frozenset({502, 503, 504})


async def preflight(
    provider: Provider,
    apis: Sequence[Api],
    say: Say = lambda _: None,
    seen: Seen = lambda _: None,
) -> int:
    """Check that the provider answers, accepts the key and has the model on each of `apis`.

    Errors that a run can report as findings, such as a 500, are left to the run. `say` gets a
    sentence about each retry, and `seen` each exchange. Returns the number of requests, without
    retries. Raises ConfigurationError if an environment variable is not set, and
    ProviderUnavailableError.
    """
    models = (await listed_models(provider, say, seen)).ids
    for api in apis:
        require_usable(provider, api, await smallest_request(provider, api, say, seen), models)
    return 1 + len(apis)


async def supported_apis(
    provider: Provider, models: list[str]
) -> tuple[tuple[Api, ...], list[str]]:
    """Return the APIs of the entry that work, and why others are not supported.

    Raises the errors of `preflight` for any other reason, such as a wrong key.
    """
    apis: list[Api] = []
    refusals = []
    for api in provider.apis:
        answer = await smallest_request(provider, api)
        try:
            require_usable(provider, api, answer, models or None)
        except ProviderUnavailableError as error:
            if type(error) is not ProviderUnavailableError:
                raise
            refusals.append(str(error))
        else:
            apis.append(api)
    return tuple(apis), refusals


class ModelList(NamedTuple):
    """The ids of a provider's models, None without a list, and the response, None without any."""

    ids: list[str] | None = None
    answer: Response | None = None


async def listed_models(
    provider: Provider, say: Say = lambda _: None, seen: Seen = lambda _: None
) -> ModelList:
    """Return the provider's models; raises as `request`, and if it asks to wait for long."""
    try:
        answer = await request(_within(provider, LONGEST_LIST), "/models", say=say, seen=seen)
    except NotConnectedError:
        raise
    except ProviderUnreachableError:
        return ModelList()
    if waits_too_long(answer):
        require_access(provider, "/models", answer)
    try:
        models = (json_object(answer.text) or {})["data"] if answer.status == 200 else None
        return ModelList(models and [str(model["id"]) for model in models], answer)
    except (KeyError, TypeError):
        return ModelList(None, answer)


async def smallest_request(
    provider: Provider, api: Api, say: Say = lambda _: None, seen: Seen = lambda _: None
) -> Response:
    """Return the answer to the shortest real request; raises the errors of `request`."""
    within = _within(provider, LONGEST_WAIT)
    return await request(within, DIALECTS[api].path, _body(provider, api), say, seen)


async def smallest_exchange(provider: Provider, api: Api) -> Exchange:
    """Return the exchange of the shortest real request, sent once."""
    async with open_transport(_within(provider, LONGEST_WAIT), retries=NO_RETRIES) as transport:
        return await transport.send(DIALECTS[api].path, _body(provider, api))


def _within(provider: Provider, longest: float) -> Provider:
    return provider.model_copy(update={"timeout": min(provider.timeout, longest)})


def _body(
    provider: Provider,
    api: Api,
    text: str = "Hi",
    most: int | None = FEWEST_TOKENS,
    **members: object,
) -> dict[str, Any]:
    """Return the body of a request with further members."""
    extra = {**provider.extra_body, **members}
    return DIALECTS[api].first_request(
        [Message("user", text)],
        instructions=None,
        tools=(),
        streaming=False,
        settings=RequestSettings(provider.model, max_tokens=most, extra_body=extra),
    )


async def cot_field(provider: Provider) -> str:
    """Find the field of Chat messages in which CoT is returned, and sent back by clients.

    It is `reasoning`, unless a reply has CoT in `reasoning_content` alone. Raises the errors of
    `request`.
    """
    answer = await smallest_request(provider, "chat")
    reply = json_object(answer.text) or {}
    choices = objects(reply.get("choices"))
    messages = objects([choice.get("message") for choice in choices])
    used = [name for name in REASONING_FIELDS if any(message.get(name) for message in messages)]
    return used[0] if used else REASONING_FIELDS[0]


async def most_alternatives(provider: Provider, api: Api) -> tuple[int | None, int]:
    """Find how many alternatives per token a request may set; also returns the requests made.

    Providers limit it: 20 in OpenAI's API, 5 in others. None if logprobs are rejected, and the
    maximum if an error has another cause, which the run records. Raises the errors of `request`.
    """
    for number, count in enumerate(ALTERNATIVES, 1):
        body = _body(provider, api, **DIALECTS[api].logprob_options(count))
        answer = await request(provider, DIALECTS[api].path, body)
        if answer.status not in REJECTED:
            return (count if answer.status < 300 else ALTERNATIVES[0]), number
    return None, len(ALTERNATIVES)


async def runs_python(provider: Provider) -> tuple[bool, int]:
    """Find out whether the provider runs Python programs; also returns the requests made.

    A request over Responses asks for a program. The answer is yes if a reply has a call of the
    built-in tool and continues after it. A model may answer without a call, so up to three requests
    are sent.
    Raises the errors of `request`.
    """
    text = "Use Python to compute 482719 * 917353, and answer with the product."
    body = _body(provider, "responses", text, None, tools=[CODE_INTERPRETER])
    for number in range(1, TRIES_WITH_PYTHON + 1):
        answer = await request(provider, DIALECTS["responses"].path, body)
        if answer.status >= 300:
            return False, number
        items = objects((json_object(answer.text) or {}).get("output"))
        if CODE_INTERPRETER_CALL in [item.get("type") for item in items[:-1]]:
            return True, number
    return False, TRIES_WITH_PYTHON


def require_usable(
    provider: Provider, api: Api, answer: Response, models: list[str] | None
) -> None:
    """Raise ProviderUnavailableError after an answer that shows that no request can succeed."""
    status, name = answer.status, provider.name
    url = provider.base_url + DIALECTS[api].path
    if is_web_page(answer) and (status < 300 or status in _NOT_FOUND):
        other = f", or leave {api} out of its apis" if status in _NOT_FOUND else ""
        raise ProviderUnavailableError(
            f"provider {name} answers {url} with a web page (status {status}), not with JSON: the "
            f"path of base_url is wrong{_missing_version(provider)}{other}"
        )
    if status < 300:
        return
    require_access(provider, DIALECTS[api].path, answer)
    explained = f"{status} ({explanation(answer)})"
    if status < 400:
        target = answer.headers.get("location", "another address")
        moved, found, _ = target.partition(DIALECTS[api].path)
        remedy = (
            f"set base_url to {moved}"
            if found
            else "that is no address of this API, but for example a login page; check base_url "
            "and the key"
        )
        raise ProviderUnavailableError(f"provider {name} redirects {url} to {target}: {remedy}")
    if _is_about_model(answer, provider.model) or (
        status == 404 and models is not None and provider.model not in models
    ):
        raise ModelNotFoundError(
            f"provider {name} has no model {provider.model!r}: {explained}; "
            f"{_available(provider, models)}"
        )
    if status in _NOT_FOUND:
        raise ProviderUnavailableError(
            f"provider {name} does not support {url}: {explained}; "
            f"check base_url{_missing_version(provider)}, or leave {api} out of its apis"
        )


def require_access(provider: Provider, path: str, answer: Response) -> None:
    """Raise ProviderUnavailableError after an answer that refuses access, or is of no server."""
    status, name = answer.status, provider.name
    explained = f"{status} ({explanation(answer)})"
    if status == _FORBIDDEN and _OF_PLACE.search(answer.text):
        raise ProviderUnauthorizedError(
            f"provider {name} refuses requests from here, not the key: {explained}; send them from "
            "a place that it supports"
        )
    if status in {401, _FORBIDDEN, 407}:
        remedy = (
            "a firewall or gateway in front of it answers with a web page"
            if status == _FORBIDDEN and is_web_page(answer)
            else f"check the key in {provider.api_key_env}"
            if provider.api_key_env
            else "name the variable that holds your key with --api-key-env, or with api_key_env in "
            "providers.yaml"
        )
        raise ProviderUnauthorizedError(f"provider {name} refuses access: {explained}; {remedy}")
    if out_of_credit(answer):
        raise ProviderUnauthorizedError(
            f"provider {name} has no credit left: {explained}; add credit, or use another key"
        )
    too_long = waits_too_long(answer)
    if too_long or status in GATEWAY_STATUSES:
        wait = retry_after(answer.headers) or 0
        asked = (
            f"; try again after the {wait / 60:.0f} minutes that it asks to wait"
            if too_long
            else f" in {TRIES} tries; try again when it is up"
        )
        raise ProviderUnreachableError(
            f"provider {name} answered {explained} at {provider.base_url}{path}{asked}"
        )


def is_web_page(answer: Response) -> bool:
    """Whether a response is a page for a browser."""
    return answer.headers.get("content-type", "").startswith("text/html")


def _missing_version(provider: Provider) -> str:
    """Return the address to try if the base URL has no path, where most servers have `/v1`."""
    bare = not urlsplit(provider.base_url).path.strip("/")
    return f" (try {provider.base_url.rstrip('/')}/v1)" if bare else ""


def _is_about_model(answer: Response, model: str) -> bool:
    """Return whether an error says that the model does not exist."""
    text = answer.text.lower()
    if answer.status not in {400, 404, 422}:
        return False
    if any(phrase in text for phrase in NO_SUCH_MODEL):
        return True
    return model.lower() in text and ("not found" in text or "not exist" in text)


def _available(provider: Provider, models: list[str] | None) -> str:
    if not models:
        return "check the name in the provider's documentation"
    near = difflib.get_close_matches(provider.model, models, n=MODELS_SHOWN, cutoff=0.3)
    shown = near or sorted(models)[:MODELS_SHOWN]
    rest = len(models) - len(shown)
    return f"it has {', '.join(shown)}" + (f" and {rest} more" if rest else "")
