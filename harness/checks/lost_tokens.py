"""Replies whose number of tokens does not fit their text: the server lost or added something."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harmony.conversation import Answer, Preamble, Reasoning
from harness.checks.accounting import FRAMING, header_tokens, may_be_headers
from harness.checks.check import Difference, cross_check, evidence
from harness.records.conditions import Api, Mode
from harness.records.scores import Score
from harness.records.traits import TokenAccount
from harness.statistics.intervals import clustered_rate

# Up to this number of samples and these shares of the replies, tokens that do not fit the text are
# not a defect. The first share is for replies whose stream has one token in each piece or whose
# tokens are too few, the second for all. There were none in 80 recorded replies of healthy servers
# and in 280 streams of the small model.
_FEWEST_ODD, _WITNESSED_SHARE, _ODD_SHARE = 3, 0.01, 0.05
_SPELLED_ODDLY = 0.4
"""The largest share of replies that a model spells in an odd way: a quarter for the small one."""
_OFTEN = 0.2  # share of replies from which a difference of counts is frequent
_FRAMED = 0.8
"""The smallest share of replies in which a server counts additional tokens, if it does so at all:
the others have odd spellings."""
_LEAST_HEADER = 3  # the tokens of a message header: `<|start|>`, the role, and `<|message|>`
_FEWEST_TOKENS = 32
"""Completion tokens below which a reply is not counted: it may be little more than odd headers."""
_FEWEST_WHOLE = 5  # replies of one mode that show how the model spells texts of the other
_FEWEST_SAMPLES = 2  # samples whose longest replies have equally many tokens


def _lost_text(examined: Sequence[Score]) -> Iterator[Difference]:
    """With rare exceptions, the reported output tokens of a reply are those of its text.

    If replies often have too few words for their tokens, the server loses words; if they often have
    too many, it repeats or rewrites words. Rare differences are healthy, because a model can spell
    a text with other tokens than the tokenizer does: the pieces of a stream, or the replies of the
    other mode, show this. If the longest replies end at one length, without an end token, the
    server has a hidden limit.
    """
    spelled = {each: _spells_as_tokenizer(examined, streamed=not each) for each in (True, False)}
    groups = [[*_counted(group)] for group in by_condition(examined)]
    no_end = all(any(_lacks_end_token(each) for _, each in group) for group in groups if group)
    for group, counted in zip(by_condition(examined), groups, strict=True):
        if not counted:
            continue
        differences = [each.unexplained for _, each in counted]
        usual = _framing(group, examined) or usual_difference(differences)
        odd = [
            (one, each) for one, each in counted
            if _is_odd(each, usual, spelled) and not (no_end and _lacks_end_token(each))
        ]  # fmt: skip
        proven = [(one, each) for one, each in odd if _is_proven(each, usual)]
        if not (_exceeds(proven, counted, _WITNESSED_SHARE) or _exceeds(odd, counted, _ODD_SHARE)):
            odd = _longer(counted, usual)
        message = (
            f"{len(odd)} of {len(counted)} replies report a number of output tokens that does not "
            "fit their text; on healthy servers, nearly none do."
        )
        if not odd and (odd := _moved(counted, usual)):
            message = (
                "The output tokens fit the text of the reply, but the reasoning tokens do not."
            )
        if not odd and (odd := _cut_alike(counted, usual)):
            message = (
                "The longest replies all have the same number of tokens and no end token, but are "
                "reported as complete."
            )
        for one, each in odd:
            expected = f"{each.most + usual} tokens for this text"
            yield message, evidence(one.record, "$.usage", expected, str(each.reported))


def _is_proven(account: TokenAccount, usual: int) -> bool:
    """Whether a reply lacks several tokens, or the pieces of a stream lack some."""
    in_pieces = account.pieces is not None and account.unexplained > usual
    return in_pieces or account.unexplained < usual - 1


def _counted(group: Sequence[Score]) -> Iterator[tuple[Score, TokenAccount]]:
    """Return the replies with CoT whose tokens can be counted exactly."""
    every = ((one, each) for one in group for each in one.traits.accounts)
    return ((one, each) for one, each in every if each.exact and each.reasoning)


def _lacks_end_token(account: TokenAccount) -> bool:
    """Whether the reported tokens may exclude the end token, or include only the texts.

    Some of several servers behind one address may count like this, in each API and mode.
    """
    return account.reported in {account.most - 1, account.least}


def _longer(
    counted: Sequence[tuple[Score, TokenAccount]], usual: int
) -> list[tuple[Score, TokenAccount]]:
    """The replies with more tokens than their texts, if odd spellings cannot explain so many.

    Replies with the most frequent difference must not be all of them: these may come from one of
    several servers, which counts additional tokens of the format.
    """
    longer = [
        (one, each) for one, each in counted
        if each.unexplained > max(usual, 0) and each.reported >= _FEWEST_TOKENS
        and not may_be_headers(each.unexplained - usual)
    ]  # fmt: skip
    common = Counter(each.unexplained for _, each in longer).most_common(1)
    rest = [(one, each) for one, each in longer if each.unexplained != common[0][0]]
    many = _exceeds(longer, counted, _SPELLED_ODDLY) and _exceeds(rest, counted, _ODD_SHARE)
    return longer if many else []


def _moved(
    counted: Sequence[tuple[Score, TokenAccount]], usual: int
) -> list[tuple[Score, TokenAccount]]:
    """The replies with text on the wrong side of the CoT's end: only the reasoning tokens differ.

    A server that merely counts reasoning tokens differently does so in nearly all replies.
    """
    whole = [(o, each) for o, each in counted if each.unexplained == usual and each.thinking]
    differences = Counter((each.thinking or 0) - each.reasoning for _, each in whole)
    if not whole:
        return []
    common, times = differences.most_common(1)[0]
    empty = header_tokens(Reasoning(""))
    moved = [
        (o, each) for o, each in whole if ((each.thinking or 0) - each.reasoning - common) % empty
    ]
    exact = times >= _FRAMED * len(whole)
    return moved if exact and _exceeds(moved, whole, _WITNESSED_SHARE) else []


def _cut_alike(
    counted: Sequence[tuple[Score, TokenAccount]], usual: int
) -> list[tuple[Score, TokenAccount]]:
    """Return the longest replies that lack tokens, if they are replies to several samples.

    A reply that the model ended has an end token, and rarely the length of another reply.
    """
    odd = [each for each in counted if each[1].unexplained < usual]
    longest = max(each.reported for _, each in counted)
    ended = [each for each in odd if each[1].reported == longest]
    samples = {(one.task, one.sample) for one, _ in ended}
    return ended if longest >= _FEWEST_TOKENS and len(samples) >= _FEWEST_SAMPLES else []


def _exceeds(
    odd: Sequence[tuple[Score, TokenAccount]],
    counted: Sequence[tuple[Score, TokenAccount]],
    share: float,
) -> bool:
    """Whether more than this share of the replies is odd, in several conversations.

    A model that spells a reply in an odd way does so in each attempt at the conversation, whatever
    the options.
    """
    found = _conversations(odd)
    if len(found) < _FEWEST_ODD:
        return False
    counts = [(found[each], number) for each, number in _conversations(counted).items()]
    return clustered_rate(counts).low > share


def _conversations(replies: Sequence[tuple[Score, TokenAccount]]) -> Counter[object]:
    """Return the number of replies to each conversation."""
    return Counter(one.traits.conversation or (one.task, one.sample) for one, _ in replies)


def _lost_reasoning(examined: Sequence[Score]) -> Iterator[Difference]:
    """If a provider returns or counts CoT, a reply without CoT has no tokens beyond its content.

    Otherwise the model wrote a CoT, and the server dropped it. The evidence is the CoT of other
    replies, or the reasoning tokens that the reply itself reports. Replies for which the model
    wrote no CoT do not have these tokens.
    """
    for group in by_condition(examined):
        every = [(one, each) for one in group for each in one.traits.accounts]
        returned = any(each.reasoning for _, each in every)
        empty = header_tokens(Reasoning("")) + header_tokens(Preamble(""))
        for one, each in every:
            # The model may also have written a preamble and an empty CoT.
            explained = max(empty, each.spelling)
            own = (each.thinking or 0) > explained and not each.concealed
            has_content = each.least > 0 and not each.reasoning  # `reply.lost` reports empty ones.
            if has_content and each.unexplained > explained and (returned or own):
                message = "The reply has no CoT, but reports more tokens than its text explains."
                expected = f"CoT, or at most {max(0, each.most)} tokens"
                got = f"{each.reported}, of which {each.thinking} are reasoning tokens"
                got = got if each.thinking else str(each.reported)
                yield message, evidence(one.record, "$.usage", expected, got)


def by_condition(examined: Sequence[Score]) -> Iterable[list[Score]]:
    """Return the rollouts of each API and mode."""
    groups: dict[tuple[Api, Mode | None], list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.condition.api, each.condition.mode].append(each)
    return groups.values()


def usual_difference(differences: Iterable[int]) -> int:
    """How many tokens of the format a server does not count, as a negative number.

    This is the most frequent difference, or a frequent one of at least a header: then the larger
    differences are those of texts that the model spells with other tokens.
    """
    most = header_tokens(Reasoning("")) + header_tokens(Answer(""))
    found = Counter(each for each in differences if -most <= each <= 0)
    often = [each for each, count in found.items() if count >= _OFTEN * found.total()]
    headers = [each for each in often if each <= -_LEAST_HEADER]
    return min(headers, default=max(often, key=found.__getitem__, default=0))


def _framing(group: Sequence[Score], examined: Sequence[Score]) -> int:
    """The few tokens that a server adds to the count of nearly every reply; 0 if it adds none.

    If the server lost text instead, the tokens are missing from the CoT or at the ends of
    sentences. Replies without CoT show which it is; those of the whole run are used if the group
    has few. If the run has few too, and the server does not just lose one token of each reply,
    replies whose CoT has the reported reasoning tokens are used.
    """
    exact = _exact(group)
    plain = _without_cot(exact)
    if len(plain) < _FEWEST_ODD:
        plain = _without_cot(_exact(examined))
    counted = Counter(each.unexplained for each in exact)
    extra, times = counted.most_common(1)[0]
    if len(plain) < _FEWEST_ODD and extra > 1:
        plain = [each.unexplained for each in _exact(examined) if each.closed and _is_whole(each)]
    alike = times >= _FRAMED * len(exact) and plain.count(extra) >= _FRAMED * len(plain)
    return extra if 0 < extra <= FRAMING and alike and len(plain) >= _FEWEST_ODD else 0


def _exact(scores: Sequence[Score]) -> list[TokenAccount]:
    return [each for one in scores for each in one.traits.accounts if each.exact]


def _without_cot(accounts: Sequence[TokenAccount]) -> list[int]:
    return [each.unexplained for each in accounts if each.closed and not each.reasoning]


def _is_whole(account: TokenAccount) -> bool:
    """Whether the CoT has as many tokens as reported, with or without its header."""
    thinking = account.thinking or 0
    return thinking - account.reasoning in (0, header_tokens(Reasoning("")))


def _spells_as_tokenizer(examined: Sequence[Score], *, streamed: bool) -> bool:
    """Whether enough replies of a mode show that the model spells texts as the tokenizer does."""
    others = [
        each.pieces if streamed else each.unexplained
        for one in examined
        for each in one.traits.accounts
        if each.exact and each.reasoning and each.streamed == streamed
        if each.reported >= _FEWEST_TOKENS and (each.pieces is not None or not streamed)
    ]
    odd = sum(each is not None and each > 0 for each in others)
    return len(others) >= _FEWEST_WHOLE and odd <= _ODD_SHARE * len(others)


def _is_odd(account: TokenAccount, usual: int, spelled: Mapping[bool, bool]) -> bool:
    """Whether a reply has fewer or more tokens than its text.

    More tokens count only if the pieces of a stream do not have them either, or if the model is
    known to spell texts as the tokenizer does (`spelled`, by whether the reply is streamed), and
    only if they cannot be those of further messages.
    """
    difference = account.unexplained - usual
    if difference <= 0:
        return difference < 0
    if account.reported < _FEWEST_TOKENS:
        return False
    in_pieces = account.pieces
    witnessed = spelled[account.streamed] if in_pieces is None else difference > in_pieces
    return witnessed and not may_be_headers(difference)


CROSS_CHECKS = (
    cross_check(
        "usage.output.lost", "usage", lambda each: bool(each.traits.accounts), _lost_text, "error"
    ),
    cross_check(
        "reasoning.lost", "cot", lambda each: bool(each.traits.accounts), _lost_reasoning, "error"
    ),
)
