"""The reference engine without the harness: `python -m reference_engine serve`.

Modules that import torch are imported where they are used, to keep --help and usage errors fast.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.types import ExistingDirectory
from cyclopts.validators import Number
from rich.console import Console

from harmony.conversation import Effort
from harmony.extras import install_command
from harmony.vocabulary import VocabularyError
from reference_engine.backends.settings import REMOTE, BackendSettings
from reference_engine.builtin.exa import exa
from reference_engine.builtin.pages import Folder, Pages
from reference_engine.builtin.python import PythonSandbox
from reference_engine.builtin.tools import ServerTools
from reference_engine.errors import SetupError
from reference_engine.kv_cache.memory import SIZE
from reference_engine.server.settings import (
    AppSettings,
    BatchSettings,
    CurrentDate,
    EngineSettings,
    ServeSettings,
)
from reference_engine.small import SMALL_CHECKPOINT

Layout = Literal["original", "hf"]


def main(argv: Sequence[str] | None = None, *, program: str = "python -m reference_engine") -> int:
    """Run the command line, called `program` in the help.

    Returns 0, 2 on an error, or 130 on an interrupt.
    """
    # Spinning worker threads would take CPU time from clients on the same machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        application(program)(
            argv, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _fail(f"{' '.join(str(error).split()).rstrip('.')}. See {program} --help.")
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed: {install_command('reference')}")
    except SetupError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def application(program: str) -> App:
    """Return the commands as an application with this name in its help texts."""
    app = App(
        name=program,
        help=__doc__.partition("\n")[0],
        help_format="markdown",
        default_parameter=Parameter(show_default=False, negative=()),
        version_flags=[],
        suppress_keyboard_interrupt=False,
        console=Console(force_terminal=None if sys.stdout.isatty() else False),
    )
    for command in (faults, score, serve, chat, convert, export_small, synthesize, download):
        app.command(command)
    return app


def faults(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the faults that serve --fault accepts.

    Args:
        as_json: Print a JSON list.
    """
    from reference_engine.faults.catalogue import listing, listing_json

    sys.stdout.write(f"{listing_json() if as_json else listing()}\n")


def score(*, engine: BatchSettings = BatchSettings(), current_date: CurrentDate = None) -> None:
    """Print the logprobs of generated or given completions."""
    from reference_engine.scoring import answer_lines

    settings = ServeSettings(**vars(engine), app=AppSettings(dated=current_date))
    with _explained():
        for line in answer_lines(sys.stdin.buffer, settings):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def serve(
    *,
    settings: ServeSettings = ServeSettings(),
    backend_key_env: str | None = None,
    api_key_env: str | None = None,
    browser: str | None = None,
    python: bool = False,
) -> None:
    """Serve a checkpoint over HTTP.

    Args:
        backend_key_env: Environment variable with the API key of the backend's server.
        api_key_env: Environment variable with the API key of clients.
        browser: Offer the tool web_search in the Responses API: a folder with pages at HOST/PATH,
            or the search service exa.
        python: Offer the tool code_interpreter in the Responses API, in a sandbox (Linux).
    """
    backend = _backend(settings.backend, backend_key_env)
    tools = _tools(browser, python=python)
    app = replace(settings.app, api_key=_key("--api-key-env", api_key_env), tools=tools)
    settings = replace(settings, backend=backend, app=app)
    if sys.stderr.isatty():
        sys.stderr.write("Loading …\n")
    from reference_engine.server.serve import Parts
    from reference_engine.server.serve import serve as serve_engine

    parts = Parts()
    if settings.faulty:
        from reference_engine.faults.server import faulty_parts

        parts = faulty_parts(settings.faults, by_request=settings.faults_by_request)
    serve_engine(settings, parts)


def _tools(browser: str | None, *, python: bool) -> ServerTools:
    """Return the built-in tools of the options. Raises SetupError."""
    pages: Pages | None = None
    if browser is not None:
        pages = exa() if browser == "exa" else Folder(Path(browser))
    sandbox = PythonSandbox() if python else None
    if sandbox:
        sandbox.require_isolation()
    return ServerTools(pages, sandbox)


def chat(
    *,
    engine: EngineSettings = EngineSettings(),
    current_date: CurrentDate = None,
    backend: BackendSettings = BackendSettings(),
    backend_key_env: str | None = None,
    effort: Effort = "medium",
    raw: bool = False,
    temperature: Annotated[float, Parameter(validator=Number(gte=0))] = 1.0,
    seed: int | None = None,
    browser: str | None = None,
    python: bool = False,
    edit: ExistingDirectory | None = None,
) -> None:
    """Chat with a model in the terminal.

    Args:
        current_date: The date.
        backend_key_env: Environment variable with the API key of the backend's server.
        effort: Initial reasoning effort. Default: medium.
        raw: Show the raw harmony tokens.
        temperature: 0 selects the most probable token.
        seed: Seed of the conversation.
        browser: Let the model use its browser; same values as for serve.
        python: Let the model run Python programs in a sandbox (Linux).
        edit: Let the model edit the text files of this folder with apply_patch.
    """
    from reference_engine.chat import ChatSettings
    from reference_engine.chat import chat as chat_with
    from reference_engine.server.serve import open_engine

    app = AppSettings(dated=current_date)
    backend = _backend(backend, backend_key_env)
    tools = _tools(browser, python=python)
    opened = open_engine(ServeSettings(**vars(engine), max_batch=1, backend=backend))
    chat_settings = ChatSettings(
        effort=effort,
        raw=raw,
        temperature=temperature,
        seed=seed,
        current_date=app.current_date,
        folder=edit and edit.resolve(),
    )
    name = engine.checkpoint.resolve().name
    if backend.is_remote:
        name = backend.root
    elif engine.checkpoint == SMALL_CHECKPOINT:
        name = app.model_names[0]
    opened.start()
    try:
        chat_with(opened, chat_settings, tools, name=f"{name}, by {backend.name}")
    finally:
        opened.close()


def convert(
    source: Path, dest: Path, /, *, layout: Layout, shard_size: Annotated[int, SIZE] = 5 * 10**9
) -> None:
    """Write a checkpoint in the other layout without changing a bit.

    Args:
        source: Checkpoint in either layout.
        dest: Folder to create; it is called DEST.partial until it is complete.
        layout: Layout to write.
        shard_size: Maximum size of a weights file, such as 500MB or 5GB. Default: 5GB.
    """
    from reference_engine.checkpoint.convert import convert as convert_checkpoint

    with _explained():
        convert_checkpoint(source, dest, layout, shard_bytes=shard_size)
    sys.stdout.write(f"{dest}\n")


def export_small(dest: Path, /, *, layout: Layout) -> None:
    """Write the bundled small checkpoint in a layout that other engines load.

    Args:
        dest: Folder to write; created if missing.
        layout: OpenAI's original layout, or Hugging Face's with tokenizer and chat template.
    """
    from reference_engine.checkpoint.export import export_small as write_small

    try:
        write_small(dest, layout)
    except OSError as error:
        raise SetupError(f"The checkpoint cannot be written: {error}.") from error
    sys.stdout.write(f"{dest}\n")


def synthesize(
    dest: Path,
    /,
    *,
    shape: str,
    layout: Layout = "hf",
    seed: int = 0,
    shard_size: Annotated[int, SIZE] = 5 * 10**9,
) -> None:
    """Write a checkpoint of any size with random weights.

    Args:
        dest: Folder to create; it is called DEST.partial until it is complete.
        shape: A published model (20b, 120b), a tiny model (tiny), or the path of a config.json.
        layout: Layout to write. Default: hf.
        seed: Random seed. Default: 0.
        shard_size: Maximum size of a weights file, such as 500MB or 5GB. Default: 5GB.
    """
    from reference_engine.checkpoint.synthetic import synthesize as write_synthetic
    from reference_engine.model.config import shape_named

    with _explained():
        write_synthetic(shape_named(shape), dest, layout, seed=seed, shard_bytes=shard_size)
    sys.stdout.write(f"{dest}\n")


def download(name: str, /, *, out: Path, layout: Layout = "hf") -> None:
    """Download a checkpoint from the Hugging Face Hub and check its hashes.

    Args:
        name: gpt-oss-20b, gpt-oss-120b, or a repository as owner/name.
        out: Target folder; created if missing.
        layout: Layout to download. Default: hf.
    """
    from reference_engine.checkpoint.download import download as download_checkpoint

    with _explained():
        sys.stdout.write(f"{download_checkpoint(name, out, layout)}\n")


@contextmanager
def _explained() -> Iterator[None]:
    """Report errors in the user's input without a traceback."""
    try:
        yield
    except (ValueError, VocabularyError) as error:
        raise SetupError(error) from error


def _backend(settings: BackendSettings, key_env: str | None) -> BackendSettings:
    """Return the backend with its key. Raises SetupError if options conflict."""
    settings = replace(settings, api_key=_key("--backend-key-env", key_env))
    if not settings.is_remote and (settings.url or settings.model or settings.api_key):
        servers = ", ".join(sorted(REMOTE, reverse=True))
        raise SetupError(
            "--backend-url, --backend-model and --backend-key-env need a server: "
            f"--backend {servers}."
        )
    if settings.url and not settings.url.startswith(("http://", "https://")):
        raise SetupError(f"--backend-url must start with http:// or https://: '{settings.url}'.")
    return settings


def _key(option: str, variable: str | None) -> str | None:
    """Return the key in an environment variable, or None without the option. Raises SetupError."""
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise SetupError(f"{option} names {variable}, but that variable is not set.")
    return key


def _fail(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
