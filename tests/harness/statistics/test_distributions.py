"""The distributions have the values of scipy."""

import math
from itertools import product

import pytest
from scipy import special, stats

from harness.statistics.distributions import (
    beta_cdf,
    beta_quantile,
    hypergeometric,
    normal_cdf,
    root,
    t_quantile,
)

SHAPES = [
    *product((0.3, 1, 1.7, 40, 1_500), repeat=2),
    (30_000.5, 12),
    (12, 30_000.5),
    (9_000, 21_000),
]
TAILS = (1e-12, 1e-5, 0.025, 0.3, 0.7)
FREEDOMS = (1, 2.5, 30, 1_000, 50_000, math.inf)


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_beta_is_scipys(a: float, b: float) -> None:
    quantiles = [float(special.betaincinv(a, b, p)) for p in TAILS]
    assert [beta_quantile(a, b, p) for p in TAILS] == pytest.approx(quantiles, rel=1e-9)
    chances = [float(special.betainc(a, b, x)) for x in quantiles]
    assert [beta_cdf(a, b, x) for x in quantiles] == pytest.approx(chances, rel=1e-9)
    assert [beta_cdf(a, b, x) for x in (-1.0, 0.0, 1.0, 2.0)] == [0, 0, 1, 1]


@pytest.mark.parametrize(("freedom", "tail"), [*product(FREEDOMS, (1e-12, 1e-5, 0.025, 0.49, 0.5))])
def test_t_is_scipys(freedom: float, tail: float) -> None:
    expected = -float(special.stdtrit(freedom, tail))
    assert t_quantile(freedom, tail) == pytest.approx(expected, rel=1e-8, abs=1e-15)


def test_the_normal_distribution_is_scipys() -> None:
    for x in (-30.0, -6.0, -1.0, 0.0, 2.5):
        assert normal_cdf(x) == pytest.approx(float(special.ndtr(x)), rel=1e-12)


@pytest.mark.parametrize("urn", [(0, 5, 3), (5, 0, 3), (5, 7, 4), (7, 2, 6), (800, 4_200, 2_500)])
def test_hypergeometric_is_scipys(urn: tuple[int, int, int]) -> None:
    hits, others, drawn = urn
    counts = range(max(0, drawn - others), min(hits, drawn) + 1)
    expected = stats.hypergeom.pmf(counts, hits + others, hits, drawn)
    assert list(hypergeometric(*urn)) == pytest.approx(list(expected), rel=1e-8)


@pytest.mark.parametrize(
    ("function", "low", "high", "zero"),
    [
        (lambda x: x**3 - 2, 0.0, 9.0, 2 ** (1 / 3)),
        (lambda x: 1e-6 - x, 0.0, 1.0, 1e-6),
        (lambda x: math.exp(-50 * x) - 1e-9, 0.0, 1.0, math.log(1e9) / 50),
        (lambda x: x, 0.0, 1.0, 0.0),
    ],
)
def test_a_root_is_found(function, low: float, high: float, zero: float) -> None:
    assert root(function, low, high, precision=1e-12) == pytest.approx(zero, abs=1e-12)
