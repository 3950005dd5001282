"""Which provider the options on the command line mean."""

from __future__ import annotations

from collections.abc import Mapping

from harness.cli.options import ProviderOptions, parse_apis
from harness.errors import ConfigurationError
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.records.conditions import Api
from harness.records.runs import ProviderInfo

BOTH_APIS: tuple[Api, ...] = ("responses", "chat")


def chosen_provider(chosen: ProviderOptions, concurrency: int | None) -> Provider:
    """The entry that the options name, changed as they say. Raises ConfigurationError."""
    apis = parse_apis(chosen.apis)
    if chosen.provider is not None:
        entry = providers.find_provider(chosen.provider, chosen.providers_file)
        return _changed(
            entry,
            base_url=chosen.base_url,
            model=chosen.model,
            api_key_env=chosen.api_key_env,
            timeout=chosen.timeout,
            concurrency=concurrency,
        )
    if chosen.base_url is None or chosen.model is None:
        raise ConfigurationError(
            "Name a provider with --provider (`gpt-oss-verify providers` lists them), "
            "or give --base-url and --model."
        )
    adhoc = providers.adhoc_provider(
        chosen.base_url, chosen.model, apis or BOTH_APIS, chosen.api_key_env
    )
    return _changed(adhoc, timeout=chosen.timeout, concurrency=concurrency)


def same_provider(info: ProviderInfo, chosen: ProviderOptions, concurrency: int | None) -> Provider:
    """The provider of an earlier run, as its entry is today or as it was given then.

    Raises:
        ConfigurationError: It is another one, or one that cannot be told from what was recorded.
    """
    known = providers.load_providers(chosen.providers_file)
    if (chosen.provider, chosen.base_url, chosen.model) == (None, None, None):
        entry = known.get(info.name)
        if entry is not None and entry.base_url == info.base_url:
            return _changed(
                entry, model=info.model, timeout=chosen.timeout, concurrency=concurrency
            )
        if "{port}" in info.base_url:
            raise ConfigurationError(
                f"The run started {info.name} by an entry that is not in these providers, or has "
                "changed: name the file that has it with --providers."
            )
        adhoc = providers.adhoc_provider(info.base_url, info.model, BOTH_APIS, chosen.api_key_env)
        adhoc = providers.changed(adhoc, name=info.name, extra_body=info.extra_body)
        return _changed(adhoc, timeout=chosen.timeout, concurrency=concurrency)
    provider = chosen_provider(chosen, concurrency)
    if not _matches(provider, info):
        raise ConfigurationError(
            f"The run was made with {info.model} at {info.base_url}, "
            f"not with {provider.model} at {provider.base_url}; start a new run instead."
        )
    return provider


def _matches(provider: Provider, info: ProviderInfo) -> bool:
    return (provider.base_url, provider.model) == (info.base_url, info.model)


def _changed(provider: Provider, **changes: object) -> Provider:
    given: Mapping[str, object] = {k: v for k, v in changes.items() if v is not None}
    if "base_url" in given:
        # Another address than the entry's: what is there was not started by us.
        given = {**given, "launch": None}
    return providers.changed(provider, **given) if given else provider
