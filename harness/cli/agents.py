"""`--suite agents`: agents use the provider; their results and their traffic are judged."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from harness.agents.run import not_run, run_agents
from harness.cli import judging, planning
from harness.cli.choice import chosen_provider
from harness.cli.options import ProviderOptions, parse_apis
from harness.cli.screen import say
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.errors import ConfigurationError, StoppedError
from harness.pipeline.imports import write_run
from harness.providers.entries import Provider, changed
from harness.records.runs import AgentResult
from harness.sampling.run import run_until_stopped
from harness.traffic.rollouts import read_traffic


def verify_agents(options: ProviderOptions, *, out: Path, as_json: bool = False) -> int:
    """Run the agents, write a run folder with their traffic, and judge it; the exit code.

    If the user stops it, the agents that have ended are judged, and nothing passes.

    Raises:
        ConfigurationError: No agent could be run.
        ProviderUnavailableError: The provider cannot be used.
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
