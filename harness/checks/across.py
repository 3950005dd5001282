"""Comparisons: rules about several rollouts of a run."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

from harmony.conversation import Answer, Reasoning
from harness.checks import added_texts, changed_calls, hidden_limit, prompt_texts
from harness.checks.accounting import header_tokens
from harness.checks.comparison import Difference, comparison, evidence
from harness.records.conditions import Api, Mode
from harness.records.scores import Finding, Score, TokenAccount
from harness.statistics.intervals import clustered_rate
from harness.text import shared_beginning

# At how many samples, and in which share of the replies, other tokens than those of the text are no
# defect: if a stream has one token in each piece or the tokens are too few, and otherwise. The
# recorded replies of healthy servers have none in 80, and the streams of the small model in 280.
_FEWEST_ODD, _WITNESSED_SHARE, _ODD_SHARE = 3, 0.01, 0.05
_OFTEN = 0.2
"""Share of replies from which a difference of counts is frequent."""
_LEAST_HEADER = 3
"""The tokens of a message header: `<|start|>`, the role, and `<|message|>`."""
_FEWEST_TOKENS = 32
"""Completion tokens below which a reply is not counted: it may be little more than odd headers."""
_FEWEST_WHOLE = 5
"""Replies of one mode, from which to tell how the model spells texts of the other."""

CODE_WORD = re.compile(r"\b(?:[a-z]{4,}\d{3,}|[a-z]{6,}\d{2,})\b")
"""Invented words of letters and digits, which no model writes without reading them."""
_WORD = re.compile(r"\w{3,}")
_FEW_DIGITS = 7
_FEWEST_ATTEMPTS, _FEWEST_TWINS = 4, 2
"""Attempts at a sample that show what is usual there, and at others that make a call."""
_FEWEST_OFF, _MOST_OFF = 4, 0.1
"""Tokens by which a borrowed answer differs from what the model wrote, and the share of replies
with such a difference that shows another cause."""
_COMMON_WORDS = 0.3
"""Requests with a smaller share of common words are unrelated."""


def _shared_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two requests of a run get replies with the same id.

    The reply to one request was delivered to another one, or came from a cache. Logs, support
    tickets and stored responses cannot tell such replies apart.
    """
    if not _from_small_range(examined):
        yield from _collisions(examined)


def _small_range(examined: Sequence[Score]) -> Iterator[Difference]:
    """The ids of replies come from a range that is large enough for them to be unique.

    Ids of a few random digits, of a counter or of a clock collide by chance. Logs and support
    tickets cannot tell such replies apart.
    """
    if _from_small_range(examined):
        yield from _collisions(examined)


def _collisions(examined: Sequence[Score]) -> Iterator[Difference]:
    first: dict[str, str] = {}
    for each in examined:
        for reply_id in each.reply_ids:
            other = first.setdefault(reply_id, each.record)
            if other != each.record:
                message = f"The reply has the same id as a reply in {other}."
                yield message, evidence(each.record, "$.id", "a unique id", reply_id)


def _from_small_range(examined: Sequence[Score]) -> bool:
    """Whether ids differ in a few digits at their end only, like a counter or a clock."""
    ids = {reply_id for each in examined for reply_id in each.reply_ids}
    if len(ids) < 2:
        return False
    start = shared_beginning(min(ids), max(ids))
    ends = [reply_id[start:] for reply_id in ids]
    return all(len(end) <= _FEW_DIGITS and (end or "0").isdigit() for end in ends)


def _foreign(examined: Sequence[Score]) -> Iterator[Difference]:
    """No reply contains content that belongs to another request.

    Users see each other's data. The evidence is an invented word of another request; a call with a
    value of another prompt, which attempts at that sample make and other attempts at this sample do
    not; the same long text as the reply to an unrelated request; or the answer of an unrelated
    reply, without the tokens of that answer.
    """
    samples: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for each in examined:
        samples[each.task, each.sample].append(each)
    conversations = {sample: group[0].traits.conversation for sample, group in samples.items()}
    made = Counter(call for each in examined for call in each.traits.calls)
    contents: dict[str, list[Score]] = defaultdict(list)
    for each in examined:
        if each.traits.content:
            contents[each.traits.content].append(each)
    unrelated = _unrelated()
    for sample, group in samples.items():
        own = Counter(call for each in group for call in each.traits.calls)
        elsewhere = {call: made[call] - own[call] for call in own}
        texts = Counter(each.traits.content for each in group)
        for each in group:
            word = _strange_word(each, len(group), own, elsewhere)
            holders = (s for s, text in conversations.items() if word and word in text)
            other = next((each for each in holders if each != sample), None)
            if word and other:
                message = f"The reply contains {word!r} from the request of {'/'.join(other)}."
                expected = "no content of another request"
                yield message, evidence(each.record, "$", expected, word)
                continue
            content = each.traits.content
            if not content or texts[content] > 1:
                continue
            twin = next((other for other in contents[content] if unrelated(each, other)), None)
            if twin is not None:
                message = f"The reply has the same text as the reply in {twin.record}."
                yield message, evidence(each.record, "$", "a reply to its own request", "the same")
    yield from _borrowed(examined, unrelated)


def _borrowed(
    examined: Sequence[Score], unrelated: Callable[[Score, Score], bool]
) -> Iterator[Difference]:
    """Replies with the answer of a reply to an unrelated request, and not with its tokens.

    Nothing is judged if the tokens of many replies differ from their texts: then the server counts
    otherwise, or loses text.
    """
    for group in _by_condition(examined):
        single = [each for each in group if len(each.accounts) == 1]
        exact = [(each, each.accounts[0]) for each in single if each.accounts[0].exact]
        usual = _usual(account.unexplained for _, account in exact)
        answers: dict[str, list[Score]] = defaultdict(list)
        for each, _ in exact:
            answers[each.traits.answer].append(each)
        odd = [
            (each, account)
            for each, account in exact
            if abs(account.unexplained - usual) >= max(_FEWEST_OFF, account.spelling)
        ]
        for each, account in odd if len(odd) <= _MOST_OFF * len(exact) else ():
            same = answers[each.traits.answer] if each.traits.answer and account.reasoning else ()
            twin = next((other for other in same if unrelated(each, other)), None)
            if twin is not None:
                message = f"The answer is that of {twin.record}, and its tokens are not."
                expected = f"{account.most + usual} tokens for this text"
                yield message, evidence(each.record, "$.usage", expected, str(account.reported))


def _strange_word(
    each: Score, attempts: int, own: Mapping[str, int], elsewhere: Mapping[str, int]
) -> str | None:
    """A word or value that the reply cannot have from its own request."""
    for word in sorted(each.traits.strange):
        if CODE_WORD.fullmatch(word):
            return word
        for call in each.traits.calls:
            usual = own[call] > 1 or attempts < _FEWEST_ATTEMPTS or elsewhere[call] < _FEWEST_TWINS
            if not usual and word in call.lower():
                return word
    return None


def _unrelated() -> Callable[[Score, Score], bool]:
    """A function that tells whether the requests of two rollouts have few words in common."""
    words = cache(lambda conversation: frozenset(_WORD.findall(conversation)))

    def unrelated(one: Score, other: Score) -> bool:
        of_one, of_other = words(one.traits.conversation), words(other.traits.conversation)
        return len(of_one & of_other) < _COMMON_WORDS * len(of_one | of_other)

    return unrelated


def _input_tokens(examined: Sequence[Score]) -> Iterator[Difference]:
    """Identical requests report the same number of prompt tokens, streaming or not.

    A difference means that the prompt is rendered in two ways, or by backends that disagree. Some
    gateways route requests to different backends deliberately.
    """
    groups: dict[tuple[str, str, Api], list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.task, each.sample, each.condition.api].append(each)
    for group in groups.values():
        usual = Counter(each.first_input for each in group).most_common(1)[0][0]
        for each in group:
            if each.first_input != usual:
                message = "The prompt token count differs from other attempts at the same request."
                got = str(each.first_input)
                yield message, evidence(each.record, "$.usage", str(usual), got)


def _lost_text(examined: Sequence[Score]) -> Iterator[Difference]:
    """With rare exceptions, the reported output tokens of a reply are those of its text.

    Replies that often have too few words for their tokens lost some; replies that often have too
    many contain repeated or rewritten ones. Rare differences are healthy, because a model can spell
    a text with other tokens than the tokenizer. The pieces of a stream show that; elsewhere the
    replies of the other mode do. A hidden limit ends the longest replies at one length, without an
    end token.
    """
    spelled = {each: _spells_as_tokenizer(examined, streamed=not each) for each in (True, False)}
    for group in _by_condition(examined):
        every = ((one, each) for one in group for each in one.accounts)
        counted = [(one, each) for one, each in every if each.exact and each.reasoning]
        if not counted:
            continue
        usual = _usual(each.unexplained for _, each in counted)
        odd = [(one, each) for one, each in counted if _is_odd(each, usual, spelled)]
        proven = [
            (o, each) for o, each in odd if each.pieces is not None or each.unexplained < usual
        ]
        message = (
            f"The output tokens of {len(odd)} of {len(counted)} replies are not those of their "
            "text; on healthy servers they nearly always are."
        )
        if not (_exceeds(proven, counted, _WITNESSED_SHARE) or _exceeds(odd, counted, _ODD_SHARE)):
            odd = _cut_alike(odd, max(each.reported for _, each in counted), usual)
            message = (
                "The longest replies have equally many tokens and no end token, but claim to be "
                "complete."
            )
        for one, each in odd:
            expected = f"{each.most + usual} tokens for this text"
            yield message, evidence(one.record, "$.usage", expected, str(each.reported))


def _cut_alike(
    odd: Sequence[tuple[Score, TokenAccount]], longest: int, usual: int
) -> list[tuple[Score, TokenAccount]]:
    """The replies with the most tokens that lack some, if they are replies to several samples.

    A reply that the model ended has an end token, and rarely the length of another one.
    """
    ended = [each for each in odd if each[1].reported == longest and each[1].unexplained < usual]
    samples = {(one.task, one.sample) for one, _ in ended}
    return ended if longest >= _FEWEST_TOKENS and len(samples) >= _FEWEST_TWINS else []


def _exceeds(
    odd: Sequence[tuple[Score, TokenAccount]],
    counted: Sequence[tuple[Score, TokenAccount]],
    share: float,
) -> bool:
    """Whether more than this share of the replies is odd, to requests of several kinds.

    A model that spells the reply to one request in an odd way does so in each attempt.
    """
    by_sample = [Counter((one.task, one.sample) for one, _ in each) for each in (odd, counted)]
    counts = [(by_sample[0][sample], number) for sample, number in by_sample[1].items()]
    return len(by_sample[0]) >= _FEWEST_ODD and clustered_rate(counts).low > share


def _lost_reasoning(examined: Sequence[Score]) -> Iterator[Difference]:
    """If a provider returns CoT, a reply without CoT has no tokens beyond its answer and calls.

    The model wrote a CoT, and the server dropped it. Replies that lack CoT because the model wrote
    none have no such tokens.
    """
    for group in _by_condition(examined):
        every = [(one, each) for one in group for each in one.accounts]
        if not any(each.reasoning for _, each in every):
            continue
        empty = header_tokens(Reasoning(""))
        for one, each in every:
            # The model may also have written a preamble and an empty CoT.
            explained = max(2 * empty, each.spelling)
            if not each.reasoning and each.unexplained > explained:
                message = "The reply has no CoT, but the model wrote more than the reply contains."
                expected = f"CoT, or at most {each.most} tokens"
                yield message, evidence(one.record, "$.usage", expected, str(each.reported))


def _by_condition(examined: Sequence[Score]) -> Iterable[list[Score]]:
    groups: dict[tuple[Api, Mode], list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.condition.api, each.condition.mode].append(each)
    return groups.values()


def _usual(differences: Iterable[int]) -> int:
    """How many tokens of the format a server does not count, as a negative number.

    This is the most frequent difference, or a frequent one of at least a header: then the larger
    differences are those of texts that the model spells with other tokens.
    """
    most = header_tokens(Reasoning("")) + header_tokens(Answer(""))
    found = Counter(each for each in differences if -most <= each <= 0)
    often = [each for each, count in found.items() if count >= _OFTEN * found.total()]
    headers = [each for each in often if each <= -_LEAST_HEADER]
    return min(headers, default=max(often, key=found.__getitem__, default=0))


def _spells_as_tokenizer(examined: Sequence[Score], *, streamed: bool) -> bool:
    """Whether enough replies that are streamed, or not, show that the model spells texts so."""
    others = [
        each.pieces if streamed else each.unexplained
        for one in examined
        for each in one.accounts
        if each.exact and each.reasoning and each.streamed == streamed
        if each.reported >= _FEWEST_TOKENS and (each.pieces is not None or not streamed)
    ]
    odd = sum(each is not None and each > 0 for each in others)
    return len(others) >= _FEWEST_WHOLE and odd <= _ODD_SHARE * len(others)


def _is_odd(account: TokenAccount, usual: int, spelled: Mapping[bool, bool]) -> bool:
    """Whether a reply has fewer or more tokens than its text.

    More tokens count only if the pieces of a stream do not have them either, or if the model is
    known to spell texts as the tokenizer does (`spelled`, by whether the reply is streamed), and
    only if they cannot be those of empty messages.
    """
    difference = account.unexplained - usual
    if difference <= 0:
        return difference < 0
    if account.reported < _FEWEST_TOKENS:
        return False
    empty = header_tokens(Reasoning(""))
    in_pieces = account.pieces
    witnessed = spelled[account.streamed] if in_pieces is None else difference > in_pieces
    return witnessed and difference % empty != 0


COMPARISONS = (
    comparison(
        "reply.id.shared", "schema", lambda each: bool(each.reply_ids), _shared_ids, "error"
    ),
    comparison("reply.id.range", "schema", lambda each: bool(each.reply_ids), _small_range),
    comparison(
        "reply.foreign", "load", lambda each: bool(each.traits.conversation), _foreign, "error"
    ),
    comparison(
        "usage.input.differs", "usage", lambda each: each.first_input is not None, _input_tokens
    ),
    prompt_texts.COMPARISON,
    changed_calls.COMPARISON,
    hidden_limit.COMPARISON,
    added_texts.COMPARISON,
    comparison("usage.output.lost", "usage", lambda each: bool(each.accounts), _lost_text, "error"),
    comparison("reasoning.lost", "cot", lambda each: bool(each.accounts), _lost_reasoning, "error"),
)


def compare_rollouts(examined: Sequence[Score]) -> Iterator[tuple[frozenset[str], list[Finding]]]:
    """Compare the rollouts of a run.

    Returns:
        For each rollout the ids of the applicable comparisons, and their findings.
    """
    found = [(each, each.findings(examined)) for each in COMPARISONS]
    for one in examined:
        applicable = frozenset(comparison.id for comparison, _ in found if comparison.applies(one))
        yield applicable, [findings[one.record] for _, findings in found if one.record in findings]
