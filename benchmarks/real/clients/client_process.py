"""Start and stop a process that runs real clients in their own environment, and talk to it.

Such a process, as of python.py, prints `MARK` and a JSON array of its uses ("pyd chat streaming").
Then it reads a JSON array of a damage, a use and the most seconds on each line, has the
conversation, and prints `MARK` and an object: the arguments of its `calls`, and its last `text` or
its `error`, with `late` if it does not end.
"""

import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Self

from real.clients.replies import Server

MARK = "measured "
"""What the processes of the clients print before a result; libraries print, too."""
LONGEST = 120
"""Seconds of a conversation, also on a machine that does other work."""
_SLOWER = 5
"""On a slow machine, as many times the seconds of the client's quickest healthy conversation."""
_FIRST = 500
"""Seconds of a client's first conversation, which imports its packages, and of a start."""
_GRACE = 60
"""Seconds after which a process is ended that does not stop a conversation itself."""
_REPEATED = 2
"""Tries of a conversation that does not end, because other work may have delayed it."""
_ROOT = Path(__file__).parents[3]


class LateError(Exception):
    """A process ends, or says nothing in time; the message says which."""


class ClientProcess:
    """A process of clients, which talks to a server."""

    def __init__(self, command: Sequence[str], server: Server, folder: Path, home: Path) -> None:
        self.server = server
        self._command = command
        self._seconds: dict[str, float] = {}  # of the quickest healthy conversation of each client
        # It reads as the tool does: with the tool's own code.
        self._environment = {
            "REAL_CLIENTS_URL": server.url,
            "REAL_CLIENTS_COMMANDS": str(folder / "node_modules/.bin"),
            "REAL_CLIENTS_HOME": str(home),
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'benchmarks'}",
        }
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        self._errors: deque[str] = deque(maxlen=1)
        self._results: Queue[Any] = Queue()
        self._process = subprocess.Popen(
            self._command,
            env=os.environ | self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._readers = [
            Thread(target=_results, args=(self._process, self._results), daemon=True),
            Thread(target=_errors, args=(self._process, self._errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _end(self) -> None:
        """End it, with the commands that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)  # longer if a command left its group, and has the pipe still
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _restart(self) -> None:
        self._end()
        self._start()
        self.uses()

    def uses(self) -> list[str]:
        """Return what its clients can do; call it once, first. Raises `LateError`."""
        found: list[str] = self._result(_FIRST)
        return found

    def conversation(self, damage: str, use: str) -> dict[str, Any]:
        """Return what a conversation comes to; one that does not end is tried again.

        Raises `LateError` if the process cannot be started again.
        """
        made: dict[str, Any] = {}
        for _ in range(_REPEATED):
            self.server.requests.clear()
            made = self._outcome(damage, use)
            if "late" not in made:
                break
            self._restart()
        return made

    def _outcome(self, damage: str, use: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        client = use.partition(" ")[0]
        start, healthy = time.monotonic(), self._seconds.get(client)
        seconds = max(LONGEST, round(_SLOWER * healthy)) if healthy is not None else _FIRST
        try:
            self._process.stdin.write(json.dumps([damage, use, seconds]) + "\n")
            self._process.stdin.flush()
            made: dict[str, Any] = self._result(seconds + _GRACE)
        except (LateError, OSError) as late:
            return {"calls": [], "error": str(late), "late": True}
        if not damage:
            taken = time.monotonic() - start
            self._seconds[client] = min(taken, taken if healthy is None else healthy)
        return made

    def _result(self, seconds: float) -> Any:  # noqa: ANN401 - JSON
        try:
            made = self._results.get(timeout=seconds)
        except Empty:
            raise LateError(f"no end after {seconds} s") from None
        if made is None:
            raise LateError(f"the process ended: {' '.join(self._errors)[-200:]}")
        return made


def _results(process: "subprocess.Popen[str]", into: "Queue[Any]") -> None:
    """Put the results of a process, and None when it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(MARK):
            # A thread of a library may print behind it.
            into.put(json.JSONDecoder().raw_decode(line.removeprefix(MARK))[0])
    into.put(None)


def _errors(process: "subprocess.Popen[str]", into: "deque[str]") -> None:
    """Keep the last line of what a process says of its errors."""
    assert process.stderr is not None
    into.extend(line.strip() for line in process.stderr if line.strip())
