"""Counts of the code that may only fall."""

import pytest

from tools.reading import compared

STORED = {"files": {"most": 10, "raised": []}}


@pytest.mark.parametrize(
    ("count", "because", "most", "raised", "is_wrong"),
    [
        (9, None, 9, [], False),
        (10, None, 10, [], False),
        (12, None, 10, [], True),
        (12, "a new backend", 12, ["10 to 12: a new backend"], False),
        (9, "a new backend", 9, [], False),
    ],
)
def test_a_count_rises_only_for_a_reason(count, because, most, raised, is_wrong):
    new, lines = compared({"files": count}, STORED, because)
    assert new == {"files": {"most": most, "raised": raised}}
    assert bool(lines) is is_wrong
