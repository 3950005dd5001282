"""The rule of OpenAI's guide: pass@k and pass^k above 90% under every condition. No I/O."""

from collections.abc import Iterator, Sequence

from harness.records.analysis import GuideRule, TaskResult
from harness.records.settings import Thresholds
from harness.statistics.two_rates import exceeds, guide_false_alarm
from harness.text import percentage
from harness.verdict.reference_rate import target_of
from harness.verdict.success_rate import most_frequent_failure


def guide_rule(results: Sequence[TaskResult], thresholds: Thresholds) -> GuideRule | None:
    """The decision on results, and how often it fails a provider at the reference rate.

    None unless they are complete.
    """
    if not results or any(result.finished < result.planned for result in results):
        return None
    first, rate = results[0], target_of(thresholds).reference
    failed = any(True for result in results for _ in too_low(result, thresholds, complete=True))
    return GuideRule(
        decision="fail" if failed else "pass",
        k=first.tries,
        pass_at=min(result.at_k[-1].pass_at.value for result in results),
        pass_hat=min(result.at_k[-1].pass_hat.value for result in results),
        rate=rate,
        false_alarm=guide_false_alarm(
            first.samples,
            first.tries,
            len(results),
            rate,
            thresholds.min_pass_at_k,
            thresholds.min_pass_hat_k,
        ),
    )


def too_low(result: TaskResult, thresholds: Thresholds, *, complete: bool) -> Iterator[str]:
    """Each rate that does not exceed its threshold; if incomplete, the best possible one."""
    complete = complete and not result.no_reply
    rates = _rates(result) if complete else (result.best_pass_at, result.best_pass_hat)
    verb = "is" if complete else "can reach at most"
    settings = ("min_pass_at_k", "min_pass_hat_k")
    for name, rate, setting in zip(("pass@", "pass^"), rates, settings, strict=True):
        if not exceeds(rate, getattr(thresholds, setting)):
            yield (
                f"{result.name}: {name}{result.tries} {verb} {percentage(rate)},"
                f" {_required(thresholds, setting)};"
                f" most failures: {most_frequent_failure([result])}."
            )


def _rates(result: TaskResult) -> tuple[float, float]:
    """pass@k and pass^k; attempts without a reply, which are not evidence, count as passed."""
    if result.no_reply:
        return result.best_pass_at, result.best_pass_hat
    return result.at_k[-1].pass_at.value, result.at_k[-1].pass_hat.value


def pass_reason(results: Sequence[TaskResult], thresholds: Thresholds) -> str:
    """Why complete results pass."""
    at_k, hat_k = map(min, zip(*map(_rates, results), strict=True))
    k = results[0].tries
    where = "under the worst condition" if len(results) > 1 else "tool calling:"
    return (
        f"By the guide's rule, {where} pass@{k} is {percentage(at_k)}"
        f" ({_required(thresholds, 'min_pass_at_k')}) and pass^{k} {percentage(hat_k)}"
        f" ({_required(thresholds, 'min_pass_hat_k')})."
    )


def _required(thresholds: Thresholds, setting: str) -> str:
    return f"required: above {getattr(thresholds, setting) * 100:g}%{thresholds.where(setting)}"
