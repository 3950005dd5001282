"""Where the o200k vocabulary file of openai-harmony comes from."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import openai_harmony as oh


@cache
def harmony_encoding() -> oh.HarmonyEncoding:
    """The harmony encoding of gpt-oss."""
    os.environ.setdefault(
        "TIKTOKEN_ENCODINGS_BASE", str(Path.home() / ".cache" / "gpt-oss-verify" / "encodings")
    )
    return oh.load_harmony_encoding(oh.HarmonyEncodingName.HARMONY_GPT_OSS)
