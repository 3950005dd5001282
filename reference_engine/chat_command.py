"""`python -m reference_engine chat`: its options, and an engine to talk with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import get_args

from harmony.conversation import Effort
from reference_engine.server.settings import SMALL_CHECKPOINT, ServeSettings


def add_chat_options(add: Callable[..., argparse.Action]) -> None:
    """Declare them, beside those of the engine."""
    add(
        "--effort",
        default="medium",
        choices=get_args(Effort),
        help="how long the model thinks at first (default: %(default)s)",
    )
    add("--raw", action="store_true", help="show harmony's tokens as they are")
    add("--temperature", type=float, default=1.0, help="0 always takes the likeliest token")
    add("--seed", type=int, help="makes a conversation repeatable")


def run_chat(arguments: argparse.Namespace, settings: ServeSettings) -> None:
    """Talk in the terminal until the user leaves.

    Raises:
        ValueError: The engine cannot be had; the message says why.
    """
    from reference_engine.chat import ChatSettings, chat
    from reference_engine.server.opening import ServeError, open_engine

    if arguments.temperature < 0:
        raise ValueError(f"--temperature must be 0 or more, not {arguments.temperature:g}.")
    try:
        engine = open_engine(settings)
    except ServeError as error:
        raise ValueError(str(error)) from error
    asked = ChatSettings(
        effort=arguments.effort,
        raw=arguments.raw,
        temperature=arguments.temperature,
        seed=arguments.seed,
        current_date=settings.app.current_date,
    )
    engine.start()
    try:
        chat(engine, asked, name=f"{_what_answers(settings)}, by {settings.backend.name}")
    finally:
        engine.close()


def _what_answers(settings: ServeSettings) -> str:
    if settings.backend.is_remote:
        return settings.backend.root
    if settings.checkpoint == SMALL_CHECKPOINT:
        return settings.app.model_names[0]
    return settings.checkpoint.resolve().name
