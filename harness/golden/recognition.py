"""Whether a server rendered the golden prompt, by what it shows of its prompts. No I/O.

Every server counts the tokens. Some return the tokens themselves on request, which an `extra_body`
of the provider's entry can make: vLLM with `return_token_ids` or `prompt_logprobs`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harmony.parse import START
from harmony.render import tokens_sha256
from harmony.vocabulary import encode, harmony_encoding
from harness.api.fields import objects
from harness.api.items import Reply
from harness.golden.content import Golden

_DATE = re.compile(r"\nCurrent date: (\d{4}-\d\d-\d\d)\n")


def is_golden_prompt(golden: Golden, name: str, reply: Reply) -> bool:
    """Whether the prompt of a reply to the request `name` is the golden one, but for its date.

    It is as long; if the server shows its tokens, these are the same.
    """
    due = golden.continuations[name]
    if reply.input_tokens != due.prompt_tokens:
        return False
    shown = shown_prompt(reply.raw)
    if not shown or not due.prompt_sha256:
        return True
    return tokens_sha256(_dated(shown, golden.current_date)) == due.prompt_sha256


def shown_prompt(raw: Mapping[str, Any]) -> Sequence[int]:
    """The tokens of the prompt that a reply shows; empty if it shows none.

    These are `prompt_token_ids`, or the keys of `prompt_logprobs`: there, the first token of a
    harmony prompt has no entry, and in each other entry the token of the prompt comes first.
    """
    for place in (raw, *objects(raw.get("choices"))[:1]):
        ids, entries = place.get("prompt_token_ids"), place.get("prompt_logprobs")
        if isinstance(ids, list) and all(type(token) is int for token in ids):
            return ids
        if isinstance(entries, list):
            named = [next(iter(entry), "") for entry in entries[1:] if isinstance(entry, dict)]
            if all(map(str.isdecimal, named)) and len(named) == len(entries) - 1:
                return [START, *map(int, named)]
    return ()


def _dated(tokens: Sequence[int], date: str | None) -> Sequence[int]:
    """The tokens with another date in the system message, if it has one."""
    try:
        found = _DATE.search(harmony_encoding().decode(list(tokens)))
    except Exception:  # noqa: BLE001 - the library's own error for ids beyond the vocabulary
        return tokens
    if found is None or date is None:
        return tokens
    old, new = encode(found[1]), encode(date)
    at = next((at for at in range(len(tokens)) if [*tokens[at : at + len(old)]] == old), None)
    return tokens if at is None else [*tokens[:at], *new, *tokens[at + len(old) :]]
