"""The commands of the reference engine, which need the extra `reference`."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gpt_oss_verify.screen import show
from harness.errors import ConfigurationError

_HINT = "The reference engine is not installed: pip install 'gpt-oss-verify[reference]'."


def serve(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Serve gpt-oss with the reference engine (`serve --help` lists its options).

    Args:
        arguments: Passed to the engine unchanged.
    """
    with _extra_needed():
        engine = import_module("reference_engine.__main__")
        code = engine.main(["serve", *arguments], program="gpt-oss-verify")
    return code if isinstance(code, int) else 0


def export_small(directory: Path, /, *, layout: Literal["original", "hf"]) -> int:
    """Write the bundled small checkpoint in a layout that other engines load.

    Args:
        directory: The target folder; created if missing.
        layout: OpenAI's original layout, or Hugging Face's with tokenizer and chat template.
    """
    with _extra_needed():
        export = import_module("reference_engine.small.export")
        try:
            export.export_small(directory, layout=layout)
        except OSError as error:
            raise ConfigurationError(f"The checkpoint cannot be written: {error}.") from None
    show(str(directory))
    return 0


@contextmanager
def _extra_needed() -> Iterator[None]:
    """Name the extra to install if a package of the engine is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "reference_engine":
            raise
        raise ConfigurationError(_HINT) from None
