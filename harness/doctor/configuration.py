"""What the user has set up: the vocabulary, providers.yaml, variables with keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from harmony import vocabulary
from harness.doctor.lines import Line, note, ok, problem, warning
from harness.errors import ConfigurationError
from harness.providers.entries import (
    ENVIRONMENT_NAME,
    LOCAL_FILE,
    Provider,
    access,
    load_providers,
)


def vocabulary_line(environ: Mapping[str, str] = os.environ) -> Line:
    """Where the harmony vocabulary is; it is fetched if need be, as a run would."""
    named = environ.get(vocabulary.FOLDER_VARIABLE)
    try:
        path = vocabulary.vocabulary_file()
    except vocabulary.VocabularyError as error:
        text = f"{error} Without it there are no probes of the prompt and no reference engine."
        return warning("vocabulary", text)
    if named and path.parent != Path(named):
        text = f"{path}; {named} has no {vocabulary.FILE_NAME} with the right hash"
        return warning("vocabulary", text, f"mend or unset {vocabulary.FOLDER_VARIABLE}")
    return ok("vocabulary", f"{path}, SHA-256 as it should be")


def providers_line(path: Path | None) -> tuple[Line, Mapping[str, Provider]]:
    """Whether the file can be used, and its entries."""
    try:
        found = load_providers(path)
    except ConfigurationError as error:
        return problem("providers", str(error)), {}
    place = path or LOCAL_FILE
    shown = f"{place}" if place.exists() else f"no {place} here, so the one that ships"
    return ok("providers", f"{shown}: {len(found)} entries"), found


def keys(providers: Mapping[str, Provider], environ: Mapping[str, str]) -> Iterator[Line]:
    """Which key variables are set; their values are looked at and never shown."""
    unset = []
    for provider in providers.values():
        names = key_variables(provider)
        missing = [name for name in names if not environ.get(name, "").strip()]
        unset += [f"{name} ({provider.name})" for name in missing]
        if names and not missing:
            yield _fit(provider, names, environ)
    if unset:
        yield note("keys", f"not set: {', '.join(unset)}")


def key_variables(provider: Provider) -> list[str]:
    """The environment variables that an entry names, as its key and in its headers."""
    named = [provider.api_key_env] if provider.api_key_env else []
    templates = provider.headers.values()
    return named + [match[1] for text in templates for match in ENVIRONMENT_NAME.finditer(text)]


def _fit(provider: Provider, names: list[str], environ: Mapping[str, str]) -> Line:
    try:
        access(provider, environ)
    except ConfigurationError as error:
        return warning("keys", str(error), f"copy the key into {names[0]} again")
    return ok("keys", f"set: {', '.join(names)} ({provider.name})")
