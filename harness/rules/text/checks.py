"""Defects of generated text: lost characters, wrong encodings, endless repetition."""

import re
from collections.abc import Iterator

from harness.api.ledger import token_count, wrote_all
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, every_choice
from harness.rules.habits import Habit, recorded
from harness.rules.rule import CHAT, GUIDE, Problem
from harness.text import FILTERED, repeated_piece

family = Family("text", CHAT, component="text")

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UTF_8 = "https://www.rfc-editor.org/rfc/rfc8259#section-8.1"
_MARK = "!"  # the text of the token that sampling selects if all logits are equal or NaN
_SHORTEST_RUN = 32  # exclamation marks
# A word of asterisks within a line, or the names with which filters replace words. Asterisks are no
# mask in front of a title, such as those of patches: `*** Begin Patch`, `*** End of File ***`.
_TITLE = re.compile(r"\*{3,} [A-Z][\w ]*?(?: \*{3,}|(?![\w ]))")
_MASK = re.compile(rf"(?<=[\w,;:] )\*{{3,}}(?=[ .,;:!?]|$)|█{{2,}}|{FILTERED}", re.MULTILINE)
# Three dots in brackets are no mark: a model abbreviates lists so.
_ELISION = re.compile(r"\[(?:…|truncated|omitted|snip(?:ped)?)\]", re.IGNORECASE)
_NULL_NAMES = frozenset({"None", "null", "undefined", "nil", "NaN", "[object Object]"})
# One such run can be correct text, such as the end of a German quotation.
_FEWEST_MISREAD_RUNS = 2
_COMMON_PUNCTUATION = "\u00a0«»–—‘’“”„…€°"
_CODECS = ("latin-1", "cp1252")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{2,}")


@family.check(
    "text.garbled",
    every_choice,
    component="characters",
    source=_UTF_8,
    habit=recorded(0.005),
)
def _garbled(answer: Answer) -> Iterator[Problem]:
    """No text contains U+FFFD replacement characters.

    The server decoded a character of several tokens token by token. The generated character is
    lost.
    """
    for place, text in answer.texts:
        at = text.find(_REPLACEMENT)
        if at >= 0 and _REPLACEMENT not in answer.exchange.prompt:
            message = f"The {place} contains a U+FFFD replacement character."
            context = text[max(0, at - 40) : at + 40]
            yield Problem(answer.exchange, message, "no replacement character", context)


family.check(
    "text.garbled.beyond_ascii",
    every_choice,
    lambda answer: not answer.exchange.prompt.isascii(),
    component="characters",
    source=_UTF_8,
    habit=recorded(0.02),
    text="Replies to prompts with accents, emoji or other scripts contain no U+FFFD replacement "
    "characters. Such replies often have characters of several tokens. A decoding defect is rare "
    "among all replies, but frequent among these.",
)(_garbled)


@family.check(
    "text.mojibake", every_choice, severity="warning", source=_UTF_8, habit=recorded(0.005)
)
def _mojibake(answer: Answer) -> Iterator[Problem]:
    """No text is UTF-8 that was decoded as Latin-1 or Windows-1252.

    All letters beyond ASCII are wrong, including those in the arguments that tools receive.
    """
    for place, text in answer.texts:
        runs = [run for run in misread(text) if run not in answer.exchange.prompt]
        if len(runs) >= _FEWEST_MISREAD_RUNS:
            message = f"The {place} contains UTF-8 that was decoded as a single-byte encoding."
            yield Problem(answer.exchange, message, "UTF-8", " ".join(runs))


family.account_rule(
    "text.changed",
    "CoT and answer are returned as the model wrote them. Any change alters code, quotations and "
    "data. The tokens of the reply, its CoT or an equal request show what the model wrote.",
    fix="Pass on the decoded tokens as they are, and escape them for JSON only.",
)
family.account_rule(
    "text.added",
    "The server adds no text to CoT and answer. Users read it, and later prompts contain it. The "
    "reported tokens match the text without it.",
)
family.account_rule(
    "text.doubled",
    "No text comes twice. A server that continues after the final message, or sends each piece of "
    "a stream twice, returns it so. Clients show both.",
    fix="Send each piece of a text once, and end the reply at <|return|>.",
)


@family.check(
    "text.space_first",
    every_choice,
    lambda answer: answer.reply.text.strip(),
    habit=Habit(0.5, "a space costs no token, so that only most of the answers exclude the model"),
    fix="Return the text of an answer from its first character on, and add none before it.",
)
def _space_first(answer: Answer) -> Iterator[Problem]:
    """Answers do not begin with a space.

    A server that joins an answer to what it removed before it returns one. It costs no token, and
    changes answers that programs compare or parse.
    """
    text = answer.reply.text
    if text[0] == " ":
        message = "The answer begins with a space."
        yield Problem(answer.exchange, message, "its first word", repr(text[:40]))


@family.check("text.placeholder", every_choice, severity="warning", habit=recorded(0.005))
def _placeholder(answer: Answer) -> Iterator[Problem]:
    """An answer is not the null value of a programming language.

    The server converted a missing text to a string, such as "None". Clients show it. If the
    reported tokens are exactly those of the reply, the model wrote it, and it is not reported.
    """
    text = answer.reply.text.strip()
    if text in _NULL_NAMES and text not in answer.exchange.prompt and not wrote_all(*answer):
        message = f"The answer is only {text}, the name of a null value."
        yield Problem(answer.exchange, message, "an answer, or null", text)


@family.check(
    "text.masked", every_choice, severity="warning", habit=recorded(0.005), component="filter"
)
def _masked(answer: Answer) -> Iterator[Problem]:
    """No word of a text is replaced by asterisks, by a name such as [REDACTED], or by […].

    A filter of the server took words for personal data or insults, or shortened a text. The model
    rarely masks words, and in arguments of calls it writes no names such as [PHONE_REDACTED].
    """
    for place, text in answer.texts:
        match = _MASK.search(_TITLE.sub("", text))
        if match and match[0] not in answer.exchange.prompt:
            message = f"The {place} contains a masked word."
            context = match.string[max(0, match.start() - 40) : match.end() + 40]
            own = place != "argument text" or match[0][0] in "*█"
            yield Problem(
                answer.exchange, message, "the word that the model wrote", context, proven=not own
            )
            continue
        mark = _ELISION.search(text)
        if mark and mark[0] not in answer.exchange.prompt:
            message = f"The {place} has a mark of omitted text."
            context = text[max(0, mark.start() - 40) : mark.end() + 40]
            yield Problem(answer.exchange, message, "the text that the model wrote", context)


@family.check(
    "text.one_token",
    every_choice,
    lambda answer: answer.reply.finish == "length",
    component="model",
    fix="Look for values that are not finite in the forward pass: all logits are then equal.",
)
def _repeats_token(answer: Answer) -> Iterator[Problem]:
    """No text up to the token limit is one repeated token, and none ends in exclamation marks.

    A healthy model never writes this: its loops have several tokens, or begin after other text.
    Logits that are not finite select token 0, an exclamation mark. Characters for which the user or
    the CoT asks are not reported.
    """
    for place, text in answer.texts:
        if _is_one_token(answer, place, text):
            message = f"The {place} is one token, repeated up to the token limit."
            yield Problem(answer.exchange, message, "text of a model", repr(text[-40:]))


def _is_one_token(answer: Answer, place: str, text: str) -> bool:
    """Whether a truncated text is one token for which nobody asks, or ends in exclamation marks."""
    end = text.rstrip()
    marks = len(end) - len(end.rstrip(_MARK)) >= _SHORTEST_RUN
    piece = _MARK if marks else (repeated_piece(text) or "").strip()
    if not answer.exchange.truncated or not piece:
        return False
    source = answer.exchange.prompt + (answer.reply.reasoning if place == "answer" else "")
    if marks:
        return 2 * _MARK not in source and "exclamation" not in source.lower()
    named = re.search(rf"(?<!\w){re.escape(piece)}(?!\w)", source)
    return not named and not end.replace(piece, "").strip() and token_count(piece) == 1


@family.check(
    "text.runaway",
    every_choice,
    severity="warning",
    source=GUIDE,
    habit=recorded(0.01),
    component="model",
    fix=(
        "Stop at <|return|> and <|call|>; if the model does not write them, compare logprobs with"
        " the reference."
    ),
)
def _runaway(answer: Answer) -> Iterator[Problem]:
    """No text ends in endless repetition: of one piece, of a few sentences, or of white space.

    Models do this occasionally: the small model in at most 2 of 993 replies of a run, and only at
    high temperatures. Wrong attention or an ignored stop token makes it frequent.
    """
    for place, text in answer.texts:
        piece = repeated_piece(text)
        if piece is not None and not _is_one_token(answer, place, text):
            message = f"The {place} ends with endless repetition."
            got = piece if piece.strip() else "white space"
            yield Problem(answer.exchange, message, "text that ends", got)


def misread(text: str) -> list[str]:
    """Runs of characters whose Latin-1 or Windows-1252 bytes are UTF-8 of common characters."""
    return [run for run in _BEYOND_ASCII.findall(text) if any(_readable(run, c) for c in _CODECS)]


def _readable(run: str, codec: str) -> bool:
    try:
        decoded = run.encode(codec).decode("utf-8")
    except UnicodeError:
        return False
    return all(char.isalpha() or char in _COMMON_PUNCTUATION for char in decoded)
