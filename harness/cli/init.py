"""The command `init`: an entry of providers.yaml, from flags or by asking."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harness.cli.choice import BOTH_APIS
from harness.cli.options import at_least, names, parse_apis
from harness.errors import (
    ConfigurationError,
    ProviderUnauthorizedError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from harness.providers.entries import LOCAL_FILE, adhoc_provider, changed, load_providers
from harness.providers.key_shapes import looks_like_key
from harness.providers.yaml_files import read_text
from harness.text.plain import plain

if TYPE_CHECKING:
    from harness.cli.asking import Draft
    from harness.providers.entries import Provider
    from harness.records.conditions import Api

MODELS_SHOWN = 8
MOST_SECONDS = 60.0


def init(
    name: str | None = None,
    *,
    base_url: str | None = None,
    model: str | None = None,
    apis: Annotated[str | None, Parameter(alias="--api")] = None,
    api_key_env: str | None = None,
    concurrency: int | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    providers_file: Annotated[Path, Parameter(name="--providers")] = LOCAL_FILE,
    offline: bool = False,
    force: bool = False,
) -> int:
    """Add a provider to providers.yaml; what is not given is asked, if this is a terminal.

    The provider is asked for its models and over each API, unless it cannot be reached. A new
    file begins with the entries that ship; in one that exists everything else stays as it is.

    Args:
        name: What to call it.
        base_url: Address of the API.
        model: Model name as the provider knows it. Default: the one it lists.
        apis: responses, chat, or both with a comma between. Default: those it answers on.
        api_key_env: Name of the environment variable that holds the key, never the key.
        concurrency: Attempts in flight. Default: 8.
        rpm: Requests a minute that are allowed.
        tpm: Tokens a minute that are allowed.
        providers_file: The file to write. Default: providers.yaml.
        offline: Ask the provider nothing.
        force: Replace an entry of this name.
    """
    from harness.cli import asking

    _refuse_keys(name, base_url, model, api_key_env, *names(apis))
    text, known = _present(providers_file)
    draft = asking.Draft(name, base_url, model, parse_apis(apis), api_key_env)
    if asking.possible():
        draft = asking.address(draft)
    _require_address(draft)
    if draft.name in known and not force:
        raise ConfigurationError(
            f"{providers_file} has an entry {draft.name} already; choose another --name, or "
            "replace it with --force."
        )
    limits = {"concurrency": concurrency, "rpm": rpm, "tpm": tpm}
    at_least(1, {f"--{name}": limit for name, limit in limits.items()})
    given = {name: limit for name, limit in limits.items() if limit is not None}
    provider = changed(_completed(draft, offline=offline), **given)
    _write(providers_file, text, provider, given)
    return 0


def _refuse_keys(*texts: str | None) -> None:
    if any(looks_like_key(text) for text in texts if text is not None):
        raise ConfigurationError(
            "One of the arguments looks like a key. Put it into an environment variable, and give "
            "the variable's name as --api-key-env; keys never stand in providers.yaml."
        )


def _present(path: Path) -> tuple[str, Collection[str]]:
    """The text to add to, and the names of its entries that are the user's own."""
    if not path.exists():
        shipped = resources.files("harness") / "data" / "providers.yaml"
        return shipped.read_text(encoding="utf-8"), ()
    return read_text(path), load_providers(path).keys()


def _require_address(draft: Draft) -> None:
    given = {"--name": draft.name, "--base-url": draft.base_url}
    if missing := [flag for flag, value in given.items() if not value]:
        raise ConfigurationError(f"Give {' and '.join(missing)}, or run init in a terminal.")


def _completed(draft: Draft, *, offline: bool) -> Provider:
    """The draft with model and APIs, from the provider or the user where they were not given."""
    from harness.cli import asking

    given = (draft.base_url or "", draft.model or "any", BOTH_APIS, draft.api_key_env)
    assumed = changed(adhoc_provider(*given), name=draft.name)
    models = None if offline else _listed(changed(assumed, timeout=MOST_SECONDS))
    provider = changed(assumed, model=draft.model or _model(models or []))
    apis = draft.apis
    if apis is None:
        found = () if models is None else _spoken(changed(provider, timeout=MOST_SECONDS), models)
        apis = asking.apis(found) if asking.possible() else found or BOTH_APIS
    return changed(provider, apis=apis)


def _listed(provider: Provider) -> list[str] | None:
    """The models it lists; None if it cannot be asked, which is then said."""
    from harness.endpoints.preflight import listed_models

    try:
        return asyncio.run(listed_models(provider)) or []
    except (ConfigurationError, ProviderUnavailableError) as error:
        _say(f"{error}. The entry is written without asking it anything.")
        return None


def _model(listed: Sequence[str]) -> str:
    from harness.cli import asking

    if asking.possible():
        return asking.model(listed)
    if len(listed) == 1:
        return listed[0]
    there = f"; it lists {', '.join(listed[:MODELS_SHOWN])}" if listed else ""
    raise ConfigurationError(f"Give --model{there}.")


def _spoken(provider: Provider, models: list[str]) -> tuple[Api, ...]:
    """The APIs it answers on; none if that cannot be found out, which is then said."""
    from harness.endpoints.discovery import spoken_by

    try:
        spoken = asyncio.run(spoken_by(provider, models))
    except (ProviderUnreachableError, ProviderUnauthorizedError) as error:
        _say(f"{error}. The entry is written as if it spoke both APIs.")
        return ()
    for refusal in spoken.refusals:
        _say(refusal)
    if not spoken.apis:
        raise ProviderUnavailableError(
            f"{provider.base_url} answers on neither API; check --base-url, or write the entry "
            "all the same with --apis."
        )
    return spoken.apis


def _write(path: Path, text: str, provider: Provider, limits: Mapping[str, int]) -> None:
    from harness.cli.screen import stdout
    from harness.providers.entry_text import with_entry

    entry: dict[str, object] = {
        "base_url": provider.base_url,
        "model": provider.model,
        "apis": list(provider.apis),
    }
    if provider.api_key_env:
        entry["api_key_env"] = provider.api_key_env
    _put(path, with_entry(text, str(path), provider.name, {**entry, **limits}))
    option = "" if path == LOCAL_FILE else f"--providers {path} "
    spoken = " and ".join(provider.apis)
    stdout().print(
        plain(
            f"{path} has {provider.name} now: {provider.model} at {provider.base_url}, {spoken}.\n"
            f"Next: gpt-oss-verify doctor {option}--provider {shlex.quote(provider.name)}\n"
            f"then: gpt-oss-verify {option}--provider {shlex.quote(provider.name)} -n 1 -k 1"
        ),
        soft_wrap=True,
    )


def _put(path: Path, text: str) -> None:
    """Write in one step; a link stays one, and a file keeps who may read it."""
    target = path.resolve()
    draft = target.with_name(f".{target.name}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.copymode(target, draft)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def _say(text: str) -> None:
    from harness.cli.screen import stderr

    stderr().print(plain(text), soft_wrap=True)
