"""`providers.yaml`: where providers are, what they speak and how to get in.

The file names environment variables that hold keys; it never holds a key. What an entry may say
is the fields of `Provider` and `Launch`. Secrets are looked up by `access` when they are needed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from harness.errors import ConfigurationError
from harness.providers.gate_entry import GateEntry, gate_entry
from harness.providers.prices import Prices
from harness.providers.yaml_files import Entry, first_problem, parse_yaml, read_text
from harness.records.conditions import Api
from harness.records.runs import Capability, ProviderInfo
from harness.text.suggestion import suggestion

LOCAL_FILE = Path("providers.yaml")
ENVIRONMENT_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_KEY_OPTION = re.compile(r"-{1,2}[\w-]*(?:key|token|secret|password)", re.IGNORECASE)
_HIDDEN = "[redacted]"


def _url(value: str) -> str:
    """`value` without trailing slash, if requests can be sent below it."""
    try:
        parts = urlsplit(value.replace("{port}", "1"))
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and value.isprintable() and " " not in value
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{value!r} is not a URL like http://localhost:8000/v1")
    if parts.username or parts.password:
        raise ValueError("the URL holds a user name or password; use api_key_env or headers")
    if parts.query or parts.fragment:
        raise ValueError("the URL has a ? or # part, which has no place in a base URL")
    return value.rstrip("/")


def _environment_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("this is the name of an environment variable, never a key itself")
    return value


def _no_repeats(value: tuple[Api, ...]) -> tuple[Api, ...]:
    if not value:
        raise ValueError("is empty; give responses, chat or both")
    if len(set(value)) != len(value):
        raise ValueError("names an API twice")
    return value


def _json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"cannot be sent as JSON: {error}") from None
    return value


def _arguments(value: object) -> object:
    return shlex.split(value) if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_url)]


class Launch(Entry):
    """How to start a provider on this machine.

    `{port}` in the command and URLs becomes a free port, `{python}` in the command the Python
    that runs this tool. Ready means that a GET of `ready_url` (default: the provider's /models)
    is answered with 200.
    """

    command: Annotated[tuple[str, ...], BeforeValidator(_arguments), Field(min_length=1)]
    ready_url: Url | None = None
    ready_timeout: float = Field(default=120, gt=0)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: Path | None = None


class Provider(Entry):
    """One provider. `timeout` is in seconds for a whole request, `rpm` and `tpm` are per minute.

    `limitations` names what it is known not to support; that is then reported, but fails nothing.
    `gate` is what a run of it is held to.
    A header value may use `${NAME}` for an environment variable.
    """

    name: str = Field(min_length=1)
    base_url: Url
    model: str = Field(min_length=1)
    apis: Annotated[tuple[Api, ...], AfterValidator(_no_repeats)]
    api_key_env: Annotated[str, AfterValidator(_environment_name)] | None = None
    extra_body: Annotated[dict[str, Any], AfterValidator(_json)] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=600, gt=0)
    concurrency: int = Field(default=8, ge=1)
    rpm: int | None = Field(default=None, ge=1)
    tpm: int | None = Field(default=None, ge=1)
    prices: Prices | None = None
    launch: Launch | None = None
    limitations: tuple[Capability, ...] = ()
    gate: GateEntry | None = None

    @model_validator(mode="after")
    def _port_only_with_launch(self) -> Self:
        if "{port}" in self.base_url and self.launch is None:
            raise ValueError("base_url has {port}, but there is no launch entry to choose one")
        return self

    def info(self) -> ProviderInfo:
        """What may be written down about it."""
        return ProviderInfo(
            name=self.name,
            base_url=self.base_url,
            model=self.model,
            extra_body=self.extra_body,
            header_names=tuple(self.headers),
            launch_command=tuple(_without_keys(self.launch.command)) if self.launch else None,
            limitations=self.limitations,
        )


def _without_keys(command: Iterable[str]) -> Iterator[str]:
    """A command with the values of options such as `--api-key` left out."""
    hide = False
    for word in command:
        option, equals, _ = word.partition("=")
        names_key = _KEY_OPTION.fullmatch(option) is not None
        if names_key and equals:
            yield f"{option}={_HIDDEN}"
        else:
            yield _HIDDEN if hide else word
        hide = names_key and not equals


@dataclass(frozen=True)
class Access:
    """The headers that let us in, and the values that must never be written down."""

    headers: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


def access(provider: Provider, environ: Mapping[str, str] = os.environ) -> Access:
    """Look up the provider's key and header values.

    Raises:
        ConfigurationError: An environment variable is missing, empty or unfit for a header.
    """
    secrets: set[str] = set()

    def value_of(name: str) -> str:
        value = environ.get(name, "").strip()
        if not value:
            raise ConfigurationError(
                f"provider {provider.name}: the environment variable {name} is not set; "
                f"set it to your key and run again"
            )
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"provider {provider.name}: the value of {name} has characters that cannot stand "
                "in an HTTP header; check that it was copied whole and alone"
            )
        secrets.add(value)
        return value

    headers = {
        name: ENVIRONMENT_NAME.sub(lambda match: value_of(match[1]), template)
        for name, template in provider.headers.items()
    }
    if provider.api_key_env is not None:
        headers.setdefault("Authorization", f"Bearer {value_of(provider.api_key_env)}")
    return Access(headers, frozenset(secrets))


def load_providers(path: Path | None = None) -> dict[str, Provider]:
    """All providers by name: of `path`, else of ./providers.yaml, else of the file we ship.

    Raises:
        ConfigurationError: The file cannot be read, or an entry in it cannot be used.
    """
    source, content = _content(path)
    return {
        str(name): _provider(str(name), entry, source)
        for name, entry in content["providers"].items()
    }


def load_gate(path: Path | None = None) -> tuple[str, GateEntry | None]:
    """What the file asks of every provider, and the file's name. Raises ConfigurationError."""
    source, content = _content(path)
    gate = content.get("gate")
    return source, None if gate is None else gate_entry(gate, source, ("gate",))


def find_provider(name: str, path: Path | None = None) -> Provider:
    """The provider called `name`, from where `load_providers` looks. Raises ConfigurationError."""
    providers = load_providers(path)
    if name in providers:
        return providers[name]
    raise ConfigurationError(
        f"{_read(path)[0]}: there is no provider {name!r}; " + suggestion(name, list(providers))
    )


def adhoc_provider(
    base_url: str, model: str, apis: Sequence[Api], api_key_env: str | None = None
) -> Provider:
    """A provider given on the command line instead of in a file. Raises ConfigurationError."""
    entry = {"base_url": base_url, "model": model, "apis": apis, "api_key_env": api_key_env}
    try:
        host = urlsplit(base_url).hostname
    except ValueError:
        host = None
    return _provider(host or "provider", entry, "command line")


def changed(provider: Provider, **changes: object) -> Provider:
    """`provider` with fields replaced from the command line. Raises ConfigurationError."""
    entry = provider.model_dump() | changes
    return _provider(str(entry.pop("name")), entry, "command line")


def _content(path: Path | None) -> tuple[str, dict[str, Any]]:
    """The name of the file to use, and its content. Raises ConfigurationError."""
    source, text = _read(path)
    content = parse_yaml(text, source)
    if not isinstance(content, dict) or not isinstance(content.get("providers"), dict):
        raise ConfigurationError(f"{source}: the file needs a key `providers` with entries by name")
    for key in content.keys() - {"providers", "gate"}:
        raise ConfigurationError(f"{source}: unknown key {key!r}; there are `providers` and `gate`")
    return source, content


def _read(path: Path | None) -> tuple[str, str]:
    """The name of the file to use, for messages, and its text."""
    if path is None and not LOCAL_FILE.exists():
        shipped = resources.files("harness") / "data" / "providers.yaml"
        return "providers.yaml", shipped.read_text(encoding="utf-8")
    path = path or LOCAL_FILE
    return str(path), read_text(path)


def _provider(name: str, entry: object, source: str) -> Provider:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{source}: providers.{name} must be a mapping with base_url, …")
    try:
        return Provider.model_validate({"name": name, **entry})
    except ValidationError as error:
        problem = first_problem(error, Provider, ("providers", name))
        raise ConfigurationError(f"{source}: {problem}") from None
