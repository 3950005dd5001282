"""From options to a job: a new run, or one to go on with."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from harness import providers, run_folder, smoke
from harness.cases import load_suite
from harness.cli.options import GateOptions, PlanOptions, ProviderOptions, parse_apis
from harness.errors import ConfigurationError
from harness.providers import Provider
from harness.records import Api, ProviderInfo, RunSettings, Thresholds
from harness.run_log import read_run_info

DEFAULT_TRIES = 5
DEFAULT_MAX_TURNS = 10
DEFAULT_OUT = Path("runs")
BOTH_APIS: tuple[Api, ...] = ("responses", "chat")


def new(
    chosen: ProviderOptions,
    plan: PlanOptions,
    gate: GateOptions,
    concurrency: int | None,
    out: Path | None,
) -> smoke.Job:
    """Plan a new run. Raises ConfigurationError or RunLogError."""
    provider = _provider(chosen, concurrency)
    suite = load_suite(plan.cases, plan.tools).first(plan.first)
    settings = RunSettings(
        apis=parse_apis(chosen.apis) or provider.apis,
        streaming=(True, False) if plan.streaming is None else (plan.streaming,),
        tries=plan.tries or DEFAULT_TRIES,
        first_cases=plan.first,
        max_turns=plan.max_turns or DEFAULT_MAX_TURNS,
        strict=plan.strict or False,
        concurrency=provider.concurrency,
        seed=plan.seed,
        reasoning_effort=plan.reasoning_effort,
        temperature=plan.temperature,
        max_tokens=plan.max_tokens,
        thresholds=gate.thresholds(Thresholds()),
    )
    command = ("gpt-oss-verify", *sys.argv[1:])
    return smoke.new_job(provider, suite, settings, out=out or DEFAULT_OUT, command=command)


def resumed(
    folder: Path,
    chosen: ProviderOptions,
    plan: PlanOptions,
    concurrency: int | None,
    out: Path | None,
) -> smoke.Job:
    """Go on with the run in `folder`. Raises ConfigurationError or RunLogError."""
    fixed = {**vars(plan), "out": out, "apis": chosen.apis}
    if given := [name for name, value in fixed.items() if value is not None]:
        raise ConfigurationError(
            f"--resume goes on with the settings of the run; leave out {_flag(given[0])}."
        )
    info = read_run_info(folder)
    suite = run_folder.read_suite(folder, info)
    provider = _same_provider(info.provider, chosen, concurrency)
    settings = info.settings.model_copy(update={"concurrency": provider.concurrency})
    return smoke.Job(provider, suite, info.model_copy(update={"settings": settings}), folder)


def _provider(chosen: ProviderOptions, concurrency: int | None) -> Provider:
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


def _same_provider(
    info: ProviderInfo, chosen: ProviderOptions, concurrency: int | None
) -> Provider:
    """The provider of an earlier run, as its entry is today or as it was given then."""
    known = providers.load_providers(chosen.providers_file)
    if (chosen.provider, chosen.base_url, chosen.model) == (None, None, None):
        if info.name in known and _matches(known[info.name], info):
            return _changed(known[info.name], timeout=chosen.timeout, concurrency=concurrency)
        entry = providers.adhoc_provider(info.base_url, info.model, BOTH_APIS, chosen.api_key_env)
        adhoc = providers.changed(entry, name=info.name, extra_body=info.extra_body)
        return _changed(adhoc, timeout=chosen.timeout, concurrency=concurrency)
    provider = _provider(chosen, concurrency)
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


def _flag(name: str) -> str:
    return {"first": "-n"}.get(name, f"--{name.replace('_', '-')}")
