"""What can end the tool, other than a verdict.

    HarnessError                       exit code 2
    ├── ConfigurationError             2   the command line, providers.yaml, cases or environment
    ├── RunLogError                    2   the run folder cannot be read or written
    ├── ProviderUnavailableError       3   no use in sampling this provider
    │   ├── ProviderUnreachableError   3   nobody answers
    │   ├── ProviderUnauthorizedError  3   the key is missing, wrong or not allowed
    │   ├── ModelNotFoundError         3   the provider has no such model
    │   └── LaunchError                3   the provider's own process did not come up
    └── StoppedError                   130 Ctrl-C or SIGTERM

The message of each is one sentence for the user: what is wrong, where, and how to mend it. What a
provider does wrong once sampling has begun is never raised: it is recorded and judged.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of every error the command line turns into a message and an exit code."""

    exit_code = 2


class ConfigurationError(HarnessError):
    """Something the user wrote cannot be used."""


class RunLogError(HarnessError):
    """A run folder cannot be read or written."""


class ProviderUnavailableError(HarnessError):
    """The provider cannot be sampled at all."""

    exit_code = 3


class ProviderUnreachableError(ProviderUnavailableError):
    """Nobody answers at the provider's address."""


class ProviderUnauthorizedError(ProviderUnavailableError):
    """The provider refuses our key, or wants one."""


class ModelNotFoundError(ProviderUnavailableError):
    """The provider does not know the model."""


class LaunchError(ProviderUnavailableError):
    """The command of a `launch` entry did not become ready."""


class StoppedError(HarnessError):
    """The user stopped the run; everything finished is on disk."""

    exit_code = 130
