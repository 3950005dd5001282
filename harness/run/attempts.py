"""A sample, which is a conversation to continue, and a planned attempt at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.api import DIALECTS
from harness.api.items import ConversationItem, Settings, Tool
from harness.records.conditions import Condition
from harness.records.rollouts import SDK, Sender

Follow = Literal["retrieve", "cancel"]


@dataclass(frozen=True)
class Sample:
    """The part of a test case or dataset row that sampling needs.

    `turns` is the conversation that the model continues, oldest item first; `then` holds further
    user messages, sent one after each answer. `raw` is sent instead of the first request body.
    `later_instructions` and `later_tools`, if set, replace the instructions and the offered tools
    in all but the first request (Responses). `later` has members that these requests have instead
    of its own; the conversation then also goes on after a reply without text. `follow` says what is
    done with the first response by its id: it is retrieved until it is finished, or cancelled
    (Responses). `together` has members of the bodies of further requests, which are otherwise like
    the first one: they are sent over the same connection before the first is answered.
    """

    id: str
    turns: tuple[ConversationItem, ...]
    tools: tuple[Tool, ...] = ()
    instructions: str | None = None
    then: tuple[str, ...] = ()
    later_instructions: str | None = None
    later_tools: tuple[Tool, ...] | None = None
    later: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None
    follow: Follow | None = None
    together: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One planned attempt at a sample.

    `id` becomes the id of the rollout; `number` counts from 1. Tool calls are answered and the
    conversation continues until `max_turns` requests were sent, all by the same `sender`. If
    `more_tokens` is set, the first reply that the token limit cut is requested again with it,
    unless it ends with endless repetition.
    An attempt begins when the attempt with the id `after`, if that is under way, has ended.
    `alone` is as in `Rollout`.
    """

    id: str
    task: str
    sample: Sample
    condition: Condition
    number: int
    settings: Settings
    max_turns: int = 1
    more_tokens: int | None = None
    sender: Sender = SDK
    after: str | None = None
    alone: bool = False

    @property
    def usual_requests(self) -> int:
        """The requests that the attempt needs if the model answers after at most one call."""
        sample = self.sample
        turns = min(self.max_turns, 1 + len(sample.then) + bool(sample.tools))
        return turns + len(sample.together)

    def first_request(self) -> dict[str, Any]:
        """Return the body of the first request, unless the sample has a `raw` one."""
        return DIALECTS[self.condition.api].first_request(
            self.sample.turns,
            instructions=self.sample.instructions,
            tools=self.sample.tools,
            streaming=self.condition.streaming,
            settings=self.settings,
        )
