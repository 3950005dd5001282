"""The user's texts in a request, counted in tokens."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from harness.api.parsed_rollout import ParsedRollout
from harness.records.traits import UserTexts
from harness.rules.account.ledger import token_count

# Members of a body that do not change the prompt.
_WITHOUT_EFFECT = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "max_output_tokens", "temperature", "top_p", "seed", "stop", "n", "logprobs", "top_logprobs",
    "include", "store", "frequency_penalty", "presence_penalty", "logit_bias", "user", "metadata",
})  # fmt: skip


# Servers escape special tokens in texts in several ways.
_SPECIAL = re.compile(r"<\|\w+\|>")


def user_texts(parsed: ParsedRollout) -> UserTexts | None:
    """Return the user's texts in the first request of a rollout; None if they cannot be counted.

    That is the case if a message has several parts or an image, if the server stores further
    messages of the conversation, if a text contains special tokens, in imported traffic, where the
    server may have changed in the meantime, or if there is no vocabulary.
    """
    if not parsed.exchanges or parsed.rollout.recording is not None:
        return None
    body = dict(parsed.exchanges[0].request.body)
    name = "messages" if parsed.rollout.api == "chat" else "input"
    turns = body.pop(name, None)
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or body.get("previous_response_id"):
        return None
    texts = [_text(turn) for turn in turns if _is_user(turn)]
    tokens = [None if text is None else token_count(text) for text in texts]
    if not tokens or None in tokens:
        return None
    others = [{"role": "user"} if _is_user(turn) else turn for turn in turns]
    kept = {key: value for key, value in body.items() if key not in _WITHOUT_EFFECT}
    rest = blake2b(orjson.dumps([others, kept], option=orjson.OPT_SORT_KEYS), digest_size=12)
    return UserTexts(sum(filter(None, tokens)), rest.hexdigest())


def _is_user(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"


def _text(turn: Mapping[str, Any]) -> str | None:
    """Return the text of a message; None unless it is one text without special tokens."""
    content = turn.get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) and not _SPECIAL.search(content) else None
