"""The options of the command line that choose a backend."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from reference_engine.backends.settings import REMOTE, BackendSettings


def add_backend_options(add: Callable[..., argparse.Action]) -> None:
    """Declare them, with an argument parser's or a group's `add_argument`."""
    defaults = BackendSettings()
    add(
        "--backend",
        default=defaults.name,
        choices=["reference", "transformers", *sorted(REMOTE, reverse=True)],
        help="what computes the tokens (default: our own engine); transformers runs in this "
        "process, the others are servers, asked by token ids (ollama: by text)",
    )
    add("--backend-url", metavar="URL", help="where that server is (default: its usual port here)")
    add("--backend-model", metavar="ID", help="its name of the model (default: the one it serves)")
    add("--backend-key-env", metavar="NAME", help="environment variable with the key it wants")
    add(
        "--backend-timeout",
        type=_seconds,
        default=defaults.timeout,
        metavar="SECONDS",
        help="its longest silence (default: %(default)g)",
    )


def backend_settings(arguments: argparse.Namespace) -> BackendSettings:
    """What was chosen.

    Raises:
        ValueError: The options do not fit each other; the message says how to mend it.
    """
    settings = BackendSettings(
        name=arguments.backend,
        url=arguments.backend_url,
        model=arguments.backend_model,
        api_key=key_of("--backend-key-env", arguments.backend_key_env),
        timeout=arguments.backend_timeout,
    )
    if not settings.is_remote and (settings.url or settings.model or settings.api_key):
        servers = ", ".join(sorted(REMOTE, reverse=True))
        raise ValueError(f"--backend-url, -model and -key-env need a server: --backend {servers}.")
    if settings.url and not settings.url.startswith(("http://", "https://")):
        raise ValueError(f"--backend-url must begin with http:// or https://: '{settings.url}'.")
    return settings


def key_of(option: str, variable: str | None) -> str | None:
    """The key that an environment variable holds, or None where the option was not given.

    Raises:
        ValueError: The variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ValueError(f"{option} names {variable}, but that variable is not set.")
    return key


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not '{text}'") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value
