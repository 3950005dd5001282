"""Replies whose number of tokens does not fit their text: the server lost or added something."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.records.scores import Score
from harness.records.traits import Ledger
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.ledger import (
    COT_HEADER,
    FRAMING,
    PREAMBLE_HEADER,
    may_be_headers,
    usual_difference,
)
from harness.rules.evidence.rollouts import by_condition
from harness.rules.rule import CHAT
from harness.statistics.intervals import clustered_rate

family = Family("usage", CHAT, component="output")

# Up to this number of samples and these shares of the replies, tokens that do not fit the text are
# not a defect. The first share is for replies whose stream has one token in each piece or whose
# tokens are too few, the second for all. There were none in 80 recorded replies of healthy servers
# and in 280 streams of the small model.
_FEWEST_ODD, _WITNESSED_SHARE, _ODD_SHARE = 3, 0.01, 0.05
_SPELLED_ODDLY = 0.4
"""The largest share of replies that a model spells in an odd way: a quarter for the small one."""
_FRAMED = 0.8
"""The smallest share of replies in which a server counts additional tokens, if it does so at all:
the others have odd spellings."""
_FEWEST_TOKENS = 32
"""Completion tokens below which a reply is not counted: it may be little more than odd headers."""
_FEWEST_WHOLE = 5  # replies of one mode that show how the model spells texts of the other
_LEAST_LACKING = 4
"""Tokens of a header of six whose absence a cut within a word cannot explain: of 263 truncated
replies of the small model, none lacked more than one."""
_FEWEST_SAMPLES = 2  # samples whose longest replies have equally many tokens


class _Counted(NamedTuple):
    """A reply whose tokens can be counted exactly."""

    score: Score
    ledger: Ledger
    off: int
    """Its difference of reported and explained tokens, minus that of most replies."""


@family.cross_check("usage.output.lost", lambda score: score.traits.ledgers)
def lost_text(examined: Sequence[Score]) -> Iterator[Difference]:
    """With rare exceptions, the reported output tokens of a reply are those of its text.

    If replies often have too few words for their tokens, the server loses words; if they often have
    too many, it repeats or rewrites words. Rare differences are healthy, because a model can spell
    a text with other tokens than the tokenizer does: the pieces of a stream, or the replies of the
    other mode, show this. If the longest replies end at one length, without an end token, the
    server has a hidden limit.
    """
    spelled = {mode: _spells_as_tokenizer(examined, streamed=not mode) for mode in (True, False)}
    groups = [found for group in by_condition(examined) if (found := _counted(group, examined))]
    no_end = all(any(map(_lacks_end_token, counted)) for counted in groups)
    for counted in groups:
        odd = [
            one
            for one in counted
            if _is_odd(one, spelled) and not (no_end and _lacks_end_token(one))
        ]
        proven = list(filter(_is_proven, odd))
        if not (_exceeds(proven, counted, _WITNESSED_SHARE) or _exceeds(odd, counted, _ODD_SHARE)):
            odd = _longer(counted)
        message = (
            "Replies report a number of output tokens that does not fit their text; on healthy "
            "servers, nearly none do."
        )
        if not odd and (odd := _moved(counted)):
            message = (
                "The output tokens fit the text of the reply, but the reasoning tokens do not."
            )
        if not odd and (odd := _cut_alike(counted)):
            message = (
                "The longest replies all have the same number of tokens and no end token, but are "
                "reported as complete."
            )
        for score, ledger, off in odd:
            expected = f"{ledger.reported - off} tokens for this text"
            yield message, evidence(score.record, "$.usage", expected, str(ledger.reported))


@family.cross_check(
    "usage.output.cut",
    lambda score: score.traits.cut_ledgers or score.traits.ledgers,
    fix="Return a message that the token limit cut in the field of its channel, and add no text.",
    example=(
        "Half of a chain of thought that the limit cut is returned as content.",
        "https://github.com/jundot/omlx/issues/2860",
    ),
)
def cut_between_channels(examined: Sequence[Score]) -> Iterator[Difference]:
    """A truncated reply with CoT and answer also has the tokens of the header between them.

    Without these tokens, the model was still writing its CoT, and the server returned the end of
    the CoT, or a text of its own, as the answer. The whole replies of the same API and mode show
    which tokens of the format a server does not count.
    """
    for group in by_condition(examined):
        whole = [ledger.difference for ledger in _exact(group) if ledger.cot]
        usual = usual_difference(whole)
        cut = [(score, one) for score in group for one in score.traits.cut_ledgers if one.exact]
        for score, ledger in cut if len(whole) >= _FEWEST_WHOLE else ():
            lacking = usual - ledger.difference
            if lacking >= _LEAST_LACKING and usual > -COT_HEADER:
                message = "A truncated reply has too few tokens for a header before its answer."
                expected = f"at least {ledger.explained + usual} tokens for CoT and answer"
                got = str(ledger.reported)
                yield message, evidence(score.record, "$.usage", expected, got, ledger.exchange)


def _exact(scores: Iterable[Score]) -> list[Ledger]:
    """Return the ledgers of the replies whose tokens can be counted exactly."""
    return [ledger for score in scores for ledger in score.traits.ledgers if ledger.exact]


def _counted(group: Sequence[Score], examined: Sequence[Score]) -> list[_Counted]:
    """Return the replies of one API and mode that have CoT."""
    exact = [(score, ledger) for score in group for ledger in _exact([score]) if ledger.cot]
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


def _longer(counted: Sequence[_Counted]) -> list[_Counted]:
    """The replies with more tokens than their texts, if odd spellings cannot explain so many.

    Replies with the most frequent difference must not be all of them: these may come from one of
    several servers, which counts additional tokens of the format.
    """
    longer = [
        one
        for one in counted
        if min(one.off, one.ledger.difference) > 0
        and one.ledger.reported >= _FEWEST_TOKENS
        and not may_be_headers(one.off)
    ]
    common = Counter(one.off for one in longer).most_common(1)
    rest = [one for one in longer if one.off != common[0][0]]
    many = _exceeds(longer, counted, _SPELLED_ODDLY) and _exceeds(rest, counted, _ODD_SHARE)
    return longer if many else []


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


@family.cross_check("reasoning.lost", lambda score: score.traits.ledgers)
def lost_reasoning(examined: Sequence[Score]) -> Iterator[Difference]:
    """If a provider returns or counts CoT, a reply without CoT has no tokens beyond its content.

    Otherwise the model wrote a CoT, and the server dropped it. The evidence is the CoT of other
    replies, or the reasoning tokens that the reply itself reports. Replies for which the model
    wrote no CoT do not have these tokens.
    """
    for group in by_condition(examined):
        every = [(score, ledger) for score in group for ledger in score.traits.ledgers]
        returned = any(ledger.cot for _, ledger in every)
        for score, ledger in every:
            # The model may also have written a preamble and an empty CoT.
            explained = max(COT_HEADER + PREAMBLE_HEADER, ledger.spelling)
            own = (ledger.thinking or 0) > explained and not ledger.concealed
            has_content = ledger.texts > 0 and not ledger.cot  # `reply.lost` reports empty ones.
            if has_content and ledger.difference > explained and (returned or own):
                message = "The reply has no CoT, but reports more tokens than its text explains."
                expected = f"CoT, or at most {max(0, ledger.explained)} tokens"
                got = f"{ledger.reported}, of which {ledger.thinking} are reasoning tokens"
                got = got if ledger.thinking else str(ledger.reported)
                yield message, evidence(score.record, "$.usage", expected, got)


def _framing(group: Sequence[Score], examined: Sequence[Score]) -> int:
    """The few tokens that a server adds to the count of nearly every reply; 0 if it adds none.

    If the server lost text instead, the tokens are missing from the CoT or at the ends of
    sentences. Replies without CoT show which it is; those of the whole run are used if the group
    has few. If the run has few too, and the server does not just lose one token of each reply,
    replies whose CoT has the reported reasoning tokens, with or without its header, are used.
    """
    exact, of_run = _exact(group), [ledger for ledger in _exact(examined) if ledger.closed]
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
        for ledger in _exact(examined)
        if ledger.cot and ledger.streamed == streamed and ledger.reported >= _FEWEST_TOKENS
    ]
    known = [tokens for tokens in more if tokens is not None]
    odd = sum(tokens > 0 for tokens in known)
    return len(known) >= _FEWEST_WHOLE and odd <= _ODD_SHARE * len(known)
