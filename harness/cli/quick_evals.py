"""`--evals quick`: after the smoke test a few hundred questions, enough to catch a broken provider.

AIME 2025 four times and GPQA Diamond once at medium effort make 318 requests. Held to a margin of
10 points, a healthy provider passes (the bounds of its difference are some 6 points away), while
providers known to be broken were 13 points and more down (facts in `evals/data/baselines.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.datasets.load import Loaded
from evals.registry import load_data
from harness.cli import ending, eval_ending, eval_jobs, eval_running, gating
from harness.cli.choice import chosen_provider
from harness.cli.eval_jobs import Draft
from harness.cli.eval_options import DataOptions, EvalOptions, VerdictOptions
from harness.cli.options import BudgetOptions, GateOptions, ProviderOptions, parse_apis
from harness.cli.screen import print_raw, stderr, stdout
from harness.errors import ConfigurationError
from harness.verdict.gate import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, exit_code
from harness.verification.smoke import Job

TRIES: Mapping[str, int] = {"aime25": 4, "gpqa": 1}
EFFORT = "medium"
MARGIN = 10.0
_NAMES = {EXIT_PASS: "PASS", EXIT_FAIL: "FAIL", EXIT_INCONCLUSIVE: "INCONCLUSIVE"}


def draft(
    chosen: ProviderOptions, concurrency: int | None, gate: GateOptions, budget: BudgetOptions
) -> Draft:
    """Plan the evals; the gate may have other margins. Raises ConfigurationError."""
    apis = parse_apis(chosen.apis)
    one_api = replace(chosen, apis=apis[0] if apis else None)
    planned = eval_jobs.draft(
        one_api,
        EvalOptions(evals=",".join(TRIES), reasoning_effort=EFFORT),
        DataOptions(),
        VerdictOptions(gate=gate.gate),
        concurrency=concurrency,
        shard=None,
        tries=TRIES,
        load=_load,
        budget=budget,
    )
    settings = planned.info.settings
    margins = dict.fromkeys(TRIES, MARGIN) | dict(settings.margins)
    held_to = settings.model_copy(update={"margins": margins})
    return replace(planned, info=planned.info.model_copy(update={"settings": held_to}))


def are_asked(
    chosen: ProviderOptions, concurrency: int | None, gate: GateOptions, budget: BudgetOptions
) -> bool:
    """Whether the gate asks for evals that these are. Raises ConfigurationError for any other."""
    provider = chosen_provider(chosen, concurrency)
    asked = gating.asked_of(provider, chosen.providers_file, gate, budget)
    for name in asked.evals:
        if name not in TRIES:
            raise ConfigurationError(
                f"{asked.origins['evals']}: the eval {name} is none of --evals quick "
                f"({', '.join(TRIES)}); ask it with `gpt-oss-verify eval` and a gate of its own."
            )
    return bool(asked.evals)


def after(tested: Job, planned: Draft, out: Path | None, *, as_json: bool) -> int:
    """End the smoke test, carry out the evals, and join both verdicts; the exit code.

    Both have one budget; where the smoke test has used it up, the evals are not begun.
    """
    if as_json:
        return _as_json(tested, planned, out)
    code = ending.finish(tested.folder, as_json=False)
    if tested.budget.stopped:
        stdout().print("\nThe evals were not begun: the budget is used up.", soft_wrap=True)
        return joined(code, EXIT_INCONCLUSIVE)
    job = planned.job(out, tested.budget)
    eval_running.sample_shown(job, debug=False)
    scored = eval_ending.finish(job.folder, as_json=False)
    both = joined(code, scored)
    stdout().print(
        f"\nSmoke test {_NAMES[code]}, evals {_NAMES[scored]}: {_NAMES[both]}", soft_wrap=True
    )
    return both


def _as_json(tested: Job, planned: Draft, out: Path | None) -> int:
    analysis = ending.judge(tested.folder)
    code, scores = exit_code(analysis.verdict), None
    if tested.budget.stopped:
        code = joined(code, EXIT_INCONCLUSIVE)
    else:
        job = planned.job(out, tested.budget)
        eval_running.sample_shown(job, debug=False)
        scored = eval_ending.judge(job.folder)
        code = joined(code, eval_ending.exit_code(scored))
        scores = eval_ending.summary(scored, job.folder)
    both = {
        "smoke_test": json.loads(ending.summary(analysis, tested.folder)),
        "evals": scores,
        "exit_code": code,
    }
    print_raw(json.dumps(both, ensure_ascii=False, indent=2))
    return code


def joined(*codes: int) -> int:
    """One exit code for several verdicts: the gravest."""
    return next((code for code in (EXIT_FAIL, EXIT_INCONCLUSIVE) if code in codes), EXIT_PASS)


def _load(name: str) -> Loaded[Any]:
    """The published questions, or ours where those cannot be had."""
    try:
        return load_data(name)
    except ConfigurationError as error:
        stderr().print(f"Samples instead of {name}: {error}", soft_wrap=True)
        return load_data(name, "samples")
