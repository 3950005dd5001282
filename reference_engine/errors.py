"""The error for problems that a user of the engine can fix."""


class SetupError(ValueError):
    """A command or a server cannot run; the message gives the reason and the fix."""
