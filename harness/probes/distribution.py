"""Whether replies drawn at temperature 1 are distributed as the reference engine's.

The only look at numerics and sampling that needs no log probabilities and no greedy replies. It
sees what changes the texts much, and takes dozens of replies for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.base import Problem
from harness.golden.records import drawn_text
from harness.parsing.rollout import ParsedExchange
from harness.probes import passages
from harness.probes.base import Answers, Bench, NotVerifiableError, Trial
from harness.probes.numerics import reference
from harness.statistics.model_equality import p_value

BENCH = Bench("sampling.drawn", passages.drawn, golden=True)
_LEVEL = 0.001
_LEAST_REPLIES = 24
_PAPER = "https://arxiv.org/abs/2410.20247"


@BENCH.probe(
    "sampling.distribution",
    uses=tuple(ask.name for ask in passages.drawn()),
    apis=("chat",),
    level="full",
    severity="warning",
    summary="Replies drawn at temperature 1 are distributed as those of the reference engine.",
    why="Another temperature, a hidden top_p or other weights make other texts, even where each "
    f"single one looks good; healthy providers fail once in {1 / _LEVEL:,.0f} times.",
    source=_PAPER,
)
def _distribution(answers: Answers) -> Iterator[Trial]:
    golden = reference(answers)
    texts: dict[str, list[str]] = {}
    thinks = False
    first: ParsedExchange | None = None
    for name, drawn in golden.drawn.items():
        for seen in answers.views.get(name, ()):
            for turn, reply in seen.replies:
                count = None if reply.usage is None else reply.usage.input_tokens
                if count == drawn.prompt_tokens:
                    first, thinks = first or turn, thinks or bool(reply.reasoning)
                    text = drawn_text(reply.reasoning, reply.text)
                    texts.setdefault(name, []).append(text)
    count = sum(map(len, texts.values()))
    if first is None or count < _LEAST_REPLIES:
        raise NotVerifiableError(
            f"{count} replies to prompts as long as the golden ones could be compared, and "
            f"{_LEAST_REPLIES} are needed."
        )
    if not thinks:
        raise NotVerifiableError("No reply has a chain of thought, and the golden texts hold it.")
    found = p_value({name: each.texts for name, each in golden.drawn.items()}, texts)
    message = f"{count} replies at temperature 1 are distributed otherwise than the reference's."
    other = Problem(first, message, f"a p-value above {_LEVEL:g}", f"p = {found:.2g}")
    yield other if found <= _LEVEL else None
