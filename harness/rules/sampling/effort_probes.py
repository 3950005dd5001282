"""The reasoning effort: whether requests with another one get another prompt."""

from contextlib import suppress
from itertools import pairwise

from harness.records.conditions import EFFORTS
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Sent, Trials
from harness.rules.refusals import declined, failure
from harness.rules.rule import GUIDE, Problem
from harness.rules.sampling.effort import (
    PLAIN,
    WITH_A_SCHEMA,
    WITH_A_TOOL,
    AtEffort,
    other_prompts,
    same_effort,
)
from harness.rules.sampling.requests import EFFORT_REQUESTS, GROUP, OTHER_EFFORTS


@GROUP.probe(
    "sampling.effort",
    PLAIN.sampled,
    PLAIN.greedy,
    relations=UNRELIABLE_PROMPT_TOKENS,
    source=GUIDE,
    fix="Write the effort of the request into the system message.",
)
def _effort(sampled: Sent, greedy: Sent) -> Trials:
    """A higher effort produces more reasoning than a lower one.

    Scores differ by many points between efforts, so a provider that ignores effort does not serve
    the requested configuration. A model that reasons alike at two efforts still writes other texts.
    """
    problems: list[Problem | None] = [*other_prompts(dict(zip(EFFORTS, sampled, strict=True)))]
    asked = list(map(AtEffort, EFFORTS, sampled, greedy))
    for less, more in pairwise(asked):
        with suppress(NotVerifiableError):
            problems += filter(None, [same_effort(less, more)])
    yield from problems or [same_effort(asked[0], asked[-1])]


@GROUP.probe(
    "sampling.effort.others",
    EFFORT_REQUESTS,
    component="errors",
    fix="Refuse an effort that the model does not have by name, or use the nearest one.",
)
def _other_efforts(asked: Sent) -> Trials:
    """An effort that gpt-oss does not have is refused, or served as one that it has.

    Clients send none, minimal and xhigh to all models. Templates that know three efforts crash.
    """
    for effort, each in zip(OTHER_EFFORTS, asked, strict=True):
        for rollout in each.rollouts:
            yield None if declined(rollout) else failure(rollout, f"the effort {effort}")


@GROUP.probe(
    "sampling.effort.tools",
    WITH_A_TOOL.sampled,
    WITH_A_TOOL.greedy[:2],
    source=GUIDE,
    fix="Write the effort of the request into the system message.",
)
def _effort_with_tools(sampled: Sent, greedy: Sent) -> Trials:
    """High effort also produces more reasoning than low effort in requests with tools.

    Agents send tools in every request, and some servers build these prompts differently.
    """
    low, high = map(AtEffort, ("low", "high"), sampled, greedy)
    yield same_effort(low, high, WITH_A_TOOL.what)


@GROUP.probe(
    "sampling.effort.streaming",
    WITH_A_SCHEMA.sampled,
    WITH_A_SCHEMA.greedy,
    in_other_mode="sampling.effort",
    modes=("streaming",),
    source=GUIDE,
    needs="json_schema",
    fix="Write the effort of the request into the system message.",
)
def _effort_in_streams(sampled: Sent, greedy: Sent) -> Trials:
    """High effort also produces more reasoning than low effort in streams with a JSON schema.

    Some servers read these requests differently. One request tests streams and schemas, so a
    provider that refuses schemas is not judged.
    """
    for each in (sampled, greedy):
        each.served("a JSON schema for the answer")
    streams = (each.within("streaming") for each in (sampled, greedy))
    low, high = map(AtEffort, ("low", "high"), *streams)
    yield same_effort(low, high, WITH_A_SCHEMA.what)
