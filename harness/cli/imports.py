"""Runs made of the recorded traffic of other clients."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli import judging, planning
from harness.cli.options import DEFAULT_OUT, AsJson, Names, Out
from harness.cli.screen import say
from harness.errors import ConfigurationError
from harness.pipeline.imports import create, opened
from harness.providers.entries import load_providers
from harness.records.conditions import APIS
from harness.records.runs import ProviderInfo
from harness.text import first_few
from harness.traffic.rollouts import Traffic, read_traffic

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
    """Judge recorded traffic of other clients like a run.

    Reads HAR files, VCR cassettes (Python, Ruby, Go; YAML or JSON), recordings of httpmock (Rust),
    JSON or JSON Lines of objects with `request` and `response`, and texts (such as a terminal
    session or an issue) with the JSON of requests and replies. Requests to other models and APIs
    are left out. Keys are redacted.

    Args:
        file: A recording, or a folder of recordings.
        files: More recordings.
        provider: Name of the provider that answered; an entry of providers.yaml or any other name.
        model: A model that is gpt-oss although its name does not say so; can be repeated.
        host: Import only requests to this host.
        verdict: Give a verdict: any error fails the run. Default: findings without a verdict.
    """
    traffic = read_traffic((file, *files), host=host, models=model)
    if len(traffic.hosts) > 1 and verdict:
        hosts = ", ".join(sorted(traffic.hosts))
        raise ConfigurationError(
            f"--verdict judges one server, but the recordings have {hosts}; choose one with --host."
        )
    for line in _notes(traffic):
        say(line)
    seen = {rollout.condition.api for rollout in traffic.rollouts}
    folder = create(
        _provider(provider, traffic),
        [api for api in APIS if api in seen],
        out=out or DEFAULT_OUT,
        command=planning.typed_command(),
        verdict=verdict,
    )
    with opened(folder) as run:
        run.add(traffic)
        run.complete()
    return judging.finish(folder, as_json=as_json)


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
    """The provider's entry, or what the recordings say about it."""
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
