"""A hidden limit of the server: replies end below the limit of their request.

A full context also ends replies early, but then prompt and reply together always have the same
number of tokens.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.records.conditions import Api
from harness.records.scores import Score
from harness.records.traits import Cut
from harness.rules.check import Difference, Family, evidence
from harness.rules.rule import CHAT

family = Family("limits", CHAT, component="ends")


_CONTEXT = 64  # tokens by which servers may deviate when they count what fills their context


_OTHER_PROMPTS = 16  # tokens; a full context cuts replies to closer prompts at nearly one length


@family.cross_check(
    "finish.early",
    lambda score: score.traits.cuts,
    fix="Apply no limit of output tokens that the request does not set.",
)
def _early(examined: Sequence[Score]) -> Iterator[Difference]:
    """A reply is truncated only at the token limit of its request, or where the context is full.

    A hidden limit of the server cuts long CoT and answers. A provider with such a limit must reject
    requests with a higher one. A complete reply that is reported as truncated makes clients repeat
    the request needlessly.
    """
    groups: dict[Api, list[tuple[Score, Cut]]] = defaultdict(list)
    for score in examined:
        groups[score.condition.api] += [(score, cut) for cut in score.traits.cuts]
    for group in groups.values():
        prompts = [cut.input for _, cut in group]
        longest = max((cut.input + cut.output for _, cut in group), default=0)
        same = len({cut.output for _, cut in group}) == 1
        same = same and max(prompts) - min(prompts) >= _OTHER_PROMPTS
        for score, cut in group:
            if same:
                where = "all truncated replies have this length, whatever their prompt"
            elif longest - cut.input - cut.output > _CONTEXT:
                where = f"its context was not full, because another reply ends at {longest} tokens"
            else:
                continue
            message = f"The reply was truncated below the limit of its request; {where}."
            expected, got = f"up to {cut.limit} tokens", f"{cut.output}, after {cut.input}"
            yield message, evidence(score.record, "$.usage", expected, got, cut.exchange)
