"""The command `import`: a run from recorded traffic of other clients."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpt_oss_verify import planning
from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import DEFAULT_OUT, AsJson, Out
from gpt_oss_verify.screen import say
from harness.compare.read_logs import is_log, not_traffic
from harness.errors import ConfigurationError
from harness.providers.entries import base_of, load_providers
from harness.records.runs import UNKNOWN_ADDRESS, ProviderInfo
from harness.records.settings import Names
from harness.run.run_folder import run_of
from harness.text import first_few
from harness.traffic.conversations import Traffic, read_traffic, write_traffic

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
        provider: Any name for the run; that of an entry also gives it its limitations.
        model: Other name under which gpt-oss is served; can be repeated.
        host: Import only requests to this host.
        verdict: Give a verdict: any error fails the run. Default: findings without a verdict.
    """
    if (run := _run_of((file, *files))) is not None:
        say(f"{run} is a run of this tool, which `recheck` judges.")
        return judge_and_print(run, as_json=as_json)
    try:
        traffic = read_traffic((file, *files), host=host, models=model)
    except ConfigurationError as error:
        if log := next(filter(is_log, filter(Path.exists, (file, *files))), None):
            raise not_traffic(log) from error
        raise
    if len(traffic.hosts) > 1 and verdict:
        hosts = ", ".join(sorted(traffic.hosts))
        raise ConfigurationError(
            f"--verdict judges one server, but requests went to {hosts}; choose one with --host, "
            f"such as --host '{max(traffic.hosts, key=lambda host: traffic.hosts[host])}'."
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


def _run_of(paths: Sequence[Path]) -> Path | None:
    """Return the run of this tool that all paths are of. Raises ConfigurationError if only some."""
    runs = {run: None for run in map(run_of, paths) if run is not None}
    if runs and (len(runs) > 1 or not all(map(run_of, paths))):
        raise ConfigurationError(
            f"{first_few([str(run) for run in runs], 3)}: a run of this tool is not imported with "
            f"other files; judge it with: gpt-oss-verify recheck {next(iter(runs))}"
        )
    return next(iter(runs), None)


def _notes(traffic: Traffic) -> Iterator[str]:
    if len(traffic.hosts) > 1:
        hosts = (f"{host} ({count})" for host, count in traffic.hosts.items())
        yield f"The requests went to several hosts: {', '.join(hosts)}."
    if reasons := Counter(traffic.info.left_out).most_common():
        counted = [f"{count} × {reason}" for reason, count in reasons]
        yield f"Left out: {first_few(counted, _SHOWN_REASONS)}."


def _provider(name: str, traffic: Traffic) -> ProviderInfo:
    """Return the provider's entry, or what the recordings say about it."""
    entry = load_providers().get(name)
    models = Counter(rollout.condition.model for rollout in traffic.rollouts)
    return ProviderInfo(
        name=name,
        base_url=base_of(traffic.rollouts[0].exchanges[0].request.url or "") or UNKNOWN_ADDRESS,
        model=models.most_common(1)[0][0],
        extra_body={},
        header_names=(),
        launch_command=None,
        limitations=entry.limitations if entry else (),
    )
