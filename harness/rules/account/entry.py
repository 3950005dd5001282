"""The account of one reply: what happened to it, where, and which witness shows it."""

from collections.abc import Iterator
from enum import Enum
from typing import Literal, NamedTuple

from harness.records.replies import Row

Kind = Literal["intact", "miscounted", "lost", "added", "changed", "unknown"]
Place = Literal["", "CoT", "answer", "arguments", "name", "count", "reply"]
Witness = Literal["", "structure", "tokens", "copy", "twin", "whole", "count"]

SEVERAL, ALIKE = 2, 3
"""Requests of which one may be a slip of the model, and of which two may be slips alike."""

_CUT, _DOUBLED = "limits.prefix", "text.doubled"
_RULES = {
    "changed": "text.changed",
    "added": "text.added",
    "lost": "usage.output.lost",
    "miscounted": "usage.output.miscounted",
    "unknown": "usage.output.unexplained",
}
"""The rules that report what happened to a CoT, an answer or a count."""


class What(Enum):
    """What happened to a reply: the kind, the sentence for it, and its rule if it has its own.

    Findings print the sentence, with the place and a detail in it; nothing reads it.
    """

    INTACT = "intact", "The reply is intact."
    UNKNOWN = "unknown", "Nothing is known about the reply."
    # A text alone shows it.
    TWICE = "added", "The reply has the {place} twice.", _DOUBLED
    PIECES_TWICE = "added", "Each piece of the {place} arrives twice.", _DOUBLED
    PIECE_TWICE = "added", "The reply has {detail} twice in the {place}.", _DOUBLED
    RESTATED = "added", "One piece of the {place} repeats the whole text before it.", _DOUBLED
    RESTARTED = "added", "The reply starts the {place} again from the beginning."
    INTERRUPTED = "added", "One sentence stands in the {place} to several requests: {detail}."
    FENCED = "added", "The server wrapped the {place} in a code fence."
    EMPTY_FIRST = "added", "An empty object precedes the arguments."
    ENCODED_TWICE = "changed", "The arguments are JSON that was encoded again as a string."
    # One function of a server turns the written text into the one that arrived.
    HTML = "changed", "The server escaped characters of the {place} as in HTML."
    HTML_NOT_QUOTES = "changed", "The server escaped all but the quotes of the {place} as in HTML."
    HTML_DECODED = "changed", "The server decoded HTML entities in the {place}."
    JSON_ASCII = "changed", "The server escaped characters of the {place} as in JSON."
    JSON_QUOTED = "changed", "The server escaped line breaks and quotes of the {place}."
    JSON_DECODED = "changed", "The server decoded JSON escapes in the {place}."
    PYTHON_ASCII = "changed", "The server escaped the characters beyond ASCII of the {place}."
    TAGS = "changed", "The server removed tags from the {place}."
    LOWER = "changed", "The server changed the {place} to lower case."
    UPPER = "changed", "The server changed the {place} to upper case."
    TITLE = "changed", "The server capitalized every word of the {place}."
    CAPITAL = "changed", "The server capitalized the first letter of the {place}."
    TRIMMED = "changed", "The server removed white space at the ends of the {place}."
    SINGLE_SPACES = "changed", "The server reduced white space in the {place} to single spaces."
    BLANK_LINES = "changed", "The server removed blank lines from the {place}."
    INDENTATION = "changed", "The server removed the indentation of the {place}."
    ONE_LINE = "changed", "The server replaced the line breaks of the {place} by spaces."
    QUOTES = "changed", "The server replaced the quotes of the {place}."
    TYPOGRAPHY = "changed", "The server replaced typographic quotes of the {place} by ASCII."
    NO_BACKSLASHES = "changed", "The server removed backslashes from the {place}."
    TWO_BACKSLASHES = "changed", "The server doubled the backslashes of the {place}."
    SLASHES = "changed", "The server turned the backslashes of the {place} into slashes."
    COMMAS = "changed", "The server turned the decimal points of the {place} into commas."
    PUNCTUATION = "changed", "The server removed spaces before punctuation from the {place}."
    MARKDOWN = "changed", "The server removed Markdown from the {place}."
    NFKC = "changed", "The server replaced compatibility characters of the {place} (NFKC)."
    NFD = "changed", "The server decomposed characters of the {place} (NFD)."
    ACCENTS = "changed", "The server removed accents from the {place}."
    ASCII_ONLY = "changed", "The server removed the characters beyond ASCII from the {place}."
    QUESTION_MARKS = "changed", "The server replaced characters beyond ASCII of the {place} by ?."
    LATIN_1 = "changed", "The server decoded the UTF-8 of the {place} as Latin-1."
    # Two texts differ.
    PART_LOST = "lost", "The server lost text of the {place} {detail}."
    EQUAL_LOST = (
        "lost",
        "The server lost pieces of the {place} that equal the one before: {detail}.",
    )
    PART_ADDED = "added", "The server added text to the {place} {detail}."
    BROKEN_OFF = (
        "lost",
        "The reply breaks off within the {place}, but ends as complete.",
        ("reply.broken_off"),
    )
    SPACES = "changed", "The server changed or removed white space in the {place}."
    REORDERED = "changed", "The server reordered parts of the {place}."
    MASKED = "changed", "The server masked words of the {place}."
    GARBLED = "changed", "Characters of the {place} arrived as U+FFFD."
    LETTERS = "changed", "The server changed the case, marks or letters of the {place}."
    NOT_ASCII = "changed", "The server removed or replaced letters beyond ASCII in the {place}."
    DIFFERENT = "changed", "One API or mode alone returns the {place} differently."
    COT_IN_ANSWER = "changed", "The end of the CoT is at the beginning of the answer: {detail}."
    COT_IN_BOTH = "added", "The answer begins with the whole CoT: {detail}."
    ANSWER_IN_COT = "changed", "The beginning of the answer is at the end of the CoT: {detail}."
    WORN_OUT = (
        "changed",
        "The reply ends in repetition, after {detail} to equal requests; the first did not.",
        ("reply.degenerates"),
    )
    # Two calls differ.
    RETYPED = "changed", "The server changed the JSON type of arguments.", "calls.arguments.retyped"
    STYLE = "changed", "The server renamed arguments to a different naming style."
    FILLED = "changed", "The server added empty arguments to the call."
    ARGUMENT_LOST = "lost", "The server dropped the arguments {detail}."
    EMPTY_LOST = "lost", "The server dropped arguments whose values are empty or false."
    EXCHANGED = "changed", "Two values of the arguments are swapped."
    LIST_REORDERED = "changed", "The server reordered a list in the arguments."
    LIST_CUT = "lost", "The server lost the end of a list in the arguments."
    CONVERTED = "changed", "The server turned days into times, or rounded numbers of the arguments."
    VALUE = "changed", "A value of the arguments differs."
    NAME_STYLE = "changed", "The server changed the naming style of the function."
    NAME_CUT = "lost", "The server lost the end of the function's name."
    NAME_LONGER = "added", "The server added text to the function's name."
    # A reply that a limit or a stop string ended is not the beginning of the whole one.
    COT_UNFINISHED = "added", "The reply has an answer, but its CoT is unfinished.", _CUT
    NO_HEADER = "added", "The answer starts without the header of a final message.", _CUT
    ONLY_REASONING = "added", "The reply has an answer, but only CoT was generated.", _CUT
    AFTER_STOP = "added", "Text follows the stop string."
    # The count and the text do not agree.
    NO_COT = "lost", "The server dropped the CoT: the token count includes one."
    COT_TOKENS = "lost", "The CoT has {detail} fewer tokens than were counted for it."
    STOCK = "changed", "Unrelated requests got one answer, in {detail}."
    DECLINED = (
        "changed",
        "Unrelated requests got refusals that the model did not write, in {detail}.",
        ("reply.declined"),
    )
    EDGE = "added", "Many replies have the same text {detail} of the {place}."
    TWICE_COUNTED = "miscounted", "The output count is double, as if a hidden retry were counted."
    SUMMED = "miscounted", "The output count is the sum of the counts of all chunks."
    COT_COUNTED_TWICE = "miscounted", "The output count includes the CoT twice."
    INPUT_COUNTED = "miscounted", "The output count includes the input tokens."
    COT_OMITTED = "miscounted", "The output count omits the CoT."
    COT_HEADER_OMITTED = "miscounted", "The output count omits the CoT and its header."
    ANSWER_ALONE = "miscounted", "The output count is that of the answer alone."
    CHUNKS = "miscounted", "The output count is the number of chunks with text."
    FROM_CHARACTERS = "miscounted", "The output count is estimated from the characters."
    ROUNDED = "miscounted", "The output count is rounded to multiples of {detail}."
    EXCESSIVE = "miscounted", "The output count is too high, as it is for texts that are whole."
    OFF = "miscounted", "The output count is {detail}."
    TOO_HIGH = "unknown", "The output count is too high for this reply, or text was lost."
    TOO_LOW = "unknown", "The output count is too low for this reply, or text was added."

    def __init__(self, kind: Kind, sentence: str, rule: str = "") -> None:
        """Keep the columns of the table."""
        self.kind, self.sentence, self.rule = kind, sentence, rule

    @property
    def words(self) -> str:
        """The sentence as a clause about a text: `the server removed tags from the text`."""
        return f"t{self.sentence[1:-1]}".format(place="text", detail="")


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
    detail: str = ""  # a part of the sentence
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
        return (self.what.rule or _RULES.get(self.kind, "")) if self.witness else ""

    @property
    def message(self) -> str:
        """The account in a sentence, and what shows it if the sentence does not say so."""
        said = self.what.sentence.format(place=self.place, detail=self.detail)
        return f"{said} {_SHOWN_BY[self.witness]}" if self.witness in _SHOWN_BY else said


_SHOWN_BY = {
    "tokens": "The tokens with logprobs show what the model wrote.",
    "copy": "The token count, the CoT or other replies show what the model wrote.",
    "twin": "Other replies to the same request show what the model wrote.",
    "whole": "The complete reply to the same request differs.",
}

INTACT, UNKNOWN = Entry(What.INTACT), Entry(What.UNKNOWN)


Judged = Iterator[tuple[Row, Entry]]
"""Replies with what a witness says of them."""
