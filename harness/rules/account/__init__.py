"""The account of a run: for each reply, whether the server changed what the model wrote.

It is made once, before all rules, from the rows of all replies, and is the only place that
decides it. Rules read the entries (`Entry.rule`); none computes who wrote a text.

A model may write anything that its tokens can spell: equal greedy requests are answered
differently in a few percent of the tries, headers are malformed or address somebody, typography is
anywhere, and names and arguments are respelled. So a server is accused only by

(a) a reply that contradicts itself: a piece comes twice, a character is broken, JSON is encoded
    twice. One reply is enough.
(b) a count that no format of the model explains. Headers with recipients, further messages, content
    types and, in up to 3% of the replies, malformed headers are formats. One reply is enough if the
    count is off by more than 24 tokens; otherwise the share must exceed 3% by an exact test, or the
    counts of several changed replies must be those of the unchanged text.
(c) an API or mode: the model does not know it. An exact test over several requests shows that its
    replies differ more often than the others to the same requests (`court.associated`).
(d) all replies that a change would affect: several samples have it, no intact reply would have been
    altered, and CoT or counts show the other text.

Equal counts, equal CoTs, plans, and one try that differs prove nothing. The witnesses are asked in
this order, and the first one that knows decides. Each has the module that its name says:

1. Structure: the form of the reply alone, with its count (a).
2. Copies: the request determines the text or the call (b, c, d).
3. Whole twins: a greedy reply that a limit or a stop string ended is the beginning of the one that
   nothing ended; two requests must show that it is not.
4. Twins: greedy replies to one request, in the other mode, over the other API, or tried again. The
   majority is right, without those that structure or copies accuse (a, b, c).
5. Counts: what the provider reports beyond the tokens of the texts and their format (b).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.records.replies import Row
from harness.records.scores import Score
from harness.rules.account import copies, counts, structure, twins
from harness.rules.account.counting import Counting
from harness.rules.account.court import Claim, convicted, exceeds
from harness.rules.account.entry import INTACT, UNKNOWN, Entry
from harness.rules.habits import UNUSABLE


class Account:
    """The entries of all replies of a run, by record and index of the exchange."""

    def __init__(
        self,
        entries: Mapping[tuple[str, int], Entry] | None = None,
        *,
        is_obedient: bool = True,
    ) -> None:
        """Hold the entries; `account_of` makes them.

        `is_obedient` is whether the model mostly writes what requests determine. Another one may
        write a header of any length, so that a count alone proves nothing.
        """
        self._entries = entries or {}
        self.is_obedient = is_obedient

    def of(self, record: str, exchange: int = 0) -> Entry:
        """Return the entry of a reply; `unknown` for one that is not in the account."""
        return self._entries.get((record, exchange), UNKNOWN)

    def of_replies(self, score: Score) -> Iterator[tuple[Row, Entry]]:
        """Yield the replies of a rollout with their entries."""
        return ((row, self.of(*row.key)) for row in score.replies)


NO_ACCOUNT = Account()
"""The account of no replies: nothing is known."""


def account_of(scores: Iterable[Score]) -> Account:
    """Return the account of all replies of a run."""
    return account_of_replies([row for score in scores for row in score.replies])


def account_of_replies(replies: Sequence[Row]) -> Account:
    """Return the account of replies, from their rows."""
    same = [copies.copied(row) for row in replies]
    counting = Counting(replies, same)
    entries = {row.key: entry for row, entry in copies.of_copies(replies, same, counting)}
    entries |= {row.key: entry for row, entry in structure.of_structure(replies, counting)}
    left = [row for row in replies if row.key not in entries]
    for witness in (twins.of_whole_replies(left, counting), twins.of_twins(left, counting)):
        for row, entry in witness:
            entries.setdefault(row.key, entry)
    wrong = (
        Claim(row, entry, alike=row.mode, unit=row.written)
        for row in replies
        if (entry := entries.get(row.key, UNKNOWN)).kind == "miscounted"
    )
    miscounted = {row.mode for row, _ in convicted(wrong)}
    for row, entry in counts.of_counts(replies, counting, miscounted):
        entries.setdefault(row.key, entry)
    for row, is_same in zip(replies, same, strict=True):
        fits = counting.fits(row) and is_same is not False
        entries.setdefault(row.key, INTACT if is_same or fits else UNKNOWN)
    return Account(entries, is_obedient=_is_obedient(replies, same, counting))


def _is_obedient(replies: Sequence[Row], copies: Sequence[bool | None], counting: Counting) -> bool:
    """Whether the model wrote what its requests determine, of what the counts show to be its own.

    Equal replies to one sample count once.
    """
    own = {
        row.written: is_same
        for row, is_same in zip(replies, copies, strict=True)
        if is_same is not None and counting.fits(row)
    }
    return not exceeds(sum(not is_same for is_same in own.values()), len(own), UNUSABLE)
