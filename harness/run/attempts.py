"""A planned attempt at a sample."""

from dataclasses import dataclass
from typing import Any

from harness.api import DIALECTS
from harness.api.items import RequestSettings, Sample
from harness.records.conditions import Condition
from harness.records.rollouts import SDK, Sender


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
    settings: RequestSettings
    max_turns: int = 1
    more_tokens: int | None = None
    sender: Sender = SDK
    after: str | None = None
    alone: bool = False

    @property
    def usual_requests(self) -> int:
        """The requests that the attempt needs if the model answers after at most one call."""
        sample = self.sample
        return min(self.max_turns, 1 + len(sample.then) + bool(sample.tools)) + len(sample.together)

    def first_request(self) -> dict[str, Any]:
        """Return the body of the first request, unless the sample has a `raw` one."""
        return DIALECTS[self.condition.api].first_request(
            self.sample.turns,
            instructions=self.sample.instructions,
            tools=self.sample.tools,
            streaming=self.condition.streaming,
            settings=self.settings,
        )
