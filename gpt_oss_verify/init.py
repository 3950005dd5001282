"""The commands on providers: `init` adds an entry to providers.yaml, `providers` lists them."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter
from rich.prompt import Prompt
from rich.text import Text

from gpt_oss_verify.options import COUNT, ProvidersFile, parse_apis
from gpt_oss_verify.screen import say, show, stderr, stdout
from harness.errors import (
    ConfigurationError,
    ProviderUnauthorizedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
    read_text,
)
from harness.providers.entries import (
    LOCAL_FILE,
    Prices,
    Provider,
    adhoc_provider,
    changed,
    find_provider,
    load_providers,
    looks_like_key,
    own_providers,
)
from harness.providers.price_tables import Table, table_prices
from harness.providers.yaml_files import entry_text, with_entry
from harness.records.conditions import BOTH_APIS, Api
from harness.records.settings import names
from harness.run.preflight import (
    ModelList,
    is_web_page,
    listed_models,
    preflight,
    require_access,
    supported_apis,
)
from harness.run.run_log import replacing
from harness.text import first_few

MODELS_SHOWN = 8
MOST_SECONDS = 60.0
_REFUSED = (401, 403)
NEW_FILE = "# Your providers; they extend and override the shipped entries.\nproviders:\n"


def init(
    name: str | None = None,
    *,
    base_url: str | None = None,
    model: str | None = None,
    apis: Annotated[str | None, Parameter(alias="--api")] = None,
    api_key_env: str | None = None,
    concurrency: Annotated[int | None, COUNT] = None,
    rpm: Annotated[int | None, COUNT] = None,
    tpm: Annotated[int | None, COUNT] = None,
    prices: Table | None = None,
    providers_file: Annotated[Path, Parameter(name="--providers")] = LOCAL_FILE,
    offline: bool = False,
    force: bool = False,
) -> int:
    """Add a provider to providers.yaml. In a terminal, ask for what cannot be found out.

    The command finds the models and the APIs of the provider by sending it a few requests, and
    says what would prevent a run. It leaves the other entries and the comments of an existing file
    unchanged.

    Args:
        name: Name of the entry. Default, in a terminal: from the host of the address.
        base_url: Base URL of the API, such as http://localhost:8000/v1.
        model: Model name as the provider knows it. Default: the only model that it lists.
        apis: responses, chat, or both, separated by a comma. Default: those that work.
        api_key_env: Name of the environment variable that holds the key, never the key.
        concurrency: Attempts in flight. Default: 8.
        rpm: Limit of requests per minute.
        tpm: Limit of tokens per minute.
        prices: Take the prices from the table of this package, as it is installed here.
        providers_file: The file to write. Default: providers.yaml.
        offline: Send no request to the provider.
        force: Replace an existing entry of this name.
    """
    typed = filter(None, (name, base_url, model, api_key_env, *names(apis)))
    if any(map(looks_like_key, typed)):
        raise ConfigurationError(
            "One of the arguments looks like a key. Store it in an environment variable and pass "
            "the variable's name as --api-key-env; providers.yaml must not contain keys."
        )
    existing = own_providers(providers_file) if providers_file.exists() else {}
    wanted = parse_apis(apis)
    if _interactive():
        base_url = base_url or _ask(
            "Base URL of the API, such as http://localhost:8000/v1",
            partial(adhoc_provider, model="any", apis=("chat",)),
        )
        name = name or _short_name(base_url)
    required = {"--name": name, "--base-url": base_url}
    if name is None or base_url is None:
        missing = " and ".join(flag for flag, value in required.items() if not value)
        raise ConfigurationError(f"Give {missing}, or run init in a terminal.")
    if name in existing and not force:
        raise ConfigurationError(
            f"{providers_file} already has an entry {name}; choose a different --name, or "
            "replace it with --force."
        )
    options = {"concurrency": concurrency, "rpm": rpm, "tpm": tpm}
    limits = {key: limit for key, limit in options.items() if limit is not None}
    entry = adhoc_provider(base_url, model or "any", wanted or BOTH_APIS, api_key_env)
    entry = changed(entry, name=name, **limits)
    provider = _with_model_and_apis(entry, model, wanted, offline=offline)
    if prices is not None:
        found = table_prices(prices, provider)
        provider = changed(provider, prices=found.prices)
        say(f"Prices from {found.source}: {_shown(found.prices)} dollars per million tokens.")
    _write(providers_file, provider, [*limits, "prices"])
    option = "" if providers_file == LOCAL_FILE else f"--providers {providers_file} "
    option += f"--provider {shlex.quote(provider.name)}"
    added = f"{provider.model} at {provider.base_url}, {' and '.join(provider.apis)}"
    show(
        f"Added {provider.name} to {providers_file}: {added}.\n"
        f"Next: gpt-oss-verify {option} --suite tools -n 1 -k 1"
    )
    return 0


def _with_model_and_apis(
    entry: Provider, model: str | None, apis: tuple[Api, ...] | None, *, offline: bool
) -> Provider:
    """Return the entry with model and APIs; those not given come from the provider or the user."""
    asked = changed(entry, timeout=MOST_SECONDS)
    needed = model is None and not _interactive()
    models = None if offline else _listed_models(asked, needed=needed)
    refused = models is not None and models.answer and models.answer.status in _REFUSED
    if refused and entry.api_key_env is None and _interactive() and (key := _ask_key(entry)):
        entry, asked = (changed(one, api_key_env=key) for one in (entry, asked))
        models = _listed_models(asked, needed=False)
    asked = changed(asked, model=model or _model(asked, models))
    if apis is None:
        supported = () if models is None else _supported_apis(asked, models.ids or [])
        apis = supported or BOTH_APIS
    elif models is not None:
        try:
            asyncio.run(preflight(asked, apis))
        except (ConfigurationError, ProviderUnavailableError) as error:
            say(f"{error}. The entry is written nevertheless.")
    return changed(entry, model=asked.model, apis=apis)


def served(provider: Provider) -> str:
    """Return which models the provider serves, as the end of a sentence. Raises as `request`."""
    models = asyncio.run(listed_models(changed(provider, timeout=MOST_SECONDS))).ids
    return f"serves {first_few(models, MODELS_SHOWN)}" if models else "does not list its models"


def _listed_models(provider: Provider, *, needed: bool) -> ModelList | None:
    """Return the models that the provider lists; None, with a message, if it does not answer.

    Raises the error if the entry `needed` them.
    """
    try:
        models = asyncio.run(listed_models(provider))
    except (ConfigurationError, ProviderUnavailableError) as error:
        if needed:
            advice = "nothing is written. Start the provider, or give --model to write an entry"
            raise type(error)(f"{error}; {advice}.") from None
        say(f"{error}. The entry is written, but not checked.")
        return None
    if models.ids is None:
        _require_version(provider)
    return models


def _require_version(provider: Provider) -> None:
    """Name the address of the API if only `/v1` is missing. Raises ProviderUnavailableError."""
    address = provider.base_url
    if urlsplit(address).path.rstrip("/"):
        return
    try:
        listed = asyncio.run(listed_models(changed(provider, base_url=f"{address}/v1")))
    except ProviderUnavailableError:
        return
    if listed.ids is not None:
        raise ProviderUnavailableError(
            f"{address} lists no models, but {address}/v1 does; pass --base-url {address}/v1."
        )


def _supported_apis(provider: Provider, models: list[str]) -> tuple[Api, ...]:
    """Return the APIs that work; empty, with a message, if the provider does not answer."""
    try:
        apis, refusals = asyncio.run(supported_apis(provider, models))
    except (ProviderUnreachableError, ProviderUnauthorizedError) as error:
        say(f"{error}. The entry lists both APIs, which were not tested.")
        return ()
    for refusal in refusals:
        say(f"The entry lists only {', '.join(apis)}: {refusal}" if apis else refusal)
    if not apis:
        raise ProviderUnavailableError(
            f"{provider.base_url} supports neither API; check --base-url, or write the entry "
            "anyway with --apis."
        )
    return apis


def _shown(prices: Prices) -> str:
    """Return prices as text, such as `0.15 in, 0.6 out`."""
    cached = "" if prices.cached_input is None else f" ({prices.cached_input:g} cached)"
    return f"{prices.input:g} in{cached}, {prices.output:g} out"


def _write(path: Path, provider: Provider, limits: Iterable[str]) -> None:
    written = {"base_url", "model", "apis", "api_key_env", *limits}
    entry = provider.model_dump(mode="json", include=written, exclude_none=True)
    if path.exists():
        text = with_entry(read_text(path), str(path), provider.name, entry)
    else:
        text = NEW_FILE + entry_text(provider.name, entry)
    # Replace the file atomically, follow a symbolic link, and keep the file mode.
    target = path.resolve()
    with replacing(target) as file:
        file.write(text.encode())
        if target.exists():
            shutil.copymode(target, file.name)


def _interactive() -> bool:
    return sys.stdin.isatty()


def _ask_key(provider: Provider) -> str | None:
    """Return the variable that holds the key of a provider that refuses access; None for none."""
    text = _ask(
        "The provider asks for a key. Environment variable that holds it (its name; empty: none)",
        lambda text: changed(provider, api_key_env=text or None),
        default="",
    )
    return text or None


def _model(provider: Provider, models: ModelList | None) -> str:
    """Return the only listed model, or the one that the user names; None: nothing was asked."""
    listed = (models and models.ids) or []
    if _interactive():
        likely = [name for name in listed if "gpt-oss" in name.lower()] or listed
        if len(likely) == 1:
            return likely[0]
        if likely:
            say(f"The provider lists {', '.join(likely)}.")
        return _ask("Model", default=likely[0] if likely else None)
    if models is None:
        raise ConfigurationError("Give --model.")
    if len(listed) == 1:
        return listed[0]
    if models.answer is not None:
        require_access(provider, "/models", models.answer)
    shown = f"lists {', '.join(listed[:MODELS_SHOWN])}" if listed else "does not list its models"
    if models.answer and is_web_page(models.answer):
        raise ProviderUnavailableError(
            f"{provider.base_url}/models is a web page (status {models.answer.status}), not a list "
            "of models; check --base-url, which most servers end with /v1."
        )
    if models.answer and models.answer.status not in {200, 404}:
        shown = f"answers /models with status {models.answer.status}"
    raise ConfigurationError(f"Give --model; the provider {shown}.")


def _ask(question: str, check: Callable[[str], object] = str, default: str | None = None) -> str:
    """Ask until the answer passes `check`, which raises ConfigurationError."""
    while True:
        try:
            answer = Prompt.ask(
                question, console=stderr(), default=default, show_default=bool(default)
            )
        except EOFError:
            raise ConfigurationError(
                "The input ended before all questions were answered; run init again, or pass flags."
            ) from None
        text = (answer or "").strip()
        if looks_like_key(text):
            say("This looks like a key. Store it in an environment variable and give its name.")
            continue
        if not text and default != "":
            continue
        try:
            check(text)
        except ConfigurationError as error:
            say(str(error))
        else:
            return text


def _short_name(base_url: str) -> str:
    """Return the part of a host name that identifies the provider: `groq` for `api.groq.com`."""
    host = urlsplit(base_url).hostname or ""
    parts = host.split(".")
    is_domain = len(parts) > 1 and not parts[-1].isdigit()
    return parts[-2] if is_domain else host.replace(":", "-")


def providers(name: str | None = None, /, *, providers_file: ProvidersFile = None) -> int:
    """List your providers and the shipped ones.

    Args:
        name: Contact only this provider, as before a run.
    """
    if name is not None:
        provider = find_provider(name, providers_file)
        if provider.launch is not None:
            raise ConfigurationError(f"A run launches {name}; it is contacted only in a run.")
        asyncio.run(preflight(provider, provider.apis, say))
        show(f"{name} answers as {provider.model} over {' and '.join(provider.apis)}.")
        return 0
    entries = load_providers(providers_file)
    width = max(map(len, entries))
    for entry in entries.values():
        place = "launched on this machine" if entry.launch else entry.base_url
        if entry.api_key_env:
            state = "set" if os.environ.get(entry.api_key_env) else "not set"
            place += f" · {entry.api_key_env} {state}"
        line = Text.assemble((entry.name.ljust(width), "bold"), f"  {entry.model}")
        line.append(f" · {', '.join(entry.apis)}\n")
        line.append(f"{'':{width}}  {place}", style="dim")
        stdout().print(line, soft_wrap=True)
    return 0
