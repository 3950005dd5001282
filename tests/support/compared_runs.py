"""Judged run folders of providers that never were, to be put side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from healthy import SUITE, Say, chat_whole, json_response, right, rollout
from recorded_runs import write_run

from harness.records.rollouts import Rollout
from harness.storage import run_folder
from harness.storage.run_log import read_run_info, write_run_info
from harness.tasks.cases import Case, Suite
from harness.verification import smoke

SMALL = SUITE.first(4)
TINY = SUITE.first(1)
_FIRST = datetime(2026, 11, 1, 10, tzinfo=UTC)

Passes = Callable[[Case, str, int], bool]
"""Whether an attempt passes: the case, the group such as `chat · streaming`, and the try."""


def always(_case: Case, _group: str, _number: int) -> bool:
    return True


def never_in(group: str) -> Passes:
    return lambda _case, found, _number: found != group


def attempts(passes: Passes, suite: Suite = SMALL, tries: int = 5) -> Iterator[Rollout]:
    """Every attempt of a run; one that does not pass calls no tool."""
    for number in range(1, tries + 1):
        for case in suite.cases:
            for api in ("responses", "chat"):
                for streaming in (True, False):
                    group = f"{api} · {'streaming' if streaming else 'non-streaming'}"
                    good = passes(case, group, number)
                    says = right(case) if good else [Say(text="I cannot call tools.")]
                    yield rollout(
                        says,
                        api=api,  # type: ignore[arg-type]
                        streaming=streaming,
                        sample=case.id,
                        attempt=number,
                    )


def miscounted(suite: Suite = SMALL, tries: int = 5) -> Iterator[Rollout]:
    """Every attempt of a run that passes, its tokens added up wrong in `chat · non-streaming`."""
    for one in attempts(always, suite, tries):
        if one.api == "responses" or one.streaming:
            yield one
            continue
        case = next(case for case in suite.cases if case.id == one.sample)
        first, last = right(case)
        whole = chat_whole(first)
        whole["usage"]["total_tokens"] = 1
        yield rollout(
            [json_response(whole), last],
            api="chat",
            streaming=False,
            sample=one.sample,
            attempt=one.attempt,
        )


def judged_run(
    folder: Path,
    rollouts: Iterable[Rollout] | None = None,
    *,
    provider: str = "mock",
    day: float = 0.0,
    finished: bool = True,
    suite: Suite = SMALL,
    tries: int = 5,
    **settings: Any,
) -> Path:
    """A run folder that was judged; `day` is when it was made, in days after the first of all."""
    made = attempts(always, suite, tries) if rollouts is None else rollouts
    info = write_run(folder, made, suite, tries=tries, first_cases=len(suite.cases), **settings)
    at = (_FIRST + timedelta(days=day)).isoformat()
    named = info.provider.model_copy(update={"name": provider})
    changes = {"provider": named, "started_at": at, "finished_at": at if finished else None}
    write_run_info(folder, read_run_info(folder).model_copy(update=changes))
    analysis = smoke.judge(folder, keep=partial(run_folder.write_judgements, folder))
    run_folder.write_analysis(folder, analysis)
    return folder
