"""Run folders of tool calling that were never sampled, with problems of every kind."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from analyses import planned
from healthy import STARTED, SUITE, correct, exchange, json_response, rollout
from replies import Reply, chat_whole

from harness.records.rollouts import Exchange, Retry, Rollout, TransportFailure
from harness.records.runs import RunInfo
from harness.run.cases import Case, Suite
from harness.run.run_log import ROLLOUTS_FILE, RunLog, read_run_info, write_run_info

_BEGAN = datetime.fromisoformat(STARTED).astimezone(UTC)


def write_run(
    folder: Path, rollouts: Iterable[Rollout], suite: Suite = SUITE, **changes: Any
) -> RunInfo:
    """A run folder with these records."""
    folder.mkdir(parents=True, exist_ok=True)
    run = planned(suite=suite, **changes)
    for task in run.tasks:
        task.write_files(folder)
    with (folder / ROLLOUTS_FILE).open("wb") as log:
        for each in rollouts:
            log.write(each.model_dump_json().encode() + b"\n")
    write_run_info(folder, run.info)
    return run.info


def write_finished_run(
    folder: Path, rollouts: Iterable[Rollout], suite: Suite = SUITE, **changes: Any
) -> RunInfo:
    """A complete run folder of this version."""
    info = write_run(folder, (), suite, **changes)
    with RunLog(folder) as log:
        for each in rollouts:
            log.append(each)
    write_run_info(folder, ended(info, tool_version=version("gpt-oss-verify")))
    return read_run_info(folder)


def ended(info: RunInfo, **changes: Any) -> RunInfo:
    """`run.json` of a complete run."""
    return info.model_copy(update={"finished_at": STARTED, "ended": "complete", **changes})


def problem_rollouts(suite: Suite = SUITE, tries: int = 5, seed: int = 1) -> Iterator[Rollout]:
    """Every attempt of a run with problems of every kind, at varying times."""
    random = Random(seed)
    clock = itertools.count()
    for number in range(1, tries + 1):
        for case in suite.cases:
            for api in ("responses", "chat"):
                for streaming in (True, False):
                    answers = list(_answers(case, random, api == "chat" and not streaming))
                    one = rollout(
                        answers,
                        api=api,  # type: ignore[arg-type]
                        streaming=streaming,
                        sample=case.id,
                        attempt=number,
                        end="failed" if isinstance(answers[-1], Exchange) else "answered",
                    )
                    yield _timed(one, next(clock), random)


def _answers(case: Case, random: Random, plain_chat: bool) -> Iterator[Any]:
    good = correct(case)
    luck = random.random()
    if luck < 0.03:
        yield Reply(
            text="I am sorry, I cannot call tools.", reasoning="I should call a tool.\nBut."
        )
    elif luck < 0.05:
        yield Reply(call=("no_such_tool", "{}"))
        yield good[1]
    elif luck < 0.07:
        yield Reply(call=(case.tool_name, '{"unfinished": '))
        yield good[1]
    elif luck < 0.09:
        yield broken("timeout")
    elif luck < 0.10 and plain_chat:
        whole = chat_whole(good[0])
        whole["usage"]["total_tokens"] = 1
        yield json_response(whole)
        yield good[1]
    else:
        yield from good


def broken(kind: str) -> Exchange:
    """An exchange that got no answer."""
    failure = TransportFailure(kind=kind, message="No answer within 60 s.")  # type: ignore[arg-type]
    return exchange("chat", False, None, failure=failure)


def _timed(one: Rollout, place: int, random: Random) -> Rollout:
    """The same rollout at a later time, a few seconds long, sometimes with a retry."""
    began = _BEGAN + timedelta(seconds=place * 0.4)
    exchanges = []
    for each in one.exchanges:
        elapsed = round(random.lognormvariate(0.3, 0.5), 3)
        retried = Retry(status=429, waited=1.5)
        response = each.response
        if response is not None and response.parts:
            pace = elapsed / len(response.parts)
            parts = tuple(
                replace(part, at=round(pace * (i + 1), 3)) for i, part in enumerate(response.parts)
            )
            response = response.model_copy(update={"parts": parts})
        exchanges.append(
            each.model_copy(
                update={
                    "started_at": began.isoformat(),
                    "elapsed": elapsed,
                    "retries": (retried,) if random.random() < 0.02 else (),
                    "response": response,
                }
            )
        )
        began += timedelta(seconds=elapsed)
    return one.model_copy(update={"exchanges": tuple(exchanges)})
