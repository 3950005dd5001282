"""Replies that end below the token limit of their request.

A full context also ends a reply early. Then prompt and reply together always have the same number
of tokens: the longer the prompt, the shorter the reply.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harmony.render import RenderError, text_tokens
from harmony.vocabulary import VocabularyError
from harness.api.base import Reply
from harness.checks.base import Difference, comparison, evidence
from harness.parsing.rollout import ParsedRollout
from harness.records.conditions import Api
from harness.records.scores import Cut, Score

_FEWEST_MISSING = 64  # tokens between a reply and its limit; format and odd spellings explain fewer
_CONTEXT = 64  # tokens by which servers may deviate when they count what fills their context


def cuts(parsed: ParsedRollout) -> Iterator[Cut]:
    """The truncated replies of a rollout that have fewer tokens than the request allows.

    Both the reported tokens and those of the text are fewer, as servers may not count all.
    """
    for exchange, reply in parsed.replies:
        request, count = exchange.request, reply.output_tokens
        if not exchange.truncated or request.limit is None or request.choices > 1:
            continue
        most = request.limit - _FEWEST_MISSING
        if count and reply.input_tokens and count <= most and _has_at_most(reply, most):
            yield Cut(exchange.index, reply.input_tokens, count, request.limit)


def _has_at_most(reply: Reply, most: int) -> bool:
    """Whether the texts have at most this many tokens; False without the vocabulary."""
    try:
        return len(text_tokens(reply.generated)) <= most
    except (RenderError, VocabularyError):
        return False


def _early(examined: Sequence[Score]) -> Iterator[Difference]:
    """A reply is truncated only at the token limit of its request, or where the context is full.

    A hidden limit of the server ends long CoT and answers. A provider that has one must reject
    requests with a higher limit. If the reply is complete, clients needlessly repeat the request.
    """
    groups: dict[Api, list[tuple[Score, Cut]]] = defaultdict(list)
    for each in examined:
        groups[each.condition.api] += [(each, cut) for cut in each.cuts]
    for group in groups.values():
        counts = {cut.output for _, cut in group}
        prompts = {cut.input for _, cut in group}
        totals = {cut.input + cut.output for _, cut in group}
        same = len(counts) == 1 and len(prompts) > 1
        if not same and (not totals or max(totals) - min(totals) <= _CONTEXT):
            continue
        where = "all truncated replies have this length" if same else "the context was not full"
        for each, cut in group:
            message = f"The reply was truncated below the limit of its request; {where}."
            expected = f"up to {cut.limit} tokens"
            yield message, evidence(each.record, "$.usage", expected, f"{cut.output}", cut.exchange)


COMPARISON = comparison("finish.early", "finish", lambda each: bool(each.cuts), _early, "error")
