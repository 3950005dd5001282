"""Run folders that were never sampled, followed and served."""

import asyncio
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reporting import analysis, tool_calling

from harness.records.analysis import Analysis
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.run import run_folder
from harness.run.run_log import ROLLOUTS_FILE, write_run_info
from reports.view.followed_run import FollowedRun
from reports.view.server import Server


def write(folder: Path, rollouts: Iterable[Rollout]) -> None:
    """Append records to the log of a run."""
    folder.mkdir(exist_ok=True)
    with (folder / ROLLOUTS_FILE).open("ab") as log:
        for each in rollouts:
            log.write(each.model_dump_json().encode() + b"\n")


def write_judgement(
    folder: Path, scores: list[Score], judged: Analysis | None = None, ended: bool = True
) -> None:
    """Write what a judged run has besides its log."""
    judged = judged or analysis([tool_calling(scores)], decision="fail")
    info = judged.run.model_copy(update={"ended": "complete" if ended else None})
    write_run_info(folder, info)
    if ended:
        run_folder.write_scores(folder, scores)
        run_folder.write_analysis(folder, judged.model_copy(update={"run": info}))


def followed(folder: Path) -> FollowedRun:
    """Follow a run whose new records get no score."""
    return FollowedRun(folder, lambda _: lambda _: None)


def read_all(run: FollowedRun) -> FollowedRun:
    while run.look():
        pass
    return run


@contextmanager
def served(run: FollowedRun) -> Iterator[str]:
    """Serve a run in another thread, at the address that is returned."""
    ready, started = threading.Event(), []
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(run, listening, lambda exchange: f"curl {exchange.request.url}")

    async def serve() -> None:
        started.append((asyncio.get_running_loop(), asyncio.current_task()))
        await server.serve(ready.set)

    def work() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(30)
        yield server.address
    finally:
        loop, task = started[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
