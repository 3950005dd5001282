"""Judge a run from its folder; a long log is scored with one process per core.

The score of a rollout depends only on that rollout, except that probes judge several rollouts
together. The parent process therefore scores the rollouts of probes, and those that are not
planned.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from pathlib import Path

from harness.api.parsed_rollout import parse_rollout
from harness.errors import RunLogError
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo, Thresholds
from harness.records.scores import Score
from harness.run.run_log import ROLLOUTS_FILE, follow_rollouts, line_ranges
from harness.tasks.plan import Plan
from harness.tasks.task import Task
from harness.verdict.analyze import Judged, analyze
from harness.verdict.exchange_counts import ExchangeCounter, TimedExchange, timed_exchanges
from harness.verdict.planned_scores import share_values

BYTES_AT_ONCE = 4 * 2**20
"""The part of a log that a process reads: about 200 attempts at cases, half a second of work."""
_MOST_PROCESSES = 8
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h

Entry = tuple[list[TimedExchange], Rollout | Score]
"""The exchanges of a rollout, and its score, or the rollout if it is still to be scored."""

_run: tuple[Path, Plan]  # in a worker process: the folder and plan of its run


def judge(
    folder: Path,
    info: RunInfo,
    tasks: Sequence[Task],
    *,
    thresholds: Thresholds | None = None,
) -> Judged:
    """Judge a run from its folder, without writing files or using the network.

    `info` is its `run.json`, perhaps with other settings, such as another baseline. `thresholds`
    replace its own. Raises RunLogError.
    """
    for task in tasks:
        task.read_grades(folder)
    plan, counter = Plan(tuple(tasks), info.shard), ExchangeCounter()
    entries = read_scored(folder, plan, counter)
    analysis, scores = analyze(entries, plan, info, run_id=folder.name, thresholds=thresholds)
    return Judged(analysis.model_copy(update={"exchanges": counter.counts()}), scores)


def read_scored(
    folder: Path, plan: Plan, counter: ExchangeCounter | None = None
) -> Iterator[Rollout | Score]:
    """The entries of a log in order, each id once: a score, or a rollout still to be scored.

    `counter` counts the exchanges of each. Rollouts are scored here only if the log is long, on
    Linux and in the main thread, because other threads must not fork. Tasks that use grades must
    have read them.

    Raises RunLogError if the log is damaged or cannot be read, or a process was killed.
    """
    first, *others = list(line_ranges(folder / ROLLOUTS_FILE, BYTES_AT_ONCE)) or [(0, 0)]
    processes = min(_cores(), len(others), _MOST_PROCESSES)
    main = threading.current_thread() is threading.main_thread()
    if processes < 2 or sys.platform != "linux" or not main:
        entries: Iterator[Entry] = (
            (timed_exchanges(rollout), rollout) for rollout, _ in follow_rollouts(folder)
        )
    else:
        entries = chain(_scored(folder, plan, *first), _forked(folder, plan, processes, others))
    seen: set[str] = set()
    for exchanges, each in entries:
        record = each.record if isinstance(each, Score) else each.id
        if record not in seen:
            seen.add(record)
            if counter is not None:
                counter.add(exchanges)
            yield each


def _forked(
    folder: Path, plan: Plan, processes: int, ranges: Sequence[tuple[int, int]]
) -> Iterator[Entry]:
    """The entries of some ranges of the log, in order.

    The worker processes share what their parent has loaded, such as the types of the SDK.
    """
    gc.freeze()  # Otherwise, the garbage collector writes to shared memory.
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, fork, initializer=_begin, initargs=(folder, plan))
    try:
        yield from chain.from_iterable(pool.map(_part, *zip(*ranges, strict=True)))
    except BrokenProcessPool:
        raise RunLogError(
            f"{folder} was not judged: the system killed a process, perhaps for lack of memory."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()


def _begin(folder: Path, plan: Plan) -> None:
    """Prepare a worker process, which ends with its parent and leaves Ctrl-C to it."""
    global _run
    _run = folder, plan
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)


def _part(start: int, end: int) -> list[Entry]:
    """In a worker process: the entries of the lines between two positions of the log."""
    return _scored(*_run, start, end)


def _scored(folder: Path, plan: Plan, start: int, end: int) -> list[Entry]:
    """The entries of the lines between two positions of the log."""
    tasks = {task.name: task for task in plan.tasks if task.info.kind != "probes"}
    values: dict[object, object] = {}
    entries: list[Entry] = []
    for rollout, position in follow_rollouts(folder, start=start):
        task = tasks.get(rollout.task)
        score = None if task is None else task.score(parse_rollout(rollout))
        entry = rollout if score is None else share_values(score, values)
        entries.append((timed_exchanges(rollout), entry))
        if position >= end:
            break
    return entries


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
