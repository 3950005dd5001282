"""Script that runs a command and ends it when the parent process ends.

The arguments are the command; standard input is a pipe that the parent keeps open. However the
parent dies, even by SIGKILL, the pipe closes and the script ends its whole process group, so that
no server keeps running.
"""

import os
import signal
import subprocess
import sys
import threading
import time

SECONDS_TO_STOP = 10
CANNOT_START = 127


def main(command: list[str]) -> int:
    """Run `command` and return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (the user's own)
    except OSError as error:
        sys.stderr.write(f"{error.filename or command[0]}: {error.strerror}\n")
        return CANNOT_START
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
