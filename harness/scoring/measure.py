"""Usage, timing and findings of single rollouts, and their sums. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from harness import checks as rules
from harness.checks.accounting import accounted
from harness.checks.added_texts import edges
from harness.checks.hidden_limit import cuts
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.figures import Latency, TokenCounts
from harness.records.scores import Score, Timing, Traits, Usage
from harness.scoring.traits import traits
from harness.statistics.estimators import percentiles

_FEWEST_EVENTS = 8
# Without these checks, token counts are not judged.
_COUNTS = frozenset({"usage.output.unseen"})


def measured_score(
    parsed: ParsedRollout, *, checks: bool = True, except_for: Collection[str] = ()
) -> Score:
    """A score with all measurements of a rollout, but without its outcome and value.

    Args:
        parsed: The rollout.
        checks: Whether to run the checks of single rollouts.
        except_for: Ids of checks that do not apply, because the request provokes what they find.
    """
    rollout = parsed.rollout
    judged = checks and not _COUNTS & frozenset(except_for)
    applicable, findings = (
        rules.examine(parsed, except_for=except_for) if checks else (frozenset(), ())
    )
    first = parsed.exchanges[0].reply if parsed.exchanges else None
    ids = (reply.raw.get("id") for _, reply in parsed.replies)
    return Score(
        record=rollout.id,
        task=rollout.task,
        sample=rollout.sample,
        condition=rollout.condition,
        attempt=rollout.attempt,
        outcome="answered",
        usage=usage(parsed),
        timing=tuple(map(timing, parsed.delivered)),
        seconds=rollout.exchanges[-1].elapsed if rollout.exchanges else None,
        requests=len(rollout.exchanges),
        retries=sum(len(exchange.retries) for exchange in rollout.exchanges),
        applicable=applicable,
        findings=findings,
        reply_ids=tuple(each for each in ids if isinstance(each, str) and each),
        first_input=first.input_tokens if first else None,
        accounts=tuple(each.account for each in accounted(parsed)) if judged else (),
        cuts=tuple(cuts(parsed)) if checks else (),
        edges=tuple(edges(parsed)) if checks else (),
        traits=traits(parsed) if checks else Traits(),
    )


def usage(parsed: ParsedRollout) -> Usage:
    """The token counts of a rollout."""
    reported = [reply.usage for _, reply in parsed.replies]
    known = [each for each in reported if each is not None]
    return Usage(
        input=_sum(each.input_tokens for each in known),
        output=_sum(each.output_tokens for each in known),
        reasoning=_sum(each.reasoning_tokens for each in known),
        unreported=len(reported) - len(known),
    )


def timing(exchange: ParsedExchange) -> Timing:
    """Times of one exchange.

    The first token is the first event with text of any kind. The rate of a stream is measured_score
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


def token_counts(scores: Sequence[Score]) -> TokenCounts:
    """The tokens of several attempts."""
    counts = [score.usage for score in scores]
    both = [each for each in counts if each.output is not None and each.reasoning is not None]
    return TokenCounts(
        input=sum(each.input or 0 for each in counts),
        output=sum(each.output or 0 for each in counts),
        reasoning=sum(each.reasoning or 0 for each in counts),
        unreported=sum(each.unreported for each in counts),
        reasoning_each=percentiles([each.reasoning or 0 for each in both]),
        answer_each=percentiles([(each.output or 0) - (each.reasoning or 0) for each in both]),
    )


def latency(scores: Sequence[Score]) -> Latency:
    """The times of several attempts."""
    times = [each for score in scores for each in score.timing]
    first = [each.first_token for each in times if each.first_token is not None]
    rates = [each.tokens_per_second for each in times if each.tokens_per_second is not None]
    return Latency(
        total=percentiles([each.total for each in times]),
        first_token=percentiles(first),
        tokens_per_second=percentiles(rates),
        last=percentiles([score.seconds for score in scores if score.seconds is not None]),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
