"""What every scorer needs: usage, timing and findings of single rollouts, and sums of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.figures import Latency, TokenCounts
from harness.records.scores import Finding, Score, Timing, Usage
from harness.records.traits import MadeCall
from harness.rules.catalogue import examine
from harness.rules.evidence.traits import basic_traits, traits
from harness.statistics.estimators import percentiles

_FEWEST_EVENTS = 8


def measured_score(
    parsed: ParsedRollout,
    judged: Mapping[str, Any],
    *,
    checks: bool = True,
    except_for: Collection[str] = (),
    call: MadeCall | None = None,
) -> Score:
    """A score with all measurements of a rollout, and `judged`: its outcome and other members.

    With `checks`, the checks of single rollouts run, except those in `except_for`, which do not
    apply because the request provokes what they find. `call` is the call of a tool-call case.
    """
    rollout = parsed.rollout
    counted = checks and "usage.output.lost" not in except_for
    applicable, findings = frozenset[str](), tuple[Finding, ...]()
    broken: dict[str, str] = {}
    if checks:
        applicable, findings = examine(parsed, except_for=except_for, broken=broken)
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
        traits=traits(parsed, call, counted=counted) if checks else basic_traits(parsed),
        **judged,
    )


def usage(parsed: ParsedRollout) -> Usage:
    """Return the token counts of a rollout."""
    reported = [reply.usage for _, reply in parsed.replies]
    known = [usage for usage in reported if usage is not None]
    return Usage(
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


def sums(finished: Sequence[Score]) -> dict[str, Any]:
    """Return the members of a `TaskResult` that only count and measure its finished attempts."""
    return {
        "finished": len(finished),
        "tokens": _token_counts(finished),
        "latency": _latency(finished),
        "requests": sum(score.requests for score in finished),
        "retries": sum(score.retries for score in finished),
    }


def _token_counts(scores: Sequence[Score]) -> TokenCounts:
    counts = [score.usage for score in scores]
    both = [usage for usage in counts if usage.output is not None and usage.reasoning is not None]
    return TokenCounts(
        input=sum(usage.input or 0 for usage in counts),
        output=sum(usage.output or 0 for usage in counts),
        reasoning=sum(usage.reasoning or 0 for usage in counts),
        unreported=sum(usage.unreported for usage in counts),
        reasoning_each=percentiles([usage.reasoning or 0 for usage in both]),
        answer_each=percentiles([(usage.output or 0) - (usage.reasoning or 0) for usage in both]),
    )


def _latency(scores: Sequence[Score]) -> Latency:
    times = [timing for score in scores for timing in score.timing]
    first = [timing.first_token for timing in times if timing.first_token is not None]
    rates = [timing.tokens_per_second for timing in times if timing.tokens_per_second is not None]
    return Latency(
        total=percentiles([timing.total for timing in times]),
        first_token=percentiles(first),
        tokens_per_second=percentiles(rates),
        last=percentiles([score.seconds for score in scores if score.seconds is not None]),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
