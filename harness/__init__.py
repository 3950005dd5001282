"""The verification harness: sample a provider, record everything, judge the record.

Its packages; each imports only packages below it:

    selftest        run the reference engine with every known fault and list what detects it
    compare         runs side by side, over time, and as DataFrames
    traffic         recorded traffic of other clients as rollouts
    repeat          what a finding needs, sent again: reproduced, reduced, tested after a fix
    session         sample a run into its folder
    verdict         from scores to a verdict: analysis, statistics of the gate, causes
    tasks           tool calling, probe groups and imported traffic as tasks, and the plan of a run
    rules           checks and probes, one folder per family, and their results over a run
    golden          the reference engine's logprobs, and a provider's distance from them
    run             attempts, the tool loop, budgets, launch and preflight, and the run folder
    transport       HTTP requests, recorded as they were on the wire
    api             requests out, replies and streams in: Chat Completions, Responses, raw harmony
    providers       providers.yaml and gate files
    statistics      estimators, intervals, tests of differences, non-inferiority
    records         the types on disk, which all packages share, and the removal of keys
    text, errors

Data files are in `data`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.compare.dataframes import load as load
    from harness.compare.dataframes import load_many as load_many


def __getattr__(name: str) -> object:
    """`load` and `load_many`, imported on use: they import most of the harness."""
    if name in ("load", "load_many"):
        from harness.compare import dataframes

        value: object = getattr(dataframes, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
