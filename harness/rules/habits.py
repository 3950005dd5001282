"""How often a correct server's replies show what a rule reports, and where each figure is from.

A rule that tolerates a share names a habit. If no figure is known, the habit is `unmeasured`: then
the rule only warns, up to a share with which nobody could use the model (`UNUSABLE`).
"""

from typing import NamedTuple

UNUSABLE = 0.2
"""The share of replies from which no agent can use a model: of tasks with ten steps, 0.8 ** 10, or
11%, succeed."""

MOSTLY = 0.5
"""The share of replies without CoT that no effort of the model explains."""
UNUSABLE_CALLS = 0.5  # the share of calls with broken JSON; below it, worse models still call tools


class Habit(NamedTuple):
    """The largest share of replies, or of trials of a probe, and the source of this figure."""

    share: float
    source: str
    error_above: float | None = None  # of a rule that is an error, as `Rule.error_above`

    def __str__(self) -> str:
        return f"{self.share * 100:g}%; {self.source}"


def unmeasured(share: float) -> Habit:
    """Return a habit that somebody has seen, and nobody has counted."""
    return Habit(share, "no figure known", UNUSABLE)


MALFORMED_HEADERS = Habit(
    0.03, "9 of 850 turns of gpt-oss-20b (llama.cpp#27720), and 2.3% in another log"
)
NEAR_TIES = Habit(
    0.03,
    "80 of 1,000 long completions differ at temperature 0 (Thinking Machines), short ones less",
)
"""Of greedy replies that differ from others to the same request."""
BROKEN_JSON = Habit(0.02, "stray quotes or escapes in 2 of 170 recorded calls")
NO_COT = Habit(0.01, "0 of 380 recorded raw replies to a user")
NO_COT_AFTER_RESULT = Habit(
    0.15, "7% of recorded raw replies of agents, 17 of 48 after short results"
)
BROKEN_STREAMS = Habit(0.005, "of the network, not of the model")
FAILED_REQUESTS = Habit(0.002, "of a server that restarts, not of the model")


def recorded(share: float) -> Habit:
    """Return the habit whose share no server exceeds for its model in public recordings."""
    return Habit(share, "exceeded by no model in 8,656 public recordings (docs/real-traffic.md)")
