"""A probe group as a task: its probes judge the responses to its requests together."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from harness.api import DIALECTS
from harness.api.items import Reasoning, RequestSettings
from harness.api.parsed_rollout import ParsedRollout
from harness.api.statuses import failure_said, may_be_load
from harness.golden.files import digest, serialized
from harness.providers.entries import Provider
from harness.records.analysis import RuleResult
from harness.records.conditions import Api, Condition
from harness.records.rollouts import Exchange
from harness.records.runs import TaskInfo
from harness.records.scores import Outcome, Score
from harness.records.settings import Sampling
from harness.rules.account import Account
from harness.rules.measured import measured_score
from harness.rules.probe import MORE_TOKENS, Probe, ProbeGroup, ProbeOptions, ProbeRequest
from harness.rules.results import probe_results
from harness.run.attempts import Attempt
from harness.run.preflight import ALTERNATIVES, cot_field, most_alternatives
from harness.run.run_folder import GOLDEN_FILE, write_text
from harness.tasks.task import Task

_Place = tuple[str, Condition]  # a request under one condition
_FEWEST_SERVED_ALONE = 3  # requests served alone that show what the failures of others are
_FAILURES = 500  # the lowest status of a failure


class ProbeTask(Task):
    """The requests of one probe group that its `probes` use; `expensive` if they are costly."""

    def __init__(
        self,
        group: ProbeGroup,
        probes: Sequence[Probe],
        options: ProbeOptions,
        repetitions: Mapping[Api, int] = {},
    ) -> None:
        """Prepare those probes of a group that the run includes.

        `repetitions` are those of all requests over an API, each judged by itself; 0: one try.
        """
        self._repetitions = repetitions
        self.burst = group.burst
        self.expensive = group.expensive
        self.probes = probes
        self._options = options
        self._settings = RequestSettings(
            options.model, max_tokens=options.max_tokens, extra_body=options.extra_body
        )
        self._alternatives: dict[Api, int | None] = {}
        self._requests: dict[tuple[str, Api], ProbeRequest] = {}
        self._planned: list[tuple[ProbeRequest, Condition]] = []
        golden = options.golden if group.golden else None
        judged = {api for probe in probes for api in probe.about.apis}
        apis = [api for api in options.apis if api in judged][: 1 if group.expensive else None]
        for api in apis if group.golden_of(options) or not group.golden else ():
            for planned in group.requests(api):
                if (request := planned.within(options.max_context)) is None:
                    continue
                self._requests[request.id, api] = request
                used = [p for p in probes if request.id in p.uses and api in p.about.apis]
                modes = {mode for probe in used for mode in probe.about.modes}
                for mode in sorted(modes.union(request.modes)):
                    condition = Condition(model=options.model, api=api, mode=mode)
                    self._planned.append((request, condition))
        self.info = TaskInfo(
            name=group.name,
            kind="probes",
            conditions=tuple(dict.fromkeys(condition for _, condition in self._planned)),
            samples=len({request.id for request, _ in self._planned}),
            tries=max((self._tries(*planned) for planned in self._planned), default=0),
            planned=sum(self._tries(*planned) for planned in self._planned),
            sampling=Sampling(max_tokens=options.max_tokens),
            files={} if golden is None else {GOLDEN_FILE: digest(golden)},
            repetitions=repetitions,
        )

    def _tries(self, request: ProbeRequest, condition: Condition) -> int:
        left_out = 0 if self._options.confirming else request.confirming
        tries, times = request.tries - left_out, self._repetitions.get(condition.api, 1)
        return tries * times if times else min(tries, 1)

    async def learn(self, provider: Provider) -> int:
        """Find out how many logprobs may be requested, and which Chat field takes CoT back."""
        sent = 0
        for api in {condition.api for _, condition in self._planned}:
            asked = DIALECTS[api].logprob_options(ALTERNATIVES[0]).items()
            if any(asked <= request.options.items() for request in self._requests_over(api)):
                self._alternatives[api], requests = await most_alternatives(provider, api)
                sent += requests
        in_chat = (turn for request in self._requests_over("chat") for turn in request.turns)
        if any(isinstance(turn, Reasoning) for turn in in_chat):
            self._settings = replace(self._settings, cot_field=await cot_field(provider))
            sent += 1
        return sent

    def _requests_over(self, api: Api) -> Iterator[ProbeRequest]:
        return (request for request, condition in self._planned if condition.api == api)

    def _settings_of(self, request: ProbeRequest, api: Api) -> RequestSettings:
        """Return the settings of a request, with as many logprobs as the provider returns."""
        settings, most = request.settings(self._settings), ALTERNATIVES[0]
        asked, accepted = DIALECTS[api].logprob_options(most), self._alternatives.get(api, most)
        if accepted == most or not asked.items() <= settings.extra_body.items():
            return settings
        rest = {key: value for key, value in settings.extra_body.items() if key not in asked}
        fewer = {} if accepted is None else DIALECTS[api].logprob_options(accepted)
        return replace(settings, extra_body=rest | fewer)

    def write_files(self, folder: Path) -> None:
        """Keep the golden file, if the group has one. Raises RunLogError.

        A resumed run has it, perhaps as an older version spelled it, with the hash of that text.
        """
        golden = self._options.golden
        if self.info.files and golden is not None and not (folder / GOLDEN_FILE).exists():
            write_text(folder / GOLDEN_FILE, serialized(golden))

    def attempts(self, number: int) -> Iterator[Attempt]:
        """Yield the `number`-th repetition of every request that has that many."""
        for request, condition in self._planned:
            if number <= self._tries(request, condition):
                yield Attempt(
                    self.attempt_id(request.id, condition, number),
                    self.name,
                    request,
                    condition,
                    number,
                    self._settings_of(request, condition.api),
                    request.max_turns,
                    MORE_TOKENS if request.whole and not self._options.max_tokens else None,
                    request.sender,
                    self._before(request, condition, number),
                )

    def alone(
        self, last: Mapping[str, Exchange], passing: Collection[str] = ()
    ) -> Iterator[Attempt]:
        """Yield an attempt at each request whose tries all failed, perhaps because of the load.

        So do those that failed as other requests do now and then (`passing`: see
        `harness.api.statuses`). A group that tests the load, or costs much, sends nothing again.
        """
        tries: dict[_Place, list[Attempt]] = defaultdict(list)
        for attempt in () if self.burst or self.expensive else self.all_attempts():
            if attempt.id in last:
                tries[attempt.sample.id, attempt.condition].append(attempt)
        for place, made in tries.items():
            failed = (last[attempt.id] for attempt in made)
            if all(self._may_be_load(place, e) or failure_said(e) in passing for e in failed):
                yield replace(made[0], id=f"{made[0].id}/alone", after=None, alone=True)

    def _may_be_load(self, place: _Place, last: Exchange) -> bool:
        """Whether an attempt failed for a reason other than what its request asks for."""
        sample, condition = place
        failed = last.response is None or last.response.status >= _FAILURES
        return may_be_load(last) and (failed or self._requests[sample, condition.api].valid)

    def _before(self, request: ProbeRequest, condition: Condition, number: int) -> str | None:
        repetition, place = divmod(number - 1, request.tries)
        if request.after is not None:
            tries = self._requests[request.after, condition.api].tries
            return self.attempt_id(request.after, condition, repetition * tries + place + 1)
        if not request.sequential or place == 0:
            return None
        return self.attempt_id(request.id, condition, number - 1)

    def score(self, parsed: ParsedRollout) -> Score | None:
        """Measure one rollout; the probes judge the replies together."""
        request = self._requests.get((parsed.rollout.sample, parsed.rollout.api))
        if request is None:
            return None
        return measured_score(
            parsed,
            {"outcome": _outcome(parsed)},
            checks=request.valid,
            except_for=request.provokes,
            wanted=request.wanted,
        )

    def probe_results(
        self, parsed: Mapping[str, Sequence[ParsedRollout]], account: Account
    ) -> Sequence[RuleResult]:
        """Return the result of every probe of the group that the run includes."""
        repetitions: dict[int, dict[str, list[ParsedRollout]]] = {0: {}}
        under_load = self._under_load(list(chain.from_iterable(parsed.values())))
        for sample, rollouts in parsed.items():
            for each in rollouts:
                rollout = replace(each, under_load=each.under_load or each.rollout.id in under_load)
                tries = self._requests[sample, rollout.rollout.api].tries
                made = repetitions.setdefault((rollout.rollout.attempt - 1) // tries, {})
                made.setdefault(sample, []).append(rollout)
        first, *others = repetitions.values()
        return probe_results(self.probes, first, self._options, others, account)

    def _under_load(self, every: Sequence[ParsedRollout]) -> frozenset[str]:
        """Return the ids of the attempts whose failure is no evidence about their request.

        The request was served alone, whatever the status of its failure; or it was not sent alone,
        and several others of the group that failed likewise were served alone.
        """
        failed: dict[str, _Place] = {}
        alone: dict[_Place, bool] = {}
        like_load: set[str] = set()
        for each in every:
            place = each.rollout.sample, each.rollout.condition
            last = each.exchanges[-1] if each.exchanges else None
            if each.rollout.alone:
                alone[place] = last is None or last.good_status
            elif last is not None and not last.good_status:
                failed[each.rollout.id] = place
                if self._may_be_load(place, last.recorded):
                    like_load.add(each.rollout.id)
        usual = sum(alone.values()) >= _FEWEST_SERVED_ALONE
        return frozenset(
            record
            for record, place in failed.items()
            if alone.get(place, usual and record in like_load)
        )


def probe_tasks(
    probes: Sequence[Probe],
    options: ProbeOptions,
    repetitions: Mapping[str, Mapping[Api, int]] = {},
) -> list[ProbeTask]:
    """Return a task for each group of chosen probes; some plan nothing without a golden file.

    `repetitions` are those of `ProbeTask`, by group.
    """
    groups = {probe.group.name: probe.group for probe in probes}
    return [
        ProbeTask(
            group,
            [probe for probe in probes if probe.group is group],
            options,
            repetitions.get(name, {}),
        )
        for name, group in groups.items()
    ]


def _outcome(parsed: ParsedRollout) -> Outcome:
    rollout = parsed.rollout
    if rollout.end == "unreadable":
        return "invalid_response"
    if rollout.end != "failed":
        return "answered"
    failure = rollout.exchanges[-1].failure
    kinds: Mapping[str, Outcome] = {"timeout": "timeout", "left": "answered"}
    return kinds.get(failure.kind if failure else "", "provider_error")
