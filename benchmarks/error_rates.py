"""Simulated error rates of the eval verdicts: runs are drawn from known probabilities.

    python benchmarks/error_rates.py [--runs N] [--seed N]

The runs resemble AIME (30 questions x 16 tries) and GPQA (198 x 8), with questions of unequal
difficulty. The output has the share of bounds that miss the true value (5% is allowed), and the
shares of runs that pass and fail without a drop, at the margin and beyond it, together with the
prediction of the formula: for a single look and for a look after every round. It takes about two
minutes on one core.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from evals.baselines.published import Benchmark, pooled_mean
from harness.records.figures import BaselineFigure, Decision
from harness.statistics.copies import copied, said
from harness.statistics.differences import (
    TAIL,
    Pair,
    differences,
    paired_means,
    significant_cases,
)
from harness.statistics.mean_scores import Mean, mean_score, run_mean
from harness.statistics.noninferiority import (
    FIRST_LOOK,
    always_valid_tail,
    compare,
    power_to_detect,
)

Chances = NDArray[np.float64]
Runs = list[list[list[float]]]


@dataclass(frozen=True)
class Design:
    """A benchmark, a model's mean score, and the margin of the verdict."""

    name: str
    questions: int
    tries: int
    mean: float
    between: float
    margin: float

    def chances(self, drop: float = 0.0) -> Chances:
        """Probability of a correct answer per question, with a mean that is lower by `drop`.

        Beta distributed; `between` is the share of the variance between questions.
        """
        strength = 1 / self.between - 1
        shares = (np.arange(self.questions) + 0.5) / self.questions
        drawn = betaincinv(self.mean * strength, (1 - self.mean) * strength, shares)
        return np.asarray(drawn * (1 - drop / drawn.mean()))


AIME = Design("AIME-like, high effort", 30, 16, 0.925, 0.5, 0.05)
GPQA = Design("GPQA-like, high effort", 198, 8, 0.80, 0.5, 0.04)
DESIGNS = (
    AIME,
    Design("AIME-like, almost equal questions", 30, 16, 0.925, 0.1, 0.05),
    Design("AIME-like, nearly all easy", 30, 16, 0.925, 0.85, 0.05),
    Design("AIME-like, low effort", 30, 16, 0.45, 0.5, 0.05),
    GPQA,
    Design("GPQA-like, 20b low effort", 198, 8, 0.57, 0.6, 0.04),
)


@dataclass(frozen=True)
class Rates:
    """Shares of simulated runs, and the share of the planned tries that they used."""

    passed: float
    failed: float
    used: float


def draw(chances: Chances, tries: int, runs: int, rng: np.random.Generator) -> Runs:
    """Binary scores; axes: run, question, try."""
    shape = (runs, len(chances), tries)
    return (rng.random(shape) < chances[:, None]).astype(float).tolist()  # type: ignore[no-any-return]


def measured(design: Design, runs: int, rng: np.random.Generator) -> Iterator[Mean]:
    """Baselines measured in runs of the same size, with scores per question."""
    for scores in draw(design.chances(), design.tries, runs, rng):
        yield run_mean(scores)


def exact(design: Design, runs: int, _rng: np.random.Generator) -> Iterator[Mean]:
    """Baselines without noise."""
    mean = float(design.chances().mean())
    return repeat(Mean(mean, 0.0, math.inf), runs)


def published(design: Design, runs: int, rng: np.random.Generator) -> Iterator[Mean]:
    """Baselines of three published means, each from half as many tries."""
    tries = design.tries // 2
    benchmark = Benchmark(
        metric="",
        questions=design.questions,
        assumed_tries=tries,
        assumed_because="",
        margin=design.margin * 100,
        margin_because="",
    )
    stacks = [draw(design.chances(), tries, runs, rng) for _ in range(3)]
    for scores in zip(*stacks, strict=True):
        values = [round(float(np.mean(one)), 3) for one in scores]
        yield pooled_mean(
            [
                BaselineFigure(source="", where="", kind="reproduction", value=value)
                for value in values
            ],
            benchmark,
        )


Baselines = Callable[[Design, int, np.random.Generator], Iterator[Mean]]


def simulate(
    design: Design,
    drop: float,
    baselines: Baselines,
    runs: int,
    rng: np.random.Generator,
    budget: int | None = None,
) -> Rates:
    """Verdicts of runs with a true drop.

    Without a budget, each run is judged once with all tries. With one, it is judged after every
    round until it is settled, up to `budget` times the planned tries.
    """
    drawn = draw(design.chances(drop), design.tries * (budget or 1), runs, rng)
    first = design.tries if budget is None else FIRST_LOOK
    ends = [
        _judged(design, scores, baseline, first)
        for scores, baseline in zip(drawn, baselines(design, runs, rng), strict=True)
    ]
    decisions = [decision for decision, _ in ends]
    used = sum(rounds for _, rounds in ends) / runs / design.tries
    return Rates(decisions.count("pass") / runs, decisions.count("fail") / runs, used)


def _judged(
    design: Design, scores: list[list[float]], baseline: Mean, first: int
) -> tuple[Decision, int]:
    most = len(scores[0])
    for rounds in range(first, most + 1):
        so_far = run_mean([tries[:rounds] for tries in scores])
        tail = TAIL if first == most else always_valid_tail(rounds, design.tries)
        decision = compare(so_far, baseline, design.margin, tail).decision
        if decision != "inconclusive":
            return decision, rounds
    return "inconclusive", most


def misses(
    chances: Chances, tries: int, runs: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Shares of lower bounds above and of upper bounds below the true value, questions fixed."""
    bounds = [run_mean(scores).bounds(TAIL) for scores in draw(chances, tries, runs, rng)]
    truth = float(chances.mean())
    return (
        sum(low > truth for low, _ in bounds) / runs,
        sum(high < truth for _, high in bounds) / runs,
    )


def coverage(design: Design, runs: int, rng: np.random.Generator, graded: bool = False) -> float:
    """Share of 95% intervals that contain the true mean, with new questions in every run.

    Graded scores are the probabilities themselves, with one try per question.
    """
    strength = 1 / design.between - 1
    a, b = design.mean * strength, (1 - design.mean) * strength
    covered = 0
    for _ in range(runs):
        chances = rng.beta(a, b, design.questions)
        scores = chances[:, None].tolist()
        if not graded:
            scores = draw(chances, design.tries, 1, rng)[0]
        estimate = mean_score(scores).estimate
        covered += estimate.low <= design.mean <= estimate.high
    return covered / runs


def worse(kind: str, short: bool, runs: int, rng: np.random.Generator) -> float:
    """Share of healthy runs, 198 questions x 3, that `compare` calls worse than a healthy one.

    The tries of the run are copies of the first one in all questions ("seed") or half of them
    ("cache"); those of the reference are copies where both have one seed ("both"). Short replies
    are letters.
    """
    found = 0
    for _ in range(runs):
        sides = [_tried(kind if side or kind == "both" else "", short, rng) for side in (0, 1)]
        pair = Pair(*paired_means(sides[1], sides[0]), cases=len(sides[0]))
        (mean,) = differences([pair])
        tables = [
            ((round(sum(here)), len(here)), (round(sum(there)), len(there)))
            for there, here in zip(*sides, strict=True)
        ]
        cases = zip(tables, significant_cases(tables), strict=True)
        fell = [a[0] * b[1] < b[0] * a[1] for (a, b), differs in cases if differs]
        found += mean.seen == "worse" or any(fell)
    return found / runs


def _tried(kind: str, short: bool, rng: np.random.Generator) -> list[list[float]]:
    """Scores of a run whose tries count as the tool counts them."""
    tries = []
    for number, chance in enumerate(GPQA.chances()):
        copies = kind in ("seed", "both") or (kind == "cache" and number % 2)
        for at, draw in enumerate(rng.random(1 if copies else 3).tolist() * (3 if copies else 1)):
            letter = "A" if draw < chance else "BCD"[int(draw * 1e6) % 3]
            text = letter if short else f"{' '.join(str(draw + n) for n in range(40))} {letter}"
            tries.append((str(number), at, said(text, ""), float(letter == "A")))
    left_out = copied([one[:3] for one in tries])
    scores: dict[str, list[float]] = {}
    for sample, at, _, score in tries:
        scores.setdefault(sample, []).extend([] if (sample, at) in left_out else [score])
    return list(scores.values())


def predicted(design: Design, drop: float) -> tuple[float, float]:
    """The formula's probabilities of passing and failing, for a baseline of the same size."""
    ours, theirs = design.chances(drop), design.chances()
    within = float((ours * (1 - ours)).mean() + (theirs * (1 - theirs)).mean())
    error = math.sqrt(within / (design.questions * design.tries))
    return (
        power_to_detect(design.margin - drop, error),
        power_to_detect(drop - design.margin, error),
    )


def report(design: Design, runs: int, rng: np.random.Generator) -> None:
    print(f"\n{design.name}: {design.questions} x {design.tries}, mean {design.mean:.1%},")
    print(f"  {design.between:.0%} of the variance between questions, margin {design.margin:.0%}")
    low, high = misses(design.chances(), design.tries, runs, rng)
    print(f"  bounds that miss the true value: lower {low:.1%}, upper {high:.1%} (5% allowed)")
    print(f"  coverage of 95% intervals: {coverage(design, runs, rng):.1%}")
    few = max(100, runs // 4)
    for drop in (0.0, design.margin, 2 * design.margin):
        passes, fails = predicted(design, drop)
        print(f"  true drop {drop:.0%}: predicted {passes:.1%} pass, {fails:.1%} fail")
        rows = [
            ("measured baseline", simulate(design, drop, measured, runs, rng)),
            ("published baseline", simulate(design, drop, published, runs, rng)),
            ("measured, every round", simulate(design, drop, measured, few, rng, 1)),
            ("measured, up to twice", simulate(design, drop, measured, few, rng, 2)),
            ("published, every round", simulate(design, drop, published, few, rng, 1)),
            ("exact, up to twice", simulate(design, drop, exact, few, rng, 2)),
        ]
        for name, rates in rows:
            print(
                f"    {name:26s} pass {rates.passed:6.1%}   fail {rates.failed:6.1%}"
                f"   tries used {rates.used:.0%}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated error rates of the eval verdicts.")
    parser.add_argument("--runs", type=int, default=2000, help="simulated runs per figure")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(f"{options.runs} runs per figure; a quarter of that with a look after every round")
    for design in DESIGNS:
        report(design, options.runs, rng)
    print()
    for kind in ("", "seed", "both", "cache"):
        rates = [f"{worse(kind, short, options.runs, rng):.1%}" for short in (False, True)]
        print(f"healthy runs, {kind or 'no'} copies: worse {rates[0]}, letters only {rates[1]}")
    for few in ((0.3,), (0.1, 0.5), (0.5, 0.5, 0.5)):
        chances = np.array([1.0] * (30 - len(few)) + list(few))
        low, high = misses(chances, 16, options.runs, rng)
        print(f"{len(few)} of 30 questions vary: lower bounds miss {low:.1%}, upper {high:.1%}")
    for questions, mean in ((12, 0.6), (100, 0.4), (1000, 0.1)):
        graded = Design("graded", questions, 1, mean, 0.3, 0.04)
        covered = coverage(graded, options.runs, rng, graded=True)
        print(f"graded scores, {questions} questions, mean {mean}: coverage {covered:.1%}")


if __name__ == "__main__":
    main()
