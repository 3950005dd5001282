"""Prompts whose tokens vary: by a defect of some requests, or by counts that are no evidence."""

from collections.abc import Callable

import pytest
from healthy import rollout
from replies import Reply
from written import asked

from harness.api.parsed_rollout import parse_rollout
from harness.records.scores import Score
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.measured import measured_score

HI, SYSTEM = {"role": "user", "content": "Hi!"}, {"role": "system", "content": "Be brief."}


def scores(tokens: Callable[[str, int], int]) -> list[Score]:
    """Three tries of plain requests, and of requests with a system message."""
    made = []
    for sample in ("plain 1", "plain 2", "plain 3", "system 1", "system 2"):
        sent = [HI] if sample.startswith("plain") else [SYSTEM, HI]
        for attempt in (1, 2, 3):
            said = Reply(text="Ahoy.", prompt=tokens(sample, attempt))
            recorded = rollout([said], sample=sample, attempt=attempt)
            parsed = parse_rollout(asked(recorded, {"messages": sent, "tools": None}))
            made.append(measured_score(parsed, {"outcome": "answered"}))
    return made


@pytest.mark.parametrize(
    ("tokens", "unreliable"),
    [
        (lambda sample, attempt: 60, False),
        (lambda sample, attempt: 60 - 9 * (attempt == 2 and "system" in sample), False),
        (lambda sample, attempt: 60 + 17 * attempt % 13, True),
        (lambda sample, attempt: 60 - 9 * (attempt == 2), True),
    ],
)
def test_a_defect_of_some_requests_leaves_their_counts_evidence(
    tokens: Callable[[str, int], int], unreliable: bool
) -> None:
    (decide,) = {relation.when for relation in UNRELIABLE_PROMPT_TOKENS if relation.when}
    assert decide(scores(tokens)) is unreliable
