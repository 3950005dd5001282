"""`python -m reference_engine chat`: its options and its engine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import get_args

from harmony.conversation import Effort
from reference_engine.server.settings import SMALL_CHECKPOINT, ServeSettings


def add_chat_options(add: Callable[..., argparse.Action]) -> None:
    """Add the options of the chat command."""
    add(
        "--effort",
        default="medium",
        choices=get_args(Effort),
        help="initial reasoning effort (default: %(default)s)",
    )
    add("--raw", action="store_true", help="show the raw harmony tokens")
    add(
        "--temperature",
        type=float,
        default=1.0,
        help="0 selects the most probable token",
    )
    add("--seed", type=int, help="seed of the conversation")


def run_chat(arguments: argparse.Namespace, settings: ServeSettings) -> None:
    """Chat in the terminal until the user quits.

    Raises:
        ValueError: An option is invalid, or the engine is not available.
    """
    from reference_engine.chat import ChatSettings, chat
    from reference_engine.server.opening import ServeError, open_engine

    if arguments.temperature < 0:
        raise ValueError(f"--temperature must be 0 or more, not {arguments.temperature:g}.")
    try:
        engine = open_engine(settings)
    except ServeError as error:
        raise ValueError(str(error)) from error
    chat_settings = ChatSettings(
        effort=arguments.effort,
        raw=arguments.raw,
        temperature=arguments.temperature,
        seed=arguments.seed,
        current_date=settings.app.current_date,
    )
    engine.start()
    try:
        chat(engine, chat_settings, name=f"{_model_name(settings)}, by {settings.backend.name}")
    finally:
        engine.close()


def _model_name(settings: ServeSettings) -> str:
    if settings.backend.is_remote:
        return settings.backend.root
    if settings.checkpoint == SMALL_CHECKPOINT:
        return settings.app.model_names[0]
    return settings.checkpoint.resolve().name
