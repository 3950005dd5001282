"""Who grades, and how it is asked. A grader is an entry of `providers.yaml` like any other."""

from __future__ import annotations

import re
from pathlib import Path

from harness.api.base import Settings
from harness.providers.entries import Provider, find_provider
from harness.records.conditions import Api

DEFAULT_GRADER = "openai-grader"
"""OpenAI's own choice, gpt-4.1-2025-04-14, with a key variable of its own."""

_UNFIT_FOR_A_NAME = re.compile(r"[^\w.@+-]+")


def find_grader(name: str = DEFAULT_GRADER, providers_file: Path | None = None) -> Provider:
    """The entry called `name`. Raises ConfigurationError."""
    return find_provider(name, providers_file)


def grades_file(grader: str, model: str) -> str:
    """The name of a grader's log in a run folder; another model is another grader."""
    return f"grades-{_UNFIT_FOR_A_NAME.sub('-', f'{grader}-{model}')}.jsonl"


def graders_of(folder: Path) -> dict[str, str]:
    """Who has graded in a run folder: labels such as `openai-grader-gpt-4.1`, with their logs."""
    logs = sorted(path.name for path in folder.glob("grades-*.jsonl"))
    return {name.removeprefix("grades-").removesuffix(".jsonl"): name for name in logs}


def grader_settings(grader: Provider) -> Settings:
    """How OpenAI's script asks its grader: temperature 0.5, at most 2,048 tokens.

    What a grader needs otherwise stands in `extra_body` of its entry, which has the last word.
    """
    return Settings(
        model=grader.model, temperature=0.5, max_tokens=2048, extra_body=grader.extra_body
    )


def grader_api(grader: Provider) -> Api:
    """Chat Completions, as OpenAI's script does, where the grader speaks it."""
    return "chat" if "chat" in grader.apis else grader.apis[0]
