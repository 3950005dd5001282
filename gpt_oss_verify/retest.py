"""The command `retest`: whether the findings of a run are fixed."""

from typing import Annotated

from cyclopts import Parameter

from gpt_oss_verify.carry_out import carry_out, print_plan
from gpt_oss_verify.options import (
    COUNT,
    AsJson,
    BudgetOptions,
    Debug,
    Options,
    Out,
    ProviderOptions,
    Run,
    RunOptions,
)
from gpt_oss_verify.planning import typed_command
from gpt_oss_verify.resolve import resolve
from harness.repeat.retest import planned_retest, require
from harness.run.run_log import read_run_info


def retest(
    run: Run,
    /,
    *,
    tries: Annotated[int | None, Parameter(alias="-k"), COUNT] = None,
    concurrency: Annotated[int | None, COUNT] = None,
    provider: ProviderOptions = ProviderOptions(),
    budget: BudgetOptions = BudgetOptions(),
    out: Out = None,
    dry_run: bool = False,
    debug: Debug = False,
    as_json: AsJson = False,
) -> int:
    """Test whether the findings of a run are fixed.

    Sends again what its findings need, with enough tries to tell fixed from halved, and a small
    part of what passed.

    Args:
        tries: Tries of each finding that decides. Default: as many as are needed, up to 200.
        concurrency: Attempts in flight. Default: that of the run; 1 shows what needs load.
        dry_run: Print requests, tokens and cost, and send nothing.
    """
    info = read_run_info(run)
    require(run, info)
    options = Options(provider, budget=budget, concurrency=concurrency or info.settings.concurrency)
    chosen = resolve(options, info)
    plan = planned_retest(run, chosen.provider, chosen.budget, typed_command(), tries)
    if dry_run:
        print_plan(plan, dry_run=True, as_json=as_json)
        return 0
    return carry_out(plan, RunOptions(out=out, debug=debug, as_json=as_json))
