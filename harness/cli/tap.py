"""`gpt-oss-verify tap`: judge what other clients send to a server and receive from it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from cyclopts import Parameter

from harness.cli.imports import import_traffic
from harness.cli.options import DEFAULT_OUT
from harness.cli.screen import stderr
from harness.errors import ConfigurationError, StoppedError
from harness.pipeline.exit_codes import EXIT_INCONCLUSIVE
from harness.sampling.run import run_until_stopped
from harness.traffic.proxy import Recorder, forward

_LAST_PORT = 65535


def tap(
    *,
    upstream: str,
    port: int = 8100,
    provider: Annotated[str | None, Parameter(alias="-p")] = None,
    model: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    verdict: bool = False,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Forward requests to a server unchanged, and judge them when you stop the proxy.

    Point your client at the address that the command prints, use it, and press Ctrl-C. The traffic
    is recorded without keys and judged like `import` does.

    Args:
        upstream: Base URL of the server, such as http://localhost:8000/v1.
        port: Local port of the proxy. Default: 8100.
        provider: Name of the provider in the report. Default: the host of the server.
        model: A model that is gpt-oss although its name does not say so; can be repeated.
        verdict: Also decide: any error fails. Default: findings without a verdict.
        out: Where the recording and the run folder are created. Default: runs.
        as_json: Print findings as JSON on stdout.
    """
    url = urlsplit(upstream)
    if url.username or url.password:
        raise ConfigurationError(
            "--upstream takes no user name or password; send them as a header."
        )
    if url.scheme not in ("http", "https") or not url.hostname or not _has_valid_port(url):
        raise ConfigurationError(
            f"--upstream takes a URL such as http://localhost:8000/v1, not {upstream!r}."
        )
    if not 0 <= port <= _LAST_PORT:
        raise ConfigurationError(f"--port must be between 0 and {_LAST_PORT}, not {port}.")
    folder = out or DEFAULT_OUT
    screen = stderr()
    recording = folder / f"tap-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl"

    def ready(address: str) -> None:
        screen.print(f"base URL for your client: {address}{url.path}", soft_wrap=True)
        screen.print(f"recording to {recording}; press Ctrl-C to judge it", soft_wrap=True)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with recording.open("xb") as file:
            recorder = Recorder(file)
            run_until_stopped(forward(f"{url.scheme}://{url.netloc}", port, recorder, ready))
    except StoppedError:
        pass
    except ConfigurationError:
        if not recorder.count:
            recording.unlink()
        raise
    except OSError as error:
        raise ConfigurationError(f"{recording} cannot be written: {error.strerror}.") from None
    screen.print(f"{recorder.count} requests recorded")
    if not recorder.count:
        recording.unlink()
        return EXIT_INCONCLUSIVE
    name = provider or url.hostname
    return import_traffic(
        recording, provider=name, model=model, verdict=verdict, out=out, as_json=as_json
    )


def _has_valid_port(url: SplitResult) -> bool:
    try:
        return url.port != 0
    except ValueError:
        return False
