"""Whether the prompt tokens that a server reports are evidence at all."""

from collections import defaultdict
from collections.abc import Iterable

from harness.records.scores import Score
from harness.rules.account.entry import ALIKE
from harness.rules.rule import VoidIf

_FEWEST_VARYING = 2


def _counts_vary(examined: Iterable[Score]) -> bool:
    """Whether equal plain requests repeatedly report different prompt tokens under one condition.

    Plain requests add only a user's text to what most requests have. If only requests with more
    vary, such as those with tools, the server renders the rest intermittently: the counts are
    reliable, and show it, unless there are two templates: then they differ by one number.
    """
    if _are_of_two_templates(examined):
        return True
    scores = [score for score in examined if score.traits.first_input and score.traits.beside_user]
    samples: dict[str, set[tuple[str, str]]] = defaultdict(set)
    counts: dict[tuple[str, str, str, str], set[int | None]] = defaultdict(set)
    for score in scores:
        rest = score.traits.beside_user
        samples[rest].add((score.task, score.sample))
        place = rest, score.task, score.sample, score.condition.name
        counts[place].add(score.traits.first_input)
    plain = max(samples, key=lambda rest: len(samples[rest]), default="")
    varying = (rest == plain and len(inputs) > 1 for (rest, *_), inputs in counts.items())
    return sum(varying) >= _FEWEST_VARYING


def _are_of_two_templates(examined: Iterable[Score]) -> bool:
    """Whether equal requests of several samples differ, and all by the same number of tokens."""
    counts: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for score in examined:
        if score.traits.first_input:
            counts[score.task, score.sample, score.condition.name].add(score.traits.first_input)
    apart = [max(inputs) - min(inputs) for inputs in counts.values() if len(inputs) > 1]
    return len(apart) >= ALIKE and len(set(apart)) == 1


_PATHS = ("$.usage", "$.usage.input_tokens")
UNRELIABLE_PROMPT_TOKENS = tuple(
    relation
    for path in _PATHS
    for relation in (
        VoidIf("usage.input.rounded", path, "prompt_tokens_rounded"),
        VoidIf("usage.input.cached", path, "prompt_tokens_cached"),
        VoidIf("usage.input.differs", path, "prompt_tokens_vary", when=_counts_vary),
        VoidIf("prompt.scale", path, "prompts_scaled"),
    )
)
"""Of rules whose evidence is the number of prompt tokens: the rules that show it to be wrong."""
