"""The replies of a provider to the golden requests, compared with the golden answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from harmony.vocabulary import bytes_of
from harness.api.base import Reply
from harness.golden.distance import Compared, Entry, compare, entries_of
from harness.golden.divergence import Divergence, divergence
from harness.golden.records import Golden, Token
from harness.parsing.rollout import ParsedExchange

NamedReply = tuple[str, ParsedExchange, Reply]
"""A reply with its exchange and the name of its request."""


@dataclass(frozen=True)
class ComparedReply:
    """A reply to a prompt as long as the golden one, and where it differs.

    `compared` has the tokens of the answer, by their place in the whole completion; none if the
    reply diverged before its answer.
    """

    name: str
    exchange: ParsedExchange
    divergence: Divergence | None
    compared: Compared


def compared_replies(golden: Golden, replies: Iterable[NamedReply]) -> Iterator[ComparedReply]:
    """Compare replies; those to prompts of another length than the golden ones are left out."""
    for name, exchange, reply in replies:
        continuation = golden.continuations[name]
        if reply.input_tokens == continuation.prompt_tokens:
            tokens = list(continuation.tokens())
            found = divergence(tokens, reply, ended=reply.finish != "length")
            early = found is not None and tokens[found.at].part in ("reasoning", "marker")
            compared = Compared() if early else _compared(tokens, exchange, reply)
            yield ComparedReply(name, exchange, found, compared)


def _compared(tokens: list[Token], exchange: ParsedExchange, reply: Reply) -> Compared:
    places, entries = _aligned(tokens, exchange, reply)
    found = compare([tokens[place] for place in places], entries)
    return Compared(tuple(replace(each, at=places[each.at]) for each in found.tokens))


def _aligned(
    tokens: list[Token], exchange: ParsedExchange, reply: Reply
) -> tuple[list[int], list[Entry]]:
    """The places of golden tokens and the entries of the reply, which start at the same token.

    Most servers return logprobs of the answer, some of all generated tokens.
    """
    found = entries_of(exchange, reply)
    if found and found[0].name == bytes_of(tokens[0].id):
        return list(range(len(tokens))), found
    return [at for at, token in enumerate(tokens) if token.part == "answer"], found
