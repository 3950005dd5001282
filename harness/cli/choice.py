"""Find the provider that the options on the command line select."""

from __future__ import annotations

from harness.cli.options import ProviderOptions, parse_apis
from harness.errors import ConfigurationError
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.records.conditions import BOTH_APIS
from harness.records.runs import ProviderInfo


def chosen_provider(options: ProviderOptions, concurrency: int | None) -> Provider:
    """The entry that the options name, with their overrides. Raises ConfigurationError."""
    apis = parse_apis(options.apis)
    if options.provider is not None:
        entry = providers.find_provider(options.provider, options.providers_file)
        return _overridden(
            entry,
            base_url=options.base_url,
            model=options.model,
            api_key_env=options.api_key_env,
            timeout=options.timeout,
            concurrency=concurrency,
        )
    if options.base_url is None or options.model is None:
        raise ConfigurationError(
            "Select a provider with --provider (`gpt-oss-verify providers` lists them), "
            "or pass --base-url and --model."
        )
    provider = providers.adhoc_provider(
        options.base_url, options.model, apis or BOTH_APIS, options.api_key_env
    )
    return _overridden(provider, timeout=options.timeout, concurrency=concurrency)


def same_provider(
    info: ProviderInfo, options: ProviderOptions, concurrency: int | None
) -> Provider:
    """The provider of an earlier run, from its current entry or from the record of the run.

    Raises:
        ConfigurationError: The options select another provider, or the record is not sufficient.
    """
    overrides = {"timeout": options.timeout, "concurrency": concurrency}
    if (options.provider, options.base_url, options.model) == (None, None, None):
        entry = providers.load_providers(options.providers_file).get(info.name)
        if entry is not None and entry.base_url == info.base_url:
            return _overridden(entry, model=info.model, **overrides)
        if "{port}" in info.base_url:
            raise ConfigurationError(
                f"The run launched {info.name}, but its entry is missing or has changed: "
                "pass the file that has the entry with --providers."
            )
        provider = providers.adhoc_provider(
            info.base_url, info.model, BOTH_APIS, options.api_key_env
        )
        return _overridden(provider, name=info.name, extra_body=info.extra_body, **overrides)
    provider = chosen_provider(options, concurrency)
    if (provider.base_url, provider.model) != (info.base_url, info.model):
        raise ConfigurationError(
            f"The run used {info.model} at {info.base_url}, not {provider.model} at "
            f"{provider.base_url}; start a new run instead."
        )
    return provider


def _overridden(provider: Provider, **overrides: object) -> Provider:
    """`provider` with the overrides that are not None; another address is not launched."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if "base_url" in given:
        given["launch"] = None
    return providers.changed(provider, **given) if given else provider
