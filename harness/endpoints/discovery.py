"""Which APIs an endpoint speaks, found out by asking it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.endpoints.preflight import ask, require_use
from harness.errors import (
    ModelNotFoundError,
    ProviderUnauthorizedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from harness.providers.entries import Provider
from harness.records.conditions import Api


@dataclass(frozen=True)
class Spoken:
    """The APIs that are spoken, and for each other one why it is not."""

    apis: tuple[Api, ...]
    refusals: tuple[str, ...]


async def spoken_by(provider: Provider, models: list[str]) -> Spoken:
    """Ask it one tiny thing over each API of its entry; `models` are those it lists.

    Raises:
        ConfigurationError: Its key variable is not set.
        ModelNotFoundError: It has no such model.
        ProviderUnreachableError: Nobody answers.
        ProviderUnauthorizedError: It refuses the key.
    """
    apis: list[Api] = []
    refusals = []
    for api in provider.apis:
        exchange = await ask(provider, api)
        try:
            require_use(provider, api, exchange, models or None)
        except (ModelNotFoundError, ProviderUnreachableError, ProviderUnauthorizedError):
            raise
        except ProviderUnavailableError as error:
            refusals.append(str(error))
        else:
            apis.append(api)
    return Spoken(tuple(apis), tuple(refusals))
