"""The `encrypted_content` of a compaction item: a text that clients pass back as they got it.

It is encoded and not encrypted: what is in it comes from the client's own conversation.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_MARK = "gpt-oss-summary-1:"


def sealed(text: str) -> str:
    """The text as it travels."""
    return b64encode(f"{_MARK}{text}".encode()).decode()


def _opened(content: object) -> object:
    if not isinstance(content, str):
        return content
    try:
        text = b64decode(content, validate=True).decode()
    except ValueError:
        text = ""
    if not text.startswith(_MARK):
        raise PydanticCustomError("sealed", "it does not come from a compaction by this server")
    return text.removeprefix(_MARK)


Opened = Annotated[str, BeforeValidator(_opened)]
"""Such a content in a request, read back into its text."""
