"""Simulated coverage of the intervals "for other questions of the kind", as a Markdown table.

    python benchmarks/interval_coverage.py [--runs N] [--seed N]

Every run draws new questions, whose success rates are beta distributed with a known mean, and tries
each of them several times. `between` is the share of the variance between questions: 0.02 makes
them almost equal, and with 1 every question is always or never solved. A cell is the share of the
95 % intervals that contain the mean. It takes about three minutes on one core.
"""

import argparse
from collections.abc import Iterator

import numpy as np

from harness.statistics.intervals import mean_interval
from harness.text import percentage

DESIGNS = {"AIME, 30 × 16": (30, 16), "GPQA, 198 × 8": (198, 8), "smoke test, 36 × 5": (36, 5)}
BETWEEN = (0.02, 0.2, 0.5, 0.85, 1.0)
MEANS = (0.5, 0.8, 0.925, 0.98, 0.995)


def coverage(
    questions: int, tries: int, between: float, mean: float, runs: int, rng: np.random.Generator
) -> float:
    """Share of intervals that contain the mean of all questions of the kind."""
    covered = 0
    for _ in range(runs):
        if between == 1.0:
            rates = (rng.random(questions) < mean).astype(float)
        else:
            strength = 1 / between - 1
            rates = rng.beta(mean * strength, (1 - mean) * strength, questions)
        found = mean_interval((rng.binomial(tries, rates) / tries).tolist())
        covered += found.low <= mean <= found.high
    return covered / runs


def rows(runs: int, rng: np.random.Generator) -> Iterator[str]:
    """The lines of the table."""
    yield (
        "| design | between questions | "
        + " | ".join(f"mean {percentage(mean)}" for mean in MEANS)
        + " |"
    )
    yield "| --- " + "| ---: " * (len(MEANS) + 1) + "|"
    for name, (questions, tries) in DESIGNS.items():
        for between in BETWEEN:
            shares = (coverage(questions, tries, between, mean, runs, rng) for mean in MEANS)
            cells = " | ".join(percentage(share) for share in shares)
            yield f"| {name} | {percentage(between, 0)} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated coverage of intervals of means.")
    parser.add_argument("--runs", type=int, default=1000, help="simulated runs per cell")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for row in rows(options.runs, np.random.default_rng(options.seed)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
