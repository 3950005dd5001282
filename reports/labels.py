"""Names of conditions and results, with only the parts that vary within a run."""

from harness.records.analysis import Analysis, TaskResult
from harness.records.conditions import PARTS, Condition, parts_of, varying
from harness.records.runs import TaskKind


class Labels:
    """Short names for the conditions of a run."""

    def __init__(self, analysis: Analysis) -> None:
        """Find the parts that vary between the conditions of each kind of task."""
        tasks = analysis.run.tasks
        self._kinds: dict[str, TaskKind] = {task.name: task.kind for task in tasks}
        self._parts: dict[TaskKind | None, tuple[str, ...]] = {
            kind: varying(
                [condition for t in tasks if t.kind == kind for condition in t.conditions]
            )
            for kind in self._kinds.values()
        }
        self._alternating = {t.name for t in tasks if any(c.mode is None for c in t.conditions)}
        samples = [task.dataset for task in tasks if task.dataset is not None]
        self._samples = {
            dataset.eval: "samples" if dataset.shipped else "own questions"
            for dataset in samples
            if dataset.sample
        }
        self._known: dict[tuple[str, Condition], str] = {}

    def task(self, name: str) -> str:
        """Return the name of a task: `tool calling`, `gpqa`, `gpqa (samples)`."""
        if name not in self._samples:
            return name.replace("_", " ")
        return f"{name} ({self._samples[name]})"

    def parts(self, task: str, condition: Condition, but: str | None = None) -> tuple[str, ...]:
        """Return the parts of a condition that vary, except `but`: `("chat", "streaming")`."""
        parts = self._parts.get(self._kinds.get(task), ())
        return tuple(part_name(condition, part) for part in parts if part != but)

    def shared(self, task: str, condition: Condition) -> tuple[str, ...]:
        """Return those of effort, API and mode that do not vary."""
        parts = self._parts.get(self._kinds.get(task), ())
        return tuple(part_name(condition, part) for part in PARTS[1:] if part not in parts)

    def condition(self, task: str, condition: Condition) -> str:
        """Return a condition: `chat · streaming`; API and mode if no part varies.

        The tries of a condition whose modes alternate have its name, without their mode.
        """
        key = task, condition
        if key not in self._known:
            whole = condition.alternating if task in self._alternating else condition
            self._known[key] = " · ".join(self.parts(task, condition)) or whole.name
        return self._known[key]

    def heads(self, result: TaskResult) -> tuple[str, ...]:
        """Return the lines of a column head: the eval, then what varies in the condition."""
        parts = self.parts(result.task, result.condition)
        if not result.is_eval:
            return parts or parts_of(result.name)
        return (self.task(result.task), *parts)

    def result(self, result: TaskResult) -> str:
        """Return a task under a condition: `aime25, high effort`, `chat · streaming`."""
        if not result.is_eval:
            return self.condition(result.task, result.condition)
        return ", ".join(self.heads(result))


def part_name(condition: Condition, part: str) -> str:
    """Return one part of a condition: `low effort`, `chat`."""
    if part == "effort":
        return f"{condition.effort or 'default'} effort"
    return str(getattr(condition, part))
