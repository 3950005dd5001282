"""The command `tap`: record and judge the traffic between another client and a server."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from harness.cli.imports import import_traffic
from harness.cli.options import DEFAULT_OUT, AsJson, Names, Out
from harness.cli.screen import say
from harness.errors import EXIT_INCONCLUSIVE, ConfigurationError, StoppedError, os_errors
from harness.sampling.run import run_until_stopped
from harness.traffic.proxy import Recorder, forward


def tap(
    *,
    upstream: str,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))] = 8100,
    provider: Annotated[str | None, Parameter(alias="-p")] = None,
    model: Names = (),
    verdict: bool = False,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Forward requests to a server unchanged, and judge them when you stop the proxy.

    Point your client at the address that the command prints, use it, and press Ctrl-C. The traffic
    is recorded without keys, in a file next to the run folder, and judged like `import` does.

    Args:
        upstream: Base URL of the server, such as http://localhost:8000/v1.
        port: Local port of the proxy. Default: 8100.
        provider: Name of the provider in the report. Default: the host of the server.
        model: A model that is gpt-oss although its name does not say so; can be repeated.
        verdict: Give a verdict: any error fails the run. Default: findings without a verdict.
    """
    url = _checked(upstream)
    folder = out or DEFAULT_OUT
    recording = folder / f"tap-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl"

    def ready(address: str) -> None:
        say(f"base URL for your client: {address}{url.path}")
        say(f"recording to {recording}; press Ctrl-C to judge it")

    with os_errors(ConfigurationError, f"{recording} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        with recording.open("xb") as file:
            recorder = Recorder(file)
            try:
                run_until_stopped(forward(f"{url.scheme}://{url.netloc}", port, recorder, ready))
            except StoppedError:
                say(f"{recorder.count} requests recorded")
            finally:
                if not recorder.count:
                    recording.unlink()
    if not recorder.count:
        return EXIT_INCONCLUSIVE
    name = provider or url.hostname or ""
    return import_traffic(
        recording, provider=name, model=model, verdict=verdict, out=out, as_json=as_json
    )


def _checked(upstream: str) -> SplitResult:
    """The parts of --upstream. Raises ConfigurationError."""
    url = urlsplit(upstream)
    if url.username or url.password:
        raise ConfigurationError(
            "--upstream takes no user name or password; send them as a header."
        )
    try:
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # The port is not a number from 0 to 65535.
        usable = False
    if not usable:
        raise ConfigurationError(
            f"--upstream takes a URL such as http://localhost:8000/v1, not {upstream!r}."
        )
    return url
