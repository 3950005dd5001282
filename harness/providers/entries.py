"""`providers.yaml`: the address, APIs and credentials of each provider.

The shipped entries are in the file of that name at the top level, which setup.py packs into the
wheel. Entries of the user's file replace shipped entries of the same name; in a checkout, both are
one file. It contains the names of environment variables with keys, never a key; `access` reads the
variables when they are needed.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from harness.errors import ConfigurationError, read_text
from harness.providers.gate_entry import GateEntry, gate_entry
from harness.providers.yaml_files import YamlModel, parse_yaml, problems
from harness.records.conditions import BOTH_APIS, Api
from harness.records.redact import REDACTED
from harness.records.runs import Capability, ProviderInfo
from harness.records.settings import Layer, Settings
from harness.text import suggestion

LOCAL_FILE = Path("providers.yaml")
_COMMAND_LINE = "command line"
_PACKAGE = Path(__file__).parents[1]
_SHIPPED_FILES = (_PACKAGE / "data" / LOCAL_FILE, _PACKAGE.parent / LOCAL_FILE)  # wheel, checkout
ENVIRONMENT_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
CHARACTERS_PER_TOKEN = 4  # in English text; assumed for replies without reported usage

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/models")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING_HEADERS = ("content-length", "transfer-encoding")
_KEY_SHAPES = (
    # A vendor's prefix, then a long run of letters and digits.
    re.compile(
        r"(sk|pk|rk|gsk|csk|hf|fw|fpk|xai|nvapi|tgp|r8|key|Bearer)[-_ ][\w-]*[A-Za-z0-9]{12,}"
    ),
    # Hexadecimal or base64: a long unbroken run of letters and at least three digits.
    re.compile(r"(?=\D*\d\D*\d\D*\d)(?=.*[A-Za-z])[A-Za-z0-9]{24,}"),
    # A UUID.
    re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
)
_KEY_OPTION = re.compile(r"-{1,2}[\w-]*(?:key|token|secret|password)", re.IGNORECASE)


def looks_like_key(text: str) -> bool:
    """Return whether a text is more likely a key than a name, a model or an address."""
    return any(shape.match(text.strip()) for shape in _KEY_SHAPES)


def _url(value: str) -> str:
    """Return `value` without its trailing slash. Raises ValueError if it is not a plain one."""
    try:
        parts = urlsplit(value.replace("{port}", "1"))
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and value.isprintable() and " " not in value
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{value!r} is not a URL like http://localhost:8000/v1")
    if parts.username or parts.password:
        raise ValueError("the URL contains a user name or password; use api_key_env or headers")
    if parts.query or parts.fragment:
        raise ValueError("the URL has a ? or # part, which a base URL cannot have")
    return value.rstrip("/")


def base_of(url: str) -> str:
    """Return the base URL of the address of a request: without the path of an endpoint."""
    path = next(filter(url.endswith, _ENDPOINTS), "")
    return url.removesuffix(path)


def _base_url(base: str) -> str:
    """Return a base URL. Raises ValueError if it is the URL of an endpoint."""
    if (shorter := base_of(base)) != base:
        path = base.removeprefix(shorter)
        raise ValueError(f"leave {path} out: the base URL is {shorter}")
    return base


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an HTTP header")
        if name.lower() in _FRAMING_HEADERS:
            raise ValueError(f"they must not set {name}, which depends on the request")
        if not text.isprintable():
            raise ValueError(f"the value of {name} has a character that headers cannot have")
    return value


def _no_repeats(value: tuple[Api, ...]) -> tuple[Api, ...]:
    if not value:
        raise ValueError("is empty; give responses, chat or harmony")
    if len(set(value)) != len(value):
        raise ValueError("lists an API twice")
    return value


def _json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"cannot be sent as JSON: {error}") from None
    return value


Url = Annotated[str, AfterValidator(_url)]
BaseUrl = Annotated[Url, AfterValidator(_base_url)]


class Prices(YamlModel):
    """US dollars per million tokens; without `cached_input`, cached ones cost as others."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)

    def dollars(
        self, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0
    ) -> float:
        """Return the cost of these tokens in US dollars; the cached ones are of the prompt."""
        cached = min(cached_tokens, prompt_tokens)
        price = self.input if self.cached_input is None else self.cached_input
        given = (prompt_tokens - cached) * self.input + cached * price
        return (given + completion_tokens * self.output) / 1_000_000


class Launch(YamlModel):
    """How to start a provider on this machine.

    `{port}` in the command and URLs is replaced by a free port, `{python}` in the command by the
    interpreter that runs this tool. The provider is ready when a GET of `ready_url` (default: its
    /models) returns 200.
    """

    command: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda given: shlex.split(given) if isinstance(given, str) else given),
        Field(min_length=1),
    ]
    ready_url: Url | None = None
    ready_timeout: float = Field(default=120, gt=0)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: Path | None = None


class Provider(Settings):
    """One provider.

    `timeout` is in seconds and covers a complete request, `idle_timeout` the time between two parts
    of a response; `rpm` and `tpm` are per minute. `memory_mib` bounds all responses in flight
    together, in MiB.
    `max_tokens` limits the output of each reply unless `--max-tokens` does.
    `limitations` lists features that the provider is known not to support: reports mention them,
    but these are not failures. A header value may contain `${NAME}` for an environment variable.
    """

    name: str = Field(min_length=1)
    base_url: BaseUrl
    model: str = Field(min_length=1)
    apis: Annotated[tuple[Api, ...], AfterValidator(_no_repeats)] = BOTH_APIS
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="the name of an environment variable, never a key",
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_json)] = Field(default_factory=dict)
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    timeout: float = Field(default=600, gt=0)
    idle_timeout: float = Field(default=300, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)
    concurrency: int = Field(default=8, ge=1)
    memory_mib: int = Field(default=512, ge=1)
    rpm: int | None = Field(default=None, ge=1)
    tpm: int | None = Field(default=None, ge=1)
    prices: Prices | None = None
    launch: Launch | None = None
    limitations: tuple[Capability, ...] = ()
    gate: GateEntry | None = None

    @model_validator(mode="after")
    def _port_only_with_launch(self) -> Self:
        if "{port}" in self.base_url and self.launch is None:
            raise ValueError("base_url contains {port}, but there is no launch entry")
        return self

    def info(self) -> ProviderInfo:
        """Return the part of the entry that records may contain."""
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
    """Yield the command with the values of options such as `--api-key` redacted."""
    hide = False
    for word in command:
        option, equals, _ = word.partition("=")
        names_key = _KEY_OPTION.fullmatch(option) is not None
        if names_key and equals:
            yield f"{option}={REDACTED}"
        else:
            yield REDACTED if hide else word
        hide = names_key and not equals


@dataclass(frozen=True)
class Access:
    """The headers that authorize a request, and the secret values in them."""

    headers: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


def access(provider: Provider, environ: Mapping[str, str] = os.environ) -> Access:
    """Read the key and header values of a provider. Raises ConfigurationError if one is missing."""
    secrets: set[str] = set()

    def value_of(name: str) -> str:
        value = environ.get(name, "").strip()
        if not value:
            raise ConfigurationError(
                f"provider {provider.name}: the environment variable {name} is not set; "
                f"set it to your key and run the command again"
            )
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"provider {provider.name}: the value of {name} contains characters that are not "
                "allowed in an HTTP header; copy the key again, without line breaks"
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


def key_variables(provider: Provider) -> list[str]:
    """Return the environment variables of an entry: its key, and those in its headers."""
    names = [provider.api_key_env] if provider.api_key_env else []
    templates = provider.headers.values()
    return names + [match[1] for text in templates for match in ENVIRONMENT_NAME.finditer(text)]


def load_providers(path: Path | None = None) -> dict[str, Provider]:
    """Read the shipped entries and the user's, which override them. Raises ConfigurationError."""
    own = own_providers(path)  # first: an error in the file of a checkout is one of the user's
    return _shipped_providers() | own


def own_providers(path: Path | None = None) -> dict[str, Provider]:
    """Return the providers of the user's file only, which is found as by `load_providers`."""
    return _providers(*_own_file(path))


def gate_layers(provider: Provider, path: Path | None) -> Iterator[Layer]:
    """Yield the user's gates: for all providers, then for one. Raises ConfigurationError."""
    source, content = _own_file(path)
    if (gate := content.get("gate")) is not None:
        yield gate_entry(gate, source, ("gate",)).layer(f"{source}, gate")
    if provider.gate is not None:
        yield provider.gate.layer(f"{source}, providers.{provider.name}.gate")


def find_provider(name: str, path: Path | None = None) -> Provider:
    """Return the provider called `name`, from `load_providers`. Raises ConfigurationError."""
    providers = load_providers(path)
    if name in providers:
        return providers[name]
    if "://" in name:
        raise ConfigurationError(f"{name} is an address: give it with --base-url.")
    listed = (
        f"add it with `gpt-oss-verify init {shlex.quote(name)} --base-url URL`, or choose from "
        f"{', '.join(providers)}"
    )
    hint = suggestion(name, list(providers), listed)
    raise ConfigurationError(f"There is no provider {name!r}; {hint}")


def adhoc_provider(
    base_url: str, model: str, apis: Sequence[Api], api_key_env: str | None = None
) -> Provider:
    """Return a provider without an entry, named after its address. Raises ConfigurationError."""
    entry = {"base_url": base_url, "model": model, "apis": apis, "api_key_env": api_key_env}
    try:
        address = urlsplit(base_url)
        name = "-".join(str(part) for part in (address.hostname, address.port) if part)
    except ValueError:
        name = ""
    return _provider(name or "provider", entry, _COMMAND_LINE)


def changed(provider: Provider, **changes: object) -> Provider:
    """Return `provider` with fields overridden by the command line. Raises ConfigurationError.

    Fields that were not set stay unset, so that defaults can still be recognized.
    """
    entry = provider.model_dump(exclude_unset=True) | changes
    return _provider(str(entry.pop("name")), entry, _COMMAND_LINE)


@cache
def _shipped_providers() -> dict[str, Provider]:
    shipped = next(filter(Path.is_file, _SHIPPED_FILES))
    return _providers(str(shipped), _content(read_text(shipped), str(shipped)))


def _own_file(path: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the name and content of the user's file; no entries if ./providers.yaml is missing."""
    if path is None and not LOCAL_FILE.exists():
        return str(LOCAL_FILE), {"providers": {}}
    path = path or LOCAL_FILE
    return str(path), _content(read_text(path), str(path))


def _content(text: str, source: str) -> dict[str, Any]:
    content = parse_yaml(text, source)
    if not isinstance(content, dict) or not isinstance(content.get("providers"), dict):
        raise ConfigurationError(
            f"{source}: the file needs the key `providers`, a mapping from names to entries"
        )
    for key in content.keys() - {"providers", "gate"}:
        raise ConfigurationError(
            f"{source}: unknown key {key!r}; the file may have `providers` and `gate`"
        )
    return content


def _providers(source: str, content: Mapping[str, Any]) -> dict[str, Provider]:
    entries = content["providers"].items()
    return {str(name): _provider(str(name), entry, source) for name, entry in entries}


def _provider(name: str, entry: object, source: str) -> Provider:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{source}: providers.{name} must be a mapping with base_url, …")
    try:
        return Provider.model_validate({"name": name, **entry}, extra="forbid")
    except ValidationError as error:
        place = () if source == _COMMAND_LINE else ("providers", name)
        problem = problems(error, Provider, place)
        raise ConfigurationError(f"{source}: {problem}") from None
