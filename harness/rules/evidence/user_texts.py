"""What a request has besides the user's texts."""

from hashlib import blake2b

import orjson

from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedRollout

# Members of a body that do not change the prompt.
_WITHOUT_EFFECT = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "max_output_tokens", "temperature", "top_p", "seed", "stop", "n", "logprobs", "top_logprobs",
    "include", "store", "frequency_penalty", "presence_penalty", "logit_bias", "user", "metadata",
})  # fmt: skip


def beside_user(parsed: ParsedRollout) -> str:
    """Return a hash of the first request of a rollout without the user's texts.

    It is empty if a message has several parts or an image, if the server stores further messages of
    the conversation, and in imported traffic, where the server may have changed in the meantime.
    """
    if not parsed.exchanges or parsed.rollout.recording is not None:
        return ""
    body = dict(parsed.exchanges[0].request.body)
    name = "messages" if parsed.rollout.api == "chat" else "input"
    turns = body.pop(name, None)
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or body.get("previous_response_id"):
        return ""
    said = [turn.get("content") for turn in turns if _is_user(turn)]
    if not said or not all(isinstance(content, str) or _is_text(content) for content in said):
        return ""
    others = [{"role": "user"} if _is_user(turn) else turn for turn in turns]
    kept = {key: value for key, value in body.items() if key not in _WITHOUT_EFFECT}
    rest = blake2b(orjson.dumps([others, kept], option=orjson.OPT_SORT_KEYS), digest_size=12)
    return rest.hexdigest()


def _is_user(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"


def _is_text(content: object) -> bool:
    """Whether the parts of a message are one text."""
    parts = objects(content)
    return len(parts) == 1 and isinstance(parts[0].get("text"), str)
