"""Runs made of traffic: recordings of other clients, or agents of other projects."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from harness.agents.run import not_run, run_agents
from harness.cli import judging, planning
from harness.cli.choice import chosen_provider
from harness.cli.options import DEFAULT_OUT, AsJson, Names, ProviderOptions, parse_apis
from harness.cli.screen import say
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.errors import ConfigurationError, StoppedError
from harness.pipeline.imports import write_run
from harness.providers.entries import Provider, changed, load_providers
from harness.records.runs import AgentResult, ProviderInfo
from harness.sampling.run import run_until_stopped
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
    out: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Judge recorded traffic of other clients like a run.

    Reads HAR files, VCR cassettes (Python, Ruby, Go; YAML or JSON), recordings of httpmock (Rust),
    and JSON or JSON Lines of objects with `request` and `response`. Requests to other models and
    APIs are left out. Keys are redacted.

    Args:
        file: A recording, or a folder of recordings.
        files: More of them.
        provider: Name of the provider that answered; an entry of providers.yaml or any other name.
        model: A model that is gpt-oss although its name does not say so; can be repeated.
        host: Import only requests to this host.
        verdict: Also decide: any error fails. Default: findings without a verdict.
        out: Where the run folder is created. Default: runs.
        as_json: Print findings as JSON on stdout.
    """
    traffic = read_traffic((file, *files), host=host, models=model)
    if len(traffic.hosts) > 1 and verdict:
        hosts = ", ".join(sorted(traffic.hosts))
        raise ConfigurationError(
            f"--verdict judges one server, but the recordings have {hosts}; choose one with --host."
        )
    for line in _notes(traffic):
        say(line)
    folder = write_run(
        traffic,
        _provider(provider, traffic),
        out=out or DEFAULT_OUT,
        command=planning.typed_command(),
        verdict=verdict,
    )
    return judging.finish(folder, as_json=as_json)


def _notes(traffic: Traffic) -> list[str]:
    lines = []
    if len(traffic.hosts) > 1:
        hosts = (f"{host or 'unknown host'} ({count})" for host, count in traffic.hosts.items())
        lines.append(f"The requests went to several hosts: {', '.join(hosts)}.")
    reasons = Counter(traffic.info.left_out).most_common()
    if reasons:
        shown = ", ".join(f"{count} × {reason}" for reason, count in reasons[:_SHOWN_REASONS])
        more = len(reasons) - _SHOWN_REASONS
        lines.append(f"Left out: {shown}{f', and {more} more reasons' if more > 0 else ''}.")
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


def verify_agents(options: ProviderOptions, *, out: Path, as_json: bool = False) -> int:
    """Run the agents, write a run folder with their traffic, and judge it; the exit code.

    If the user stops it, the agents that have ended are judged, and nothing passes.
    """
    provider = chosen_provider(options, None)
    provider = changed(provider, apis=parse_apis(options.apis) or provider.apis)
    results = not_run()
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            run_until_stopped(_run(provider, folder, results))
        except StoppedError:
            say("stopped; the agents that have ended are judged")
        recorded = [each for each in sorted(folder.glob("*.jsonl")) if each.stat().st_size]
        if not recorded:
            reasons = "; ".join(
                f"{name}: {result.detail or result.end}" for name, result in results.items()
            )
            raise ConfigurationError(f"No agent could be run ({reasons}).")
        traffic = read_traffic(recorded, models=(provider.model,))
    run = write_run(
        traffic,
        provider.info(),
        out=out,
        command=planning.typed_command(),
        verdict=True,
        agents=results,
    )
    return judging.finish(run, as_json=as_json)


async def _run(provider: Provider, folder: Path, results: dict[str, AgentResult]) -> None:
    async with launched(provider, folder / "provider.log") as running:
        await preflight(running, running.apis)
        say(f"recording in {folder} until the end; after a crash, `import` reads it")
        await run_agents(running, folder, results, say)
