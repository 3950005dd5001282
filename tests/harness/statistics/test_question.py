"""The exact test of whether hits go with a part of the rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from harness.statistics.question import Association, asked

counts = st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
tables = st.lists(st.tuples(counts, counts), max_size=6).map(lambda each: dict(enumerate(each)))


@given(tables)
def test_the_other_side_has_the_same_p(drawn):
    swapped = Association({key: (other, one) for key, (one, other) in drawn.items()})
    assert 0 < Association(drawn).p <= 1
    assert swapped.p == pytest.approx(Association(drawn).p)
    assert swapped.p_more == pytest.approx(Association(drawn).p_fewer)


@pytest.mark.parametrize(
    ("drawn", "p"),
    [
        ([((0, 2), (2, 2))] * 3, 2 / 6**3),
        ([((1, 4), (3, 4))], 2 * 17 / 70),
        ([((2, 2), (2, 2)), ((0, 2), (0, 2))], 1.0),
        ([((1, 2), (3, 5)), ((2, 3), (0, 4))], 2 * 210 / 735),
    ],
)
def test_strata_are_combined_exactly(drawn, p):
    assert Association(dict(enumerate(drawn))).p == pytest.approx(p)


@given(counts, counts)
def test_one_stratum_is_the_test_of_fisher(part, others):
    table = [[hits, rows - hits] for hits, rows in (part, others)]
    answer = Association({None: (part, others)})
    assert answer.p_more == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
    assert answer.p_fewer == pytest.approx(fisher_exact(table, alternative="less").pvalue)


def test_rows_are_counted_by_stratum_and_side():
    answer = asked([("a", True, True), ("a", True, False), ("a", False, False), ("b", False, True)])
    assert answer.tables == {"a": ((1, 2), (0, 1)), "b": ((0, 0), (1, 1))}
    assert (answer.part, answer.others) == ((1, 2), (1, 2))
    assert answer.telling == answer.more == {"a"}
