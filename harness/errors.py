"""The exit codes of the tool, and the errors that end a command.

    HarnessError                       exit code 2
    ├── ConfigurationError             2   the command line, providers.yaml, cases or environment
    ├── RunLogError                    2   the run folder cannot be read or written
    ├── ProviderUnavailableError       3   the provider cannot be sampled
    │   ├── ProviderUnreachableError   3   nothing answers at its address
    │   │   └── StoppedAnsweringError  3   it answered at first and then stopped
    │   ├── ProviderUnauthorizedError  3   the key is missing, wrong or without permission
    │   ├── ModelNotFoundError         3   the provider has no such model
    │   └── LaunchError                3   the launch command did not become ready
    └── StoppedError                   130 Ctrl-C or SIGTERM

A full disk is 74, whatever failed. Each message tells the user in one sentence what is wrong,
where, and how to fix it. Errors of the provider during sampling are not raised: they are recorded
and judged.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INCONCLUSIVE = 4
EXIT_CRASH = 70
EXIT_DISK_FULL = 74  # of sysexits.h: an error of input or output
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class HarnessError(Exception):
    """Base of all errors that the command line reports with a message and an exit code."""

    exit_code = EXIT_USAGE

    def __init__(
        self, text: str = "", run: Path | None = None, verdict: Mapping[str, object] = {}
    ) -> None:
        """Take the run folder, if the attempts in it are judged, and their verdict as JSON."""
        super().__init__(text)
        self.run, self.verdict = run, verdict


class ConfigurationError(HarnessError):
    """The command line, a file or the environment is invalid."""


class RunLogError(HarnessError):
    """A run folder cannot be read or written."""


class ProviderUnavailableError(HarnessError):
    """The provider cannot be sampled; without `tested`, its grader or a Ray node cannot be used."""

    exit_code = EXIT_UNREACHABLE
    tested = True


class ProviderUnreachableError(ProviderUnavailableError):
    """Nothing answers at the provider's address."""


class StoppedAnsweringError(ProviderUnreachableError):
    """The server stopped answering during a run; all finished attempts are on disk."""


class ProviderUnauthorizedError(ProviderUnavailableError):
    """The provider rejects the key or requires one."""


class ModelNotFoundError(ProviderUnavailableError):
    """The provider does not have the model."""


class LaunchError(ProviderUnavailableError):
    """The command of a `launch` entry did not become ready."""


class StoppedError(HarnessError):
    """The user stopped the run; all finished attempts are on disk."""

    exit_code = EXIT_INTERRUPTED


@contextmanager
def not_tested() -> Iterator[None]:
    """Mark a ProviderUnavailableError in the block as one of the grader."""
    try:
        yield
    except ProviderUnavailableError as error:
        error.tested = False
        raise


@contextmanager
def os_errors(kind: type[HarnessError], problem: str) -> Iterator[None]:
    """Raise an OSError in the block as an error of this kind: the problem and the reason."""
    try:
        yield
    except OSError as error:
        raise kind(f"{problem}: {error.strerror}.") from None


def read_text(path: Path, encoding: str = "utf-8", newline: str | None = None) -> str:
    """Return the text of a file; `newline` is that of `open`. Raises ConfigurationError."""
    try:
        with path.open(encoding=encoding, newline=newline) as file:
            return file.read()
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {path}.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} cannot be read: it is not UTF-8 text.") from None
