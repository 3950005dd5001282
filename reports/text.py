"""Numbers and texts in the format that all reports share."""

import json
import math
import re
import shlex
import textwrap
from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.records.analysis import RuleResult
from harness.records.record import Record
from harness.records.runs import ProviderInfo
from harness.records.scores import Estimate, Percentiles
from harness.text import plain

NOTHING = "–"
_HASH = re.compile(r"[0-9a-f]{12}")  # the name of a question without an id
_LONGEST_LABEL = 60


def percent(value: float | None) -> str:
    """Return a share in percent, `97.8`."""
    return NOTHING if value is None else f"{value * 100:.1f}"


def estimate(value: Estimate) -> str:
    """Return a rate and its 95% interval in percent, `97.8 (94–100)`."""
    return f"{value.value * 100:.1f} ({interval(value)})"


def interval(value: Estimate) -> str:
    """Return a 95% interval in percent, `94–100`; bounds are rounded outwards."""
    return f"{math.floor(value.low * 100)}–{math.ceil(value.high * 100)}"


def spread(value: Percentiles | None, digits: int = 2) -> str:
    """Return the median and 90th percentile: `0.21 / 0.40`."""
    return NOTHING if value is None else f"{value.p50:,.{digits}f} / {value.p90:,.{digits}f}"


def visible(text: str) -> str:
    """Return the text on one line, with every unprintable character escaped."""
    return plain(text, kept="")


JOINT = "\ue000"  # stands for a space within a command while lines are wrapped
_COMMAND = re.compile(r"`[^`\n]+`|(?:^|(?<=[: ] ))gpt-oss-verify [^;\n]+")


def joined(text: str) -> str:
    """Return a text whose commands wrap as a whole: they have `JOINT` instead of spaces."""
    return _COMMAND.sub(lambda match: match[0].replace(" ", JOINT), text)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return a text with line breaks between its words, but not within a command.

    Lines after a break have the indent.
    """
    fill = partial(
        textwrap.wrap,
        width=width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = (line for part in joined(text).split("\n") for line in fill(part) or [""])
    return "\n".join(lines).replace(JOINT, " ")


def clipped(text: str, longest: int) -> str:
    """Return the text, cut after `longest` characters."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def sample_label(name: str, text: str) -> str:
    """Return the name of a sample, or the beginning of its text if the name is only a hash."""
    unnamed = text and _HASH.fullmatch(name)
    return clipped(" ".join(text.split()), _LONGEST_LABEL) if unnamed else name


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return `1 case`, `2 cases`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def share(result: RuleResult) -> str:
    """Return the share of applicable attempts with a finding: `chat 6 of 6, responses 0 of 6`."""
    unit = "repetition" if result.of_probe else "attempt"
    _, last = list(result.shares.values())[-1]
    return f"{result.share} {unit if last == 1 else unit + 's'}"


def address(provider: ProviderInfo) -> str:
    """Return the base URL of a provider, or the command that launched it."""
    if provider.launch_command is not None:
        filled = (
            argument.replace("{python}", "python").replace("{port}", "PORT")
            for argument in provider.launch_command
        )
        return f"launched with: {visible(shlex.join(filled))}"
    return visible(provider.base_url)


def moment(at: str, *, seconds: bool = False) -> str:
    """Return a time to the minute or second: `2026-11-20 14:13`."""
    return at[: 19 if seconds else 16].replace("T", " ")


def setting(value: object) -> str:
    """Return the value of a setting: `yes`, `a, b`, `aime25: 8`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    if isinstance(value, Record):
        return setting(value.model_dump(exclude_defaults=True))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {setting(member)}" for name, member in value.items())
    return str(value)


LONGEST_TEXT = 6_000
LONGEST_RAW = 4_000
LONGEST_EVENT = 800


def trimmed(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return the text without its middle if it is too long, with unprintable characters escaped."""
    if len(text) <= longest:
        return _printable(text)
    tail = longest // 4
    head = longest - tail
    note = f"\n… {len(text) - longest:,} characters omitted …\n"
    return _printable(text[:head]) + note + _printable(text[-tail:])


def pretty(value: Mapping[str, Any], longest: int = LONGEST_RAW) -> str:
    """Return a JSON object with one member per line, trimmed if it is too long."""
    try:
        return trimmed(json.dumps(value, ensure_ascii=False, indent=1), longest)
    except (ValueError, RecursionError):
        return "(nested too deeply to show)"


def pretty_text(text: str, longest: int = LONGEST_RAW) -> str:
    """Return text, formatted as JSON if it is a JSON object, and trimmed if it is too long."""
    if len(text) <= longest:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return trimmed(text, longest)
        if isinstance(value, dict):
            return pretty(value, longest)
    return trimmed(text, longest)


def _printable(text: str) -> str:
    return text if text.replace("\n", "").isprintable() else plain(text.replace("\r\n", "\n"))
