"""The end of an audit as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.pipeline.exit_codes import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from rich.console import Console
from rich.text import Text

from harness.auditing.findings import Audit, Conclusion, LogState
from reports import words
from reports.terminal import verdict_lines

EXIT_CODES: Mapping[Conclusion, int] = {
    "sound": EXIT_PASS,
    "broken": EXIT_FAIL,
    "not sealed": EXIT_INCONCLUSIVE,
}
_STYLES: Mapping[Conclusion, str] = {
    "sound": "bold green",
    "broken": "bold red",
    "not sealed": "bold yellow",
}
_MEANINGS: Mapping[Conclusion, str] = {
    "sound": "nothing was removed, changed, moved, added or sampled twice since it was sealed.",
    "broken": "the folder is not what was recorded.",
    "not sealed": "nothing wrong was found, but no seal vouches for all records.",
}
_WITNESS = (
    "Whoever can write to the folder can make chain and seal anew. Note the seal elsewhere, and "
    "hold the run to it with --seal."
)


def print_audit(audit: Audit, console: Console) -> None:
    """Print what an audit came to."""
    console.print()
    for label, text in _facts(audit):
        console.print(Text(f"{label:10}{words.visible(text)}"), soft_wrap=True)
    console.print()
    for breach in audit.breaches:
        line = Text.assemble("  ", (breach.kind, "red"), f" · {words.visible(breach.where)}: ")
        console.print(line + Text(words.visible(breach.message)), soft_wrap=True)
    for note in audit.notes:
        console.print(Text(f"  note · {words.visible(note)}", style="dim"), soft_wrap=True)
    if audit.breaches or audit.notes:
        console.print()
    label = audit.conclusion.upper()
    console.print(verdict_lines(label, _STYLES[audit.conclusion], [_MEANINGS[audit.conclusion]]))
    if audit.seal is not None and audit.expected is None:
        console.print(Text(_WITNESS, style="dim"))


def _facts(audit: Audit) -> Iterator[tuple[str, str]]:
    bundle = ", a bundle" if audit.bundle else ""
    yield "run", f"{audit.run}{bundle}, made by gpt-oss-verify {audit.tool_version}"
    yield "sampled", f"{audit.started} to {audit.finished or 'its end is not recorded'}"
    if audit.resumed:
        yield "resumed", ", ".join(audit.resumed)
    for log in audit.logs:
        yield "records", _log(log)
    yield "planned", f"{audit.planned:,}"
    if audit.seal is not None:
        yield "sealed", ", ".join(audit.ended)
        held = "" if audit.expected is None else ", held to the one given"
        yield "seal", f"{audit.seal[:32]}{held}"


def _log(log: LogState) -> str:
    text = f"{log.records:,} in {log.name}"
    if log.first is not None:
        text += f", asked from {log.first} to {log.last}"
    return text
