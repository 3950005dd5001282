"""What is asked of the model, and how: a conversation, the tools on offer, the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.api.base import Settings, Tool
from harness.api.conversation import ConversationItem
from harness.records.rollouts import Api, Key


@dataclass(frozen=True)
class Sample:
    """A test case or data set row, as far as sampling is concerned.

    `turns` are the conversation that the model is to continue, oldest first; `then` is what the
    user says after its answers, one after the other. `raw` is sent in place of the first request.
    """

    id: str
    turns: tuple[ConversationItem, ...]
    instructions: str | None = None
    tools: tuple[Tool, ...] = ()
    then: tuple[str, ...] = ()
    raw: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One planned attempt at a sample, complete with how to ask.

    `id` is that of the rollout it becomes and unique in its run; `number` counts from 1. Called
    tools are answered and the model asked to go on until `max_turns` requests were made. All of
    them are sent with the same `key`.
    """

    id: str
    sample: Sample
    api: Api
    streaming: bool
    number: int
    settings: Settings
    max_turns: int = 1
    key: Key = "right"


def plan(
    samples: Iterable[Sample],
    settings: Settings,
    *,
    apis: Sequence[Api],
    modes: Sequence[bool],
    tries: int,
    max_turns: int = 1,
    key: Key = "right",
) -> Iterator[Attempt]:
    """Every attempt of a run, as `<sample>/<api>/<mode>/<try>`.

    All samples get their first try before any gets its second.

    Args:
        samples: What to ask; their ids must differ.
        settings: How to ask.
        apis: The APIs to ask over.
        modes: The values of `streaming` to use.
        tries: Attempts for each sample, API and mode.
        max_turns: Requests in one attempt before giving up.
        key: The key to send.
    """
    samples = tuple(samples)
    for number in range(1, tries + 1):
        for sample in samples:
            for api in apis:
                for streaming in modes:
                    mode = "streaming" if streaming else "non-streaming"
                    identity = f"{sample.id}/{api}/{mode}/{number}"
                    yield Attempt(
                        identity, sample, api, streaming, number, settings, max_turns, key
                    )
