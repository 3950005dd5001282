"""How often fixed thresholds decide wrongly, and how many answers a decision needs.

    python benchmarks/gates_of_others.py

Prints the table of docs/ci.md. The tries are independent and equally hard (binomial); tries of
fixed questions vary less. The scores of correct servers are those of the model card (arXiv
2508.10925) for GPQA, of tt-inference-server's GPU reference for AIME, the mean of 67 healthy runs
of 20b for 0.58, and the projects' own for GSM8K.
"""

import math
from typing import NamedTuple

from scipy.stats import binom

from harness.statistics.differences import TAIL
from harness.statistics.intervals import critical_value


class Gate(NamedTuple):
    """A gate: its tries, how many of them must be right, and the score of a correct server."""

    name: str
    tries: int
    least: int
    healthy: float


GATES = (
    Gate("GPQA, 6 of 7 right", 7, 6, 0.80),
    Gate("AIME, 13 of 15 right", 15, 13, 0.904),
    Gate("GPQA, 198 questions, at least 0.58", 198, math.ceil(0.58 * 198), 0.617),
    Gate("GPQA, 198 × 8, at least 0.518", 1_584, math.ceil(0.518 * 1_584), 0.568),
    Gate("GSM8K, at least 0.871", 1_319, math.ceil(0.871 * 1_319), 0.903),
    Gate("GSM8K, at least 0.91", 1_319, math.ceil(0.91 * 1_319), 0.952),
)
DROPS = (0.03, 0.05)


def passes(gate: Gate, drop: float) -> float:
    """Return the probability that a server that is worse by `drop` passes."""
    return float(binom.sf(gate.least - 1, gate.tries, gate.healthy - drop))


def answers(gate: Gate, drop: float) -> int:
    """Return how many answers pass 95% of correct servers, and 5% of those worse by `drop`."""
    deviations = 2 * critical_value(TAIL) / drop
    return math.ceil(gate.healthy * (1 - gate.healthy) * deviations**2)


def main() -> None:
    """Print the table."""
    print(
        "| gate | a correct server fails | 3 points worse passes | 5 points worse passes |", end=""
    )
    print(" answers for 3 points | for 5 points |\n|---|---:|---:|---:|---:|---:|")
    for gate in GATES:
        shares = (1 - passes(gate, 0), *(passes(gate, drop) for drop in DROPS))
        needed = (f"{answers(gate, drop):,}" for drop in DROPS)
        cells = (gate.name, *(f"{share:.1%}" for share in shares), *needed)
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
