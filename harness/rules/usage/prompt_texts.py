"""Prompt tokens of requests, compared with those of equal and of different ones."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import gcd

from harness.records.conditions import Api
from harness.records.scores import Score
from harness.rules.account.entry import SEVERAL
from harness.rules.check import Difference, Family, evidence
from harness.rules.rule import CHAT, VoidIf

family = Family("usage", CHAT, component="messages")


_FEWEST_COUNTS, _SMALLEST_BLOCK = 8, 8
"""Different counts, and the number of which all are multiples: by chance, in one of 8^8 runs."""


@family.cross_check(
    "usage.input.rounded",
    lambda score: score.traits.first_input,
    by=lambda score: (score.condition.api, score.traits.host),
    component="usage",
    fix="Report the number of tokens of the prompt, not of the memory blocks that it fills.",
)
def _rounded(examined: Sequence[Score]) -> Iterator[Difference]:
    """The prompt tokens of different requests are not all multiples of one number.

    Otherwise the server rounds them up, for example to blocks of its cache. Users pay for more
    tokens than they sent, and no prompt can be judged by its tokens.
    """
    counts = {score.traits.first_input or 0 for score in examined}
    unit = gcd(*counts)
    if len(counts) >= _FEWEST_COUNTS and unit >= _SMALLEST_BLOCK:
        for score in examined:
            message = f"All {len(counts)} different prompts have multiples of {unit} tokens."
            got = str(score.traits.first_input)
            yield message, evidence(score.record, "$.usage", "the tokens of the prompt", got)


_LEAST_BLOCK = 16  # tokens of a block of a prefix cache


@family.cross_check(
    "usage.input.cached",
    lambda score: score.traits.first_input,
    component="usage",
    fix="Count the whole prompt, and report the part that a cache had as cached tokens.",
)
def _cached(examined: Sequence[Score]) -> Iterator[Difference]:
    """The prompt tokens include those that a cache of prefixes had.

    Otherwise clients compute costs and the rest of the context wrongly, and no prompt can be judged
    by its tokens. A prompt has more tokens than its last text, and equal requests have as many, not
    fewer by different multiples of a block of the cache.
    """
    groups: dict[tuple[str, str, Api, str], list[Score]] = defaultdict(list)
    for score in examined:
        groups[score.task, score.sample, score.condition.api, score.traits.host].append(score)
    fewer: dict[str, tuple[int, int]] = {}
    for group in groups.values():
        most = max(score.traits.first_input or 0 for score in group)
        for score in group:
            count = score.traits.first_input or 0
            if count < most:
                fewer[score.record] = most, count
    missing = {most - count for most, count in fewer.values()}
    if len(missing) < SEVERAL or gcd(*missing) % _LEAST_BLOCK:
        fewer = {}  # One multiple of a block may be another prompt; other numbers are no blocks.
    for score in examined:
        count, least = score.traits.first_input or 0, score.traits.least_input
        most, _ = fewer.get(score.record, (least, count))
        if count < most:
            message = "The prompt has fewer tokens than its own text: a cached part is not counted."
            yield message, evidence(score.record, "$.usage", f"at least {most}", f"{count} tokens")


@family.cross_check(
    "usage.input.differs",
    lambda score: score.traits.first_input is not None,
    by=lambda score: (score.task, score.sample, score.traits.host),
    severity="warning",
    component="replicas",
    witness=True,
    relations=[VoidIf("usage.input.cached", "$.usage", "prompt_tokens_cached")],
)
def _input_tokens(examined: Sequence[Score]) -> Iterator[Difference]:
    """Identical requests to one host report the same number of prompt tokens, streaming or not.

    A difference means that the prompt is rendered in two ways, or by backends that disagree. Some
    gateways route requests to different backends deliberately. If attempts under one condition
    differ, no prompt can be judged by its tokens. The most frequent number is right; of several,
    the one that is more frequent over both APIs.
    """
    groups: dict[Api, list[Score]] = defaultdict(list)
    for score in examined:
        groups[score.condition.api].append(score)
    times = Counter(score.traits.first_input for score in examined)
    for group in groups.values():
        here = Counter(score.traits.first_input for score in group)
        usual = max(here, key=lambda n: (here[n], times[n]))
        right = next(score for score in group if score.traits.first_input == usual)
        for score in group:
            if score.traits.first_input != usual:
                message = (
                    "The number of prompt tokens differs from other attempts at the same request."
                )
                found = evidence(score.record, "$.usage", str(usual), str(score.traits.first_input))
                modes = ("stream",) if _is_stream(score) != _is_stream(right) else ()
                other = {"compared": right.record, "differing": modes}
                yield message, found.model_copy(update=other)


def _is_stream(score: Score) -> bool:
    return any(row.streamed for row in score.replies[:1])
