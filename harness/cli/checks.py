"""The command that lists all rules, on screen and as `docs/checks.md`."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, get_args

from cyclopts import Parameter
from rich.text import Text

from harness.cli.screen import print_raw, stdout
from harness.errors import ConfigurationError
from harness.findings import Rule
from harness.golden import files as golden_files
from harness.probes.base import MORE_TOKENS, REPLY_TOKENS, ProbeOptions
from harness.probes.suites import choose
from harness.records.conditions import BOTH_APIS
from harness.records.families import title
from harness.records.runs import SuiteName
from harness.rules import RULES
from harness.tasks.probing import probe_tasks

_HEAD = """\
# Checks and probes

`gpt-oss-verify checks --markdown` generates this file.

A **check** judges every recorded rollout. A **probe** is an experiment of several requests that are
judged together. An **error** violates a specification or harms the model's replies, and fails the
run. A **warning** is a deviation that clients cope with. **Info** does not affect the verdict.

The *tolerated* share is what the model itself causes; without one, only a server can cause the
problem. With one, findings are info until the affected attempts of the whole run, or of one API,
mode or replica, significantly exceed the share. All these exact binomial tests together fail at
most 1 % of healthy servers ([rare-defects.md](rare-defects.md)).

In a run, every check and probe is passed, failed, warned, declared (the provider's entry declares
the limitation), not verifiable (the run contains nothing that it can judge) or skipped (it does not
apply to the run).

A probe does not judge a request that timed out or was not admitted (status 408, 425,
429, 504, 522, 524 or 529).
If a reply ends at the limit of {reply:,} output tokens, the probe requests it again with {more:,},
unless it repeats one piece of text without end. It does not judge a reply that ends at a limit."""


def checks(
    *,
    family: str | None = None,
    as_markdown: Annotated[bool, Parameter(name="--markdown")] = False,
) -> int:
    """List all checks and probes: what they require, why, and the source of the requirement.

    Args:
        family: List only the checks and probes of this family.
        as_markdown: Print Markdown, as in docs/checks.md.
    """
    listed = entries(family)
    if as_markdown:
        print_raw(markdown(listed))
        return 0
    styles = {"error": "red", "warning": "yellow", "info": "cyan"}
    for heading, rules in by_family(listed).items():
        stdout().print(Text(heading, style="bold"))
        for rule in rules:
            about = rule.about
            suite = "" if about.kind == "check" else f" · probe, suite {rule.suite}"
            head = Text.assemble(
                "  ", (about.id, styles[about.severity]), f" · {about.severity} · {rule.scope}"
            )
            stdout().print(head.append(suite), soft_wrap=True)
            for line in (about.summary, about.why, about.source):
                stdout().print(Text(f"      {line}", style="dim"), soft_wrap=True)
        stdout().print()
    return 0


def entries(family: str | None = None) -> tuple[Rule, ...]:
    """All checks, then all probes, or those of one family. Raises ConfigurationError."""
    known = dict.fromkeys(rule.about.family for rule in RULES.values())
    if family is not None and family not in known:
        raise ConfigurationError(f"There is no family {family!r}; families are {', '.join(known)}.")
    return tuple(rule for rule in RULES.values() if family in (None, rule.about.family))


def by_family(rules: Sequence[Rule]) -> Mapping[str, list[Rule]]:
    """The rules by title of their family, in order of first occurrence."""
    families: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        families[title(rule.about.family)].append(rule)
    return families


def markdown(rules: Sequence[Rule]) -> str:
    """The list as a Markdown page."""
    return "\n".join(_lines(rules)) + "\n"


def _lines(rules: Sequence[Rule]) -> Iterator[str]:
    yield from (_HEAD.format(reply=REPLY_TOKENS, more=MORE_TOKENS), "")
    yield from _suites()
    for heading, family in by_family(rules).items():
        yield from ("", f"## {heading}", "")
        yield "| id | severity | applies to | requirement and reason |"
        yield "| --- | --- | --- | --- |"
        for rule in family:
            yield f"| {' | '.join(_columns(rule))} |"


def _suites() -> Iterator[str]:
    """The size of each suite, without the tool-call cases."""
    yield "| suite | probes | requests over both APIs | maximum output tokens |"
    yield "| --- | ---: | ---: | ---: |"
    for suite in get_args(SuiteName):
        probes = choose(suite).probes
        options = ProbeOptions("", BOTH_APIS, golden=golden_files.shipped())
        planned = [each for task in probe_tasks(probes, options) for each in task.all_attempts()]
        tokens = sum((each.settings.max_tokens or 0) * each.max_turns for each in planned)
        yield f"| {suite} | {len(probes)} | {len(planned)} | {tokens:,} |"


def _columns(rule: Rule) -> Iterator[str]:
    about = rule.about
    yield f"[`{about.id}`]({about.source})"
    tolerance = f", {rule.tolerated * 100:g} % tolerated" if rule.tolerated else ""
    yield f"{about.severity}{tolerance}"
    suite = "" if about.kind == "check" else f"; probe, suite {rule.suite}"
    yield f"{rule.scope}{suite}"
    yield f"{_escaped(about.summary)} *{_escaped(about.why)}*"


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_|<>\[\]])", r"\\\1", text) if "`" not in text else text
