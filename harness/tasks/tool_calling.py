"""Tool calling: cases that each expect one call of one tool.

An attempt has exactly one outcome. The rules apply in this order:

1. `timeout`, `provider_error`: the last exchange failed, its status was not 2xx, or its stream has
   an error event. A response that is too large or not HTTP is an `invalid_response`. `refused`: the
   provider says that it has no streams; such an attempt does not count.
2. `invalid_response`: a reply could not be read, or a check found an error in one.
3. `truncated`: a reply stopped at its token limit or at a content filter.
4. `max_turns`: the model still called tools when the turns were used up.
5. `no_tool_call`: it answered without calling a tool.
6. `wrong_tool`: it called tools, but never the expected one.
7. `invalid_arguments`: its first call of the expected tool has arguments that are not a JSON object
   or do not match the tool's schema.
8. `wrong_arguments`: they match the schema but are not the expected ones. Only with `strict`;
   otherwise this is recorded with the success.

Arguments are the expected ones if they are equal as JSON after the schema's defaults are filled in:
the order of keys does not matter, 2 equals 2.0, and strings are compared exactly except for Unicode
normal form (NFC) and surrounding white space.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from harness.api.items import Message, Sample, Tool
from harness.api.json_schema import text_misfit
from harness.api.parsed_rollout import ParsedRollout
from harness.api.statuses import refuses_streams, without_reply
from harness.records.analysis import PassedTries, TaskResult
from harness.records.conditions import MODES, Condition, Mode
from harness.records.figures import AtK
from harness.records.replies import Wanted
from harness.records.rollouts import Exchange, Rollout
from harness.records.runs import TaskInfo
from harness.records.scores import Finding, Outcome, Score
from harness.records.settings import Sampling
from harness.rules.measured import measured_score, sums
from harness.rules.rule import excerpt
from harness.run.attempts import Attempt
from harness.run.cases import Case, Suite
from harness.run.run_folder import CASES_FILE, TOOLS_FILE, write_text
from harness.statistics.estimators import reported_ks
from harness.statistics.intervals import at_k, clustered_rate
from harness.tasks.task import FailedSamples, ScoreFields, Task
from harness.text import strict_json

NAME = "tool_calling"


class ToolCalling(Task):
    """The tool-call cases of a run; `suite` has them with their tools."""

    def __init__(
        self,
        suite: Suite,
        conditions: Sequence[Condition],
        *,
        tries: int,
        sampling: Sampling,
        strict: bool = False,
        extra_body: Mapping[str, Any] = {},
        further: Mapping[str, int] = {},
    ) -> None:
        """Prepare the cases of `suite`; with `strict`, only exactly the expected arguments pass.

        `further` is as in `TaskInfo`. These attempts are made round by round; in each round, an API
        and mode tries half of the cases if the modes alternate, in random order.
        """
        self.suite = suite
        self._strict = strict
        self.extra_body = extra_body
        self._cases = {case.id: case for case in suite.cases}
        self.info = TaskInfo(
            name=NAME,
            kind="tool_calling",
            conditions=tuple(conditions),
            samples=len(suite.cases),
            tries=tries,
            planned=len(suite.cases) * len(conditions) * tries + sum(further.values()),
            further=further,
            sampling=sampling,
            files={CASES_FILE: suite.cases_file.sha256, TOOLS_FILE: suite.tools_file.sha256},
        )

    def write_files(self, folder: Path) -> None:
        """Keep the cases and tools as they were read. Raises RunLogError."""
        write_text(folder / CASES_FILE, self.suite.cases_file.text)
        write_text(folder / TOOLS_FILE, self.suite.tools_file.text)

    def attempts(self, number: int) -> Iterator[Attempt]:
        """Yield the `number`-th attempt at every case under every condition.

        Where the modes alternate, every second case starts with the other mode, so that each try
        has as many attempts in one mode as in the other.
        """
        for place, case in enumerate(self.suite.cases):
            prompt = (Message("user", case.prompt),)
            sample = Sample(case.id, prompt, self.suite.tools, case.instructions)
            for planned in self.info.conditions:
                mode = planned.mode or MODES[(place + number) % len(MODES)]
                condition = planned.model_copy(update={"mode": mode})
                if number <= self.info.tries or (case.id, condition, number) in self._further:
                    yield self.attempt(sample, condition, number)

    @property
    def last_try(self) -> int:
        """The highest number of a planned attempt."""
        return max((number for *_, number in self._further), default=self.info.tries)

    @cached_property
    def _further(self) -> frozenset[tuple[str, Condition, int]]:
        """The further attempts: case, condition with its mode, and number."""
        return frozenset(
            (case, condition, number)
            for planned in self.info.conditions
            for mode in ((planned.mode,) if planned.mode else MODES)
            for condition in (planned.model_copy(update={"mode": mode}),)
            for case, number in islice(
                self._beyond(planned, mode), self.info.further.get(condition.name, 0)
            )
        )

    def _beyond(self, planned: Condition, mode: Mode) -> Iterator[tuple[str, int]]:
        """Yield the cases that a mode tries after all planned rounds, and the number of each."""
        places = range(len(self.suite.cases))
        for number in count(self.info.tries + 1):
            for place in Random(number).sample(places, len(places)):  # noqa: S311 (no secret)
                if planned.mode or MODES[(place + number) % len(MODES)] == mode:
                    yield self.suite.cases[place].id, number

    def plans(self, rollout: Rollout) -> bool:
        """Return whether condition and attempt of a rollout are planned; the sample may not be."""
        further = (rollout.sample, rollout.condition, rollout.attempt) in self._further
        return further or super().plans(rollout)

    def target(self, rollout: Rollout) -> str:
        """Return the expected call: `get_weather({"city": "Lisbon"})`."""
        return _expected_call(self._cases[rollout.sample])

    def score(self, parsed: ParsedRollout) -> Score | None:
        """Score one attempt; an error finding makes it invalid, unless it is tolerated later."""
        case = self._cases.get(parsed.rollout.sample)
        if case is None or not self.plans(parsed.rollout):
            return None
        outcome = (
            _failed_exchange(parsed)
            or _unreadable_reply(parsed)
            or _unfinished(parsed)
            or _judged_call(parsed, case, self.suite.tool(case.tool_name), self._strict)
        )
        wanted = Wanted(name=case.tool_name, arguments=case.expected_arguments)
        return measured_score(parsed, outcome, wanted=wanted)

    def _result(self, condition: Condition, planned: Sequence[Score]) -> TaskResult:
        """Return pass@k, pass^k, outcomes and failed cases."""
        made = [score for score in planned if score.finished]
        tries = self.info.tries
        successes = Counter(score.sample for score in made if score.value == 1)
        done = Counter(score.sample for score in made)
        silent = Counter(score.sample for score in made if score.no_reply)
        failed = {case.id: done[case.id] - successes[case.id] for case in self.suite.cases}
        failures = FailedSamples()
        for score in made:
            failures.add(score)
        further = Counter(
            case for case, tried, _ in self._further if self.group_of(tried) == condition
        )
        lost = {case.id: failed[case.id] - silent[case.id] for case in self.suite.cases}
        return TaskResult(
            task=NAME,
            condition=condition,
            samples=len(self.suite.cases),
            tries=tries,
            planned=len(self.suite.cases) * tries + further.total(),
            further=further,
            outcomes=dict(Counter[Outcome](score.outcome for score in planned).most_common()),
            invalid=sum(score.invalid for score in made),
            exact=sum(score.value == 1 and score.exact is True for score in made),
            at_k=tuple(_rates([(done[case], successes[case]) for case in done], tries)),
            cases={case.id: (successes[case.id], done[case.id]) for case in self.suite.cases},
            no_reply=dict(silent),
            modes=_modes(planned) if condition.mode is None else {},
            best_pass_at=mean(tries + further[case] > lost[case] for case in lost),
            best_pass_hat=mean(lost[case] <= 0 for case in lost),
            failures=failures.lowest(self._of_failure),
            failed=len(failures),
            **sums(made),
        )

    def _of_failure(self, score: Score) -> Mapping[str, Any]:
        """Return what a report says of a failed attempt beside its outcome."""
        case = self._cases[score.sample]
        return {
            "detail": excerpt(score.detail),
            "expected": None if score.expected is None else excerpt(score.expected),
            "got": None if score.got is None else excerpt(score.got),
            "tool": case.tool_name,
            "prompt": case.prompt,
        }


def _rates(counts: Sequence[tuple[int, int]], tries: int) -> Iterator[AtK]:
    """Yield pass@k and pass^k of the tries and successes that each attempted case has so far.

    With fewer than the planned `tries`, pass@1 is the share of the attempts that were made, and k
    goes up to the number of tries that all attempted cases have.
    """
    least = min((made for made, _ in counts), default=0)
    if not least:
        return
    if any(made < tries for made, _ in counts):
        share = clustered_rate([(passed, made) for made, passed in counts])
        yield AtK(k=1, pass_at=share, pass_hat=share)
        yield from (at_k(counts, k) for k in reported_ks(least) if k > 1)
    else:
        yield from (at_k(counts, k) for k in reported_ks(tries))


def _modes(planned: Sequence[Score]) -> Mapping[Mode, Mapping[str, PassedTries]]:
    """Return the tries of each case in each mode; a case without a try in a mode is left out.

    Tries without a reply do not count.
    """
    modes: dict[Mode, dict[str, PassedTries]] = {mode: {} for mode in MODES}
    for score in planned:
        if (mode := score.condition.mode) is not None and not score.no_reply:
            passed, finished, tries = modes[mode].get(score.sample, (0, 0, 0))
            right = score.finished and score.value == 1
            modes[mode][score.sample] = PassedTries(
                passed + right, finished + score.finished, tries + 1
            )
    return modes


def invalidated(score: Score, findings: Sequence[Finding]) -> Score:
    """Return the score with the findings that count: an error makes the response invalid."""
    errors = [finding for finding in findings if finding.invalidates]
    if not errors or score.outcome in ("timeout", "provider_error", "invalid_response"):
        return replace(score, findings=tuple(findings))
    first = errors[0]
    return replace(
        score,
        findings=tuple(findings),
        outcome="invalid_response",
        value=0.0,
        detail=f"{first.id}: {first.message}",
        expected=first.evidence.expected,
        got=first.evidence.got,
        exact=None,
    )


def same_arguments(expected: object, got: object, schema: Mapping[str, Any]) -> bool:
    """Return whether two argument objects are equal; see the module's docstring."""
    return _normal(expected, schema) == _normal(got, schema)


def _failure(outcome: Outcome, detail: str, **more: object) -> ScoreFields:
    return {"outcome": outcome, "value": 0.0, "detail": detail, **more}


def _failed_exchange(parsed: ParsedRollout) -> ScoreFields | None:
    if parsed.rollout.end != "failed":
        return None
    exchange = parsed.rollout.exchanges[-1]
    silent = without_reply(exchange)
    if refuses_streams(exchange):
        return _failure("refused", _status(exchange), no_reply=True)
    if exchange.failure is None:
        return _failure("provider_error", _status(exchange), no_reply=silent)
    if exchange.failure.kind == "timeout":
        return _failure("timeout", exchange.failure.message, no_reply=silent)
    if exchange.failure.kind in ("too_large", "protocol", "encoding"):
        return _failure("invalid_response", exchange.failure.message)
    return _failure("provider_error", exchange.failure.message, no_reply=silent)


def _status(exchange: Exchange) -> str:
    response = exchange.response
    if response is None:
        return "There was no response."
    body = " ".join(response.text.split())
    return f"Status {response.status}: {body[:200]}" if body else f"Status {response.status}."


def _unreadable_reply(parsed: ParsedRollout) -> ScoreFields | None:
    if parsed.rollout.end != "unreadable":
        return None
    reason = next(
        (exchange.unreadable for exchange in parsed.exchanges if exchange.unreadable), None
    )
    failed = any(exchange.error_events for exchange in parsed.exchanges)
    outcome: Outcome = "provider_error" if failed else "invalid_response"
    return _failure(outcome, reason or "The reply could not be read.")


def _unfinished(parsed: ParsedRollout) -> ScoreFields | None:
    if any(reply.finish in ("length", "content_filter") for _, reply in parsed.replies):
        return _failure("truncated", "A reply was truncated.")
    if parsed.rollout.end == "max_turns":
        requests = len(parsed.exchanges)
        return _failure("max_turns", f"The model still called tools after {requests} requests.")
    return None


def _expected_call(case: Case) -> str:
    return f"{case.tool_name}({json.dumps(case.expected_arguments, ensure_ascii=False)})"


def _judged_call(parsed: ParsedRollout, case: Case, tool: Tool, strict: bool) -> ScoreFields:
    calls = [call for _, reply in parsed.replies for call in reply.calls]
    expected = _expected_call(case)
    if not calls:
        return _failure(
            "no_tool_call",
            "The model answered without calling a tool.",
            expected=expected,
            got="".join([reply.text for _, reply in parsed.replies][-1:]) or "(no text)",
        )
    call = next((call for call in calls if call.name == tool.name), None)
    if call is None:
        return _failure(
            "wrong_tool",
            f"The model called {calls[0].name}, never {tool.name}.",
            expected=expected,
            got=f"{calls[0].name}({calls[0].arguments})",
        )
    shown = {"expected": expected, "got": f"{call.name}({call.arguments})"}
    try:
        problem, exact = _argument_problem(call.arguments, case, tool)
    except RecursionError:
        problem, exact = "The arguments are nested too deeply.", False
    if problem is not None:
        return _failure("invalid_arguments", problem, **shown)
    if exact:
        return {"outcome": "success", "value": 1.0, "exact": True}
    detail = "The arguments match the schema but are not the expected ones."
    if strict:
        return _failure("wrong_arguments", detail, exact=False, **shown)
    return {"outcome": "success", "value": 1.0, "detail": detail, "exact": False, **shown}


def _argument_problem(text: str, case: Case, tool: Tool) -> tuple[str | None, bool]:
    """Return why the arguments are invalid, if they are; and whether they are the expected ones."""
    try:
        arguments = strict_json(text)
    except ValueError as error:
        return f"The arguments are not JSON: {error}.", False
    if not isinstance(arguments, dict):
        return "The arguments are not a JSON object.", False
    problem = text_misfit(text, tool.parameters)
    if problem is not None:
        return f"The arguments do not match the schema: {problem}", False
    return None, same_arguments(case.expected_arguments, arguments, tool.parameters)


def _normal(value: object, schema: object) -> object:
    known: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        properties = known.get("properties")
        parts: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
        defaults = {
            name: part["default"]
            for name, part in parts.items()
            if isinstance(part, dict) and "default" in part
        }
        filled = defaults | value
        return {name: _normal(entry, parts.get(name)) for name, entry in filled.items()}
    if isinstance(value, list):
        return [_normal(entry, known.get("items")) for entry in value]
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip()
    # In Python True == 1; in JSON they differ.
    return ("boolean", value) if isinstance(value, bool) else value
