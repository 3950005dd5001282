"""The same records yield the same verdicts and figures, regardless of the structure of the code.

Numbers are compared with a tolerance of 1e-6. Bootstrap deviations depend on the random number
generator, so their tolerance is 5% of the value.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
import pytest
import stored

TOLERANCE = 1e-6
BOOTSTRAP_TOLERANCE = 0.05


@pytest.mark.parametrize("name", stored.CHARACTERIZATIONS)
def test_figures_are_unchanged(name: str, tmp_path: Path) -> None:
    assert list(differences(stored.CHARACTERIZATIONS[name](tmp_path), stored.expected(name))) == []


@pytest.mark.parametrize(
    "name", ["smoke_pass", "smoke_fault", "interrupted", "evals", "evals_published"]
)
def test_recheck_exits_with_the_verdict(name: str, tmp_path: Path) -> None:
    run = stored.unpack(name, tmp_path)
    assert figures.command("recheck", str(run)) == stored.expected(name)["exit_code"]


def test_every_expected_file_belongs_to_a_characterization() -> None:
    assert {path.stem for path in stored.EXPECTED.glob("*.json")} == set(stored.CHARACTERIZATIONS)


def differences(found: Any, expected: Any, place: str = "") -> Iterator[str]:
    """The paths at which two trees of figures differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in dict.fromkeys([*expected, *found]):
            here = f"{place}/{key}"
            if key not in found or key not in expected:
                yield f"{here}: only {'expected' if key in expected else 'found'}"
            else:
                yield from differences(found[key], expected[key], here)
    elif isinstance(found, list | tuple) and isinstance(expected, list):
        if len(found) != len(expected):
            yield f"{place}: {len(found)} members, expected {len(expected)}"
        for number, (one, other) in enumerate(zip(found, expected, strict=False)):
            yield from differences(one, other, f"{place}/{number}")
    elif not same(found, expected, place):
        yield f"{place}: {found!r}, expected {expected!r}"


def same(found: Any, expected: Any, place: str) -> bool:
    """Whether two values are equal, numbers within the tolerance."""
    numbers = (int, float)
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if not (isinstance(found, numbers) and isinstance(expected, numbers)):
        return bool(found == expected)
    relative = BOOTSTRAP_TOLERANCE if place.endswith("bootstrap_deviation") else TOLERANCE
    return bool(found == pytest.approx(expected, rel=relative, abs=TOLERANCE))
