"""What every scorer needs: usage, timing and findings of single rollouts, and sums of them."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.statuses import TIMEOUTS, meaning
from harness.records.figures import Latency, TokenCounts
from harness.records.replies import Row, Tries, Wanted
from harness.records.scores import Finding, Score, Timing, UsedTokens
from harness.rules.catalogue import examine
from harness.rules.evidence.rows import rows
from harness.rules.evidence.traits import basic_traits, traits
from harness.statistics.estimators import percentiles

_FEWEST_EVENTS = 8


def measured_score(
    parsed: ParsedRollout,
    judged: Mapping[str, Any],
    *,
    checks: bool = True,
    except_for: Collection[str] = (),
    wanted: Wanted | None = None,
) -> Score:
    """A score with all measurements of a rollout, and `judged`: its outcome and other members.

    With `checks`, the checks of single rollouts run, except those in `except_for`, which do not
    apply because the request provokes what they find. `wanted` is what its reply must have in it.
    """
    rollout = parsed.rollout
    counted = checks and "usage.output.lost" not in except_for
    applicable, findings = frozenset[str](), tuple[Finding, ...]()
    broken: dict[str, str] = {}
    exchanges = tuple(rows(parsed, wanted, valid=checks, counted=counted))
    known = basic_traits(parsed)
    if checks:
        applicable, findings = examine(parsed, except_for=except_for, broken=broken)
        known = traits(parsed)
        if "request.failed" not in except_for and exchanges:
            known = replace(known, tries=_tries(parsed, exchanges[-1]))
    return Score(
        record=rollout.id,
        task=rollout.task,
        sample=rollout.sample,
        condition=rollout.condition,
        attempt=rollout.attempt,
        usage=usage(parsed),
        timing=tuple(map(timing, parsed.delivered)),
        seconds=rollout.exchanges[-1].elapsed if rollout.exchanges else None,
        requests=len(rollout.exchanges),
        retries=sum(len(exchange.retries) for exchange in rollout.exchanges),
        applicable=applicable,
        findings=findings,
        broken=tuple(broken.items()),
        rows=exchanges,
        traits=known,
        **judged,
    )


def _tries(parsed: ParsedRollout, row: Row) -> Tries | None:
    """Return the tries of the last request; a gateway's timeout may be a slow model."""
    if parsed.rollout.recording is not None:
        return None
    last = parsed.exchanges[-1].recorded
    said = None if last.response is None else meaning(last.response)
    status = 0 if last.response is None or said is None else last.response.status
    if last.response is None or said not in (None, "server_error") or status in TIMEOUTS:
        return None
    failed = sum(retry.server_failed for retry in last.retries) + bool(status)
    since = row.began - sum(retry.waited for retry in last.retries)
    return Tries(failed, status, since, row.began, parsed.rollout.alone)


def usage(parsed: ParsedRollout) -> UsedTokens:
    """Return the token counts of a rollout."""
    reported = [reply.usage for _, reply in parsed.replies]
    known = [usage for usage in reported if usage is not None]
    return UsedTokens(
        input=_sum(usage.input_tokens for usage in known),
        output=_sum(usage.output_tokens for usage in known),
        reasoning=_sum(usage.reasoning_tokens for usage in known),
        unreported=len(reported) - len(known),
    )


def timing(exchange: ParsedExchange) -> Timing:
    """Times of one exchange.

    The first token is the first event with text of any kind. The rate of a stream is measured
    between its first and last such event, which excludes the time in a queue. It needs the
    provider's own count of output tokens, and enough events not to measure a burst.
    """
    elapsed = exchange.recorded.elapsed
    tokens = None if exchange.reply is None else exchange.reply.output_tokens
    times = exchange.text_times
    if not times:
        return Timing(total=elapsed)
    spent = times[-1] - times[0]
    steady = len(times) >= _FEWEST_EVENTS and spent > 0
    rate = (tokens - 1) / spent if steady and tokens is not None and tokens > 1 else None
    return Timing(total=elapsed, first_token=times[0], tokens_per_second=rate)


class Sums:
    """What a `TaskResult` counts and measures of its finished attempts, added one by one.

    Percentiles need every value, so 8 bytes of each measurement are kept.
    """

    def __init__(self) -> None:
        self.finished = 0
        self._counts = Counter[str]()
        self._values: dict[str, array[float]] = defaultdict(lambda: array("d"))

    def add(self, score: Score) -> None:
        """Add one finished attempt."""
        usage = score.usage
        self.finished += 1
        self._counts.update(
            requests=score.requests,
            retries=score.retries,
            input=usage.input or 0,
            output=usage.output or 0,
            reasoning=usage.reasoning or 0,
            unreported=usage.unreported,
        )
        if usage.output is not None and usage.reasoning is not None:
            self._measure("reasoning", usage.reasoning)
            self._measure("answer", usage.output - usage.reasoning)
        for timing in score.timing:
            self._measure("total", timing.total)
            self._measure("first", timing.first_token)
            self._measure("rate", timing.tokens_per_second)
        self._measure("last", score.seconds)

    def members(self) -> dict[str, Any]:
        """Return the members of the `TaskResult`."""
        counts, values = self._counts, self._values
        return {
            "finished": self.finished,
            "tokens": TokenCounts(
                input=counts["input"],
                output=counts["output"],
                reasoning=counts["reasoning"],
                unreported=counts["unreported"],
                reasoning_each=percentiles(values["reasoning"]),
                answer_each=percentiles(values["answer"]),
            ),
            "latency": Latency(
                total=percentiles(values["total"]),
                first_token=percentiles(values["first"]),
                tokens_per_second=percentiles(values["rate"]),
                last=percentiles(values["last"]),
            ),
            "requests": counts["requests"],
            "retries": counts["retries"],
        }

    def _measure(self, name: str, value: float | None) -> None:
        if value is not None:
            self._values[name].append(value)


def sums(finished: Iterable[Score]) -> dict[str, Any]:
    """Return the members of a `TaskResult` that only count and measure its finished attempts."""
    total = Sums()
    for score in finished:
        total.add(score)
    return total.members()


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
