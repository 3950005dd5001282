"""The account of one reply: what happened to it, where, and which witness shows it."""

from collections.abc import Iterator
from enum import Enum
from typing import Literal, NamedTuple

from harness.records.conditions import Api
from harness.records.traits import Sheet

Kind = Literal["intact", "miscounted", "lost", "added", "changed", "unknown"]
Place = Literal["", "CoT", "answer", "arguments", "name", "count", "reply", "request"]
Witness = Literal["", "structure", "copy", "twin", "whole", "count"]

FEWEST_REPLIES, FEWEST_ALIKE = 2, 3
"""Replies of which one, and replies changed alike of which two, may be so by chance."""
MANY_AGREEING = 8
"""Tokens by which two texts differ, so that a count fits the different one by no chance."""

_CUT, _STOPPED, _DOUBLED = "limits.prefix", "stop.followed", "text.doubled"
_BROKEN_OFF = "reply.broken_off"
_RULES = {
    "changed": "text.changed",
    "added": "text.added",
    "lost": "usage.output.lost",
    "miscounted": "usage.output.miscounted",
    "unknown": "usage.output.unexplained",
}
"""The rules that report what happened to a CoT, an answer or a count."""


class What(Enum):
    """What happened to a reply: the kind, the words for it, and its rule if it has its own.

    Findings print the words, with a detail after them; nothing reads them.
    """

    INTACT = "intact", "the reply is intact"
    UNKNOWN = "unknown", "nothing is known"
    # A text alone shows it.
    TWICE = "added", "the text appears twice", _DOUBLED
    PIECES_TWICE = "added", "each piece of the stream arrives twice", _DOUBLED
    PIECE_TWICE = "added", "a piece appears twice", _DOUBLED
    RESTATED = "added", "a piece of the stream repeats the whole text before it", _DOUBLED
    RESTARTED = "added", "it starts again from the beginning"
    FENCED = "added", "it is wrapped in a code fence"
    EMPTY_FIRST = "added", "an empty object precedes the arguments"
    ENCODED_TWICE = "changed", "the JSON is encoded again, as a text"
    # One function of a server turns the written text into the one that arrived.
    HTML = "changed", "characters are escaped as in HTML"
    HTML_NOT_QUOTES = "changed", "characters except quotes are escaped as in HTML"
    HTML_DECODED = "changed", "entities of HTML are decoded"
    JSON_ASCII = "changed", "characters are escaped as in JSON"
    JSON_QUOTED = "changed", "line breaks and quotes are escaped"
    JSON_DECODED = "changed", "escapes of JSON are decoded"
    PYTHON_ASCII = "changed", "characters beyond ASCII are escaped"
    TAGS = "changed", "tags are missing"
    LOWER = "changed", "letters are in lower case"
    UPPER = "changed", "letters are in upper case"
    TITLE = "changed", "words start with capitals"
    CAPITAL = "changed", "the first letter is a capital"
    TRIMMED = "changed", "white space at the ends is missing"
    SINGLE_SPACES = "changed", "white space is reduced to single spaces"
    BLANK_LINES = "changed", "blank lines are missing"
    INDENTATION = "changed", "indentation is missing"
    ONE_LINE = "changed", "line breaks are spaces"
    QUOTES = "changed", "quotes are replaced"
    TYPOGRAPHY = "changed", "typographic quotes are replaced by ASCII"
    NO_BACKSLASHES = "changed", "backslashes are missing"
    TWO_BACKSLASHES = "changed", "backslashes are doubled"
    SLASHES = "changed", "backslashes are slashes"
    COMMAS = "changed", "decimal points are commas"
    MARKDOWN = "changed", "Markdown is missing"
    NFKC = "changed", "compatibility characters are replaced (NFKC)"
    NFD = "changed", "characters are decomposed (NFD)"
    ACCENTS = "changed", "accents are missing"
    ASCII_ONLY = "changed", "characters beyond ASCII are missing"
    QUESTION_MARKS = "changed", "characters beyond ASCII are replaced by ?"
    LATIN_1 = "changed", "UTF-8 is decoded as Latin-1"
    # Two texts differ.
    PART_LOST = "lost", "text is missing"
    PART_ADDED = "added", "text is added"
    BROKEN_OFF = "lost", "it breaks off in the middle, and ends as if it was whole", _BROKEN_OFF
    SPACES = "changed", "white space is missing or changed"
    REORDERED = "changed", "its parts are reordered"
    MASKED = "changed", "words are masked"
    GARBLED = "changed", "characters arrive as U+FFFD"
    LETTERS = "changed", "case, marks or letters beyond ASCII differ"
    NOT_ASCII = "changed", "letters beyond ASCII are missing or replaced"
    DIFFERENT = "changed", ""
    # Two calls differ.
    RETYPED = "changed", "values change type", "calls.arguments.retyped"
    STYLE = "changed", "the names use a different style"
    FILLED = "changed", "absent arguments are filled in"
    ARGUMENT_LOST = "lost", "arguments are missing"
    EXCHANGED = "changed", "the values are exchanged"
    LIST_REORDERED = "changed", "a list is reordered"
    LIST_CUT = "lost", "the end of a list is missing"
    CONVERTED = "changed", "days become times, or numbers are rounded"
    VALUE = "changed", "a value differs"
    NAME_STYLE = "changed", "the name uses a different style"
    NAME_CUT = "lost", "the end of the name is missing"
    NAME_LONGER = "added", "text is added to the name"
    # A reply that a limit or a stop string ended is not the beginning of the whole one.
    COT_UNFINISHED = "added", "its CoT is unfinished", _CUT
    NO_HEADER = "added", "the tokens of a header before it are missing", _CUT
    ONLY_REASONING = "added", "all tokens of the truncated reply are reasoning tokens", _CUT
    CUT_DIFFERS = "changed", "it starts differently from the whole reply", _CUT
    STOPPED_DIFFERS = "changed", "it starts differently from the reply without a stop", _STOPPED
    AFTER_STOP = "added", "text follows the stop string", _STOPPED
    # The count and the text do not agree.
    NO_COT = "lost", "the reply has none"
    COT_TOKENS = "lost", "its reasoning tokens exceed it"
    STOCK = "changed", "replies to different requests have this one"
    EDGE = "added", "replies share it"
    TWICE_COUNTED = "miscounted", "is double, as if a hidden retry were counted"
    COT_COUNTED_TWICE = "miscounted", "includes the CoT twice"
    INPUT_COUNTED = "miscounted", "includes the input tokens"
    COT_OMITTED = "miscounted", "omits the CoT"
    COT_HEADER_OMITTED = "miscounted", "omits the CoT and its header"
    ANSWER_ALONE = "miscounted", "is that of the answer alone"
    FROM_CHARACTERS = "miscounted", "is estimated from the characters"
    ROUNDED = "miscounted", "is rounded"
    OFF = "miscounted", "is wrong"
    TOO_HIGH = "unknown", "the count is too high, or text is lost"
    TOO_LOW = "unknown", "the count is too low, or text is added"

    def __init__(self, kind: Kind, words: str, rule: str = "") -> None:
        """Keep the columns of the table."""
        self.kind, self.words, self.rule = kind, words, rule


BEYOND_ASCII = (
    *(What.NOT_ASCII, What.LETTERS, What.GARBLED, What.ACCENTS, What.ASCII_ONLY),
    *(What.QUESTION_MARKS, What.JSON_ASCII, What.PYTHON_ASCII, What.LATIN_1, What.NFKC, What.NFD),
)
"""What happens only to texts with characters beyond ASCII."""


class Entry(NamedTuple):
    """What is known about one reply. `UNKNOWN` accuses nobody."""

    what: What
    place: Place = ""
    witness: Witness = ""
    wanted: str = ""  # the text, or the count, that the model wrote
    got: str = ""  # the one that arrived
    detail: str = ""  # printed after the words
    proven: bool = True
    """Whether the evidence excludes the model: the texts show it, or the counts of many replies."""

    @property
    def kind(self) -> Kind:
        """What happened, in one word."""
        return self.what.kind

    @property
    def rule(self) -> str:
        """The id of the rule that reports it; empty if none does."""
        if self.place in ("arguments", "name"):
            own = self.what is What.RETYPED
            return self.what.rule if own else "calls.arguments.changed"
        if self.place == "request" or not self.witness:
            return ""
        return self.what.rule or _RULES.get(self.kind, "")

    @property
    def message(self) -> str:
        """The account in a sentence."""
        how = ": ".join(filter(None, (self.what.words, self.detail)))
        if self.kind == "miscounted":
            return f"The output count {how}."
        if self.kind == "unknown":
            return f"The output tokens do not fit the reply: {how}."
        reason = _REASONS.get(self.witness)
        what = f"The server changed the {self.place}"
        if self.kind in ("lost", "added"):
            verb = "lost a part of" if self.kind == "lost" else "added text to"
            what = f"The server {verb} the {self.place}"
        return f"{what}{how and f': {how}'}{reason and f'; {reason}'}."


_REASONS = {
    "structure": "a model does not write this",
    "copy": "the reported tokens, the CoT or other replies show what the model wrote",
    "twin": "other replies to the same request have it unchanged",
    "whole": "the complete reply to the same request continues differently",
    "count": "the reported tokens are not those of this text",
}

INTACT, UNKNOWN = Entry(What.INTACT), Entry(What.UNKNOWN)


class Row(NamedTuple):
    """A reply in the account."""

    record: str
    sample: tuple[str, str]  # task and sample
    api: Api
    sheet: Sheet
    ids: tuple[str, ...] = ()  # of the replies of its rollout: copies have the same
    faulty: bool = False  # whether a rule accuses its arguments: it is no evidence of others

    @property
    def key(self) -> tuple[str, int]:
        """The record and the index of the exchange."""
        return self.record, self.sheet.exchange

    @property
    def mode(self) -> tuple[Api, bool]:
        """The API, and whether the reply is a stream."""
        return self.api, self.sheet.streamed

    @property
    def written(self) -> tuple[object, ...]:
        """What arrived: texts and count. Equal replies to one sample are one piece of evidence."""
        sheet, counted = self.sheet, self.sheet.ledger
        return self.sample, sheet.reasoning, sheet.text, sheet.calls, counted and counted.reported


Judged = Iterator[tuple[Row, Entry]]
"""Replies with what a witness says of them."""
