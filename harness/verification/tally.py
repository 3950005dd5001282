"""Counts of a smoke test so far."""

from __future__ import annotations

from harness.display import errors
from harness.records.rollouts import Rollout
from harness.scoring.judge import Judge


class SmokeTally:
    """Counts of a run. Outcomes are provisional: checks and probes speak after it."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.finished = 0
        self.attempts = 0
        self.successes = 0
        self.broken = 0
        self.tokens = 0

    def add(self, rollout: Rollout) -> None:
        """Count one more rollout."""
        self.finished += 1
        if not self._judge.knows(rollout):
            self.broken += rollout.end == "unreadable"
            return
        outcome, tokens = self._judge.glance(rollout)
        self.attempts += 1
        self.successes += outcome.success
        self.broken += outcome.kind in ("provider_error", "timeout", "invalid_response")
        self.tokens += tokens.output

    def __str__(self) -> str:
        if not self.finished:
            return "nothing finished yet"
        if not self.attempts:
            return errors(self.broken)
        share = self.successes / self.attempts
        return f"{share:.1%} passed so far · {errors(self.broken)} · {self.tokens:,} tokens"
