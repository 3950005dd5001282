"""The commands `import` and `tap`: runs from recorded or live traffic of other clients."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from gpt_oss_verify import planning
from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import DEFAULT_OUT, AsJson, Names, Out
from gpt_oss_verify.screen import say
from harness.errors import EXIT_INCONCLUSIVE, ConfigurationError, StoppedError, os_errors
from harness.providers.entries import load_providers
from harness.records.runs import ProviderInfo
from harness.run.sampling import run_until_stopped
from harness.text import first_few
from harness.traffic.conversations import Traffic, read_traffic, write_traffic
from harness.traffic.proxy import Recorder, forward

_SHOWN_REASONS = 5


def import_traffic(
    file: Path,
    /,
    *files: Path,
    provider: Annotated[str, Parameter(alias="-p")],
    model: Names = (),
    host: str | None = None,
    verdict: bool = False,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Judge traffic recorded from other clients.

    Reads HAR files, VCR cassettes (Python, Ruby, Go, Rust), and JSON or JSON Lines of objects with
    `request` and `response` (docs/real-traffic.md has other names). Requests to other models and
    APIs are left out and counted. Keys are redacted.

    Args:
        file: A recording, or a folder of recordings.
        files: More recordings.
        provider: Name of the provider that answered; an entry of providers.yaml or any other name.
        model: Other name under which gpt-oss is served; can be repeated.
        host: Import only requests to this host.
        verdict: Give a verdict: any error fails the run. Default: findings without a verdict.
    """
    traffic = read_traffic((file, *files), host=host, models=model)
    if len(traffic.hosts) > 1 and verdict:
        hosts = ", ".join(sorted(traffic.hosts))
        raise ConfigurationError(
            f"--verdict judges one server, but requests went to {hosts}; choose one with --host."
        )
    for line in _notes(traffic):
        say(line)
    folder = write_traffic(
        traffic,
        _provider(provider, traffic),
        out=out or DEFAULT_OUT,
        command=planning.typed_command(),
        verdict=verdict,
    )
    return judge_and_print(folder, as_json=as_json)


def _notes(traffic: Traffic) -> list[str]:
    lines = []
    if len(traffic.hosts) > 1:
        hosts = (f"{host or 'unknown host'} ({count})" for host, count in traffic.hosts.items())
        lines.append(f"The requests went to several hosts: {', '.join(hosts)}.")
    reasons = Counter(traffic.info.left_out).most_common()
    if reasons:
        counted = [f"{count} × {reason}" for reason, count in reasons]
        lines.append(f"Left out: {first_few(counted, _SHOWN_REASONS)}.")
    return lines


def _provider(name: str, traffic: Traffic) -> ProviderInfo:
    """Return the provider's entry, or what the recordings say about it."""
    entry = load_providers().get(name)
    first = traffic.rollouts[0]
    models = Counter(rollout.condition.model for rollout in traffic.rollouts)
    return ProviderInfo(
        name=name,
        base_url=first.exchanges[0].request.url or "unknown",
        model=models.most_common(1)[0][0],
        extra_body={},
        header_names=(),
        launch_command=None,
        limitations=entry.limitations if entry else (),
    )


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
    """Forward requests to a server, and judge them at the end.

    Point your client at the address that the command prints, use it, and press Ctrl-C. The traffic
    is recorded without keys, in a file next to the run folder, and judged as with `import`.

    Args:
        upstream: Base URL of the server, such as http://localhost:8000/v1.
        port: Local port of the proxy. Default: 8100.
        provider: Name of the provider in the report. Default: the host of the server.
        model: Other name under which gpt-oss is served; can be repeated.
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
    """Return the parts of --upstream. Raises ConfigurationError."""
    url = urlsplit(upstream)
    if url.username or url.password:
        raise ConfigurationError(
            "--upstream must not have a user name or password; send them in a header."
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
