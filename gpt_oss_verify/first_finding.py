"""Report the first finding during the run; the verdict is decided at the end."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.checks import CHECKS
from harness.records.rollouts import Rollout
from harness.tasks.task import Task


class FirstFinding:
    """Judges finished attempts, and the probes of a group when its last attempt has finished.

    It stops at the first error. Errors of checks with a tolerated share are left out, because a
    few of them may come from the model. It works in a thread, so that recorded times are right.
    """

    def __init__(
        self, tasks: Sequence[Task], may_warn: Collection[str], tell: Callable[[str], None]
    ) -> None:
        """Judge for these tasks; errors of rules in `may_warn` are warnings.

        `tell` gets one sentence, in a thread.
        """
        self._tasks = {task.name: task for task in tasks if task.info.kind != "eval"}
        self._tell = tell
        self._strict = {name for name, check in CHECKS.items() if not check.tolerated}
        self._may_warn = may_warn
        self._found = False
        self._made: Counter[str] = Counter()
        self._groups: dict[str, dict[str, list[ParsedRollout]]] = defaultdict(dict)
        self._judge = ThreadPoolExecutor(1, thread_name_prefix="first-finding")

    def add(self, rollout: Rollout) -> None:
        """Judge an attempt soon, unless there was a finding."""
        task = self._tasks.get(rollout.task)
        if task is not None and not self._found:
            self._judge.submit(self._add, task, rollout)

    def close(self) -> None:
        """Judge nothing more."""
        self._found = True
        self._judge.shutdown(cancel_futures=True)

    def _add(self, task: Task, rollout: Rollout) -> None:
        if self._found:
            return
        parsed = parse_rollout(rollout)
        score = task.score(parsed)
        for finding in () if score is None else score.findings:
            if finding.severity == "error" and finding.id in self._strict - set(self._may_warn):
                self._report(finding.id, finding.message)
                return
        if task.info.kind != "probes":
            return
        samples = self._groups[task.name]
        samples.setdefault(rollout.sample, []).append(parsed)
        self._made[task.name] += 1
        if self._made[task.name] == task.info.planned:
            for result in task.probe_results(samples):
                if result.status == "failed" and result.check.id not in self._may_warn:
                    first = result.examples[0].message if result.examples else result.check.summary
                    self._report(result.check.id, first)
                    return
            del self._groups[task.name]

    def _report(self, rule: str, message: str) -> None:
        if not self._found:
            self._found = True
            self._groups.clear()
            self._tell(f"first finding: {rule}: {message}")
