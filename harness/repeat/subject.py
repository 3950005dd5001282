"""A finding to reproduce: what must be sent again, and whether new replies show it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.api.fields import objects
from harness.api.parsed_rollout import parse_rollout
from harness.errors import ConfigurationError
from harness.records.analysis import Analysis, RuleResult
from harness.records.diagnosis import Cause
from harness.records.rollouts import Exchange, Rollout
from harness.records.scores import Finding
from harness.repeat.smaller import Body, Variants, smaller
from harness.rules.catalogue import PROBES, RULES, examine
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Probe, ProbeOptions, ProbeRequest
from harness.rules.rule import Problem, Rule, compared_with
from harness.statistics.recurrence import fewest_tries
from harness.text import suggestion

CONTINUES = "previous_response_id"
USUAL_TRIES = 5  # fewer without a finding do not exclude that half of the replies have it


@dataclass(frozen=True)
class Subject:
    """One finding to reproduce."""

    result: RuleResult  # of its rule in the run
    finding: Finding
    rollout: Rollout  # with the evidence
    others: tuple[Rollout, ...]  # those without which a probe does not find it
    options: ProbeOptions
    compared: Rollout | None = None  # the only one of `others` that the finding needs
    cause: Cause | None = None  # the likely one in the run

    @property
    def rule(self) -> Rule:
        """The rule that was violated."""
        return RULES[self.result.check.id]

    @property
    def exchange(self) -> Exchange:
        """The exchange with the evidence."""
        return self.rollout.exchanges[self.finding.evidence.exchange]

    @property
    def requests(self) -> tuple[Exchange, ...]:
        """The exchanges whose requests must be sent in this order.

        A request contains the conversation so far, unless it continues a stored response.
        """
        last = self.finding.evidence.exchange
        if CONTINUES in (self.exchange.request.body or {}):
            return self.rollout.exchanges[: last + 1]
        return (self.exchange,)

    @property
    def enough(self) -> int:
        """The tries that show the finding with a probability of 95% at its rate in the run."""
        failures, tries = self.result.affected
        return max(USUAL_TRIES, fewest_tries(failures / tries)) if tries else USUAL_TRIES

    @property
    def probe(self) -> Probe | None:
        """The rule, if it is a probe."""
        return PROBES.get(self.result.check.id)

    @property
    def request(self) -> ProbeRequest | None:
        """The request of a probe that the rollout sent."""
        requests = self.probe.group.requests(self.rollout.api) if self.probe else ()
        return next((each for each in requests if each.id == self.rollout.sample), None)

    @property
    def difference(self) -> str:
        """What to look at in the two replies that are compared, and how their requests differ."""
        evidence = self.finding.evidence
        what = f"`{evidence.path}` in both replies" if evidence.path else "both replies"
        differ = f"; {evidence.comparison}" if evidence.comparison else ""
        return f"{what}{differ}"

    @property
    def body(self) -> Body | None:
        """The body of the only request to send; None if there are several, or if it has no body."""
        return self.exchange.request.body if len(self.requests) == 1 else None

    @property
    def continues(self) -> bool:
        """Whether a request names a response that only the server of the run may still store."""
        return any(CONTINUES in (sent.request.body or {}) for sent in self.requests)

    def found_in(self, exchanges: Sequence[Exchange]) -> tuple[Finding, Exchange] | None:
        """Return what the rule finds in new exchanges for `requests`, and the exchange with it.

        None if it finds nothing. What a probe finds is as in the run; it compares the exchanges
        with the recorded replies to its other requests.
        """
        probe, rollout = self.probe, self.rollout
        before = self.finding.evidence.exchange + 1 - len(exchanges)
        kept = rollout.exchanges[:before] if probe else ()
        changes = {"exchanges": (*kept, *exchanges), "end": "answered"}
        again = parse_rollout(rollout.model_copy(update=changes))
        if probe is None:
            found = (finding for finding in examine(again)[1] if finding.id == self.rule.id)
            return next(((each, exchanges[each.evidence.exchange]) for each in found), None)
        rollouts = {rollout.sample: [again]}
        for other in self.others:
            rollouts.setdefault(other.sample, []).append(parse_rollout(other))
        responses = probe.group.responses(rollouts, rollout.api, self.options)
        try:
            trials = probe.judge(*probe.sent(responses))
            problems = [trial for trial in trials if isinstance(trial, Problem)]
        except NotVerifiableError:
            return None
        shown = any(problem.exchange.recorded is exchanges[-1] for problem in problems)
        return (self.finding, exchanges[-1]) if shown else None

    def smaller(self, body: Body) -> Variants:
        """Yield variants of a request that are still an experiment of the rule.

        A probe judges what its own request asks for. It can lose the tools that neither the finding
        nor the reply names, unless it is compared with other requests.
        """
        if self.request is None:
            yield from smaller(body)
            return
        if self.others or not self.request.valid:
            return
        replies = (reply for _, reply in parse_rollout(self.rollout).replies)
        said = (self.finding.model_dump_json(), *(reply.generated for reply in replies))
        rest = json.dumps({**body, "tools": []}) + "".join(said)
        tools = objects(body.get("tools"))
        named = [tool for tool in tools if str(tool.get("function", tool).get("name")) in rest]
        if 0 < len(named) < len(tools):
            yield "the other tools", {**body, "tools": named}


def choose(
    analysis: Analysis,
    rollouts: Iterable[Rollout],
    options: ProbeOptions,
    rule_id: str,
    record: str | None = None,
) -> Subject:
    """Return the first finding of a rule in a run, or that in a record, with its evidence.

    Raises ConfigurationError if there is none.
    """
    examples = ((result, e) for result in analysis.checks for e in result.examples)
    of_rule = (pair for pair in examples if pair[0].check.id == rule_id)
    result, finding = next(
        (p for p in of_rule if record in (None, p[1].evidence.record)), (None, None)
    )
    if result is None or finding is None:
        where = "" if record is None else f" with an example in {record}"
        known = [result.check.id for result in analysis.checks if result.examples]
        hint = suggestion(rule_id, known) if known else "it has no findings."
        raise ConfigurationError(f"There is no finding {rule_id!r}{where} in this run; {hint}")
    probe = PROBES.get(rule_id)
    task, uses = (probe.group.name, probe.uses) if probe else ("", ())
    evidence = finding.evidence
    shown = {evidence.record, evidence.compared}
    kept = [r for r in rollouts if r.id in shown or (r.task == task and r.sample in uses)]
    rollout = next((rollout for rollout in kept if rollout.id == evidence.record), None)
    if rollout is None or len(rollout.exchanges) <= evidence.exchange:
        raise ConfigurationError(
            f"the run lacks the record {evidence.record} of the finding; "
            "judge it again with: gpt-oss-verify recheck RUN"
        )
    causes = () if analysis.diagnosis is None else analysis.diagnosis.causes
    cause = next((cause for cause in causes if rule_id in cause.explains), None)
    alone = Subject(result, finding, rollout, (), options, cause=cause)
    if not alone.rule.of_run and alone.found_in(alone.requests):
        return alone
    others = tuple(other for other in kept if other is not rollout and other.api == rollout.api)
    compared = next((other for other in others if other.id == evidence.compared), None)
    finding = compared_with(finding, rollout, compared)
    return replace(alone, finding=finding, others=others, compared=compared)
