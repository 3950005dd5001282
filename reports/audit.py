"""The result of an audit on a terminal."""

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.text import Text

from harness.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from harness.integrity.records import Audit, Conclusion, LogState
from reports.terminal import verdict_lines
from reports.text import visible

EXIT_CODES: Mapping[Conclusion, int] = {
    "sound": EXIT_PASS,
    "broken": EXIT_FAIL,
    "not sealed": EXIT_INCONCLUSIVE,
}
_CONCLUSIONS: Mapping[Conclusion, tuple[str, str]] = {
    "sound": (
        "bold green",
        "nothing was removed, changed, moved, added or sampled twice since the run was sealed.",
    ),
    "broken": ("bold red", "the folder differs from what was recorded."),
    "not sealed": ("bold yellow", "no problem was found, but no seal covers every record."),
}
_EXTERNAL_SEAL = (
    "Anyone who can write to the folder can create a new chain and seal. Store the seal elsewhere, "
    "and compare the run with it: --seal SEAL."
)


def print_audit(audit: Audit, console: Console) -> None:
    """Print the facts about a run, its problems, and the conclusion."""
    console.print()
    for label, fact in _facts(audit):
        console.print(Text(f"{label:10}{visible(fact)}"), soft_wrap=True)
    console.print()
    for problem in audit.problems:
        line = Text.assemble("  ", (problem.kind, "red"), f" · {visible(problem.where)}: ")
        console.print(line + Text(visible(problem.message)), soft_wrap=True)
    for note in audit.notes:
        console.print(Text(f"  note · {visible(note)}", style="dim"), soft_wrap=True)
    if audit.problems or audit.notes:
        console.print()
    style, meaning = _CONCLUSIONS[audit.conclusion]
    console.print(verdict_lines(audit.conclusion.upper(), style, [meaning]))
    if audit.seal is not None and audit.expected is None:
        console.print(Text(_EXTERNAL_SEAL, style="dim"))


def _facts(audit: Audit) -> Iterator[tuple[str, str]]:
    bundle = ", a bundle" if audit.bundle else ""
    yield "run", f"{audit.run}{bundle}, created by gpt-oss-verify {audit.tool_version}"
    yield "sampled", f"{audit.started} to {audit.finished or 'an unrecorded time'}"
    if audit.resumed:
        yield "resumed", ", ".join(audit.resumed)
    for log in audit.logs:
        yield "records", _log(log)
    yield "planned", f"{audit.planned:,}"
    if audit.seal is not None:
        yield "sealed", ", ".join(audit.ended)
        compared = "" if audit.expected is None else ", compared with --seal"
        yield "seal", f"{audit.seal[:32]}{compared}"


def _log(log: LogState) -> str:
    count = f"{log.records:,} in {log.name}"
    return count if log.first is None else f"{count}, requested from {log.first} to {log.last}"
