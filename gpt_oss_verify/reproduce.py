"""The command `reproduce`: the request behind a finding, sent again, reduced, and printed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gpt_oss_verify.carry_out import carry_out
from gpt_oss_verify.options import Options, ProviderOptions, Run, RunOptions, parse_list
from gpt_oss_verify.planning import typed_command
from gpt_oss_verify.resolve import Chosen, resolve
from gpt_oss_verify.screen import print_raw, say
from harness.api import DIALECTS
from harness.errors import (
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_PASS,
    EXIT_UNREACHABLE,
    ConfigurationError,
    ProviderUnavailableError,
)
from harness.providers.entries import Provider
from harness.records.rollouts import SDK, Exchange
from harness.repeat.commands import curl, issue, key_variable, python
from harness.repeat.experiment import MOST_REQUESTS, Outcome, experiment
from harness.repeat.retest import planned_retest
from harness.repeat.smaller import Body, size
from harness.repeat.subject import CONTINUES, USUAL_TRIES, Subject, choose
from harness.run import run_folder
from harness.run.launch import launched
from harness.run.run_log import read_rollouts, read_run_info
from harness.tasks.suite import restored_options
from harness.text import plain
from harness.transport import open_transport
from harness.transport.interface import Transport
from harness.transport.retry import RETRIES, RetryPolicy

FORMS = ("curl", "python", "issue")
TIME_LIMIT = 50
"""Seconds for each portion of tries, after which the best request so far is printed."""
RETRIED = RetryPolicy({**RETRIES, "passing": 0})
"""A reply with a 5xx status is not retried: it may be the finding."""


def reproduce(
    run: Run,
    finding: str,
    /,
    *,
    record: str | None = None,
    times: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    as_recorded: bool = False,
    form: Annotated[str | None, Parameter(name="--format")] = None,
    provider: ProviderOptions = ProviderOptions(),
) -> int:
    """Replay the request behind a finding.

    Args:
        finding: Id of the check or probe, as in the report.
        record: The record to use. Default: the first example in the report.
        times: How often to send it; 0 prints only the recorded request. Default: 5 to 60.
        as_recorded: Do not reduce the request by removing parts that the finding does not need.
        form: Print only curl, python, issue (the text of an issue), or several, such as curl,issue.
    """
    forms = parse_list("--format", form, FORMS) if form is not None else ()
    info = read_run_info(run)
    options, analysis = restored_options(run, info), run_folder.read_analysis(run)
    subject = choose(analysis, read_rollouts(run), options, finding, record)
    if "python" in forms and not all(isinstance(body, Mapping) for _, body in _sent(subject)):
        raise ConfigurationError("a request has no JSON body; use --format curl")
    tries = min(subject.enough, MOST_REQUESTS) if times is None else times
    at_once = min(tries, max(USUAL_TRIES, info.settings.concurrency))
    chosen = None
    with nullcontext() if tries else suppress(ConfigurationError):
        chosen = resolve(Options(provider, concurrency=at_once or None), info)
    entry = None if chosen is None else chosen.provider
    outcome = Outcome()
    if tries and subject.rule.of_run and chosen is not None:
        return _small_run(run, chosen, finding, times)
    if tries and entry is not None:
        send = partial(
            experiment,
            times=tries,
            at_once=at_once,
            until_seen=times is None and tries > USUAL_TRIES,
            reduce=not as_recorded,
            say=say,
        )
        try:
            asyncio.run(_experiment(subject, entry, outcome, send, ceil(tries / at_once)))
        except KeyboardInterrupt:
            say("Interrupted. This is the best request so far:")
        except ProviderUnavailableError as error:
            say(f"Nothing was sent: {error}")
    key = key_variable(subject.exchange, None if entry is None else entry.api_key_env)
    print_raw("\n\n".join(_printed(subject, outcome, forms, key)))
    if not tries:
        return EXIT_PASS
    if outcome.seen:
        return EXIT_FAIL
    if not outcome.answered:
        return EXIT_UNREACHABLE
    say(f"Reproduced in {outcome.unseen}.{_more_tries(subject, outcome)}")
    if not info.of_kind("traffic"):
        say(f"A finding that needs other requests at once shows in: gpt-oss-verify retest {run}")
    return EXIT_INCONCLUSIVE


def _small_run(run: Path, chosen: Chosen, finding: str, times: int | None) -> int:
    """Retest a finding that only a run shows; return 1 if it shows again, 4 if not or not sent."""
    say(f"{finding} compares the replies of a run. A small run sends those with the finding again.")
    try:
        plan = planned_retest(run, chosen.provider, chosen.budget, typed_command(), times, finding)
    except ConfigurationError as error:
        say(f"It cannot be sent again: {error}")
        return EXIT_INCONCLUSIVE
    code = carry_out(plan, RunOptions())
    return EXIT_INCONCLUSIVE if code == EXIT_PASS else code


def _more_tries(subject: Subject, outcome: Outcome) -> str:
    """Say how many tries would show a finding that is rarer than those that were made tell."""
    if subject.enough <= outcome.answered:
        return ""
    return (
        " It was in {} of {} replies of the run, so {enough} tries show it with 95%: "
        "--times {enough}"
    ).format(*subject.result.affected, enough=subject.enough)


async def _experiment(
    subject: Subject,
    entry: Provider,
    outcome: Outcome,
    send: Callable[[Subject, Transport, Outcome], Awaitable[None]],
    portions: int,
) -> None:
    """Send the requests again, until `TIME_LIMIT`. Raises ProviderUnavailableError."""
    used = entry.model_copy(update={"model": subject.rollout.condition.model})
    limit = TIME_LIMIT * portions
    with TemporaryDirectory() as folder:
        async with (
            launched(used, Path(folder) / "provider.log") as ready,
            open_transport(ready, retries=RETRIED) as transport,
        ):
            try:
                async with asyncio.timeout(limit):
                    await send(subject, transport, outcome)
            except TimeoutError:
                say(f"Stopped after {limit} s. This is the best request so far:")
            if not outcome.answered:
                say(f"{entry.name} did not answer at {ready.base_url}.")


def _printed(
    subject: Subject, outcome: Outcome, forms: Sequence[str], key: str | None
) -> Iterator[str]:
    """Yield the requests in each form, after its name if there are several; or an overview."""
    requests = _sent(subject)
    if outcome.smallest is not None:
        requests[len(subject.requests) - 1] = (subject.exchange, outcome.smallest)
    curls = [curl(exchange, body, key) for exchange, body in requests]
    if not forms:
        yield _overview(subject, outcome, _labelled(subject, curls))
    for form in forms:
        if len(forms) > 1:
            yield f"# --format {form}"
        if form == "issue":
            lines = [curl(exchange, body, key, indent=None) for exchange, body in requests]
            yield issue(subject, lines, outcome)
        elif form == "curl":
            yield "\n\n".join(_labelled(subject, curls))
        else:
            yield _program(
                subject, [body for _, body in requests if isinstance(body, Mapping)], key
            )


def _program(subject: Subject, bodies: Sequence[Body], key: str | None) -> str:
    """Return the requests as a Python program."""
    api, sent = subject.rollout.api, subject.exchange.request
    base_url = sent.url.removesuffix(DIALECTS[api].path)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    return python(api, base_url, bodies, key, headers.get("accept", SDK.accept))


def _labelled(subject: Subject, curls: Sequence[str]) -> list[str]:
    """Return the commands; the two that a finding compares are named in a comment."""
    if subject.compared is None:
        return list(curls)
    *own, other = curls
    own[-1] = f"# {subject.rollout.sample}: its reply has the finding\n{own[-1]}"
    return [*own, f"# {subject.compared.sample}: compared with it\n{other}"]


def _overview(subject: Subject, outcome: Outcome, curls: Sequence[str]) -> str:
    finding, result = subject.finding, subject.result
    lines = [
        f"{result.check.id} ({finding.severity}): {finding.message}",
        f"expected  {finding.evidence.expected}",
        f"got       {finding.evidence.shown}",
        f"in the run: {result.share} affected",
    ]
    if outcome.seen:
        lines.append(f"sent again: reproduced in {outcome.seen} of {outcome.answered}")
    elif outcome.answered:
        lines.append(f"sent again: reproduced in {outcome.unseen}")
    if outcome.smallest is not None and subject.body is not None:
        lines.append(
            f"reduced request: {size(outcome.smallest):,} of {size(subject.body):,} characters"
        )
    if subject.compared is not None:
        lines.append(f"compare   {subject.difference}")
    if subject.others and subject.compared is None:
        lines.append(
            f"The probe judges this reply together with those to {len(subject.others)} other "
            f"requests; `--only {result.check.id}` sends them all."
        )
    if subject.continues:
        lines.append(
            f"The `{CONTINUES}` is that of the run. It expires with the server: send the requests "
            "in this order, and use the id of the new response to the one before."
        )
    if subject.enough > USUAL_TRIES and subject.body is not None and len(curls) == 1:
        lines.append(f"It is rare, so the command is a loop of {subject.enough} tries.")
        curls = [f"for i in $(seq {subject.enough}); do\n{curls[0]}\ndone"]
    return "\n\n".join([plain("\n".join(lines)), *curls])


def _sent(subject: Subject) -> list[tuple[Exchange, Body | str | None]]:
    """Return the recorded exchanges of a finding with the bodies of their requests."""
    exchanges = list(subject.requests)
    if subject.compared is not None:
        exchanges.append(subject.compared.exchanges[-1])
    bodies = (e.request.text if e.request.body is None else e.request.body for e in exchanges)
    return list(zip(exchanges, bodies, strict=True))
