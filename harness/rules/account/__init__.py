"""The account of a run: for each reply, whether the server changed what the model wrote.

It is made once, before all rules, from the sheets of all replies, and is the only place that
decides it. The witnesses are asked in this order, and the first one that knows decides. Each has
the module that its name says:

1. Structure: a text is repeated, restarted, escaped, or in a code fence, and the count is that of
   the text without this; arguments have an empty object before them, or are encoded twice.
2. Copies: the request determines the text or the call, and its tokens or its CoT are the wanted
   ones; or several replies are changed alike, and none that the change would affect is intact.
3. Whole twins: a greedy reply that a limit or a stop string ended is the beginning of the one that
   nothing ended.
4. Twins: greedy replies to one request, in the other mode, over the other API, or tried again. The
   majority is right, without those that structure, copies, or rules of arguments accuse. They
   count only if the provider repeats greedy replies.
5. Counts: what the provider reports beyond the tokens of the texts and their format. A formula
   shows how a count is wrong; otherwise counts only show that something is.

Rules read the entries (`Entry.rule`); none computes who wrote a text.
"""

from collections.abc import Iterable, Iterator, Mapping

from harness.records.scores import Finding, Score
from harness.records.traits import Sheet
from harness.rules.account import copies, counts, structure, twins
from harness.rules.account.counting import Counting
from harness.rules.account.entry import INTACT, UNKNOWN, Entry, Row


class Account:
    """The entries of all replies of a run, by record and index of the exchange."""

    def __init__(self, entries: Mapping[tuple[str, int], Entry] | None = None) -> None:
        """Hold the entries; `account_of` makes them."""
        self._entries = entries or {}

    def of(self, record: str, exchange: int = 0) -> Entry:
        """Return the entry of a reply; `unknown` for one that is not in the account."""
        return self._entries.get((record, exchange), UNKNOWN)

    def of_record(self, record: str, sheets: Iterable[Sheet]) -> Iterator[tuple[Sheet, Entry]]:
        """Yield the sheets of a rollout with their entries."""
        return ((sheet, self.of(record, sheet.exchange)) for sheet in sheets)


NO_ACCOUNT = Account()
"""The account of no replies: nothing is known."""


def _is_of_arguments(finding: Finding) -> bool:
    """Whether it shows that a server changed arguments; errors of events leave texts intact."""
    return finding.severity == "error" and finding.id.startswith("calls.arguments.")


def account_of(scores: Iterable[Score]) -> Account:
    """Return the account of all replies of a run."""
    replies = [
        Row(
            score.record,
            (score.task, score.sample),
            score.condition.api,
            sheet,
            score.traits.reply_ids or (score.record,),
            sheet.exchange in faulty,
        )
        for score in scores
        for faulty in [{e.evidence.exchange for e in score.findings if _is_of_arguments(e)}]
        for sheet in score.traits.sheets
    ]
    same = [copies.copied(row.sheet) for row in replies]
    counting = Counting(replies)
    entries = {row.key: entry for row, entry in copies.judged(replies, same, counting)}
    entries |= {row.key: entry for row, entry in structure.judged(replies, counting)}
    left = [row for row in replies if row.key not in entries]
    for witness in (
        twins.of_whole_replies(left, counting),
        twins.judged(left, counting),
        counts.judged(replies, counting),
    ):
        for row, entry in witness:
            entries.setdefault(row.key, entry)
    for row, is_same in zip(replies, same, strict=True):
        fits = counting.fits(row.sheet) and is_same is not False
        entries.setdefault(row.key, INTACT if is_same or fits else UNKNOWN)
    return Account(entries)
