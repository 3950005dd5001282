"""The command `serve`, which needs the extra `reference`."""

from importlib import import_module
from typing import Annotated

from cyclopts import Parameter

from harness.errors import ConfigurationError


def serve(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Serve gpt-oss with the reference engine (`serve --help` lists its options).

    Args:
        arguments: Passed to the engine unchanged.
    """
    try:
        engine = import_module("reference_engine.__main__")
        code = engine.main(["serve", *arguments], program="gpt-oss-verify")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "reference_engine":
            raise
        raise ConfigurationError(
            "The reference engine is not installed: pip install 'gpt-oss-verify[reference]'."
        ) from None
    return code if isinstance(code, int) else 0
