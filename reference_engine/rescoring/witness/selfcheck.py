"""Whether a server can be a witness: it reads its own words as it wrote them.

A server may ignore an option, return logits, read by a drafter instead of the model (vLLM issue
53488, for prompts of up to 512 tokens), or return values after the temperature. Each of these shows
in what it says about its own words, or about a wrong token among them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harmony.conversation import Conversation, User
from harmony.parse import CHANNEL
from harmony.render import render_prompt
from harmony.vocabulary import bytes_of
from reference_engine.rescoring.witness.forms import Written
from reference_engine.rescoring.witness.places import Place

SAME = 0.5
"""Nats within which number formats agree: vLLM 0.32.0 in bfloat16 differs from the reference in
float32 by at most 0.46 in 2,148 tokens, by 0.0016 on average."""
_WORDS = 24  # tokens that it writes
_IMPROBABLE = -5.0  # the most that a wrong token may have
_SHARE = 0.05  # of a large value, by which number formats change it
_KNOWN = 0.5  # probability of the most probable tokens, on average of words that it wrote itself
_OTHER_WEIGHTS = 0.05  # share of the tokens of known answers that may be further than `SAME` off
_QUESTIONS = (
    "Write one short sentence about the sea.",
    "Which of these numbers is the largest? " + ", ".join(map(str, range(101, 321))),
)
"""The second one becomes a prompt of more than 512 tokens."""
_SAMPLING = {"temperature": 2, "top_p": 0.5}

Read = Callable[[Sequence[int], Sequence[int], Mapping[str, Any]], Sequence[Place]]
"""Returns the places of a completion after a prompt, with options of sampling."""
Write = Callable[[Sequence[int], int], Written]
"""Returns at most so many tokens after a prompt."""


class UnfitError(Exception):
    """A server cannot be a witness; the message says why, with the server as its subject."""


@dataclass(frozen=True)
class KnownAnswer:
    """A completion whose logprobs the expected weights are known to have.

    `logprobs` has one value in nats for each token, or None where rounding decides it.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float | None, ...]


def prompts() -> Sequence[tuple[int, ...]]:
    """Return the prompts that it continues: a short one, and one of more than 512 tokens."""
    return [tuple(render_prompt(Conversation((User(text),)))) for text in _QUESTIONS]


def require_fit(read: Read, write: Write) -> float:
    """Return the largest difference of its reading and its writing in nats. Raises UnfitError."""
    return max(_difference(prompt, read, write) for prompt in prompts())


def _difference(prompt: tuple[int, ...], read: Read, write: Write) -> float:
    written = write(prompt, _WORDS)
    if not written:
        raise UnfitError("writes nothing after a prompt")
    words = [token for token, _ in written]
    if words[0] != CHANNEL:
        raise UnfitError(
            f"is no gpt-oss, or has another vocabulary: it begins with token {words[0]} after a "
            f"prompt, and not with <|channel|> ({CHANNEL})"
        )
    places = read(prompt, words, {})
    pairs = zip(places, written, strict=True)
    difference = max(abs(place.logprob - value) for place, (_, value) in pairs)
    if difference > SAME:
        raise UnfitError(
            f"reads its own words otherwise than it writes them, by {difference:.2f} nats after a "
            f"prompt of {len(prompt)} tokens"
        )
    if any(max(place.top.values()) - place.logprob > SAME for place in places):
        raise UnfitError("finds other tokens more probable than those that it writes greedily")
    shares = [sum(map(math.exp, place.top.values())) for place in places]
    if sum(shares) < _KNOWN * len(shares):
        raise UnfitError(
            "returns values that are no logprobs: the probabilities of the most probable tokens "
            f"sum up to {sum(shares) / len(shares):.2g}"
        )
    at = len(words) // 2
    # A word: llama.cpp's grammars refuse what follows the beginning of a character.
    words_of_others = (token for token in range(1000, 10_000) if bytes_of(token).isalpha())
    wrong = next(token for token in words_of_others if token not in places[at].top)
    damaged = [*words[:at], wrong, *words[at + 1 :]]
    value = read(prompt, damaged, {})[at].logprob
    if value > _IMPROBABLE:
        raise UnfitError(f"finds a wrong token probable (logprob {value:.2f})")
    heated = read(prompt, damaged, _SAMPLING)[at].logprob
    if abs(heated - value) > SAME - _SHARE * value:
        raise UnfitError(
            f"changes logprobs with the temperature, from {value:.2f} to {heated:.2f} at 2"
        )
    return difference


def require_weights(read: Read, answers: Sequence[KnownAnswer]) -> int:
    """Return the number of tokens whose logprobs were compared. Raises UnfitError."""
    compared, apart = 0, 0
    for answer in answers:
        places = read(answer.prompt, answer.completion, {})
        for place, known in zip(places, answer.logprobs, strict=True):
            if known is not None:
                compared += 1
                apart += abs(place.logprob - known) > SAME
    if apart > _OTHER_WEIGHTS * compared:
        raise UnfitError(
            f"has other weights: {apart} of {compared} tokens of known answers have another "
            "probability there"
        )
    return compared
