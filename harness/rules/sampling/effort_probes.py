"""The reasoning effort: whether requests with another one get another prompt."""

from contextlib import suppress
from itertools import pairwise

from harness.records.conditions import EFFORTS
from harness.rules.evidence.fetched import served
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeResponses, Trials
from harness.rules.refusals import declined, failure
from harness.rules.rule import GUIDE, Problem
from harness.rules.sampling.effort import SCHEMA, TOOL, other_prompts, requests_with, same_effort
from harness.rules.sampling.requests import EFFORT_REQUESTS, GROUP, OTHER_EFFORTS


@GROUP.probe(
    "sampling.effort",
    requests_with(efforts=EFFORTS),
    relations=UNRELIABLE_PROMPT_TOKENS,
    source=GUIDE,
    fix="Write the effort of the request into the system message.",
    example=(
        "Every request runs with medium reasoning effort.",
        "https://github.com/ollama/ollama/issues/12589",
    ),
)
def _effort(responses: ProbeResponses) -> Trials:
    """A higher effort produces more reasoning than a lower one.

    Scores differ by many points between efforts, so a provider that ignores effort does not serve
    the requested configuration. A model that reasons alike at two efforts still writes other texts.
    """
    problems: list[Problem | None] = [*other_prompts(responses)]
    for less, more in pairwise(EFFORTS):
        with suppress(NotVerifiableError):
            problems += filter(None, [same_effort(responses, less, more)])
    yield from problems or [same_effort(responses, "low", "high")]


@GROUP.probe(
    "sampling.effort.others",
    [request.id for request in EFFORT_REQUESTS],
    component="errors",
    fix="Refuse an effort that the model does not have by name, or use the nearest one.",
)
def _other_efforts(responses: ProbeResponses) -> Trials:
    """An effort that gpt-oss does not have is refused, or served as one that it has.

    Clients send none, minimal and xhigh to all models. Templates that know three efforts crash.
    """
    for effort, request in zip(OTHER_EFFORTS, EFFORT_REQUESTS, strict=True):
        for rollout in responses.all(request.id):
            yield None if declined(rollout) else failure(rollout, f"the effort {effort}")


@GROUP.probe(
    "sampling.effort.tools",
    requests_with(TOOL),
    source=GUIDE,
    fix="Write the effort of the request into the system message.",
    example=(
        "Every request with tools runs with medium reasoning effort.",
        "https://github.com/livekit/agents/pull/5088",
    ),
)
def _effort_with_tools(responses: ProbeResponses) -> Trials:
    """High effort also produces more reasoning than low effort in requests with tools.

    Agents send tools in every request, and some servers build these prompts differently.
    """
    yield same_effort(responses, "low", "high", TOOL)


@GROUP.probe(
    "sampling.effort.streaming",
    requests_with(SCHEMA),
    in_other_mode="sampling.effort",
    modes=("streaming",),
    source=GUIDE,
    needs="json_schema",
    fix="Write the effort of the request into the system message.",
)
def _effort_in_streams(responses: ProbeResponses) -> Trials:
    """High effort also produces more reasoning than low effort in streams with a JSON schema.

    Some servers read these requests differently. One request tests streams and schemas, so a
    provider that refuses schemas is not judged.
    """
    for name in requests_with(SCHEMA):
        served(responses, name, "a JSON schema for the answer")
    yield same_effort(responses, "low", "high", SCHEMA, mode="streaming")
