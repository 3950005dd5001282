"""The account of one reply: whether the server changed it, and which witness says so."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from harness.records.conditions import Api
from harness.records.traits import Sheet

Kind = Literal["intact", "miscounted", "lost", "added", "changed", "unknown"]
Place = Literal["", "CoT", "answer", "arguments", "name", "count", "reply", "request"]
Witness = Literal["", "structure", "copy", "twin", "whole", "limit", "count"]

FEWEST, FEWEST_ALIKE = 2, 3
"""Replies of which one, and replies changed alike of which two, may be so by chance."""
MANY_AGREEING = 8
"""Tokens by which two texts differ, so that a count fits the other one by no chance."""
TWICE = "the same text is there twice"
FENCED = "a code fence is around it"
BORROWED = "it is the answer to another request"
CUT = ("whole", "limit")  # the witnesses of replies that a limit or a stop string ended


class Entry(NamedTuple):
    """What is known about one reply. `unknown` accuses nobody."""

    kind: Kind
    place: Place = ""
    how: str = ""  # what happened to the text, or how the count is wrong, in a few words
    witness: Witness = ""
    wanted: str = ""  # the text, or the count, that the model wrote
    got: str = ""  # the one that arrived
    simple: bool = True
    """Whether one rule of a server explains the change; of a count alone, whether it is off by many
    tokens."""

    @property
    def proven(self) -> bool:
        """Whether the evidence excludes the model: the texts show it, or many tokens."""
        return self.kind != "unknown" or self.simple

    @property
    def message(self) -> str:
        """The account in a sentence."""
        if self.kind == "miscounted":
            return f"The output tokens {self.how}."
        if self.kind == "unknown":
            return f"The output tokens do not fit the reply: {self.how}."
        reason = _REASONS.get(self.witness)
        what = f"The server changed the {self.place}"
        if self.kind in ("lost", "added"):
            verb = "lost a part of" if self.kind == "lost" else "added text to"
            what = f"The server {verb} the {self.place}"
        return f"{what}{self.how and f': {self.how}'}{reason and f'; {reason}'}."


_REASONS = {
    "structure": "a model does not write this",
    "copy": "the reported tokens, the CoT or other replies show what the model wrote",
    "twin": "other replies to the same request have it unchanged",
    "whole": "the complete reply to the same request continues differently",
    "limit": "the reported tokens show that the limit cut the CoT",
    "count": "the reported tokens are not those of this text",
}


class Row(NamedTuple):
    """A reply in the account."""

    record: str
    sample: tuple[str, str]  # task and sample
    api: Api
    sheet: Sheet

    @property
    def key(self) -> tuple[str, int]:
        """The record and the index of the exchange."""
        return self.record, self.sheet.exchange


Found = Iterator[tuple[Row, Entry]]
"""Replies with what a witness says of them."""
