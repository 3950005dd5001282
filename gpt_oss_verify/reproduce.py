"""The command `reproduce`: the request behind a finding, sent again, reduced, and printed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from gpt_oss_verify.choice import same_provider
from gpt_oss_verify.options import ProviderOptions, Run
from gpt_oss_verify.screen import print_raw, say
from harness.api import DIALECTS
from harness.errors import (
    EXIT_FAIL,
    EXIT_PASS,
    EXIT_UNREACHABLE,
    ConfigurationError,
    ProviderUnavailableError,
)
from harness.providers.entries import Provider
from harness.records.rollouts import SDK, Exchange
from harness.records.runs import RunInfo
from harness.reproduction import (
    CONTINUES,
    KEY_VARIABLE,
    Body,
    Outcome,
    Subject,
    choose,
    curl,
    experiment,
    issue,
    python,
    size,
)
from harness.run import run_folder
from harness.run.launch import launched
from harness.run.run_log import read_rollouts, read_run_info
from harness.tasks.suite import restored_options
from harness.text import plain
from harness.transport import open_transport
from harness.transport.retry import RETRIES, RetryPolicy

DEFAULT_TIMES = 5
TIME_LIMIT = 50
"""Seconds after which the best request so far is printed."""
RETRIED = RetryPolicy({**RETRIES, "passing": 0})
"""A reply with a 5xx status is not retried: it may be the finding."""
MOST_COMPARED = 3
"""Requests of a probe that are shown next to the one with the evidence."""


def reproduce(
    run: Run,
    finding: str,
    /,
    *,
    record: str | None = None,
    times: Annotated[int, Parameter(validator=Number(gte=0))] = DEFAULT_TIMES,
    as_recorded: bool = False,
    form: Annotated[Literal["curl", "python", "issue"] | None, Parameter(name="--format")] = None,
    provider: ProviderOptions = ProviderOptions(),
) -> int:
    """Replay the request behind a finding.

    Args:
        finding: Id of the check or probe, as in the report.
        record: The record to use. Default: the first example in the report.
        times: How often to send the request; 0 prints only the recorded one. Default: 5.
        as_recorded: Do not reduce the request by removing parts that the finding does not need.
        form: Print only a curl command, a Python program, or an issue in Markdown.
    """
    info = read_run_info(run)
    options, analysis = restored_options(run, info), run_folder.read_analysis(run)
    subject = choose(analysis, read_rollouts(run), options, finding, record)
    entry = same_provider(info.provider, provider, times) if times else _entry(info, provider)
    outcome = Outcome()
    if times and entry is not None:
        try:
            asyncio.run(_experiment(subject, entry, outcome, times, as_recorded))
        except KeyboardInterrupt:
            say("Interrupted. This is the best request so far:")
        except ProviderUnavailableError as error:
            say(f"Nothing was sent: {error}")
    _print(subject, outcome, form, _key(entry, subject.exchange), run.name)
    if outcome.seen:
        return EXIT_FAIL
    return EXIT_UNREACHABLE if times and outcome.unanswered == outcome.sent else EXIT_PASS


async def _experiment(
    subject: Subject, entry: Provider, outcome: Outcome, times: int, as_recorded: bool
) -> None:
    """Send the requests again, until `TIME_LIMIT`. Raises ProviderUnavailableError."""
    used = entry.model_copy(update={"model": subject.rollout.condition.model})
    with TemporaryDirectory() as folder:
        async with (
            launched(used, Path(folder) / "provider.log") as ready,
            open_transport(ready, retries=RETRIED) as transport,
        ):
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    await experiment(
                        subject,
                        transport,
                        outcome,
                        times=times,
                        reduce=not as_recorded,
                        say=say,
                    )
            except TimeoutError:
                say(f"Stopped after {TIME_LIMIT} s. This is the best request so far:")
            if outcome.unanswered == outcome.sent:
                say(f"{entry.name} did not answer at {ready.base_url}.")


def _print(subject: Subject, outcome: Outcome, form: str | None, key: str | None, run: str) -> None:
    requests = [(subject.rollout.sample, request, _sent(request)) for request in subject.requests]
    if outcome.smallest is not None:
        requests[-1] = (subject.rollout.sample, subject.exchange, outcome.smallest)
    compared = {other.sample: other for other in reversed(subject.others)}
    compared.pop(subject.rollout.sample, None)
    for name, other in list(compared.items())[:MOST_COMPARED]:
        requests.append((name, other.exchanges[-1], _sent(other.exchanges[-1])))
    several = len(requests) > len(subject.requests)
    curls = [
        f"# {name}\n" * several + curl(exchange, body, key) for name, exchange, body in requests
    ]
    if form == "issue":
        print_raw(issue(subject, curls, outcome, run))
    elif form == "curl":
        print_raw("\n\n".join(curls))
    elif form == "python":
        bodies = [body for _, _, body in requests if isinstance(body, Mapping)]
        if len(bodies) < len(requests):
            raise ConfigurationError("a request has no JSON body; use --format curl")
        api = subject.rollout.api
        base_url = subject.exchange.request.url.removesuffix(DIALECTS[api].path)
        sent = subject.exchange.request.headers
        accept = {name.lower(): value for name, value in sent.items()}.get("accept", SDK.accept)
        print_raw(python(api, base_url, bodies, key, accept))
    else:
        print_raw(_overview(subject, outcome, curls))


def _overview(subject: Subject, outcome: Outcome, curls: list[str]) -> str:
    finding, result = subject.finding, subject.result
    lines = [
        f"{result.check.id} ({finding.severity}): {finding.message}",
        f"expected  {finding.evidence.expected}",
        f"got       {finding.evidence.got}",
        f"in the run: {result.share} affected",
    ]
    if outcome.sent > outcome.unanswered:
        lines.append(f"sent again: reproduced in {outcome.seen} of {outcome.sent}")
    if outcome.smallest is not None and subject.body is not None:
        before, after = size(subject.body), size(outcome.smallest)
        lines.append(f"reduced request: {after:,} of {before:,} characters")
    if len(curls) > len(subject.requests):
        lines.append("The probe compares several requests, named below; the first has the finding.")
    if subject.continues:
        lines.append(
            f"The `{CONTINUES}` is that of the run. It expires with the server: send the requests "
            "in this order, and use the id of the new response to the one before."
        )
    return "\n\n".join([plain("\n".join(lines)), *curls])


def _sent(exchange: Exchange) -> Body | str | None:
    request = exchange.request
    return request.text if request.body is None else request.body


def _entry(info: RunInfo, options: ProviderOptions) -> Provider | None:
    """Return the provider of the run, if its entry can be found."""
    try:
        return same_provider(info.provider, options, None)
    except ConfigurationError:
        return None


def _key(entry: Provider | None, exchange: Exchange) -> str | None:
    """Return the name of the environment variable with the key, if the request had a key."""
    sent = any(name.lower() == "authorization" for name in exchange.request.headers)
    if entry is not None and entry.api_key_env is not None:
        return entry.api_key_env
    return KEY_VARIABLE if sent else None
