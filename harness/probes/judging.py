"""From the recorded answers to one result for each probe. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.checks.base import Problem, finding_of
from harness.golden.records import Golden
from harness.parsing.rollout import ParsedRollout
from harness.probes.base import Answers, NotVerifiableError, Probe, Trial
from harness.records.analysis import CheckResult
from harness.records.conditions import Api
from harness.records.scores import Finding
from harness.scoring.check_results import declared, not_judged, result
from harness.statistics.intervals import clustered_rate


def probe_results(
    probes: Iterable[Probe],
    views: Mapping[str, Sequence[ParsedRollout]],
    apis: Sequence[Api],
    limitations: Collection[str] = (),
    golden: Golden | None = None,
) -> tuple[CheckResult, ...]:
    """Judge every probe of a run.

    Args:
        probes: The probes that were chosen.
        views: The rollouts of each ask, by sample id.
        apis: The APIs the run is about.
        limitations: Capabilities that the provider's entry declares missing.
        golden: The golden file of the run, if it has one.
    """
    return tuple(_result(probe, views, apis, limitations, golden) for probe in probes)


def _result(
    probe: Probe,
    views: Mapping[str, Sequence[ParsedRollout]],
    apis: Sequence[Api],
    limitations: Collection[str],
    golden: Golden | None,
) -> CheckResult:
    about = probe.about
    own = [api for api in apis if api in about.apis]
    if not own:
        asked = ", ".join(apis)
        return not_judged(about, "skipped", f"It is not about what was asked for: {asked}.")
    findings: list[tuple[str, Finding]] = []
    counts: list[tuple[int, int]] = []
    reasons: list[str] = []
    for api in own:
        answers = _answers(probe, views, api, golden)
        try:
            trials = list(probe.judge(answers))
        except NotVerifiableError as error:
            reasons.append(str(error))
            continue
        if trials:
            counts.append((sum(trial is not None for trial in trials), len(trials)))
            findings += ((api, found) for found in _findings(probe, answers, trials))
    if not counts:
        return not_judged(about, "not_verifiable", " ".join(dict.fromkeys(reasons)))
    return declared(result(about, findings, counts), probe.needs, limitations)


def _answers(
    probe: Probe, views: Mapping[str, Sequence[ParsedRollout]], api: Api, golden: Golden | None
) -> Answers:
    by_name = {ask.name: views.get(ask.name, ()) for ask in probe.bench.asks(api)}
    return Answers(
        api,
        {name: [v for v in found if v.rollout.api == api] for name, found in by_name.items()},
        golden,
    )


def _findings(probe: Probe, answers: Answers, trials: Sequence[Trial]) -> Iterable[Finding]:
    problems = [trial for trial in trials if trial is not None]
    good = clustered_rate([(len(trials) - len(problems), len(trials))])
    lowered = probe.required < 1 and good.high >= probe.required
    for problem in problems:
        found = finding_of(probe.about, _record(answers, problem), problem)
        yield found.model_copy(update={"severity": "info"}) if lowered else found


def _record(answers: Answers, problem: Problem) -> str:
    """The id of the rollout in which a problem was seen."""
    return next(
        view.rollout.id
        for found in answers.views.values()
        for view in found
        if any(turn is problem.turn for turn in view.turns)
    )
