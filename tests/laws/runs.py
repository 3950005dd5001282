"""The recorded healthy run, its parts, and the same run with some replies changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from os import environ
from random import Random

from corpus import Judgement, Recorded, healthy, with_fault

from harness.records.rollouts import Response, Rollout

DAMAGES = {
    "the end of the answer lost": "last-quarter-of-answers-lost",
    "the first word of the answer lost": "first-words-lost",
    "the answer twice": "answers-doubled",
    "a notice after the answer": "notice-after-answers",
    "a character of the answer garbled": "character-of-answers-garbled",
    "the CoT lost": "reasoning-emptied",
    "a word of the CoT lost": "word-of-reasoning-lost",
    "{} before the arguments": "braces-before-arguments",
    "numbers in the arguments as strings": "numbers-as-strings-in-arguments",
    "20 tokens too many": "completion-tokens-excess",
}
"""The faults of the catalogue that damage the last reply of a rollout, by what they do to it."""
EFFORT = int(environ.get("LAWS", "1"))
"""How many times as many examples are tried: `LAWS=5 pytest tests/laws`."""


@cache
def healthy_run() -> Recorded:
    """The recorded run, with its replies scored."""
    recorded = healthy()
    recorded.judged()
    return recorded


@cache
def samples(share: float, seed: int) -> Recorded:
    """The recorded run with a random share of its samples, each with all its tries."""
    recorded = healthy_run()

    def is_kept(one: Rollout) -> bool:
        return Random(f"{seed} {one.task} {one.sample}").random() < share

    return replace(recorded, rollouts=list(filter(is_kept, recorded.rollouts)))


def damaged(rollout: Rollout, fault: str) -> Rollout | None:
    """Return the rollout with a fault in its last reply that can have it; None if none can."""
    for at in reversed(range(len(rollout.exchanges))):
        recorded = rollout.exchanges[at]
        if recorded.failure is None and (made := with_fault(recorded, fault)) is not recorded:
            assert made.response is not None
            return with_response(rollout, made.response, at)
    return None


def with_response(rollout: Rollout, response: Response, at: int = -1) -> Rollout:
    """Return the rollout with another response in one exchange."""
    exchanges = list(rollout.exchanges)
    exchanges[at] = exchanges[at].model_copy(update={"response": response})
    return rollout.model_copy(update={"exchanges": tuple(exchanges)})


@dataclass(frozen=True)
class Changes:
    """The rollouts of a run that a change can change, in a random order: place, changed rollout."""

    recorded: Recorded
    possible: Sequence[tuple[int, Rollout]]

    @classmethod
    def of(
        cls,
        recorded: Recorded,
        change: Callable[[Rollout], Rollout | None],
        where: Callable[[Rollout], bool] = lambda _: True,
        seed: int = 0,
    ) -> "Changes":
        """Change the rollouts of a part of the run."""
        made = ((at, change(one)) for at, one in enumerate(recorded.rollouts) if where(one))
        possible = [(at, other) for at, other in made if other is not None]
        return cls(recorded, Random(seed).sample(possible, len(possible)))

    def some(self, share: float) -> tuple[list[Rollout], frozenset[str]]:
        """Return the run with a share of the changes, at least one, and the ids of these rollouts.

        A larger share has all that a smaller one has.
        """
        rollouts = list(self.recorded.rollouts)
        chosen = self.possible[: max(1, round(share * len(self.possible)))]
        for at, other in chosen:
            rollouts[at] = other
        return rollouts, frozenset(other.id for _, other in chosen)


def statuses(judgement: Judgement) -> Mapping[str, str]:
    """Return the rules that failed or warned."""
    results = ((one.check.id, one.status) for one in judgement.analysis.checks)
    return {rule: status for rule, status in results if status in ("failed", "warned")}
