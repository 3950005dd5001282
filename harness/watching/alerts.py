"""Describe incidents in sentences, and deliver alerts to a command or a webhook.

The URL of a webhook is a secret, because anyone who knows it can post. Messages name only its host.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import Literal
from urllib.parse import urlsplit

from harness.errors import ConfigurationError
from harness.text import percentage
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Incident

LEAST = 0.001  # smallest probability that is shown


def worse(incident: Incident) -> str:
    """What got worse, since when, and how certain that is."""
    begun = f"since {moment(incident.since)}"
    if incident.earliest < incident.latest:
        begun += f" (90 %: {moment(incident.earliest)} to {moment(incident.latest)})"
    return (
        f"{_subject(incident, _perfect(incident))} more often {begun}: "
        f"{_share(incident, incident.after)}; before, {_share(incident, incident.before)}. If "
        "nothing had changed, such evidence would appear within a month with a probability of at "
        f"most {percentage(max(incident.chance, LEAST))}."
    )


def ended(incident: Incident) -> str:
    """What is no longer worse."""
    when = "" if incident.ended is None else f"; this was noticed at {moment(incident.ended)}"
    return (
        f"{_subject(incident, f'no longer {_present(incident)}')} more often than before{when}. "
        f"The incident began at {moment(incident.since)}."
    )


def past(incident: Incident) -> str:
    """An incident that has ended."""
    end = "until an operator accepted the new rate" if incident.accepted else "to"
    until = "" if incident.ended is None else f" {end} {moment(incident.ended)}"
    return (
        f"{_subject(incident, 'failed')} more often from {moment(incident.since)}{until}: "
        f"{_share(incident, incident.after)} until it was noticed; before, "
        f"{_share(incident, incident.before)}."
    )


def moment(seconds: float) -> str:
    """`2026-11-21 14:00 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _subject(incident: Incident, verb: str) -> str:
    if incident.stream == AVAILABILITY:
        return f"The provider {verb} to answer"
    return f"{'Tool calls' if incident.stream == TOOL_CALLS else incident.stream} {verb}"


def _perfect(incident: Incident) -> str:
    return "have failed" if incident.stream == TOOL_CALLS else "has failed"


def _present(incident: Incident) -> str:
    return "fail" if incident.stream == TOOL_CALLS else "fails"


def _share(incident: Incident, counts: tuple[int, int]) -> str:
    failures, trials = counts
    unit = "" if incident.stream == TOOL_CALLS else " rounds"
    return f"{failures:,} of {trials:,}{unit} ({percentage(failures / trials)})"


WebhookFormat = Literal["json", "slack"]
COMMAND, WEBHOOK = "command", "webhook"  # the sinks
SLACK = "hooks.slack.com"
_SECONDS = 30.0


@dataclass(frozen=True)
class Sinks:
    """The destinations of alerts."""

    command: str | None = None  # run without a shell
    webhook: str | None = None
    form: WebhookFormat | None = None
    hidden: Collection[str] = ()  # environment variables that hold keys, not for the command

    @property
    def names(self) -> list[str]:
        """The sinks that are set."""
        return [name for name, value in ((COMMAND, self.command), (WEBHOOK, self.webhook)) if value]

    def check(self) -> None:
        """Refuse an unusable command or URL. Raises ConfigurationError."""
        if self.webhook is not None:
            url = urlsplit(self.webhook)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise ConfigurationError(
                    "--webhook takes a URL, or the name of an environment variable that holds one."
                )
        if self.command is not None:
            try:
                words = shlex.split(self.command)
            except ValueError as error:
                raise ConfigurationError(f"--on-alert cannot be read: {error}.") from None
            if not words:
                raise ConfigurationError("--on-alert takes a command, not an empty text.")

    def deliver(self, sink: str, content: str) -> str | None:
        """Deliver an alert; return the reason if that failed, otherwise None."""
        alert = json.loads(content)
        if sink == COMMAND and self.command:
            return _run(self.command, alert, self.hidden)
        if sink == WEBHOOK and self.webhook:
            return _post(self.webhook, self.form, alert)
        return f"no {sink} is set"


def alert(provider: str, opened: Sequence[Incident], closed: Sequence[Incident], run: str) -> str:
    """The incidents that one round of a provider opened and ended, as JSON."""
    text = [worse(each) for each in opened] + [ended(each) for each in closed]
    content = {
        "tool": "gpt-oss-verify",
        "provider": provider,
        "event": "worse" if opened else "recovered",
        "text": "\n".join(text),
        "run": run,
        "incidents": [asdict(each) for each in (*opened, *closed)],
    }
    return json.dumps(content, ensure_ascii=False)


def _run(command: str, alert: Mapping[str, object], hidden: Collection[str]) -> str | None:
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    own = {
        f"ALERT_{name.upper()}": str(alert[name]) for name in ("provider", "event", "text", "run")
    }
    own["ALERT_JSON"] = json.dumps(alert, ensure_ascii=False)
    words = shlex.split(command)
    try:
        done = subprocess.run(  # noqa: S603 (the user's own command)
            words, env=kept | own, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        return f"{words[0]} could not be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{words[0]} took longer than {_SECONDS:.0f} s"
    return None if done.returncode == 0 else f"{words[0]} ended with exit code {done.returncode}"


def _post(url: str, form: WebhookFormat | None, alert: Mapping[str, object]) -> str | None:
    import httpx

    host = urlsplit(url).hostname
    body = alert
    if (form or ("slack" if host == SLACK else "json")) == "slack":
        # Slack reserves these characters.
        body = {"text": escape(f"{alert['provider']}: {alert['text']}", quote=False)}
    try:
        answer = httpx.post(url, json=body, timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the webhook at {host} could not be reached ({type(error).__name__})"
    if not answer.is_success:
        return f"the webhook at {host} answered with status {answer.status_code}"
    return None
