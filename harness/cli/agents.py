"""`--suite agents`: agents use the provider; their results and their traffic are judged."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from harness.agents.run import run_agents
from harness.cli import judging, planning
from harness.cli.choice import chosen_provider
from harness.cli.options import ProviderOptions, parse_apis
from harness.cli.screen import stderr
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.errors import ConfigurationError, StoppedError
from harness.pipeline.imports import write_run
from harness.providers.entries import Provider, changed
from harness.records.runs import AgentResult
from harness.sampling.run import run_until_stopped
from harness.text import plain
from harness.traffic.rollouts import read_traffic


def verify_agents(options: ProviderOptions, *, out: Path, as_json: bool = False) -> int:
    """Run the agents, write a run folder with their traffic, and judge it; the exit code.

    Raises:
        ConfigurationError: No agent could be run.
        ProviderUnavailableError: The provider cannot be used.
        StoppedError: The user stopped it.
    """
    provider = chosen_provider(options, None)
    provider = changed(provider, apis=parse_apis(options.apis) or provider.apis)
    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            results = run_until_stopped(_run(provider, folder))
        except StoppedError:
            raise StoppedError("stopped before the end; nothing was judged") from None
        recorded = sorted(folder.glob("*.jsonl"))
        if not recorded:
            reasons = "; ".join(f"{name}: {result.detail}" for name, result in results.items())
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


async def _run(provider: Provider, folder: Path) -> dict[str, AgentResult]:
    talk = stderr()

    def show(line: str) -> None:
        talk.print(plain(line), soft_wrap=True)

    async with launched(provider, folder / "provider.log") as running:
        await preflight(running, running.apis)
        return dict(await run_agents(running, folder, show))
