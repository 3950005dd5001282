"""User texts, counted in the prompt tokens of requests that differ in nothing else.

In harmony, a user's text is between two special tokens, so its tokens are those of the text
alone, in every template. Requests that are equal apart from these texts differ in their prompt
tokens by exactly the tokens of these texts.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from harness.api.parsed_rollout import ParsedRollout
from harness.checks.check import Difference, cross_check, evidence
from harness.checks.ledger import token_count
from harness.records.conditions import Api
from harness.records.scores import Score
from harness.records.traits import UserTexts

# Members of a body that do not change the prompt.
_WITHOUT_EFFECT = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "max_output_tokens", "temperature", "top_p", "seed", "stop", "n", "logprobs", "top_logprobs",
    "include", "store", "frequency_penalty", "presence_penalty", "logit_bias", "user", "metadata",
})  # fmt: skip
# Different counts that show that a server counts the user's texts.
_FEWEST_AGREEING = 3
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


@cross_check("usage.input.text", "usage", lambda score: score.traits.user, severity="warning")
def counted_texts(examined: Sequence[Score]) -> Iterator[Difference]:
    """Requests that differ only in the user's text differ by the prompt tokens of that text.

    Otherwise the model does not read the text that the user wrote. The other requests show what the
    server adds to every prompt. Nothing is judged if identical requests have different counts.
    """
    by_request: dict[tuple[str, str, Api], list[Score]] = defaultdict(list)
    for score in examined:
        by_request[score.task, score.sample, score.condition.api].append(score)
    if any(len({score.traits.first_input for score in same}) > 1 for same in by_request.values()):
        return
    groups: dict[tuple[Api, str], list[tuple[Score, int, int]]] = defaultdict(list)
    for first, *_ in by_request.values():
        user = first.traits.user
        if user is not None and first.traits.first_input is not None:
            group = groups[first.condition.api, user.rest]
            group.append((first, user.tokens, first.traits.first_input - user.tokens))
    for group in groups.values():
        others = [rest for _, _, rest in group]
        usual = max(others, key=others.count)
        agreeing = {tokens for _, tokens, rest in group if rest == usual}
        if len(agreeing) < _FEWEST_AGREEING or 2 * others.count(usual) <= len(group):
            continue
        for score, tokens, rest in group:
            if rest != usual:
                message = "The number of prompt tokens does not fit the user's text."
                expected = f"{tokens + usual}, as in {others.count(usual)} other requests"
                yield message, evidence(score.record, "$.usage", expected, str(tokens + rest))
