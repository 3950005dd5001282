"""The verification harness: sample a provider, record everything, judge the record.

Its packages; each imports only packages below it:

    cli             the command line, which may import everything
    selftest        run the reference engine with every known fault and list what detects it
    comparison      compare runs, and follow a provider over time
    doctor          check the setup before a run
    agents          agents of other projects as clients, with known results
    watching        rounds of small samples of a provider, and alerts when it gets worse
    frames          runs as pandas DataFrames, and their export
    pipeline        every run: plan, run, score, analyze, gate
    reproduction    the request of a finding, sent again, reduced, as a command and an issue text
    traffic         recorded traffic of other clients as rollouts
    tasks           tool calling, probe groups, evals and imported traffic as tasks
    diagnosis       the likely causes of a run's findings
    integrity       seal a run, audit it, pack it for publication
    rule_results    the registry of checks and probes, and their results in a run
    scoring         usage, timing and findings of single rollouts
    probes          experiments of several requests
    cases           tool-call cases and the tools they offer
    golden          the reference engine's logprobs, and a provider's distance from them
    traits          the properties of a rollout that are compared across a run
    checks          rules about single rollouts, or rollouts compared with each other
    rules           what a check or probe is, and the findings that it reports
    parsing         recorded exchanges as parsed events and rollouts
    sampling        attempts: the tool loop, concurrency and the budget
    endpoints       launch a provider, check that it answers, find its APIs
    transport       HTTP requests, recorded as they were on the wire
    storage         the run folder: its files, its logs and their hash chains
    api             conversations in Chat Completions and the Responses API
    providers       providers.yaml and gate files
    statistics      estimators, intervals, tests of differences, non-inferiority
    records         the types on disk, which all packages share
    text, steps, errors

Data files are in `data`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.frames import load as load
    from harness.frames import load_many as load_many


def __getattr__(name: str) -> object:
    """`load` and `load_many`, imported on use: pandas takes 0.4 s."""
    if name in ("load", "load_many"):
        from harness import frames

        found: object = getattr(frames, name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
