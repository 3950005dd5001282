"""`--suite agents`: run agents of other projects against a provider, and judge their traffic."""

from pathlib import Path

from gpt_oss_verify import judging, planning
from gpt_oss_verify.choice import chosen_provider, same_provider
from gpt_oss_verify.options import ProviderOptions, parse_apis
from gpt_oss_verify.screen import say
from harness.agents.run import not_run, run_agents
from harness.errors import ConfigurationError, HarnessError, StoppedError
from harness.providers.entries import Provider, changed
from harness.records.runs import AgentResult
from harness.run import run_folder
from harness.run.launch import launched
from harness.run.preflight import preflight
from harness.run.run_log import read_run_info
from harness.run.sampling import run_until_stopped
from harness.traffic.conversations import joined_traffic
from harness.traffic.traffic_run import TrafficRun, create, opened


def verify_agents(options: ProviderOptions, *, out: Path, as_json: bool = False) -> int:
    """Run the agents, record and judge their traffic in a run folder, and return the exit code."""
    provider = chosen_provider(options, None)
    provider = changed(provider, apis=parse_apis(options.apis) or provider.apis)
    command = planning.typed_command()
    folder = create(
        provider.info(), provider.apis, out=out, command=command, verdict=True, agents=not_run()
    )
    return _carry_out(folder, provider, as_json=as_json)


def resume_agents(folder: Path, options: ProviderOptions, *, as_json: bool = False) -> int:
    """Run the agents that have not finished, judge the run, and return the exit code."""
    info = read_run_info(folder)
    provider = changed(same_provider(info.provider, options, None), apis=info.settings.apis)
    return _carry_out(folder, provider, as_json=as_json, again=True)


def _carry_out(folder: Path, provider: Provider, *, as_json: bool, again: bool = False) -> int:
    """Run the agents and judge the run; after a stop by the user, the run cannot pass.

    Raises ConfigurationError if no agent could be run, StoppedError if the user stops it before an
    agent has finished, and the errors of `preflight`.
    """
    try:
        with opened(folder) as run:
            if again:
                run.resume()
            try:
                run_until_stopped(_run(provider, folder, run))
            except StoppedError:
                if not run.imported.requests:
                    raise StoppedError("stopped before an agent had finished") from None
                say(f"stopped; run the remaining agents with --resume {folder}")
            if not run.imported.requests:
                results = run.info.agents.items()
                reasons = "; ".join(f"{name}: {each.detail or each.end}" for name, each in results)
                raise ConfigurationError(f"No agent could be run ({reasons}).")
    except HarnessError:
        run_folder.discard_unused(folder)
        raise
    return judging.judge_and_print(folder, as_json=as_json)


async def _run(provider: Provider, folder: Path, run: TrafficRun) -> None:
    def ended(name: str, result: AgentResult, recording: Path) -> None:
        say(f"{name}: {result.end}{f' ({result.detail})' if result.detail else ''}")
        recordings = [recording] if recording.exists() and recording.stat().st_size else []
        run.add(joined_traffic(recordings, models=(provider.model,)), {name: result})

    left = {name for name, each in run.info.agents.items() if each.end == "stopped"}
    sessions = len(run.info.resumed)
    async with launched(provider, folder / run_folder.PROVIDER_LOG) as running:
        await preflight(running, running.apis)
        await run_agents(running, left, ended, f"-{sessions + 1}" if sessions else "")
    run.complete()
