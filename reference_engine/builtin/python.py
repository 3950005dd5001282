"""Runs the model's Python programs in a sandbox, each in a separate process.

`python -m reference_engine.builtin.python` runs the program on its standard input and prints its
output. With `--check`, it runs no program; its exit status tells whether this machine can isolate
programs.
"""

import asyncio
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reference_engine.builtin.jail import REFUSED
from reference_engine.errors import SetupError

_JAIL = Path(__file__).with_name("jail.py")
_ISOLATED = "isolated"
_START_SECONDS = 30


@dataclass(frozen=True)
class PythonSandbox:
    """Runs programs with limits; they share no state."""

    seconds: int = 20  # the time limit of a program
    memory: int = 512 * 2**20  # the limit of each of its processes, in bytes of address space
    output: int = 16 * 2**10
    """The limit of the output in bytes; the rest is cut off and the program is stopped."""
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4), compare=False)
    """Limits the number of concurrent programs; the others wait."""

    def require_isolation(self) -> None:
        """Run a program to test whether this machine can isolate programs. Raises SetupError."""
        reason = f"the system is {sys.platform}"
        if sys.platform == "linux":
            ran = subprocess.run(  # noqa: S603 - our own program
                self._command,
                input=f"print({_ISOLATED!r})".encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_START_SECONDS,
                check=False,
                env={},
            )
            reason = ran.stdout.decode("utf-8", "replace").strip()
            if ran.returncode == 0 and reason == _ISOLATED:
                return
        raise SetupError(
            f"This machine cannot isolate Python programs ({reason}): isolation needs Linux 5.12 "
            "or later and user namespaces, which containers and some distributions forbid."
        )

    async def run(self, code: str) -> str:
        """Run a program and return its output and errors, in the order written."""
        async with self.turn:
            return await self._run(code)

    async def _run(self, code: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={},
            start_new_session=True,
        )
        try:
            output = await asyncio.wait_for(
                self._output(process, code), self.seconds + _START_SECONDS
            )
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.terminate()
                # asyncio also waits for the end of the output, which a full buffer would hide.
                while process.stdout and await process.stdout.read(2**16):
                    pass
                await process.wait()
        if process.returncode == REFUSED:
            return f"Python is not available: {output}"
        return output

    async def _output(self, process: asyncio.subprocess.Process, code: str) -> str:
        assert process.stdin
        assert process.stdout
        with suppress(ConnectionError):
            process.stdin.write(code.encode("utf-8", "replace"))
            await process.stdin.drain()
        process.stdin.close()
        output = bytearray()
        while len(output) <= self.output and (data := await process.stdout.read(2**16)):
            output += data
        if len(output) <= self.output:
            await process.wait()
            return output.decode("utf-8", "replace")
        cut = output[: self.output].decode("utf-8", "replace")
        return f"{cut}\n[The output is longer than {self.output} bytes; the rest is cut off.]\n"

    @property
    def _command(self) -> tuple[str, ...]:
        return sys.executable, "-I", str(_JAIL), str(self.seconds), str(self.memory)


def main() -> int:
    """Run the program on standard input, or test isolation; returns the exit status."""
    sandbox = PythonSandbox()
    if sys.argv[1:] == ["--check"]:
        try:
            sandbox.require_isolation()
        except SetupError as error:
            sys.stdout.write(f"{error}\n")
            return REFUSED
        return 0
    program = sys.stdin.buffer.read().decode("utf-8", "replace")
    sys.stdout.buffer.write(asyncio.run(sandbox.run(program)).encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
