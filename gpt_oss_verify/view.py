"""The command `view`: a run in the browser, while it goes on and afterwards."""

import asyncio
import socket
import webbrowser
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gpt_oss_verify.options import Run
from gpt_oss_verify.screen import say, show
from harness.api.parsed_rollout import parse_rollout
from harness.errors import ConfigurationError
from harness.records.rollouts import Exchange, Rollout
from harness.records.runs import RunInfo
from harness.records.scores import Score
from harness.repeat.commands import curl, key_variable
from harness.tasks.tool_calling import invalidated
from reports.view.followed_run import FollowedRun, ScoreOf
from reports.view.server import Server

_HOST = "127.0.0.1"


def view(
    run: Run,
    /,
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    no_browser: bool = False,
) -> int:
    """Look into a run in the browser while it goes on and afterwards.

    The page has all attempts in one table with filters, and the requests and replies of each with
    its findings beside the bytes. Its address works on this machine only, until Ctrl-C.

    Args:
        port: Port of 127.0.0.1. Default: a free one.
        no_browser: Only print the address.
    """
    followed = FollowedRun(run, partial(_scorer, run))
    with _listening(port) as listening:
        server = Server(followed, listening, _as_command)

        def ready() -> None:
            show(server.address)
            say("Ctrl-C ends it.")
            if not no_browser:
                webbrowser.open(server.address)

        with suppress(KeyboardInterrupt):
            asyncio.run(server.serve(ready))
    return 0


def _listening(port: int) -> socket.socket:
    """Listen on a port of this machine. Raises ConfigurationError."""
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} of {_HOST} cannot be used: {error.strerror}; name another one with "
            "--port, or leave it out for a free one."
        ) from None


def _as_command(exchange: Exchange) -> str:
    body = exchange.request.text if exchange.request.body is None else exchange.request.body
    return curl(exchange, body, key_variable(exchange))


def _scorer(folder: Path, info: RunInfo) -> ScoreOf:
    """Return what scores the records of a run that goes on, with the errors that are certain.

    An eval with a scorer of the user's own is left out: its program runs when the run is judged.
    """
    from evals.restoring import all_tasks  # a judged run does not need it, and it takes a second
    from harness.verdict.judge import certain_errors

    own = {task.name for task in info.tasks if task.dataset is not None and task.dataset.scorer}
    tasks = {task.name: task for task in all_tasks(folder, info) if task.name not in own}

    def score(rollout: Rollout) -> Score | None:
        task = tasks.get(rollout.task)
        made = None if task is None else task.score(parse_rollout(rollout))
        if made is None:
            return None
        errors = tuple(certain_errors(made, info))
        judged = made.value is not None  # requests of probes have no value
        return invalidated(made, errors) if judged else replace(made, findings=errors)

    return score
