"""The judge of a run while it is sampled: a second process, which reads the log.

Judging in the process that samples would delay the arrival of responses, and with it the recorded
times: with 256 requests in flight and a true latency of 200 ms, the median by 20%.

    python -m gpt_oss_verify.live_judge FOLDER    the second process; pickles on stdin and stdout
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from evals.restoring import all_tasks
from harness.records.analysis import Analysis
from harness.records.runs import RunInfo, Thresholds
from harness.run.run_folder import read_scores, write_scores
from harness.run.run_log import ROLLOUTS_FILE, read_run_info
from harness.tasks.task import Task
from harness.verdict.analyze import Judged
from harness.verdict.judge import Counts, Judge
from harness.verdict.kept_scores import Scores

SECONDS_UNJUDGED = 5.0
"""A run that ends earlier is judged at its end: the second process needs two seconds to start."""
SECONDS_BETWEEN_LOOKS = 1.0
MOST_STARTS = 3  # of processes that crash


class LiveJudge:
    """Judges one run like `Judge`, in a second process if the run takes long.

    A crash of the process costs nothing: another one reads the log from its beginning, or the run
    is judged in this process.
    """

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        """Judge the run in `folder`, which plans these tasks; nothing is read yet."""
        self.folder = folder
        self.tasks = tasks
        self.counts = Counts()
        self._here = Judge(folder, tasks)
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._told = False
        self._lock = threading.Lock()

    @contextmanager
    def following(self, info: RunInfo, tell: Callable[[str], None]) -> Iterator[None]:
        """Keep `counts` up to date until the end of the block.

        `tell` gets the first finding, once, in another thread. `info` is the `run.json` of the run.
        """
        ended = threading.Event()

        def follow() -> None:
            log, wait = self.folder / ROLLOUTS_FILE, SECONDS_UNJUDGED
            while not ended.wait(wait) and self._starts <= MOST_STARTS:
                wait = SECONDS_BETWEEN_LOOKS
                if not log.exists() or not log.stat().st_size:
                    continue
                if self._process is None:
                    self._start()
                self.counts, found = self._ask("look") or (self.counts, [])
                if found and not self._told:
                    self._told = True
                    tell(found[0])

        thread = threading.Thread(target=follow, name="judge", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def read(self) -> None:
        """Score what was added to the log since it was last read. Raises RunLogError."""
        counts = self._ask("read")
        if counts is None:
            self._here.read()
            counts = self._here.counts
        self.counts = counts

    def so_far(self, info: RunInfo) -> Analysis:
        """Judge what the log has now. Raises RunLogError."""
        return self._ask("so_far", info) or self._here.so_far(info)

    def judged(self, info: RunInfo, thresholds: Thresholds | None = None) -> Judged:
        """Judge all of the log, as `Judge.judged`, write its scores, and end the second process.

        The scores of the second process are read from the file.
        """
        analysis: Analysis | None = self._ask("judged", info, thresholds)
        self.close()
        if analysis is not None:
            return Judged(analysis, Scores(partial(read_scores, self.folder)))
        self._here.read()
        judged = self._here.judged(info, thresholds)
        write_scores(self.folder, judged.scores)
        return judged

    def first_finding(self, analysis: Analysis) -> str | None:
        """Return why a failed run failed, in a sentence, unless a finding was told before."""
        return None if self._told else self._here.first_finding(analysis)

    def _start(self) -> None:
        self._starts += 1
        if self._starts > MOST_STARTS:
            return
        command = [sys.executable, "-P", "-m", __name__, str(self.folder)]
        self._process = subprocess.Popen(  # noqa: S603 (this program)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the sampling only
        )

    def _ask(self, *question: object) -> Any:  # noqa: ANN401 (the type depends on the question)
        """Return the answer of the second process, None if there is no process or it crashed."""
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                return None
            try:
                pickle.dump(question, process.stdin)
                process.stdin.flush()
                return pickle.load(process.stdout)  # noqa: S301 (from this program)
            except (OSError, EOFError, pickle.UnpicklingError):
                self.close()
                return None

    def close(self) -> None:
        """End the second process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def main(folder: Path) -> None:
    """Judge the run in `folder`, and answer the questions on stdin until it is closed."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    os.nice(10)  # the sampling comes first
    info = read_run_info(folder)
    judge = Judge(folder, all_tasks(folder, info))
    found: list[str] = []
    while True:
        try:
            name, *arguments = pickle.load(questions)  # noqa: S301 (from this program)
        except EOFError:
            return
        if name == "look":
            judge.look(info, found.append)
            answer: object = (judge.counts, found)
        elif name == "so_far":
            answer = judge.so_far(*arguments)
        elif name == "read":
            judge.read()
            answer = judge.counts
        else:
            judge.read()
            answer, scores = judge.judged(*arguments)
            write_scores(folder, scores)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
