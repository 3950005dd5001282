"""Has a failure rate increased, and since when? A sequential test that allows looks at any time.

Failures of one kind are observed repeatedly. For every time at which the rate may have
changed, the evidence for a change is compared with the best explanation by one constant rate. With
f0 failures in n0 trials before that time and f1 in n1 since, F = f0 + f1 and N = n0 + n1:

    E = m(f0, n0; BEFORE) * m(f1, n1; SINCE) / max over p of p^F (1 - p)^(N - F),

where m is the probability of the trials if their rate has a beta distribution. If the rate is
constant at any value, E is an e-process (universal inference: Wasserman, Ramdas and
Balakrishnan 2020, arXiv 1912.11436). Its expectation is at most 1 whenever one looks.

Possible times are weighted by the time since the observation before, in months. A weighted sum of
e-processes is also one (e-detectors: Shin, Ramdas and Rinaldo 2022, arXiv 2203.03532), and the
weights of a month add up to 1. So the sum reaches 1 / a within a month with a probability of at
most a (Ville 1939), however often one looks. The weighted terms are also the posterior probability
of each time, given that there was one change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MONTH = 30 * 86_400.0  # seconds of a month
BEFORE = 0.1, 1.0  # beta distribution of the rate before a change: rates near 0 are likely
SINCE = 0.5, 0.5  # beta distribution of the rate since a change (Krichevsky and Trofimov 1981)
CREDIBLE = 0.9  # probability of the interval of times in which a change occurred
BACK = math.log(20)  # log likelihood ratio at which a rate is back at the earlier one


@dataclass(frozen=True)
class Counts:
    """Failures in some trials at one time, in seconds since the epoch."""

    at: float
    failures: int
    trials: int


@dataclass(frozen=True)
class Change:
    """The evidence for an increase, and its time."""

    evidence: float  # natural logarithm of the weighted sum
    since: int  # index of the first observation after the most likely change
    earliest: int  # index of the first one in the `CREDIBLE` interval
    latest: int  # index of the last one in that interval


def increase(observed: Sequence[Counts]) -> Change | None:
    """The evidence for an increase of the rate; None if no later part has a higher rate.

    The oldest observation comes first, and each has at least one trial.
    """
    import numpy as np
    from scipy.special import betaln, xlogy

    if len(observed) < 2 or not any(each.failures for each in observed):
        return None
    times, hits, sizes = np.array([(x.at, x.failures, x.trials) for x in observed], float).T
    f0, n0 = hits.cumsum()[:-1], sizes.cumsum()[:-1]
    every, total = hits.sum(), sizes.sum()
    f1, n1 = every - f0, total - n0
    constant = xlogy(every, every / total) + xlogy(total - every, 1 - every / total)
    (a0, b0), (a1, b1) = BEFORE, SINCE
    before = betaln(f0 + a0, n0 - f0 + b0) - betaln(a0, b0)
    since = betaln(f1 + a1, n1 - f1 + b1) - betaln(a1, b1)
    with np.errstate(divide="ignore"):
        terms = before + since - constant + np.log(np.maximum(np.diff(times), 0) / MONTH)
    terms[f1 * n0 <= f0 * n1] = -np.inf
    most = terms.max()
    if most == -np.inf:
        return None
    shares = np.exp(terms - most)
    evidence = float(most + math.log(shares.sum()))
    likely = np.argsort(-shares, kind="stable")
    enough = int(np.searchsorted(shares[likely].cumsum(), CREDIBLE * shares.sum())) + 1
    kept = likely[:enough] + 1
    return Change(evidence, int(likely[0]) + 1, int(kept.min()), int(kept.max()))


def is_back(observed: Sequence[Counts], before: float, changed: float) -> bool:
    """Whether a rate that had increased is back at the earlier one: Page's CUSUM test (1954).

    `observed` begins when the increase was noticed, oldest first; `before` and `changed`, which is
    higher, are the rates before the increase and since, between 0 and 1.
    """
    failure, success = math.log(before / changed), math.log((1 - before) / (1 - changed))
    level = 0.0
    for each in observed:
        level += each.failures * failure + (each.trials - each.failures) * success
        if level >= BACK:
            return True
        level = max(0.0, level)
    return False


def smoothed(failures: int, trials: int) -> float:
    """A rate between 0 and 1, both excluded: the mean of its posterior (Jeffreys 1946)."""
    return (failures + 0.5) / (trials + 1)
