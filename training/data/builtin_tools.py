"""The section of the system message that declares built-in tools, as openai-harmony writes it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import openai_harmony as oh

from harmony.vocabulary import harmony_encoding
from training.data.spans import encode
from training.data.task import Builtin

_AFTER = "\n\n# Valid channels"


def declared(prompt: Sequence[int], builtin: tuple[Builtin, ...]) -> tuple[int, ...]:
    """The prompt with the built-in tools declared in its system message."""
    if not builtin:
        return tuple(prompt)
    text = harmony_encoding().decode(prompt)
    return encode(text.replace(_AFTER, f"{_section(builtin)}{_AFTER}", 1))


@cache
def _section(builtin: tuple[Builtin, ...]) -> str:
    content = oh.SystemContent.new()
    if "browser" in builtin:
        content = content.with_browser_tool()
    if "python" in builtin:
        content = content.with_python_tool()
    message = oh.Message.from_role_and_content(oh.Role.SYSTEM, content)
    text: str = harmony_encoding().decode(harmony_encoding().render(message))
    return text[text.index("\n\n# Tools") : text.index(_AFTER)]
