"""What is asked of the model: one prompt, and the tools it may call while answering."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.dialects.base import Tool
from harness.records import Api


@dataclass(frozen=True)
class Sample:
    """A test case or data set row, as far as sampling is concerned. `id` is unique in its run."""

    id: str
    prompt: str
    instructions: str | None = None
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One planned attempt at a sample; `number` counts from 1."""

    sample: Sample
    api: Api
    streaming: bool
    number: int

    @property
    def id(self) -> str:
        """The id of the rollout this attempt becomes."""
        mode = "stream" if self.streaming else "whole"
        return f"{self.sample.id}/{self.api}/{mode}/{self.number}"


def plan(
    samples: Iterable[Sample], *, apis: Sequence[Api], modes: Sequence[bool], tries: int
) -> Iterator[Attempt]:
    """Every attempt of a run. All samples get their first try before any gets its second.

    Args:
        samples: What to ask.
        apis: The APIs to ask over.
        modes: The values of `streaming` to use.
        tries: Attempts for each sample, API and mode.
    """
    samples = tuple(samples)
    for number in range(1, tries + 1):
        for sample in samples:
            for api in apis:
                for streaming in modes:
                    yield Attempt(sample, api, streaming, number)
