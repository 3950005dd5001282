"""Whether the prompt tokens that a server reports are evidence at all."""

from collections import defaultdict
from collections.abc import Iterable

from harness.records.scores import Score
from harness.rules.rule import VoidIf

_FEWEST_VARYING = 2


def _counts_vary(examined: Iterable[Score]) -> bool:
    """Whether identical requests under one condition report different prompt tokens, repeatedly."""
    counts: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for score in examined:
        if score.traits.first_input:
            counts[score.task, score.sample, score.condition.name].add(score.traits.first_input)
    return sum(len(found) > 1 for found in counts.values()) >= _FEWEST_VARYING


_PATHS = ("$.usage", "$.usage.input_tokens")
PROMPT_TOKENS_ROUNDED = tuple(
    VoidIf("usage.input.rounded", path, "prompt_tokens_rounded") for path in _PATHS
)

PROMPT_TOKENS_VARY = tuple(
    VoidIf("usage.input.differs", path, "prompt_tokens_vary", when=_counts_vary) for path in _PATHS
)
