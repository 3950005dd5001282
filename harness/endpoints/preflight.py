"""A few cheap requests before a run, so that a hopeless one is not begun."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import orjson

from harness.api import DIALECTS
from harness.api.base import Settings
from harness.api.conversation import Message
from harness.api.fields import error_message, excerpt
from harness.errors import (
    ModelNotFoundError,
    ProviderUnauthorizedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from harness.providers.entries import Provider, changed
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response
from harness.transport import RetryPolicy, open_transport

FEWEST_TOKENS = 16
LONGEST_WAIT = 60.0
MODELS_SHOWN = 8
NO_SUCH_MODEL = ("model_not_found", "model not found", "unknown model", "invalid model")
GATEWAY_STATUSES = frozenset({502, 503, 504})

# An overloaded moment must not end a run before it began; a provider that is down must, at once.
_BRIEFLY = RetryPolicy(
    retries=0, retries_when_overloaded=2, first_wait=0.3, longest_wait=1, longest_retry_after=3
)


async def preflight(provider: Provider, apis: Sequence[Api]) -> int:
    """See that the provider answers, takes our key and knows the model on each of `apis`.

    Little is retried here, so that the user is told at once. Whatever a run could show as a
    finding, such as a 500 or a 400, is left to the run. A first answer may take as long as any:
    servers load their model for it.

    Returns:
        How many requests it took, not counting any that had to be sent again.

    Raises:
        ConfigurationError: An environment variable the provider needs is not set.
        ProviderUnavailableError: It does not; the sentence says which and how to mend it.
    """
    models = await listed_models(provider)
    for api in apis:
        require_use(provider, api, await ask(provider, api), models)
    return 1 + len(apis)


async def listed_models(provider: Provider) -> list[str] | None:
    """The ids the provider lists, or None where it keeps no list for us.

    Raises:
        ConfigurationError: An environment variable the provider needs is not set.
        ProviderUnreachableError: Nobody answers.
    """
    soon = changed(provider, timeout=min(provider.timeout, LONGEST_WAIT))
    exchange = await _send(soon, "/models")
    if exchange.failure is not None and exchange.failure.kind == "connect":
        _refuse_broken_connection(provider, exchange)
    response = exchange.response
    if response is None or response.status != 200:
        return None
    try:
        return [str(model["id"]) for model in orjson.loads(response.body or "")["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


async def ask(provider: Provider, api: Api) -> Exchange:
    """The shortest real request, and what came of it. Raises ConfigurationError."""
    dialect = DIALECTS[api]
    settings = Settings(provider.model, extra_body=provider.extra_body)
    body = dialect.first_request(
        [Message("user", "Hi")],
        instructions=None,
        tools=(),
        streaming=False,
        settings=replace(settings, max_tokens=FEWEST_TOKENS),
    )
    return await _send(provider, dialect.path, body)


def require_use(provider: Provider, api: Api, exchange: Exchange, models: list[str] | None) -> None:
    """See that what `ask` brought leaves a run hope; `models` are the listed ones.

    Raises:
        ProviderUnavailableError: It does not; the sentence says which and how to mend it.
    """
    _refuse_broken_connection(provider, exchange)
    if exchange.response is not None and exchange.response.status >= 300:
        _judge(provider, api, exchange.response, models)


async def _send(provider: Provider, path: str, body: Mapping[str, Any] | None = None) -> Exchange:
    """Send, over a connection of its own: a server may drop the one it has just failed on."""
    async with open_transport(provider, retries=_BRIEFLY) as transport:
        return await transport.send(path, body)


def _refuse_broken_connection(provider: Provider, exchange: Exchange) -> None:
    if exchange.failure is not None and exchange.response is None:
        raise ProviderUnreachableError(
            f"provider {provider.name} does not answer at {exchange.request.url}: "
            f"{exchange.failure.message}; check that it is running and its base_url"
        )


def _judge(provider: Provider, api: Api, response: Response, models: list[str] | None) -> None:
    """Raise if a response means that no request of the run can succeed."""
    status, name = response.status, provider.name
    url = provider.base_url + DIALECTS[api].path
    said = f" ({_said(response)})"
    if status in {401, 403, 407}:
        _unauthorized(provider, status, said)
    if status in GATEWAY_STATUSES:
        raise ProviderUnreachableError(
            f"provider {name} answers {status} at {url}{said}; try again when it is up"
        )
    if status < 400:
        target = response.headers.get("location", "another place")
        raise ProviderUnavailableError(
            f"provider {name} redirects {url} to {target}; put the real address into base_url"
        )
    if _is_about_model(response, provider.model) or (
        status == 404 and models is not None and provider.model not in models
    ):
        raise ModelNotFoundError(
            f"provider {name} has no model {provider.model!r}{said}; {_available(provider, models)}"
        )
    if status in {404, 405}:
        raise ProviderUnavailableError(
            f"provider {name} has nothing at {url}: it answers {status}{said}; "
            f"check base_url, or leave {api} out of its apis"
        )


def _unauthorized(provider: Provider, status: int, said: str) -> NoReturn:
    if provider.api_key_env:
        remedy = f"check the key in {provider.api_key_env}"
    else:
        remedy = "give the name of the variable that holds your key as api_key_env"
    raise ProviderUnauthorizedError(
        f"provider {provider.name} refuses access with {status}{said}; {remedy}"
    )


def _is_about_model(response: Response, model: str) -> bool:
    """Whether a refusal says that there is no such model."""
    text = (response.body or "").lower()
    if response.status not in {400, 404, 422}:
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


def _said(response: Response) -> str:
    """What the provider said, in a few words."""
    body = response.body or ""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return excerpt(body) if body else "no explanation"
    if isinstance(content, dict):
        content = content.get("error") or content.get("message") or content.get("detail") or content
    return " ".join(error_message(content).split())[:200]
