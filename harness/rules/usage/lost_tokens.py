"""Replies whose number of tokens does not fit their text: the server lost or added something."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.records.scores import Score
from harness.records.traits import Ledger
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.ledger import (
    COT_HEADER,
    FRAMING,
    MANY_TOKENS,
    PREAMBLE_HEADER,
    SLACK,
    may_be_headers,
    miscount,
    missing_cot,
    usual_difference,
)
from harness.rules.evidence.rollouts import by_condition
from harness.rules.rule import CHAT
from harness.rules.usage.prompt_texts import foreign_counts
from harness.statistics.intervals import clustered_rate

family = Family("usage", CHAT, component="output")

_FEWEST_ODD, _WITNESSED_SHARE, _ODD_SHARE = 3, 0.01, 0.05
"""Up to this number of samples and these shares of the replies, tokens that do not fit the text are
not a defect: none of 80 recorded replies of healthy servers had any. The first share is for replies
whose stream has one token in each piece or whose tokens are too few, the second for all."""
_FRAMED = 0.8
"""The smallest share of replies in which a server counts additional tokens, if it does so at all:
the others have odd spellings."""
_FEWEST_TOKENS = 32
"""Completion tokens below which a reply is not counted: it may be little more than odd headers."""
_FEWEST_WHOLE = 5  # replies of one mode that show how the model spells texts of the other
_AT_CUTS = 2
"""Tokens by which a text differs that is cut within a word, at its end and between its parts."""
_FEWEST_SAMPLES = 2  # samples whose longest replies have equally many tokens
_MANY_MESSAGES = 8  # more than the model may write without a text
_FEWEST_ANSWERED = 8  # tokens of a whole answer that shows how a server counts
_FEWEST_WORDS = 4  # tokens of an answer that a server cannot have rounded to none


class _Counted(NamedTuple):
    """A reply whose tokens can be counted exactly."""

    score: Score
    ledger: Ledger
    off: int
    """Its difference of reported and explained tokens, minus that of most replies."""


@family.cross_check(
    "usage.output.lost",
    lambda score: score.traits.ledgers,
    reads=("extras",),
    example=(
        "Half of a chain of thought that the limit cut is returned as content.",
        "https://github.com/jundot/omlx/issues/2860",
    ),
)
def lost_text(examined: Sequence[Score]) -> Iterator[Difference]:
    """The reported output tokens of a reply are those of its text.

    Otherwise the server lost, moved, repeated or rewrote text, or generated more after the end of
    the reply. A few tokens may be missing, because a model can spell a text with other tokens than
    the tokenizer does, write empty messages, or write several messages that the server joins: the
    pieces of a stream, the replies of the other mode, and the reasoning tokens show this. Where
    `usage.sum` or `usage.foreign` finds that the count itself is wrong, the text is not judged.
    """
    right = _without_miscounts(examined)
    spelled = {mode: _spells_as_tokenizer(right, streamed=not mode) for mode in (True, False)}
    groups = [found for group in by_condition(right) if (found := _counted(group, right))]
    no_end = all(any(map(_lacks_end_token, counted)) for counted in groups)
    for counted in groups:
        yield from _odd_replies(counted, spelled, no_end=no_end)
    for group in by_condition(right):
        yield from _cut_between_channels(group)
        yield from _dropped_cot(group)
    yield from _cut_within_cot(right)
    for score in right:
        yield from _unseen(score)


def _without_miscounts(examined: Sequence[Score]) -> list[Score]:
    """Return the scores with only the ledgers whose reported number is not itself at fault.

    If the server counts hidden retries, short replies with twice their tokens are left out, too.
    """
    foreign = foreign_counts(examined)
    every = [ledger for score in examined for ledger in score.traits.ledgers]
    retried = sum(miscount(ledger) == "with a retry" for ledger in every) >= _FEWEST_ODD

    def is_right(one: Ledger) -> bool:
        least, most = 2 * (one.texts + one.markup), 2 * (one.explained + FRAMING)
        return miscount(one) is None and not (retried and least <= one.reported <= most)

    kept = [tuple(filter(is_right, score.traits.ledgers)) for score in examined]
    return [
        replace(score, traits=replace(score.traits, ledgers=ledgers))
        for score, ledgers in zip(examined, kept, strict=True)
        if score.record not in foreign
    ]


def _odd_replies(
    counted: Sequence[_Counted], spelled: Mapping[bool, bool], *, no_end: bool
) -> Iterator[Difference]:
    """Judge the replies of one API and mode together.

    If the longest replies end at one length, without an end token, the server has a hidden limit.
    """
    odd = [
        one for one in counted if _is_odd(one, spelled) and not (no_end and _lacks_end_token(one))
    ]
    proven = list(filter(_is_proven, odd))
    message = (
        "Replies report a number of output tokens that does not fit their text; on healthy "
        "servers, nearly none do."
    )
    if not (_exceeds(proven, counted, _WITNESSED_SHARE) or _exceeds(odd, counted, _ODD_SHARE)):
        odd = _moved(counted)
        message = "The output tokens fit the text of the reply, but the reasoning tokens do not."
    if not odd:
        odd = _cut_alike(counted)
        message = (
            "The longest replies all have the same number of tokens and no end token, but are "
            "reported as complete."
        )
    for score, ledger, off in odd:
        expected = f"{ledger.reported - off} tokens for this text"
        yield _difference(score, ledger, message, expected)


def _difference(score: Score, ledger: Ledger, message: str, expected: str) -> Difference:
    found = evidence(score.record, "$.usage", expected, str(ledger.reported), ledger.exchange)
    return message, found


def _unseen(score: Score) -> Iterator[Difference]:
    """Judge each reply with CoT by itself: many tokens more than its text has.

    The number of reasoning tokens can show that fewer tokens are missing in the CoT.
    """
    for ledger in score.traits.ledgers:
        after_stop = ledger.end == "stop string"
        if ledger.end == "limit" or not (
            ledger.cot and (ledger.answer or ledger.calls or after_stop)
        ):
            continue
        messages, rest = divmod(ledger.difference, COT_HEADER)
        lost = ledger.difference > max(MANY_TOKENS, ledger.explained // SLACK)
        lost = lost and (messages > _MANY_MESSAGES or bool(rest and ledger.exact))
        if lost or missing_cot(ledger) > 0:
            message = f"{ledger.difference} of the reported output tokens are not in the reply."
            if after_stop:
                message = f"{ledger.difference} output tokens are reported after the stop string."
            expected = f"at most {ledger.explained} tokens for this text"
            yield _difference(score, ledger, message, expected)


def _cut_between_channels(group: Sequence[Score]) -> Iterator[Difference]:
    """Judge truncated replies with CoT and answer, which have the header between them.

    Without its tokens, the model was still writing its CoT, and the server returned the end of the
    CoT, or a text of its own, as the answer. The whole replies of the same API and mode show which
    tokens of the format a server does not count.
    """
    whole = [ledger.difference for _, ledger in _exact(group) if ledger.cot]
    usual = usual_difference(whole)
    for score, ledger in _exact(group, "limit") if len(whole) >= _FEWEST_WHOLE else ():
        lacking = usual - ledger.difference
        both = ledger.cot and ledger.answer
        if both and lacking >= COT_HEADER - _AT_CUTS and usual > -COT_HEADER:
            message = "A truncated reply has too few tokens for a header before its answer."
            expected = f"at least {ledger.explained + usual} tokens for CoT and answer"
            yield _difference(score, ledger, message, expected)


def _cut_within_cot(examined: Sequence[Score]) -> Iterator[Difference]:
    """Judge truncated replies with an answer whose tokens are all reasoning tokens.

    The limit cut the CoT, and the server returned part of it, or a text of its own, as the answer.
    Nothing is judged if the tokens of most whole answers are counted as reasoning, as in vLLM 0.32.
    """
    every = [(score, ledger) for score in examined for ledger in score.traits.ledgers]
    whole = [
        (ledger.thinking or 0) >= ledger.reported - FRAMING
        for _, ledger in every
        if ledger.end == "model" and ledger.thinking and ledger.answer >= _FEWEST_ANSWERED
    ]
    for score, ledger in every if 2 * sum(whole) <= len(whole) else ():
        in_cot = ledger.thinking == ledger.reported and ledger.answer >= _FEWEST_WORDS
        if ledger.end == "limit" and in_cot:
            message = "All tokens of a truncated reply are reasoning tokens, but it has an answer."
            expected = f"no answer, or fewer than {ledger.reported} reasoning tokens"
            yield _difference(score, ledger, message, expected)


def _dropped_cot(group: Sequence[Score]) -> Iterator[Difference]:
    """Judge replies without CoT that have more tokens than their content.

    The evidence of a lost CoT is the CoT of other replies, or the reasoning tokens that the reply
    itself reports. Replies for which the model wrote no CoT do not have these tokens.
    """
    every = [
        (score, ledger)
        for score in group
        for ledger in score.traits.ledgers
        if ledger.end == "model"
    ]
    returned = any(ledger.cot for _, ledger in every)
    for score, ledger in every:
        # The model may also have written a preamble and an empty CoT.
        explained = max(COT_HEADER + PREAMBLE_HEADER, ledger.spelling)
        own = (ledger.thinking or 0) > explained and not ledger.concealed
        has_content = ledger.texts > 0 and not ledger.cot  # `reply.lost` reports empty ones.
        if has_content and ledger.difference > explained and (returned or own):
            message = "The reply has no CoT, but reports more tokens than its text explains."
            expected = f"CoT, or at most {max(0, ledger.explained)} tokens"
            yield _difference(score, ledger, message, expected)


def _exact(scores: Iterable[Score], end: str = "model") -> list[tuple[Score, Ledger]]:
    """Return the ledgers, with this end, of the replies whose tokens can be counted exactly."""
    return [
        (score, ledger)
        for score in scores
        for ledger in score.traits.ledgers
        if ledger.exact and ledger.end == end
    ]


def _counted(group: Sequence[Score], examined: Sequence[Score]) -> list[_Counted]:
    """Return the replies of one API and mode that have CoT."""
    exact = [(score, ledger) for score, ledger in _exact(group) if ledger.cot]
    if not exact:
        return []
    differences = [ledger.difference for _, ledger in exact]
    usual = _framing(group, examined) or usual_difference(differences)
    return [_Counted(score, ledger, ledger.difference - usual) for score, ledger in exact]


def _is_odd(one: _Counted, spelled: Mapping[bool, bool]) -> bool:
    """Whether a reply has fewer or more tokens than its text.

    More tokens count only if the pieces of a stream do not have them either, or if the model is
    known to spell texts as the tokenizer does (`spelled`, by whether the reply is streamed), and
    only if they cannot be those of further messages.
    """
    ledger, off = one.ledger, one.off
    if off <= 0:
        return off < 0
    witnessed = spelled[ledger.streamed] if ledger.pieces is None else off > ledger.pieces
    return ledger.reported >= _FEWEST_TOKENS and witnessed and not may_be_headers(off)


def _is_proven(one: _Counted) -> bool:
    """Whether a reply lacks several tokens, or the pieces of a stream lack some."""
    return one.off < -1 or (one.ledger.pieces is not None and one.off > 0)


def _lacks_end_token(one: _Counted) -> bool:
    """Whether the reported tokens may exclude the end token, or include only the texts.

    Some of several servers behind one address may count like this, in each API and mode.
    """
    return one.ledger.reported in {one.ledger.explained - 1, one.ledger.texts}


def _moved(counted: Sequence[_Counted]) -> list[_Counted]:
    """The replies with text on the wrong side of the CoT's end: only the reasoning tokens differ.

    A server that merely counts reasoning tokens differently does so in nearly all replies.
    """
    whole = [one for one in counted if one.off == 0 and one.ledger.thinking]
    more = [(one.ledger.thinking or 0) - one.ledger.cot for one in whole]
    if not whole:
        return []
    common, times = Counter(more).most_common(1)[0]
    moved = [one for one, tokens in zip(whole, more, strict=True) if (tokens - common) % COT_HEADER]
    usually = times >= _FRAMED * len(whole)
    return moved if usually and _exceeds(moved, whole, _WITNESSED_SHARE) else []


def _cut_alike(counted: Sequence[_Counted]) -> list[_Counted]:
    """Return the longest replies that lack tokens, if they are replies to several samples.

    A reply that the model ended has an end token, and rarely the length of another reply.
    """
    longest = max(one.ledger.reported for one in counted)
    ended = [one for one in counted if one.off < 0 and one.ledger.reported == longest]
    samples = {(one.score.task, one.score.sample) for one in ended}
    return ended if longest >= _FEWEST_TOKENS and len(samples) >= _FEWEST_SAMPLES else []


def _exceeds(odd: Sequence[_Counted], counted: Sequence[_Counted], share: float) -> bool:
    """Whether more than this share of the replies is odd, in several conversations.

    A model that spells a reply in an odd way does so in each attempt at the conversation, whatever
    the options.
    """
    found, every = (
        Counter(
            one.score.traits.conversation or (one.score.task, one.score.sample) for one in replies
        )
        for replies in (odd, counted)
    )
    counts = [(found[conversation], number) for conversation, number in every.items()]
    return len(found) >= _FEWEST_ODD and clustered_rate(counts).low > share


def _framing(group: Sequence[Score], examined: Sequence[Score]) -> int:
    """The few tokens that a server adds to the count of nearly every reply; 0 if it adds none.

    If the server lost text instead, the tokens are missing from the CoT or at the ends of
    sentences. Replies without CoT show which it is; those of the whole run are used if the group
    has few. If the run has few too, and the server does not just lose one token of each reply,
    replies whose CoT has the reported reasoning tokens, with or without its header, are used.
    """
    exact = [ledger for _, ledger in _exact(group)]
    of_run = [ledger for _, ledger in _exact(examined) if ledger.closed]
    extra, times = Counter(ledger.difference for ledger in exact).most_common(1)[0]
    plain = [ledger for ledger in exact if ledger.closed and not ledger.cot]
    if len(plain) < _FEWEST_ODD:
        plain = [ledger for ledger in of_run if not ledger.cot]
    if len(plain) < _FEWEST_ODD and extra > 1:
        whole = (0, COT_HEADER)
        plain = [ledger for ledger in of_run if (ledger.thinking or 0) - ledger.cot in whole]
    agreeing = sum(ledger.difference == extra for ledger in plain)
    alike = times >= _FRAMED * len(exact) and agreeing >= _FRAMED * len(plain)
    return extra if 0 < extra <= FRAMING and alike and len(plain) >= _FEWEST_ODD else 0


def _spells_as_tokenizer(examined: Sequence[Score], *, streamed: bool) -> bool:
    """Whether enough replies of a mode show that the model spells texts as the tokenizer does."""
    more = [
        ledger.pieces if streamed else ledger.difference
        for _, ledger in _exact(examined)
        if ledger.cot and ledger.streamed == streamed and ledger.reported >= _FEWEST_TOKENS
    ]
    known = [tokens for tokens in more if tokens is not None]
    odd = sum(tokens > 0 for tokens in known)
    return len(known) >= _FEWEST_WHOLE and odd <= _ODD_SHARE * len(known)
