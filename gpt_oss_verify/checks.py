"""The command that lists all rules, on screen and as Markdown."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Annotated, get_args

from cyclopts import Parameter
from rich.table import Table as RichTable
from rich.text import Text

from gpt_oss_verify.screen import print_raw, say, stdout
from harness.errors import ConfigurationError
from harness.golden import files as golden_files
from harness.records.conditions import BOTH_APIS
from harness.records.families import title
from harness.records.register import standing
from harness.records.rollouts import SDK
from harness.records.settings import SuiteName
from harness.rules.catalogue import LEFT_OUT, PROBES, RULES
from harness.rules.probe import MORE_TOKENS, REPLY_TOKENS, Probe, ProbeOptions, ProbeRequest
from harness.rules.rule import Rule
from harness.rules.suites import choose
from harness.tasks.probing import probe_tasks
from harness.text import suggestion

_SHOWN_TEXT = 400  # characters of a text in a request


def checks(
    rule_id: str | None = None,
    /,
    *,
    family: str | None = None,
    every: Annotated[bool, Parameter(name="--all")] = False,
    as_markdown: Annotated[bool, Parameter(name="--markdown")] = False,
) -> int:
    """List the families of checks and probes, or their rules.

    Args:
        rule_id: Show only the check or probe with this id, and the requests that a probe sends.
        family: List only the checks and probes of this family.
        every: List all checks and probes.
        as_markdown: Print Markdown, as on the documentation site.
    """
    for why in LEFT_OUT:
        say(why)
    if rule_id is not None and family is not None:
        raise ConfigurationError("Give the id of one check or probe, or --family, not both.")
    listed = entries(family) if rule_id is None else (_named(rule_id),)
    if as_markdown:
        print_raw(markdown(listed))
        return 0
    if not every and rule_id is None and family is None:
        _print_families(listed)
        return 0
    styles = {"error": "red", "warning": "yellow", "info": "cyan"}
    for heading, rules in by_family(listed).items():
        stdout().print(Text(heading, style="bold"))
        for rule in rules:
            about = rule.about
            head = Text.assemble(
                "  ", (about.id, styles[about.severity]), f" · {about.severity} · {rule.scope}"
            )
            stdout().print(head, soft_wrap=True)
            stands_on = standing(about.id) if rule_id is not None else ""
            for line in filter(None, (about.summary, about.why, about.source, stands_on)):
                stdout().print(Text(f"      {line}", style="dim"), soft_wrap=True)
        stdout().print()
    if rule_id is not None and rule_id in PROBES:
        print_raw("\n\n".join(_requests(PROBES[rule_id])))
    return 0


def _print_families(rules: Sequence[Rule]) -> None:
    """Print how many checks and probes each family has, and how to see them."""
    families = Counter(rule.about.family for rule in rules)
    probes = Counter(rule.about.family for rule in rules if isinstance(rule, Probe))
    table = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for head in ("family", "checks", "probes"):
        table.add_column(head, justify="left" if head == "family" else "right")
    table.add_column("")
    for name, count in families.items():
        subject = title(name).partition(": ")[2]
        table.add_row(name, str(count - probes[name]), str(probes[name]), subject)
    stdout().print(table)
    for what, arguments in (
        ("The rules of a family", "--family usage"),
        ("A rule, and the requests of a probe", "tools.choice.required"),
        (f"All {len(rules)} rules, with their sources", "--all"),
    ):
        stdout().print(f"{what}: gpt-oss-verify checks {arguments}", highlight=False)


def _named(rule_id: str) -> Rule:
    if rule_id not in RULES:
        hint = suggestion(rule_id, list(RULES), "`gpt-oss-verify checks --all` lists all")
        raise ConfigurationError(f"There is no check or probe {rule_id!r}; {hint}")
    return RULES[rule_id]


def _requests(probe: Probe) -> Iterator[str]:
    """Yield the requests of a probe, named as in its findings, each with its first body."""
    options = ProbeOptions("gpt-oss-20b", BOTH_APIS, golden=golden_files.shipped())
    (task,) = probe_tasks([probe], options)
    for attempt in task.attempts(1):
        request = attempt.sample
        assert isinstance(request, ProbeRequest)
        notes = [
            f"# {request.id!r} · {attempt.condition.api} · {attempt.condition.mode}",
            f"{request.tries} tries" if request.tries > 1 else "",
            f"up to {request.max_turns} requests" if request.max_turns > 1 else "",
            f"after {request.after!r}" if request.after else "",
            "" if request.sender.accept == SDK.accept else f"Accept: {request.sender.accept}",
        ]
        body = request.raw or json.dumps(
            _shortened(attempt.first_request()), indent=2, ensure_ascii=False
        )
        yield f"{' · '.join(filter(None, notes))}\n{body}"


def _shortened(value: object) -> object:
    """Return a JSON value with long texts shortened."""
    if isinstance(value, Mapping):
        return {key: _shortened(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    if isinstance(value, str) and len(value) > _SHOWN_TEXT:
        return f"{value[:_SHOWN_TEXT]}… ({len(value):,} characters)"
    return value


def entries(family: str | None = None) -> tuple[Rule, ...]:
    """Return all checks, then all probes, or those of one family. Raises ConfigurationError."""
    known = dict.fromkeys(rule.about.family for rule in RULES.values())
    if family is not None and family not in known:
        raise ConfigurationError(f"There is no family {family!r}; choose from {', '.join(known)}.")
    return tuple(rule for rule in RULES.values() if family in (None, rule.about.family))


def by_family(rules: Sequence[Rule]) -> Mapping[str, list[Rule]]:
    """Return the rules by title of their family, in order of first occurrence."""
    families: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        families[title(rule.about.family)].append(rule)
    return families


def markdown(rules: Sequence[Rule]) -> str:
    """Return the list as a Markdown page."""
    return "\n".join(_lines(rules)) + "\n"


def _lines(rules: Sequence[Rule]) -> Iterator[str]:
    page = (resources.files("harness") / "data" / "checks.md").read_text("utf-8")
    tables = {"suites": "\n".join(_suites()), "relations": "\n".join(_relations(rules))}
    yield page.rstrip().format(reply=REPLY_TOKENS, more=MORE_TOKENS, **tables)
    for heading, family in by_family(rules).items():
        yield from ("", f"## {heading}", "")
        yield "| id | severity | applies to | requirement and reason |"
        yield "| --- | --- | --- | --- |"
        for rule in family:
            yield f"| {' | '.join(_columns(rule))} |"


def _suites() -> Iterator[str]:
    """Yield the size of each suite, without the tool-call cases."""
    yield "| suite | probes | requests over both APIs | maximum output tokens |"
    yield "| --- | ---: | ---: | ---: |"
    for suite in get_args(SuiteName):
        probes = choose(suite).probes
        options = ProbeOptions("", BOTH_APIS, golden=golden_files.shipped())
        planned = [
            attempt for task in probe_tasks(probes, options) for attempt in task.all_attempts()
        ]
        tokens = sum((attempt.settings.max_tokens or 0) * attempt.max_turns for attempt in planned)
        requests = sum(attempt.usual_requests for attempt in planned)
        yield f"| {suite} | {len(probes)} | {requests} | {tokens:,} |"


def _relations(rules: Sequence[Rule]) -> Iterator[str]:
    """Yield the declarations of rules about their results, each with the rules that make it."""
    made: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        for text in [
            *(relation.words.format(**vars(relation)) for relation in rule.relations),
            *([f"needs {rule.needs}"] if rule.needs else []),
        ]:
            made[text].append(rule)
    yield from ("| declaration | rules |", "| --- | --- |")
    for text, declaring in made.items():
        listed = ", ".join(f"`{rule.id}`" for rule in declaring)
        yield f"| {_escaped(text)} | {'every probe' if len(declaring) == len(PROBES) else listed} |"


def _columns(rule: Rule) -> Iterator[str]:
    about = rule.about
    yield f"[`{about.id}`]({about.source})"
    tolerance = f", tolerated: {rule.habit}" if rule.habit else ""
    yield f"{about.severity}{tolerance}"
    yield rule.scope
    yield f"{_escaped(about.summary)} *{_escaped(about.why)}*"


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_|<>\[\]])", r"\\\1", text) if "`" not in text else text
